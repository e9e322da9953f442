"""Answers in the cache: what an entry is, how it is shared, how it is found."""

import math
from time import monotonic

import msgspec

from llm_edge_agent.cache.epochs import Epochs
from llm_edge_agent.cache.tiers import Tiers
from llm_edge_agent.core.cache_policy import CacheControl
from llm_edge_agent.dialects.endpoint import Endpoint, Replay
from llm_edge_agent.gateway.replies import own_lines


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
        age_s: float = 0.0,
    ) -> None:
        """`fresh_s`: after so many seconds it is no answer any more, unless no provider gives one. `age_s`: how long
        ago it was stored, perhaps by another process."""
        self.body = body
        self.provider = provider
        self.model = model
        self.cost_picodollars = cost_picodollars
        """What the answer cost, and so what each hit saves; None where unknown."""
        self.warnings = warnings
        """Of the request that made it: what was dropped then is missing from the answer still."""
        self.stored_s = monotonic() - age_s
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

    def header_lines(self, *, cost: bool, tier: str = "l1") -> bytes:
        """The lines that the heads of all hits in a tier have in common. `cost`: whether headers tell it."""
        lines = self._header_lines
        if lines is None or tier != "l1":
            lines = own_lines(f"hit-{tier}", self.provider, self.model, 0 if cost else None, self.warnings)
            lines += b"x-llm-edge-attempts: 0\r\n"
            if tier == "l1":
                self._header_lines = lines
        return lines


class _Shared(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A stored answer as other processes read it. A member may be added at the end, with a default."""

    body: bytes
    provider: str
    model: str | None
    cost_picodollars: int | None
    warnings: tuple[str, ...]
    fresh_s: float | None
    """None: as long as it lives."""


_dump = msgspec.msgpack.Encoder().encode
_load = msgspec.msgpack.Decoder(_Shared).decode


class SharedForm:
    """A `tiers.Form` of stored answers: MessagePack."""

    def dump(self, value: StoredAnswer) -> bytes:
        fresh_s = value.fresh_until_s - value.stored_s
        return _dump(
            _Shared(
                value.body,
                value.provider,
                value.model,
                value.cost_picodollars,
                value.warnings,
                None if fresh_s == math.inf else fresh_s,
            )
        )

    def load(self, payload: bytes, age_s: float) -> StoredAnswer:
        """Raises ValueError also where a text that is to stand in a header could not."""
        found = _load(payload)
        for text in (found.provider, found.model or "", *found.warnings):
            if not (text.isascii() and text.isprintable()):
                raise ValueError("not to be written into a header")
        return StoredAnswer(
            found.body,
            found.provider,
            found.model,
            found.cost_picodollars,
            found.warnings,
            fresh_s=math.inf if found.fresh_s is None else found.fresh_s,
            age_s=age_s,
        )


class Answers:
    """The tiers and the epochs of what is in them. `start`, then `close`."""

    def __init__(self, tiers: Tiers[StoredAnswer], epochs: Epochs) -> None:
        self._tiers = tiers
        self.epochs = epochs
        self.get = tiers.get
        """The stored answer under a key, or None: what this process has in memory."""
        self.put = tiers.put
        """Stores an answer in every tier, for `ttl_s` seconds or None: as long as is configured."""
        self.entries = tiers.entries
        self.weight = tiers.weight
        self.max_entry_bytes = tiers.max_entry_bytes
        self.shared = tiers.store is not None
        """Whether there is a second tier to be asked."""

    async def find(self, key: bytes) -> StoredAnswer | None:
        """The stored answer under a key from the shared tier, or None; within that tier's time budget."""
        if not self.epochs.current:
            return None
        return await self._tiers.find(key)

    async def peek(self, key: bytes) -> StoredAnswer | None:
        """What `find` would return, without its taking effect anywhere."""
        return await self._tiers.peek(key) if self.epochs.current else None

    @property
    def shared_up(self) -> bool:
        """Whether the shared tier answered last; False where there is none."""
        store = self._tiers.store
        return store is not None and store.up

    async def start(self) -> None:
        """Tries once to reach the shared tier; the tiers go on trying by themselves."""
        if (store := self._tiers.store) is not None:
            await store.start()
        await self.epochs.start()

    def evicted(self, reason: str) -> int:
        """Entries that left memory for a reason (see `MemoryCache.evictions`)."""
        return self._tiers.evicted(reason)

    async def close(self) -> None:
        """Lets go of the shared tier, after what is still to be written there."""
        await self.epochs.close()
        if (store := self._tiers.store) is not None:
            await store.close()
