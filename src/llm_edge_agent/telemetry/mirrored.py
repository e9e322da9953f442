"""Counts that somebody else keeps in this process, and what of them a worker's slot has already."""

from collections.abc import Callable

from llm_edge_agent.telemetry.slots import Cells


class Mirrored:
    """One such count, which only grows."""

    __slots__ = ("_cell", "_count", "_moved")

    def __init__(self, count: Callable[[], int], cell: int) -> None:
        self._count = count
        self._cell = cell
        self._moved = 0

    def move(self, cells: Cells) -> None:
        """Adds to the cell what the count grew by since the last time."""
        count = self._count()
        cells[self._cell] += count - self._moved
        self._moved = count
