"""A provider's JSON, read with tolerance where servers err and without losing a digit.

A lone surrogate escape (some servers split a pair over two events) is JSON that msgspec refuses: `decode` then shields
it behind a private character which `restore` turns back into the same escape after encoding. Numbers inside untyped
members keep their text.
"""

import re
from typing import TypeVar

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError

T = TypeVar("T")


def raw_number(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def decoder(type_: type[T]) -> "msgspec.json.Decoder[T]":
    """A decoder that keeps the text of numbers inside untyped members."""
    return msgspec.json.Decoder(type_, float_hook=raw_number)


def upstream_invalid(message: str) -> GatewayError:
    return GatewayError(ErrorKind.UPSTREAM_INVALID, message)


_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u([dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
_SHIELDED = re.compile(rb"\xf4\x8f[\xa0-\xbf][\x80-\xbf]")
_SHIELD_OFFSET = 0x10F800 - 0xD800
"""U+10F800..U+10FFFF stand for U+D800..U+DFFF: the end of a private-use plane, which no provider emits."""


def _shield(match: "re.Match[bytes]") -> bytes:
    lone = match.group(1)
    return match.group() if lone is None else chr(int(lone, 16) + _SHIELD_OFFSET).encode()


def shield(data: bytes) -> bytes:
    """JSON with each lone surrogate escape replaced by a character of its own; other bytes as they were."""
    return _ESCAPES.sub(_shield, data)


def restore(data: bytes) -> bytes:
    """Undoes `shield` in JSON text, at whatever depth it was encoded once."""
    return _SHIELDED.sub(lambda match: b"\\u%04x" % (ord(match.group().decode()) - _SHIELD_OFFSET), data)


def decode(decoder_: "msgspec.json.Decoder[T]", data: bytes) -> tuple[T, bool]:
    """A provider's JSON as `T`, and whether it was shielded: then what is encoded from it goes through `restore`.

    Raises GatewayError (UPSTREAM_INVALID) for anything else, invalid UTF-8 in any place included.
    """
    try:
        if not data.isascii():
            str(data, "utf-8")
        try:
            return decoder_.decode(data), False
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return decoder_.decode(shield(data)), True
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise upstream_invalid("The provider's answer is not what its API promises.") from None
