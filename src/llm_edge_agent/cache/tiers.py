"""The order of the tiers: memory, then what is shared with other processes; a find there fills the memory here.

`Store` is what a shared tier must be. Memory is looked at by `get`, which cannot wait; the store by `find`.
"""

import time
from collections.abc import Callable
from time import perf_counter
from typing import Generic, Protocol, TypeVar

from llm_edge_agent.cache import codec
from llm_edge_agent.cache.codec import CorruptError
from llm_edge_agent.cache.memory import MemoryCache, Weighted

TTL_JITTER = 0.1
"""Entries written together expire apart: each lives up to this fraction shorter than asked for."""


class StoreError(Exception):
    """A store could not do what must be done for certain. `kind`: one of `FAILURES`, a metric label."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


FAILURES = (
    "connect",
    "timeout",
    "closed",
    "auth",
    "protocol",
    "too_large",
    "oom",
    "loading",
    "readonly",
    "moved",
    "queue_full",
    "disk",
    "refused",
)
"""What can go wrong with a store, as metrics count it."""


class Store(Protocol):
    """A tier that processes share. Names are 32 bytes, values at most `codec.MAX_BYTES` and a head.

    The first three never raise: a store that is away, slow, full or hostile has nothing, and takes nothing.
    """

    @property
    def up(self) -> bool:
        """Whether it answered last."""

    async def get(self, name: bytes) -> bytes | None:
        """The value, within the store's time budget; None where there is none, or no answer."""

    def put(self, name: bytes, value: bytes, *, ttl_s: float) -> None:
        """Stores in the background."""

    def discard(self, name: bytes) -> None:
        """Deletes in the background."""

    async def changed_epochs(self, known: bytes) -> tuple[bytes, dict[str, int]] | None:
        """All epochs and the mark of this state; None if `known` is that mark still. Raises StoreError."""

    async def write_epochs(self, epochs: dict[str, int], *, ttl_s: float) -> None:
        """Writes epochs that no reader may miss, each to live for `ttl_s` at least. Raises StoreError."""

    async def start(self) -> bool:
        """Tries to reach it once, within its time for connecting; goes on trying by itself. Whether it is there."""

    async def close(self) -> None:
        """Writes what is still to be written, if that can be done at once, and lets go."""


V = TypeVar("V", bound=Weighted)


class Form(Protocol[V]):
    """How values become bytes and come back."""

    def dump(self, value: V) -> bytes: ...

    def load(self, payload: bytes, age_s: float) -> V:
        """A value that was stored `age_s` ago. Raises ValueError for what `dump` never made."""


Observe = Callable[[float], None]


def ignore(_seconds: float) -> None:
    """For those who want no figures."""


class Tiers(Generic[V]):
    """Memory and a store behind one get, one find and one put. Either may be missing."""

    def __init__(
        self,
        memory: MemoryCache[V] | None,
        store: Store | None,
        form: Form[V],
        *,
        store_ttl_s: float = 3600.0,
        observe_l1_get: Observe = ignore,
        observe_l1_set: Observe = ignore,
        observe_l2_get: Observe = ignore,
        observe_l2_set: Observe = ignore,
        on_corrupt: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        """The observers are told how long each operation took, in seconds; of a set in L2, how long it took to hand
        it over. `on_corrupt`: the reason why a value in the store was none (`codec.REASONS`)."""
        self._memory = memory
        self._memory_get = memory.get if memory is not None else None
        self.store = store
        self._form = form
        self._store_ttl_s = store_ttl_s
        self._observe_l1_get = observe_l1_get
        self._observe_l1_set = observe_l1_set
        self._observe_l2_get = observe_l2_get
        self._observe_l2_set = observe_l2_set
        self._on_corrupt = on_corrupt
        self.max_entry_bytes = memory.max_entry_bytes if memory is not None else codec.MAX_BYTES

    def get(self, key: bytes) -> V | None:
        """What memory has."""
        lookup = self._memory_get
        if lookup is None:
            return None
        began_s = perf_counter()
        found = lookup(key)
        self._observe_l1_get(perf_counter() - began_s)
        return found

    async def find(self, key: bytes) -> V | None:
        """What the store has; memory has it from then on, for no longer than it would have lived there."""
        store = self.store
        if store is None or not store.up:
            return None
        name = codec.entry_name(key)
        began_s = perf_counter()
        data = await store.get(name)
        self._observe_l2_get(perf_counter() - began_s)
        if data is None:
            return None
        try:
            opened = self._open(key, data)
        except (CorruptError, ValueError) as error:
            self._on_corrupt(error.reason if isinstance(error, CorruptError) else "payload")
            store.discard(name)
            return None
        if opened is None:
            return None
        value, left_s = opened
        if self._memory is not None:
            self._memory.set(key, value, ttl_s=left_s)
        return value

    async def peek(self, key: bytes) -> V | None:
        """What `find` would return, and nothing else: memory, figures and the store stay as they are."""
        store = self.store
        data = await store.get(codec.entry_name(key)) if store is not None and store.up else None
        try:
            opened = self._open(key, data) if data is not None else None
        except (CorruptError, ValueError):
            return None
        return opened[0] if opened is not None else None

    def _open(self, key: bytes, data: bytes) -> tuple[V, float] | None:
        """A value from the store, and the seconds it has left; None where it has none. Raises CorruptError or
        ValueError where it is not ours."""
        now_ms = int(time.time() * 1000)
        payload, stored_ms, expires_ms = codec.unpack(key, data)
        if expires_ms <= now_ms:
            return None  # clocks differ, or the store is late in forgetting it
        return self._form.load(payload, max(0, now_ms - stored_ms) / 1000), (expires_ms - now_ms) / 1000

    def put(self, key: bytes, value: V, *, ttl_s: float | None) -> None:
        """Into memory at once, into the store in the background; for `ttl_s` seconds (None: each tier's own time),
        never longer than a tier's own time, less a jitter taken from the key."""
        share = 1 - TTL_JITTER * key[0] / 255
        memory = self._memory
        if memory is not None:
            began_s = perf_counter()
            memory.set(key, value, ttl_s=share * (memory.ttl_s if ttl_s is None else min(ttl_s, memory.ttl_s)))
            self._observe_l1_set(perf_counter() - began_s)
        store = self.store
        if store is None or not store.up:
            return
        began_s = perf_counter()
        longest_s = share * (self._store_ttl_s if ttl_s is None else min(ttl_s, self._store_ttl_s))
        now_ms = int(time.time() * 1000)
        expires_ms = now_ms + int(longest_s * 1000)
        packed = codec.pack(key, self._form.dump(value), stored_ms=now_ms, expires_ms=expires_ms)
        if packed is not None:
            store.put(codec.entry_name(key), packed, ttl_s=longest_s)
        self._observe_l2_set(perf_counter() - began_s)

    def entries(self) -> int:
        """How many entries memory holds."""
        return self._memory.entries() if self._memory is not None else 0

    def evicted(self, reason: str) -> int:
        """Entries that left memory for a reason (see `MemoryCache.evictions`)."""
        return self._memory.evictions[reason] if self._memory is not None else 0

    def weight(self) -> int:
        """Bytes that memory holds, by its own weighing."""
        return self._memory.weight() if self._memory is not None else 0
