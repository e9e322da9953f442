"""Epochs: how entries are purged. Nothing is deleted; what is to be forgotten is never asked for again.

Every cache key holds three epochs: that of all entries, of its tenant and of its model. An epoch is the time of its
last bump in Unix milliseconds; 0, and no part of the key, where there was none. A bump is written to the shared tier,
where all processes look twice a second; requests read local state alone and never wait. A write that is under way when
its epoch is bumped lands under the old key, which nobody computes any more.

What this process knows never goes back: should the shared tier lose an epoch, or not have been there to take it, it is
told again. And an epoch lives longer than any entry written before it, so that forgetting it brings nothing back.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from llm_edge_agent.cache.tiers import StoreError

ALL = "all"
REFRESH_S = 0.5
OUTLIVES_S = 86_400.0
"""How much longer an epoch lives than an entry: longer than any request could be under way."""

_UNKNOWN = b"?"
"""A mark that no state has."""


def tenant_scope(tenant: str) -> str:
    """The scope of one tenant's entries (`""`: those that all tenants share)."""
    return f"tenant:{tenant}"


def model_scope(model: str) -> str:
    """The scope of one model's entries, named as cache keys name it: `provider/model`."""
    return f"model:{model}"


class SharedEpochs(Protocol):
    """The part of `tiers.Store` that epochs need."""

    @property
    def up(self) -> bool: ...

    async def changed_epochs(self, known: bytes) -> tuple[bytes, dict[str, int]] | None: ...

    async def write_epochs(self, epochs: dict[str, int], *, ttl_s: float) -> None: ...


class Epochs:
    """What this process knows of the epochs. `start`, then `close`."""

    def __init__(
        self,
        shared: SharedEpochs | None,
        *,
        entry_ttl_s: float,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """`shared` None: nobody else to be told. `entry_ttl_s`: the longest that an entry lives in any tier."""
        self._shared = shared
        self._ttl_s = entry_ttl_s + OUTLIVES_S
        self._now_s = now_s
        self._known: dict[str, int] = {}
        self._mark = _UNKNOWN
        self._task: asyncio.Task[None] | None = None
        self.generation = 0
        """Another number whenever an epoch has changed: keys worked out before are old then."""
        self.current = shared is None
        """Whether the shared epochs are known. While they are not, a key may be one that was purged."""

    def of(self, tenant: str, model: str) -> str:
        """The part of a cache key that a purge changes."""
        known = self._known
        if not known:
            return ""
        parts = (known.get(ALL, 0), known.get(tenant_scope(tenant), 0), known.get(model_scope(model), 0))
        return "{}.{}.{}".format(*parts) if any(parts) else ""

    async def bump(self, scope: str) -> bool:
        """Forgets every entry of a scope: here at once, elsewhere within a second. False where the shared tier could
        not be told now; it will be, as long as this process lives."""
        shared = self._shared
        if shared is not None:
            try:
                await self._refresh(shared)  # another's clock may be ahead of ours
            except StoreError:
                self.current = False
        at_ms = max(int(self._now_s() * 1000), self._known.get(scope, 0) + 1)
        self._known[scope] = at_ms
        self.generation += 1
        if shared is None:
            return True
        self._mark = _UNKNOWN  # what is written now, or could not be, is compared with ours at the next look
        try:
            await shared.write_epochs({scope: at_ms}, ttl_s=self._ttl_s)
        except StoreError:
            return False
        return True

    async def refresh(self) -> bool:
        """Looks once at the shared tier; whether that told what it knows."""
        shared = self._shared
        if shared is None:
            return True
        if not shared.up:
            self.current = False
            return False
        try:
            await self._refresh(shared)
        except StoreError:
            self.current = False
            return False
        return True

    async def start(self) -> None:
        """Looks once, then goes on looking in the background."""
        if self._shared is not None and self._task is None:
            await self.refresh()
            self._task = asyncio.get_running_loop().create_task(self._keep_looking())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self.refresh()

    async def _refresh(self, shared: SharedEpochs) -> None:
        found = await shared.changed_epochs(self._mark)
        if found is not None:
            mark, epochs = found
            self._merge(epochs)
            untold = {scope: at_ms for scope, at_ms in self._known.items() if epochs.get(scope, 0) < at_ms}
            if untold:
                await shared.write_epochs(untold, ttl_s=self._ttl_s)
            self._mark = _UNKNOWN if untold else mark
        self.current = True

    def _merge(self, epochs: dict[str, int]) -> None:
        oldest_ms = (self._now_s() - self._ttl_s) * 1000
        merged = {
            scope: at_ms
            for scope in {*self._known, *epochs}
            if (at_ms := max(self._known.get(scope, 0), epochs.get(scope, 0))) > oldest_ms
        }
        if merged != self._known:
            self._known = merged
            self.generation += 1
