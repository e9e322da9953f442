"""What each worker says of itself now (gauges, health), where every other worker can read it.

Counters are sums and live in slots (`slots.py`); a gauge has a value only as long as its worker lives. So each worker
publishes its own, encoded, in a region of shared memory, and whoever is scraped reads all. A region is guarded by a
version number that is odd while it is written (a seqlock): its one writer never waits, a reader tries again.
"""

import mmap

REGION_BYTES = 256 * 1024
_VERSION, _LENGTH, _HEADER = 0, 1, 4
_WORD_BYTES = 8
_TRIES = 64


class Board:
    """Regions for so many workers, in anonymous shared memory: to be made before they are forked. Pages that were
    never written cost address space, not memory."""

    def __init__(self, workers: int, region_bytes: int = REGION_BYTES) -> None:
        self.workers = workers
        self._room = region_bytes - _HEADER * _WORD_BYTES
        memory = memoryview(mmap.mmap(-1, workers * region_bytes + _WORD_BYTES))
        regions = [memory[i * region_bytes : (i + 1) * region_bytes] for i in range(workers)]
        self._words = [region[: _HEADER * _WORD_BYTES].cast("q") for region in regions]
        self._bytes = [region[_HEADER * _WORD_BYTES :] for region in regions]
        self._restarts = memory[workers * region_bytes :].cast("q")

    @property
    def restarts(self) -> int:
        """Workers that died and were replaced."""
        return self._restarts[0]

    def count_restart(self) -> None:
        """For the supervisor alone."""
        self._restarts[0] += 1

    def publish(self, worker: int, text: bytes) -> bool:
        """Replaces what a worker says. False, and it says nothing, where the text is too long."""
        words = self._words[worker]
        fits = len(text) <= self._room
        words[_VERSION] |= 1
        if fits:
            self._bytes[worker][: len(text)] = text
        words[_LENGTH] = len(text) if fits else 0
        words[_VERSION] += 1
        return fits

    def clear(self, worker: int) -> None:
        """A dead worker says nothing, also where it died writing."""
        self.publish(worker, b"")

    def read(self, worker: int) -> bytes:
        """What a worker says, empty where that is nothing."""
        words = self._words[worker]
        for _ in range(_TRIES):
            version = words[_VERSION]
            text = bytes(self._bytes[worker][: words[_LENGTH]])
            if not version & 1 and words[_VERSION] == version:
                return text
        return b""
