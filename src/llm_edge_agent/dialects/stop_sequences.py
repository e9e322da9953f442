"""Stop sequences applied by the gateway, for upstreams that do not take them.

The text ends before the first sequence that is complete in it, as if the model had stopped there; whatever way the
text was cut into pieces, the same text comes out. What may be the beginning of a sequence is held back.
"""

from collections.abc import Sequence


class StopCutter:
    """Feed it the text of one answer, piece by piece; pass on what it returns, and at the end what `finish` returns."""

    __slots__ = ("_held", "_sequences", "sequence")

    def __init__(self, sequences: Sequence[str]) -> None:
        """`sequences` are not empty strings; without any, text passes as it comes."""
        self._sequences = tuple(sequences)
        self._held = ""
        self.sequence: str | None = None
        """The sequence that ended the text; nothing after it is let through."""

    def feed(self, text: str) -> str:
        if not self._sequences:
            return text
        if self.sequence is not None:
            return ""
        text = self._held + text
        first: tuple[int, int] | None = None
        for sequence in self._sequences:
            start = text.find(sequence)
            if start >= 0 and (first is None or (start + len(sequence), start) < first):
                first = (start + len(sequence), start)
                self.sequence = sequence
        if first is not None:
            self._held = ""
            return text[: first[1]]
        size = max(_overlap(text, sequence) for sequence in self._sequences)
        self._held = text[len(text) - size :]
        return text[: len(text) - size]

    def finish(self) -> str:
        """The text that was held back and turned out to be none of the sequences."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, sequence: str) -> int:
    """The length of the longest end of `text` that `sequence` begins with."""
    for size in range(min(len(text), len(sequence) - 1), 0, -1):
        if text.endswith(sequence[:size]):
            return size
    return 0
