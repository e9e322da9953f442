"""HTTP/1.1 framing as RFC 9112 writes it, without the leniencies that make two parsers disagree. Pure.

A head that came whole is checked by one match of `HEAD`. Anything else (a head in pieces, a fault, trailing spaces)
goes through `HeadScan`, which takes lines in order and raises at the first fault: what a head is refused with does
not depend on how it was cut into reads.
"""

import re
from collections.abc import Mapping
from typing import Final

from llm_edge_agent.http.messages import Refusal

CHUNKED: Final = -1
"""What `body_length` says of a body whose length shows only at its end."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
FIELD_LINE: Final = _TOKEN + rb":[\t -~\x80-\xff]*+\r\n"
"""One well-formed field line, as a pattern (RFC 9112 section 5)."""
# No white space at the end of a value: llhttp would keep it, and looking at each value costs more than looking here.
_TRIMMED_FIELD = _TOKEN + rb":[\t -~\x80-\xff]*+(?<![\t ])\r\n"

HEAD: Final = re.compile(rb"(" + _TOKEN + rb") ([!-~]++) HTTP/1\.([01])\r\n(?:" + _TRIMMED_FIELD + rb")*+\r\n")
"""A whole request head at the start of a read: method, target, minor version. No match proves nothing: `HeadScan`."""

_REQUEST_LINE = re.compile(rb"(?:" + _TOKEN + rb") ([!-~]++) HTTP/([0-9]\.[0-9])\r\n")
_FIELD_LINE = re.compile(FIELD_LINE)
_NOT_IN_REQUEST_LINE = re.compile(rb"[^\r\n -~]")
_TRAILING_SPACE = re.compile(rb"[\t ]+\r\n")
_TOKEN_ONLY = re.compile(_TOKEN)
_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~%!$&'()*+;=]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
_SCHEME = re.compile(rb"https?://([^/?]*)", re.IGNORECASE)
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t -~\x80-\xff]*+)?\r\n")

_KNOWN_CODINGS = frozenset((b"chunked", b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"identity"))
_LENGTH_DIGITS = 18
_CHUNK_LINE_BYTES = 1024
_EXTENSION_BYTES = 16 * 1024
_TRAILER_BYTES = 8 * 1024


class FramingError(Exception):
    """The message cannot be read on. `detail` is safe to show: it holds no byte of the message."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.refusal: Refusal = refusal
        self.detail = detail


def content_length(value: bytes) -> int:
    """The number in a Content-Length field, which must be digits only; raises FramingError for all else, also for a
    repeated field (joined by a comma). Serves both legs."""
    # bytes.isdigit knows ASCII digits only; the bound keeps int() from quadratic work.
    if value.isdigit() and len(value) <= _LENGTH_DIGITS:
        return int(value)
    raise FramingError("bad_request", "malformed Content-Length")


def body_length(headers: Mapping[bytes, bytes], http_1_0: bool) -> int:
    """How long the body of a request is (bytes, or CHUNKED), after RFC 9112 section 6.3 in its strict reading:
    Content-Length or Transfer-Encoding, never both; a transfer coding is exactly `chunked`, on HTTP/1.1 only.
    Raises FramingError."""
    coding = headers.get(b"transfer-encoding")
    length = headers.get(b"content-length")
    if coding is None:
        return 0 if length is None else content_length(length)
    if length is not None:
        raise FramingError("bad_request", "both Content-Length and Transfer-Encoding")
    if http_1_0:
        raise FramingError("bad_request", "Transfer-Encoding on HTTP/1.0")
    if coding.lower() == b"chunked":
        return CHUNKED
    codings = [each.strip(b"\t ").lower() for each in coding.split(b",")]
    disguised = any(b"chunk" in each and each != b"chunked" for each in codings)
    if (
        not disguised
        and b"chunked" not in codings[:-1]
        and all(_TOKEN_ONLY.fullmatch(each) for each in codings)
        and not _KNOWN_CODINGS.issuperset(codings)
    ):
        raise FramingError("not_implemented", "unknown transfer coding")
    raise FramingError("bad_request", "malformed Transfer-Encoding")


def check_host(headers: Mapping[bytes, bytes], http_1_0: bool) -> None:
    """One Host on HTTP/1.1, and a valid one wherever there is one (RFC 9112 section 3.2); two of them show as a comma,
    which no host may hold. Raises FramingError."""
    host = headers.get(b"host")
    if host is None:
        if not http_1_0:
            raise FramingError("bad_request", "missing Host")
    elif _HOST.fullmatch(host) is None:
        raise FramingError("bad_request", "malformed Host")


def split_target(method: str, target: bytes) -> tuple[str, str]:
    """Path and query of a request target, percent-encoding as sent. Of an absolute form the authority is checked and
    dropped: it routes nowhere. CONNECT keeps its authority as the path, `OPTIONS *` its asterisk. The target is known
    to be visible ASCII. Raises FramingError."""
    if b"#" in target:
        raise FramingError("bad_request", "fragment in the request target")
    if method == "CONNECT" or (target == b"*" and method == "OPTIONS"):
        return target.decode("ascii"), ""
    if not target.startswith(b"/"):
        absolute = _SCHEME.match(target)
        if absolute is None or _HOST.fullmatch(absolute[1]) is None:
            raise FramingError("bad_request", "malformed request target")
        target = target[absolute.end() :]
        if not target.startswith(b"/"):
            target = b"/" + target
    path, _, query = target.decode("ascii").partition("?")
    return path, query


