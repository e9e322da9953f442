"""A client's JSON object, read strictly: what two readers could understand differently is refused or never merged.

msgspec's speed comes from looking at each byte once; some things it lets pass (inside skipped or raw values) and some
it cannot tell (a key that came twice, how a number was written). This module closes those gaps for request bodies, and
produces the form in which a body enters a cache key. It holds no opinion about any particular field.
"""

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import msgspec
from blake3 import blake3

from llm_edge_agent.core.errors import ErrorKind, GatewayError

CANONICAL_LIMIT_BYTES = 32 * 1024
"""Above this a body is keyed by its members' own bytes: putting a large one into canonical form costs more than all
else that happens to it."""

_KEY = re.compile(rb'[ \t\r\n]*("(?:[^"\\]|\\.)*")[ \t\r\n]*:[ \t\r\n]*', re.DOTALL)
_GAP = re.compile(rb"[ \t\r\n]*([,}])")
_MINUS_ZERO = re.compile(rb"[:,\[ \t\r\n]-0[,\]} \t\r\n]")
_WALKED_BYTES = 8 * 1024
"""Above this a body's depth is walked rather than bounded by its brackets: counting bytes takes as long as decoding."""
_PARSE_MESSAGE = "We could not parse the JSON body of your request."


class Span(NamedTuple):
    """Where a member's value stands in the body: `body[start:end]`. The member itself begins at `key_start`."""

    key_start: int
    start: int
    end: int


class Body(NamedTuple):
    """A checked request object: the client's own bytes, and its value with numbers kept as the text that was sent."""

    raw: bytes
    value: dict[str, Any]


class _NumberTooLargeError(Exception):
    pass


def _number(text: str) -> msgspec.Raw:
    if math.isinf(float(text)):
        raise _NumberTooLargeError
    return msgspec.Raw(text.encode())


_any_decoder = msgspec.json.Decoder(float_hook=_number)
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode
_sorted_encoder = msgspec.json.Encoder(order="sorted")


def read_object(raw: bytes, *, max_depth: int) -> Body:
    """Decodes a request body that must be a JSON object.

    Raises GatewayError (400): not JSON (NaN and Infinity included), not UTF-8 or a lone surrogate, not an object,
    a number outside the range of a double or an integer of thousands of digits, or nesting deeper than `max_depth`.
    """
    try:
        value = _any_decoder.decode(raw)  # makes a str of every string, so looks at all that is not ASCII
    except _NumberTooLargeError:
        raise GatewayError(ErrorKind.INVALID_JSON, f"{_PARSE_MESSAGE} A number is out of range.") from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    except UnicodeDecodeError:
        raise GatewayError(ErrorKind.INVALID_JSON, f"{_PARSE_MESSAGE} It is not valid UTF-8.") from None
    except msgspec.ValidationError:
        raise GatewayError(ErrorKind.INVALID_JSON, f"{_PARSE_MESSAGE} A number is out of range.") from None
    except msgspec.DecodeError:
        raise GatewayError(ErrorKind.INVALID_JSON, _PARSE_MESSAGE) from None
    if type(value) is not dict:
        raise GatewayError(ErrorKind.INVALID_TYPE, f"The request body must be a JSON object, not {_json_type(value)}.")
    if (len(raw) > _WALKED_BYTES or raw.count(b"{") + raw.count(b"[") > max_depth) and _deeper_than(value, max_depth):
        raise _too_deep(max_depth)
    return Body(raw, value)


def _too_deep(max_depth: int) -> GatewayError:
    return GatewayError(ErrorKind.INVALID_JSON, f"{_PARSE_MESSAGE} It is nested deeper than {max_depth} levels.")


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    names = {list: "an array", str: "a string", bool: "a boolean"}
    return names.get(type(value), "a number")


def _deeper_than(value: dict[str, Any], max_depth: int) -> bool:
    level: list[Any] = [value]
    for _ in range(max_depth):
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) is dict or type(item) is list
        ]
        if not level:
            return False
    return True


