"""The simulator's tokens: four characters each, counted text by text. Simple, so that tests can predict usage."""

import math
from collections.abc import Iterator

CHARS_PER_TOKEN = 4
IMAGE_TOKENS = 1000
"""Flat price of an image, whatever its size."""


def count(text: str) -> int:
    """Tokens of one text: four characters a token, rounded up; 0 for the empty text."""
    return math.ceil(len(text) / CHARS_PER_TOKEN)


def split(text: str) -> Iterator[str]:
    """The text token by token; joined they are the text, and there are `count(text)` of them."""
    for start in range(0, len(text), CHARS_PER_TOKEN):
        yield text[start : start + CHARS_PER_TOKEN]


def truncate(text: str, tokens: int) -> str:
    """The first `tokens` tokens of the text."""
    return text[: max(tokens, 0) * CHARS_PER_TOKEN]
