"""How many tokens a prompt has whose count nobody told: learnt from the requests of which it was told.

Pure: it is told the size of a request's body and the prompt tokens it was billed. What is learnt are the bytes that go
into a token, by door, model and size of the body (to a power of two): of a short request most is JSON, which counts for
little, of a long one nearly all is text.
"""

BYTES_PER_TOKEN = 4.0
"""Of text in English; what is taken where nothing has been learnt."""
WEIGHT = 1 / 16
"""Of one more bill against those before it."""
LARGE_BYTES = 8 * 1024
MOST_BYTES_PER_TOKEN = 16.0
"""A large body with more bytes to a token carries an image or a file, and says nothing of text."""
MAX_KNOWN = 1024
"""Doors and models together."""
_CLASSES = 64


class PromptSizes:
    """What was learnt in one process."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], list[float]] = {}

    def learn(self, door: str, model: str, size_bytes: int, tokens: int) -> None:
        """A body of so many bytes was billed as a prompt of so many tokens."""
        if tokens <= 0:
            return
        known = self._known.get((door, model))
        if known is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            known = self._known[door, model] = [0.0] * _CLASSES
        ratio = size_bytes / tokens
        if ratio > MOST_BYTES_PER_TOKEN and size_bytes > LARGE_BYTES:
            return
        size_class = size_bytes.bit_length()
        before = known[size_class]
        known[size_class] = before + (ratio - before) * WEIGHT if before else ratio

    def estimate(self, door: str, model: str, size_bytes: int) -> int:
        """The tokens of a prompt in a body of so many bytes, by the bills of bodies as large, else of those nearest in
        size, the larger first: they hold less that is no text."""
        known = self._known.get((door, model), ())
        size_class = size_bytes.bit_length()
        told = [each for each, ratio in enumerate(known) if ratio]
        nearest = min(told, key=lambda each: (abs(each - size_class), -each), default=None)
        ratio = known[nearest] if nearest is not None else BYTES_PER_TOKEN
        return round(size_bytes / ratio)
