"""Answers in the cache: what an entry is, how long it lives, how it is found."""

from time import monotonic

from llm_edge_agent.cache.memory import MemoryCache
from llm_edge_agent.dialects.chat_replay import Replay

TTL_JITTER = 0.1
"""Entries written together expire apart: each lives up to this fraction shorter than asked for."""


class StoredAnswer:
    """One answer, ready to be replayed, with what its replies say of it."""

    __slots__ = ("cost_picodollars", "header_lines", "provider", "replay", "stored_s", "warnings", "weight_bytes")

    def __init__(
        self,
        replay: Replay,
        provider: str,
        cost_picodollars: int | None,
        warnings: tuple[str, ...],
        header_lines: bytes,
    ) -> None:
        self.replay = replay
        self.provider = provider
        self.cost_picodollars = cost_picodollars
        """What the answer cost, and so what each hit saves; None where unknown."""
        self.warnings = warnings
        """Of the request that made it: what was dropped then is missing from the answer still."""
        self.header_lines = header_lines
        """The lines that every hit's head has in common."""
        self.stored_s = monotonic()
        # A replayed stream is prepared on demand and about as large again; counted from the start, since the weight
        # of an entry cannot change.
        self.weight_bytes = 2 * len(replay.body) + 512


class Answers:
    """The tiers behind one get and one put. One tier so far: memory."""

    def __init__(self, memory: MemoryCache[StoredAnswer]) -> None:
        self._memory = memory
        self.max_entry_bytes = memory.max_entry_bytes
        self.get = memory.get
        """The stored answer under a key, or None."""

    def put(self, key: bytes, answer: StoredAnswer, *, ttl_s: float | None) -> None:
        """Stores an answer for `ttl_s` seconds (None: the configured time), less a jitter taken from the key."""
        longest_s = self._memory.ttl_s if ttl_s is None else min(ttl_s, self._memory.ttl_s)
        jitter = TTL_JITTER * key[0] / 255
        self._memory.set(key, answer, ttl_s=longest_s * (1 - jitter))

    def entries(self) -> int:
        return self._memory.entries()

    def weight(self) -> int:
        """Bytes held, by the cache's own weighing."""
        return self._memory.weight()
