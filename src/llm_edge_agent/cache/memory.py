"""L1: answers in this process's memory, admitted and evicted by W-TinyLFU, bounded in entries and in bytes."""

from collections import Counter
from typing import Generic, Protocol, TypeVar

from moka_py import Moka


class Weighted(Protocol):
    """What the cache holds: anything that knows its size."""

    @property
    def weight_bytes(self) -> int: ...


V = TypeVar("V", bound=Weighted)

MAX_SHARE = 8
"""No entry may take more than this fraction (one in so many) of the whole."""


class MemoryCache(Generic[V]):
    """Entries by 32-byte key. Not found, expired and evicted look alike: None.

    One weight serves both bounds: an entry weighs its bytes, but at least the average that `max_entries` leaves it,
    so neither the entries nor the bytes can exceed their bound.
    """

    def __init__(self, *, max_entries: int, max_bytes: int, ttl_s: float, tti_s: float) -> None:
        """`ttl_s`: seconds an entry lives at most; `tti_s`: seconds it survives without being read."""
        floor = max(1, max_bytes // max_entries)
        self.max_entry_bytes = max(floor, max_bytes // MAX_SHARE)
        self.ttl_s = ttl_s

        def weigh(_key: bytes, value: V) -> int:
            return max(floor, value.weight_bytes)

        self.evictions: Counter[str] = Counter()
        """Entries that left, by reason: expired, explicit (cleared), replaced, size."""

        def left(_key: bytes, _value: V, reason: str) -> None:
            self.evictions[reason] += 1

        self._moka: Moka[bytes, V] = Moka(
            max_bytes, ttl=ttl_s, tti=min(tti_s, ttl_s), eviction_listener=left, weigher=weigh
        )
        self.get = self._moka.get
        """The value under a key, or None. Bound here: one call fewer on the hottest path."""

    def set(self, key: bytes, value: V, *, ttl_s: float) -> bool:
        """Stores for `ttl_s` seconds at most; False where the entry is too large to be worth its place."""
        if value.weight_bytes > self.max_entry_bytes:
            return False
        self._moka.set(key, value, ttl=min(ttl_s, self.ttl_s))
        return True

    def entries(self) -> int:
        """How many entries are held, after housekeeping."""
        self._moka.run_pending_tasks()
        return int(self._moka.count())

    def weight(self) -> int:
        """Weighted size of all entries, in bytes (see the class on weights)."""
        self._moka.run_pending_tasks()
        return int(self._moka.weighted_size())

    def clear(self) -> None:
        self._moka.clear()
