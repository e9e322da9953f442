"""Answers in the cache: what an entry is, how long it lives, how it is found."""

import math
from collections.abc import Callable
from time import monotonic, perf_counter

from llm_edge_agent.cache.memory import MemoryCache
from llm_edge_agent.core.cache_policy import CacheControl
from llm_edge_agent.dialects.endpoint import Endpoint, Replay
from llm_edge_agent.gateway.replies import own_lines

TTL_JITTER = 0.1
"""Entries written together expire apart: each lives up to this fraction shorter than asked for."""


class StoredAnswer:
    """One answer as it came, with what its replies say of it. What a hit needs is made when the first one comes: most
    entries never see one."""

    __slots__ = (
        "_header_lines",
        "_replay",
        "body",
        "cost_picodollars",
        "fresh_until_s",
        "model",
        "provider",
        "stored_s",
        "warnings",
        "weight_bytes",
    )

    def __init__(
        self,
        body: bytes,
        provider: str,
        model: str | None,
        cost_picodollars: int | None,
        warnings: tuple[str, ...],
        *,
        fresh_s: float = math.inf,
    ) -> None:
        """`fresh_s`: after so many seconds it is no answer any more, unless no provider gives one."""
        self.body = body
        self.provider = provider
        self.model = model
        self.cost_picodollars = cost_picodollars
        """What the answer cost, and so what each hit saves; None where unknown."""
        self.warnings = warnings
        """Of the request that made it: what was dropped then is missing from the answer still."""
        self.stored_s = monotonic()
        self.fresh_until_s = self.stored_s + fresh_s
        # A replayed stream is prepared on demand and about as large again; counted from the start, since the weight
        # of an entry cannot change.
        self.weight_bytes = 2 * len(body) + 512
        self._replay: Replay | None = None
        self._header_lines: bytes | None = None

    def serves(self, control: CacheControl, now_s: float) -> bool:
        """Whether it is fresh, and for this client too."""
        if self.fresh_until_s < now_s:
            return False
        return control.max_age_s is None or now_s - self.stored_s <= control.max_age_s

    def replay(self, endpoint: Endpoint) -> Replay | None:
        """The answer made ready; None where it could be relayed once, but not told again in every framing."""
        if self._replay is None:
            self._replay = endpoint.replay(self.body)
        return self._replay

    def header_lines(self, *, cost: bool) -> bytes:
        """The lines that the heads of all hits have in common. `cost`: whether headers tell it."""
        if self._header_lines is None:
            lines = own_lines("hit-l1", self.provider, self.model, 0 if cost else None, self.warnings)
            self._header_lines = lines + b"x-llm-edge-attempts: 0\r\n"
        return self._header_lines


class Answers:
    """The tiers behind one get and one put. One tier so far: memory."""

    def __init__(
        self,
        memory: MemoryCache[StoredAnswer],
        *,
        observe_get: Callable[[float], None],
        observe_set: Callable[[float], None],
    ) -> None:
        """`observe_get` and `observe_set` are told how long each operation took, in seconds."""
        self._memory = memory
        self._get = memory.get
        self._observe_get = observe_get
        self._observe_set = observe_set
        self.max_entry_bytes = memory.max_entry_bytes

    def get(self, key: bytes) -> StoredAnswer | None:
        """The stored answer under a key, or None."""
        began_s = perf_counter()
        found = self._get(key)
        self._observe_get(perf_counter() - began_s)
        return found

    def put(self, key: bytes, answer: StoredAnswer, *, ttl_s: float | None) -> None:
        """Stores an answer for `ttl_s` seconds (None: the configured time), less a jitter taken from the key."""
        longest_s = self._memory.ttl_s if ttl_s is None else min(ttl_s, self._memory.ttl_s)
        jitter = TTL_JITTER * key[0] / 255
        began_s = perf_counter()
        self._memory.set(key, answer, ttl_s=longest_s * (1 - jitter))
        self._observe_set(perf_counter() - began_s)

    def entries(self) -> int:
        return self._memory.entries()

    def weight(self) -> int:
        """Bytes held, by the cache's own weighing."""
        return self._memory.weight()

    def evicted(self, reason: str) -> int:
        """Entries that left memory for a reason (see `MemoryCache.evictions`)."""
        return self._memory.evictions[reason]
