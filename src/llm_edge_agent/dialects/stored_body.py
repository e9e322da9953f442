"""A stored answer of a native door: the provider's bytes with a few places to fill in anew."""

from collections.abc import Collection, Mapping

import msgspec

from llm_edge_agent.core import strict_json
from llm_edge_agent.core.errors import GatewayError

MAX_DIGITS = 4300
"""Python's own bound on the digits of an integer; a shorter body cannot hold a longer one."""

PIECE_CHARACTERS = 256
"""Length of one piece of text in a replayed stream: nobody waits for tokens that are already here."""

UNREADABLE = (msgspec.MsgspecError, GatewayError, RecursionError, KeyError, TypeError, AttributeError)
"""What reading an answer that is not as its door makes them raises: it was relayed once, and is not told again."""


class StoredBody:
    """Cut once at its places; rendering is one join. Immutable."""

    __slots__ = ("_pieces", "_places")

    def __init__(self, body: bytes, places: Collection[str]) -> None:
        """`places`: top-level members that every telling gives a value of its own; those that are absent or null stay
        so. Raises GatewayError where a member stands twice, and msgspec's errors where the body is no object."""
        spans = strict_json.members(body)
        found = sorted(
            (span.start, span.end, name)
            for name in places
            if (span := spans.get(name)) is not None and body[span.start : span.end] != b"null"
        )
        self._places = tuple(name for _, _, name in found)
        view = memoryview(body)  # the entry holds the body itself: no second copy
        self._pieces: list[memoryview] = []
        position = 0
        for start, end, _ in found:
            self._pieces.append(view[position:start])
            position = end
        self._pieces.append(view[position:])

    def render(self, values: Mapping[str, bytes]) -> bytes:
        """The body with `values` (encoded JSON) in its places."""
        parts: list[bytes | memoryview] = [self._pieces[0]]
        for name, piece in zip(self._places, self._pieces[1:], strict=True):
            parts.append(values[name])
            parts.append(piece)
        return b"".join(parts)


def text_pieces(text: str) -> list[str]:
    return [text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS)]