def members(raw: bytes) -> dict[str, Span]:
    """The spans of an object's members. `raw` must be a JSON object that `read_object` accepted.

    Raises GatewayError (400, naming the key) where a key stands twice: the gateway and the provider could each read a
    different one.

    It walks key by key and jumps over each value by the bytes msgspec found for that key. Of a doubled key msgspec
    reports the last value, so the walk meets either a mismatch at the first or the same key again.
    """
    values = _members_decoder.decode(raw)
    view = memoryview(raw)
    position = raw.index(b"{") + 1
    spans: dict[str, Span] = {}
    while (match := _KEY.match(raw, position)) is not None:
        literal = match.group(1)
        key = msgspec.json.decode(literal, type=str) if b"\\" in literal else str(literal[1:-1], "utf-8")
        start = match.end()
        value = values[key]
        end = start + memoryview(value).nbytes
        if key in spans or msgspec.Raw(view[start:end]) != value:  # compared where they stand: neither is copied
            raise _twice(key)
        spans[key] = Span(match.start(1), start, end)
        gap = _GAP.match(raw, end)
        if gap is None:  # the value at hand only begins like the last one of a doubled key: 1 and 12
            raise _twice(key)
        position = gap.end()
    return spans


def _twice(key: str) -> GatewayError:
    return GatewayError(
        ErrorKind.INVALID_REQUEST, f"Duplicate member: '{key[:64]}' stands twice in the request.", param=key[:64]
    )


def key_material(body: Body, leave_out: Collection[str]) -> bytes:
    """The bytes that stand for `body` in a cache key, without the members named in `leave_out`.

    Bodies that mean the same get the same bytes where that can be proven cheaply (sorted keys, no white space, numbers
    as sent); otherwise each member's own bytes are taken, as a BLAKE3 digest over all (docs/adr/0013). Two bodies that
    differ in any member never share them.
    Raises GatewayError (400) on a doubled top-level key.
    """
    raw, value = body
    if len(raw) <= CANONICAL_LIMIT_BYTES:
        kept = value.copy()
        left = {key: kept.pop(key) for key in leave_out if key in value}
        canonical = _sorted_encoder.encode(kept)
        if _lossless(raw, canonical, left):
            return b"c" + canonical
    spans = members(raw)
    view = memoryview(raw)
    digest = blake3()
    for key in sorted(spans):
        if key not in leave_out:
            name = key.encode()
            span = spans[key]
            digest.update(b"%d:%b%d:" % (len(name), name, span.end - span.start))
            digest.update(view[span.start : span.end])
    return b"b" + digest.digest()


def _lossless(raw: bytes, canonical: bytes, left: Mapping[str, Any]) -> bool:
    """Whether no key of the body, at any depth, was dropped as a double. `left`: members that are not in the canonical
    form.

    Every member has a colon, and strings keep theirs: the canonical form writes none as an escape. So unless the body
    writes a colon as an escape, the two contain the same colons except for those of members that were dropped, and
    equal counts mean that none was. Doubt means False, and costs only a possible hit. Integers lose one distinction,
    `-0`; it is doubted too. (Single bytes are looked for first: that is ten times quicker than two.)
    """
    if b"\\" in raw and (b"\\u003a" in raw or b"\\u003A" in raw):
        return False
    if b"-" in raw and b"-0" in raw and _MINUS_ZERO.search(raw) is not None:
        return False
    count = canonical.count(b":")
    for key, item in left.items():
        count += 1 + key.count(":")
        kind = type(item)
        if kind is str:
            count += item.count(":")
        elif kind is not bool and item is not None:
            count += _encode(item).count(b":")
    return raw.count(b":") == count


def refuse_doubles(body: Body) -> None:
    """Raises GatewayError (400) where a top-level key stands twice. For bodies that no key is computed from."""
    members(body.raw)
