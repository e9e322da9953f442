"""Counters in memory that several processes can share: one slot of 64-bit integers per worker, summed by the reader.

A slot has one writer, the worker that owns it, so an increment needs no lock; the reader adds up all slots and sees
each cell either before or after an increment, because a cell is one aligned machine word. A slot outlives its worker:
the replacement goes on counting where the dead one stopped.

Which series a worker will see is not known in advance, and a dense array over every combination of labels would be
megabytes of zeros. So a slot describes itself: it is a list of rows, each a key followed by its cells. The key is
computed from the labels alone (`families.Family.key`), hence the same in every worker, and carries the row's width;
rows stand in the order in which that worker met them. A row is announced last, so one that a crash left half made is
overwritten.

    cell 0  fingerprint of the label lists that the keys are made from
    cell 1  number of cells in use, these two included
    then    key, cell, cell, ... | key, cell, ... | ...
"""

import mmap
from collections.abc import Iterator

Cells = memoryview | list[int]
"""Of shared memory, or of a process that has no others: a list is counted in at half the price."""

WIDTH_BITS = 8
"""The low bits of a key say how many cells follow it."""
WIDTH_MASK = (1 << WIDTH_BITS) - 1
_FINGERPRINT, _USED, _HEADER = 0, 1, 2
_CELL_BYTES = 8


class Slot:
    """One worker's rows. Only its owner calls `add`."""

    def __init__(self, cells: Cells, fingerprint: int) -> None:
        """Raises ValueError where the slot was written for other label lists: its keys would be misread."""
        self.cells = cells
        if cells[_FINGERPRINT] == 0:
            cells[_USED] = _HEADER
            cells[_FINGERPRINT] = fingerprint
        elif cells[_FINGERPRINT] != fingerprint:
            raise ValueError("the counters in this slot belong to another configuration")
        self._rows = dict(self.rows())

    def rows(self) -> Iterator[tuple[int, int]]:
        """Every row as its key and the index of its first cell."""
        index, end = _HEADER, self.cells[_USED]
        while index < end:
            key = self.cells[index]
            yield key, index + 1
            index += 1 + (key & WIDTH_MASK)

    def find(self, key: int) -> int | None:
        """Index of the first cell of the row, None where there is no such row."""
        return self._rows.get(key)

    def add(self, key: int) -> int | None:
        """Makes the row, all zero, and returns the index of its first cell; None where the slot is full."""
        cells = self.cells
        start = cells[_USED]
        end = start + 1 + (key & WIDTH_MASK)
        if end > len(cells):
            return None
        for index in range(start + 1, end):
            cells[index] = 0
        cells[start] = key
        cells[_USED] = end
        self._rows[key] = start + 1
        return start + 1


class SlotBlock:
    """The slots of all workers, in anonymous shared memory: a process forked after its making writes into the same.

    Cells that were never touched cost address space, not memory.
    """

    def __init__(self, slots: int, cells_per_slot: int, fingerprint: int, *, shared: bool = True) -> None:
        """`shared` False: for one process, which makes no others."""
        self._fingerprint = fingerprint
        self._slots: list[Cells]
        if not shared:
            self._slots = [[0] * cells_per_slot for _ in range(slots)]
            return
        self._memory = mmap.mmap(-1, slots * cells_per_slot * _CELL_BYTES)
        cells = memoryview(self._memory).cast("q")
        self._slots = [cells[i * cells_per_slot : (i + 1) * cells_per_slot] for i in range(slots)]

    def slot(self, number: int) -> Slot:
        """The slot of a worker, which from now on is its only writer."""
        return Slot(self._slots[number], self._fingerprint)

    def sums(self) -> dict[int, list[int]]:
        """Key -> cells, added up over every slot that was ever written. May run while workers count."""
        total: dict[int, list[int]] = {}
        for cells in self._slots:
            if cells[_FINGERPRINT] != self._fingerprint:
                continue
            values = list(cells[: cells[_USED]])
            index = _HEADER
            while index < len(values):
                key = values[index]
                width = key & WIDTH_MASK
                row = values[index + 1 : index + 1 + width]
                known = total.get(key)
                total[key] = row if known is None else [a + b for a, b in zip(known, row, strict=True)]
                index += 1 + width
        return total
