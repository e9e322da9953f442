"""The head of a provider's answer where it is plain: one read, every line well-formed, a body of known length, a
connection that goes on. Nine in ten are, and need no parser; every other head is left to llhttp (`client`).

What is accepted here is a subset of what llhttp accepts, with the same meaning. The fields themselves are looked at
when somebody asks: of twenty or thirty that a provider sends, few are ever read.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from llm_edge_agent.http.framing import FIELD_LINE

_HEAD = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) [ -~]*+\r\n(?:" + FIELD_LINE + rb")*+\r\n")
_FRAMING = re.compile(rb"\r\n(content-length|content-encoding|transfer-encoding|connection|upgrade):[\t ]*([^\r]*)")
_FIELD = re.compile(rb"\r\n([^:\r]+):[\t ]*([^\r]*)")
_BODYLESS = (204, 304)
_MAX_DIGITS = 18


class PlainHead(NamedTuple):
    status: int
    length: int
    """Of the body, in bytes."""
    raw: bytes
    """The head itself, as far as its empty line."""


def plain_head(data: bytes, max_bytes: int) -> PlainHead | None:
    """The head at the start of `data`; None where it is not plain, not there in full, or longer than `max_bytes`."""
    match = _HEAD.match(data)
    if match is None or match.end() > max_bytes:
        return None
    raw = match[0]
    framing = _FRAMING.findall(raw.lower())
    length: bytes | None = None
    for name, value in framing:
        if name == b"content-length" and length is None:
            length = value
        elif name != b"connection" or value != b"keep-alive":
            return None
    status = int(match[1])
    if length is None or not length.isdigit() or len(length) > _MAX_DIGITS or status in _BODYLESS:
        return None
    return PlainHead(status, int(length), raw)


def fields(raw: bytes) -> dict[bytes, bytes]:
    """The fields of a plain head: lower-case names, values without white space around them; repeated ones joined."""
    pairs = _FIELD.findall(raw)
    names = b"\n".join([name for name, _ in pairs]).lower().split(b"\n")
    found = dict(zip(names, [value for _, value in pairs], strict=True))
    if len(found) == len(pairs) and b" \r" not in raw and b"\t\r" not in raw:
        return found
    return _normal(pairs)


def _normal(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in pairs:
        name = name.lower()
        value = value.rstrip(b"\t ")
        found[name] = found[name] + b", " + value if name in found else value
    return found


class WantedFields:
    """Some of the fields of an answer, by name: for whoever reads a few, time and again, of heads that have many."""

    __slots__ = ("_line", "_name")

    def __init__(self, names: str) -> None:
        """`names`: in lower case, separated by spaces; one that ends in `*` stands for all that begin so."""
        shapes = "|".join(re.escape(name).replace(r"\*", r"[^:\r]*+") for name in names.split()).encode("ascii")
        # A letter that a wanted name begins with, in either case, is looked for first: it rules most lines out.
        first = "".join(sorted({name[0] + name[0].upper() for name in names.split()})).encode("ascii")
        self._line = re.compile(rb"\r\n(?=[%b])((?i:%b)):[\t ]*+([^\r]*+)" % (first, shapes))
        self._name = re.compile(shapes)

    def of_plain_head(self, raw: bytes) -> dict[bytes, bytes]:
        """As `fields` would have them, in the order of the head."""
        pairs = self._line.findall(raw)
        found = {name.lower(): value.rstrip(b"\t ") for name, value in pairs}
        return found if len(found) == len(pairs) else _normal(pairs)

    def of_fields(self, fields: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        return {name: value for name, value in fields.items() if self._name.fullmatch(name) is not None}