def keeps_alive(connection: bytes | None, http_1_0: bool) -> bool:
    """Whether the connection may serve another exchange, by its Connection field (RFC 9112 section 9.3)."""
    if connection is None:
        return not http_1_0
    options = [each.strip(b"\t ") for each in connection.lower().split(b",")]
    if b"close" in options:
        return False
    return not http_1_0 or b"keep-alive" in options


class HeadScan:
    """Takes a request head in pieces, line by line, and raises at its first fault. One use. `rest` is what followed
    the head in the piece that ended it."""

    __slots__ = ("_at", "_buffer", "_fields", "_max_bytes", "_max_fields", "_max_target", "_start", "rest")

    def __init__(self, max_bytes: int, max_fields: int, max_target: int) -> None:
        self._max_bytes = max_bytes
        self._max_fields = max_fields
        self._max_target = max_target
        self._buffer = b""
        self._at = 0
        """Where the first line that was not checked begins."""
        self._start = 0
        """Where the request line begins, after empty lines that RFC 9112 section 2.2 says to skip."""
        self._fields = -1
        """Field lines so far; -1 before the request line."""
        self.rest = b""

    def feed(self, data: bytes) -> bytes | None:
        """The head, ready for `HEAD` (empty lines before it and spaces after values are gone), or None while it is
        incomplete. Raises FramingError: too large, or malformed."""
        searched = len(self._buffer)
        buffer = self._buffer = self._buffer + data
        while True:
            end = buffer.find(b"\n", max(self._at, searched)) + 1
            if not 0 < end <= self._max_bytes:
                break
            line = buffer[self._at : end]
            self._at = end
            if self._fields < 0:
                if line == b"\r\n":
                    self._start = end
                else:
                    self._check_request_line(line)
                    self._fields = 0
            elif line == b"\r\n":
                self.rest = buffer[end:]
                return _TRAILING_SPACE.sub(b"\r\n", buffer[self._start : end])
            else:
                self._check_field(line)
                self._fields += 1
        if self._fields < 0 and _NOT_IN_REQUEST_LINE.search(buffer, self._at, self._max_bytes):
            # Told at once: a TLS hello has no line end to wait for.
            raise FramingError("bad_request", "not an HTTP request")
        if end > self._max_bytes or len(buffer) >= self._max_bytes:
            if self._fields < 0:
                raise FramingError("uri_too_long", "request line too long")
            raise FramingError("headers_too_large", "header section too large")
        return None

    def _check_request_line(self, line: bytes) -> None:
        if _NOT_IN_REQUEST_LINE.search(line):
            raise FramingError("bad_request", "not an HTTP request")
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            raise FramingError("bad_request", "malformed request line")
        if len(match[1]) > self._max_target:
            raise FramingError("uri_too_long", "request target too long")
        if match[2] not in (b"1.0", b"1.1"):
            raise FramingError("version_not_supported", "only HTTP/1.0 and HTTP/1.1 are spoken here")

    def _check_field(self, line: bytes) -> None:
        if self._fields >= self._max_fields:
            raise FramingError("headers_too_large", "too many header fields")
        if _FIELD_LINE.fullmatch(line) is None:
            if line[:1] in b" \t":
                raise FramingError("bad_request", "folded header line")
            if not line.endswith(b"\r\n"):
                raise FramingError("bad_request", "header line ended by a bare LF")
            raise FramingError("bad_request", "malformed header line")


class ChunkedBody:
    """Takes a chunked body apart (RFC 9112 section 7.1). Extensions and trailers are checked, bounded and dropped."""

    __slots__ = ("_extensions", "_left", "_line", "_max_bytes", "_state", "_trailers", "body")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._state = "size"
        self._left = 0
        self._line = b""
        self._extensions = 0
        self._trailers = 0
        self.body = bytearray()

    def feed(self, data: bytes, start: int = 0) -> int:
        """Takes `data` from `start` on. Returns where the body ended in it, or -1 when more is to come.
        Raises FramingError: malformed, or more than `max_bytes` announced."""
        at, size = start, len(data)
        while at < size:
            if self._left:
                piece = data[at : at + self._left]
                self.body += piece
                at += len(piece)
                self._left -= len(piece)
                continue
            end = data.find(b"\n", at) + 1
            line = self._line + data[at : end or size]
            if self._state == "data end" and not b"\r\n".startswith(line):
                raise FramingError("bad_request", "chunk longer than announced")
            if len(line) > _CHUNK_LINE_BYTES:
                raise FramingError("bad_request", "chunk line too long")
            if not end:
                self._line = line
                return -1
            self._line = b""
            at = end
            if self._state == "size":
                self._begin_chunk(line)
            elif self._state == "data end":
                self._state = "size"
            elif line == b"\r\n":
                return at
            else:
                self._drop_trailer(line)
        return -1

    def _begin_chunk(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise FramingError("bad_request", "malformed chunk size")
        self._extensions += len(line) - match.end(1) - 2
        if self._extensions > _EXTENSION_BYTES:
            raise FramingError("bad_request", "chunk extensions too long")
        self._left = int(match[1], 16)
        if len(self.body) + self._left > self._max_bytes:
            raise FramingError("body_too_large", "request body too large")
        self._state = "data end" if self._left else "trailers"

    def _drop_trailer(self, line: bytes) -> None:
        self._trailers += len(line)
        if self._trailers > _TRAILER_BYTES:
            raise FramingError("bad_request", "trailers too long")
        if _FIELD_LINE.fullmatch(line) is None:
            raise FramingError("bad_request", "malformed trailer")
