"""The cache tiers that a configuration asks for, and how they are."""

from pathlib import Path
from typing import Literal, NamedTuple

from llm_edge_agent.cache.disk import DiskStore
from llm_edge_agent.cache.epochs import Epochs, SharedEpochs
from llm_edge_agent.cache.memory import MemoryCache
from llm_edge_agent.cache.redis import RedisStore
from llm_edge_agent.cache.tiers import Store, Tiers
from llm_edge_agent.config import CacheConfig
from llm_edge_agent.core.cache_policy import Policies
from llm_edge_agent.gateway.stored import Answers, SharedForm, StoredAnswer
from llm_edge_agent.telemetry.metrics import Metrics

Tier = Literal["l1", "l2"]


class CacheHealth(NamedTuple):
    """What works of the cache now."""

    l1_healthy: bool
    l2_healthy: bool
    l2_configured: bool


def tiers_of(cache: CacheConfig) -> tuple[Tier, ...]:
    """The tiers that a request is looked for in, in this order."""
    if not Policies(cache.policy, cache.policies).ever:
        return ()
    on: tuple[tuple[Tier, bool], ...] = (("l1", cache.l1_enabled), ("l2", cache.l2_enabled))
    return tuple(tier for tier, enabled in on if enabled)


def longest_ttl_s(cache: CacheConfig) -> float:
    """How long any tier keeps an answer as a fresh one."""
    return max(cache.l1_ttl_s, cache.l2_ttl_s) if cache.l2_enabled else cache.l1_ttl_s


def answers_of(cache: CacheConfig, metrics: Metrics, *, worker_epochs: SharedEpochs | None = None) -> Answers | None:
    """The tiers, not yet started; None where nothing is cached. `metrics` was made for `tiers_of(cache)`.
    `worker_epochs`: what the workers of one gateway share where no tier does."""
    tiers, stale_s = tiers_of(cache), cache.stale_if_error_s
    if not tiers:
        return None
    memory: MemoryCache[StoredAnswer] | None = None
    if "l1" in tiers:
        memory = MemoryCache(
            max_entries=cache.l1_entries,
            max_bytes=cache.l1_bytes,
            ttl_s=cache.l1_ttl_s + stale_s,
            tti_s=cache.l1_tti_s + stale_s,
        )
    store = _store(cache, metrics) if "l2" in tiers else None
    observers = {f"observe_{tier}_{op}": metrics.cache_observer(tier, op) for tier in tiers for op in _OPERATIONS}
    return Answers(
        Tiers(
            memory,
            store,
            SharedForm(),
            store_ttl_s=cache.l2_ttl_s + stale_s,
            on_corrupt=metrics.l2_corrupt,
            **observers,
        ),
        Epochs(store if store is not None else worker_epochs, entry_ttl_s=longest_ttl_s(cache) + stale_s),
    )


def health_of(cache: CacheConfig, answers: Answers | None) -> CacheHealth:
    """How they are now; `answers` as `answers_of` made them."""
    tiers = tiers_of(cache)
    return CacheHealth(
        l1_healthy="l1" in tiers,
        l2_healthy=answers is not None and answers.shared_up,
        l2_configured="l2" in tiers,
    )


_OPERATIONS: tuple[Literal["get", "set"], ...] = ("get", "set")


def _store(cache: CacheConfig, metrics: Metrics) -> Store:
    """The shared tier: Redis where an address is given, else a file that this machine's processes share."""
    if cache.redis is not None:
        return RedisStore(
            cache.redis,
            connect_timeout_s=cache.l2_connect_timeout_s,
            lookup_timeout_s=cache.l2_timeout_s,
            on_failure=metrics.l2_error,
            on_corrupt=metrics.l2_corrupt,
        )
    return DiskStore(Path(cache.directory or "."), max_bytes=cache.l2_bytes, on_failure=metrics.l2_error)
