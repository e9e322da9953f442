"""A log of requests against the cache, before it is switched on: the gateway's own key, policy and L1, in the log's
own time.

Keys, policy, admission and eviction are the code that serves. Expiry is reckoned here, because the log's hours pass in
seconds: an entry that has expired by the log's clock is no hit, but holds its place until it is evicted or replaced;
the jitter that lets entries expire apart is left out. A request counts as answered before the next one comes, so that
what single-flight would join is counted as a hit.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from llm_edge_agent.cache.memory import MemoryCache
from llm_edge_agent.core import cache_policy, strict_json
from llm_edge_agent.core.cache_key import NOT_KEYED, cache_key
from llm_edge_agent.core.cache_policy import Policies
from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.pricing import PICODOLLARS_PER_USD, TokenUsage, cost_picodollars
from llm_edge_agent.core.routing import Directory
from llm_edge_agent.dialects.chat import read_request
from llm_edge_agent.workloads.records import LoggedRequest

MAX_JSON_DEPTH = 128
CHARACTERS_PER_TOKEN = 4
USUAL_ANSWER_TOKENS = 200
"""Of an answer whose usage the log does not tell."""
_ANSWER_OVERHEAD_BYTES = 400
_FOREVER_S = 10 * 365 * 86_400.0
_HOUSEKEEPING_EVERY = 64


class Asked(NamedTuple):
    """One request of the log, as far as the cache is concerned."""

    time_s: float
    key: bytes | None
    """None where policy keeps it away from the cache, or the gateway would refuse it."""
    cost_picodollars: int | None
    weight_bytes: int
    ttl_s: float | None = None
    """The shorter life that a policy for its model gives it."""


class Log(NamedTuple):
    """A log made ready for any number of runs."""

    asked: Sequence[Asked]
    refused: int
    """Requests that are no valid chat completion requests."""
    unpriced: int
    estimated: int
    """Requests whose cost rests on estimated token counts."""
    timed: bool


class Outcome(NamedTuple):
    """What one cache would have done."""

    requests: int
    cacheable: int
    hits: int
    cost_picodollars: int
    """Of all requests, had there been no cache."""
    saved_picodollars: int

    @property
    def hit_rate(self) -> float:
        return self.hits / self.requests if self.requests else 0.0

    @property
    def saved_share(self) -> float:
        return self.saved_picodollars / self.cost_picodollars if self.cost_picodollars else 0.0


class _Entry:
    __slots__ = ("expires_s", "read_s", "weight_bytes")

    def __init__(self, weight_bytes: int, now_s: float, ttl_s: float) -> None:
        self.weight_bytes = weight_bytes
        self.read_s = now_s
        self.expires_s = now_s + ttl_s


def prepare(
    records: Iterable[LoggedRequest],
    directory: Directory,
    *,
    policies: Policies,
    scope: Literal["tenant", "global"],
) -> Log:
    """Reads, checks, prices and keys every request of a log, as the gateway would, in the order of their times."""
    asked: list[Asked] = []
    refused = unpriced = estimated = 0
    timed = False
    for record in records:
        raw = bytes(record.request)
        try:
            call = read_request(raw, max_depth=MAX_JSON_DEPTH)
            group = directory.resolve(call.model)
            material = strict_json.key_material(call.body, NOT_KEYED)
        except GatewayError:
            refused += 1
            continue
        target = group.deployments[0]
        usage = record.usage
        if usage is not None:
            tokens = TokenUsage(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)
        else:
            tokens = TokenUsage(prompt_tokens=len(raw) // CHARACTERS_PER_TOKEN, completion_tokens=USUAL_ANSWER_TOKENS)
        if record.cost_usd is not None:
            cost: int | None = round(record.cost_usd * PICODOLLARS_PER_USD)
        else:
            cost = cost_picodollars(target.model.prices, tokens)
            estimated += usage is None and cost is not None
        unpriced += cost is None
        key = None
        policy, shorter_s = policies.of(call.model, target.upstream_model, target.model.id)
        if cache_policy.is_cacheable_request(call.body.value, policy):
            key = cache_key(
                tenant=record.tenant if scope == "tenant" else "",
                epoch="",
                endpoint="chat",
                model=group.identity,
                namespace="",
                passed=b"",
                material=material,
            )
        timed = timed or record.time is not None
        answer_bytes = tokens.completion_tokens * CHARACTERS_PER_TOKEN + _ANSWER_OVERHEAD_BYTES
        asked.append(Asked(record.time or 0.0, key, cost, 2 * answer_bytes, shorter_s))
    asked.sort(key=lambda each: each.time_s)
    return Log(asked, refused, unpriced, estimated, timed)


def replay(
    asked: Sequence[Asked],
    *,
    max_entries: int,
    max_bytes: int,
    ttl_s: float,
    idle_s: float,
    progress: Callable[[int], None] | None = None,
) -> Outcome:
    """Runs a log through one L1. `progress` is told now and then how many requests went by since it was told last."""
    memory: MemoryCache[_Entry] = MemoryCache(
        max_entries=max_entries, max_bytes=max_bytes, ttl_s=_FOREVER_S, tti_s=_FOREVER_S
    )
    cacheable = hits = cost = saved = 0
    for number, each in enumerate(asked, 1):
        cost += each.cost_picodollars or 0
        if each.key is not None:
            cacheable += 1
            now_s = each.time_s
            entry = memory.get(each.key)
            if entry is not None and now_s < min(entry.expires_s, entry.read_s + idle_s):
                entry.read_s = now_s
                hits += 1
                saved += each.cost_picodollars or 0
            else:
                memory.set(
                    each.key, _Entry(each.weight_bytes, now_s, min(ttl_s, each.ttl_s or ttl_s)), ttl_s=_FOREVER_S
                )
        if number % _HOUSEKEEPING_EVERY == 0:
            memory.entries()
            if progress is not None:
                progress(_HOUSEKEEPING_EVERY)
    return Outcome(len(asked), cacheable, hits, cost, saved)


def repeats(asked: Sequence[Asked]) -> Outcome:
    """What a cache without bounds would have done: no cache does better."""
    seen: set[bytes] = set()
    cacheable = hits = cost = saved = 0
    for each in asked:
        cost += each.cost_picodollars or 0
        if each.key is None:
            continue
        cacheable += 1
        if each.key in seen:
            hits += 1
            saved += each.cost_picodollars or 0
        seen.add(each.key)
    return Outcome(len(asked), cacheable, hits, cost, saved)
