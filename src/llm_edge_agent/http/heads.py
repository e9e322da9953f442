"""Reading a request's head: from bytes to what they say, checked.

A head is framed by `framing`, then split into fields by llhttp, a second opinion that may refuse more but sees one
head only: bodies and what follows them never reach it, so it cannot find a message where we see none.
"""

import re
from typing import NamedTuple

import httptools

from llm_edge_agent.http.framing import FramingError, body_length, check_host, keeps_alive, split_target

_KNOWN_TARGETS = 256
_KNOWN_TARGET_BYTES = 128
_KNOWN_HEADS = 512
_KNOWN_HEAD_BYTES = 4 * 1024

# Those llhttp is given as they are; it knows some others, but gives CONNECT and PRI a meaning of their own.
_METHODS = {
    name.encode("ascii"): name for name in ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")
}


class ParsedHead(NamedTuple):
    """What a request's head says, once it has passed every check."""

    method: str
    path: str
    query: str
    fields: dict[bytes, bytes]
    http_1_0: bool
    length: int
    """Of the body, or framing.CHUNKED."""
    keep: bool
    """Whether the connection may go on after the reply."""


class HeadReader:
    """Reads the heads of one server's connections, and remembers of late ones what they said."""

    __slots__ = ("seen", "targets")

    def __init__(self) -> None:
        self.seen: dict[bytes, ParsedHead] = {}
        """Heads read of late, byte for byte: a client's next request often differs in its body only. Their fields are
        shared: nobody changes them."""
        self.targets: dict[bytes, tuple[str, str]] = {}
        """Path and query of the origin-form targets seen of late, which are few."""

    def read(self, match: re.Match[bytes], head: bytes) -> ParsedHead:
        """A complete head, which `match` of `framing.HEAD` covers. Raises FramingError."""
        raw = head
        fields: dict[bytes, bytes] = {}
        verb, target, minor = match.groups()
        method = _METHODS.get(verb)
        if method is None:
            method = verb.decode("ascii")
            head = b"GET / HTTP/1.1" + head[match.end(3) :]
        http_1_0 = minor == b"0"
        try:
            # A parser per head costs 0.5 us and has no past.
            httptools.HttpRequestParser(_Fields(fields)).feed_data(head)
        except httptools.HttpParserUpgrade:
            pass  # an offer that we do not take up: an ordinary request
        except httptools.HttpParserError:
            body_length(fields, http_1_0)
            raise FramingError("bad_request", "malformed head") from None
        length = body_length(fields, http_1_0)
        check_host(fields, http_1_0)
        located = self.targets.get(target)
        if located is None or method == "CONNECT":
            located = self.locate(method, target)
        # After CONNECT the client may already speak to whom it thinks is at the other end.
        keep = method != "CONNECT" and keeps_alive(fields.get(b"connection"), http_1_0)
        parsed = ParsedHead(method, *located, fields, http_1_0, length, keep)
        if len(raw) <= _KNOWN_HEAD_BYTES:
            if len(self.seen) >= _KNOWN_HEADS:
                self.seen.clear()
            self.seen[raw] = parsed
        return parsed

    def locate(self, method: str, target: bytes) -> tuple[str, str]:
        """Path and query of a target that was not seen of late. Raises FramingError."""
        located = split_target(method, target)
        # What begins with a slash reads the same for every method but CONNECT.
        if target.startswith(b"/") and len(target) <= _KNOWN_TARGET_BYTES and method != "CONNECT":
            if len(self.targets) >= _KNOWN_TARGETS:
                self.targets.clear()
            self.targets[target] = located
        return located


class _Fields:
    """llhttp's callbacks: gathers the fields of one head."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        self._fields = fields

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        fields = self._fields
        if name in fields:
            value = fields[name] + b", " + value
        fields[name] = value
