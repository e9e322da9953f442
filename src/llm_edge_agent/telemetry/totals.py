"""What the rows of all workers add up to, for summaries and for the admin API."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from llm_edge_agent.core.pricing import PICODOLLARS_PER_USD
from llm_edge_agent.telemetry.exposition import Gauges, Sums, money
from llm_edge_agent.telemetry.families import (
    COMPLETION_ENDPOINTS,
    COMPLETION_REASONING,
    COMPLETION_TEXT,
    COST,
    COST_ESTIMATED,
    LOOKUPS,
    PROMPT_READ,
    PROMPT_SAVED,
    PROMPT_SURCHARGE,
    PROMPT_UNCACHED,
    PROMPT_WRITE,
    SAVED,
    Families,
    family_number,
)


@dataclass(frozen=True)
class Totals:
    """Since the start, over every worker: requests to endpoints that complete something. Money in picodollars."""

    requests: int
    cache_hits: int
    cache_lookups: int
    """Requests that the cache was asked for: hits and misses, no bypasses. Those that joined another, or got an
    expired answer, count as hits."""
    errors: int
    """Without those whose client left."""
    prompt_tokens: int
    completion_tokens: int
    cost_picodollars: int
    estimated_picodollars: int
    """Of the cost: that of requests that were broken off, with tokens that are estimates."""
    saved_picodollars: int


def add_up(families: Families, sums: Sums) -> Totals:
    """Over every worker."""
    requests = errors = hits = lookups = prompt = completion = cost = estimated = saved = 0
    for key, row in sums.items():
        number = family_number(key)
        if number == families.requests.number:
            endpoint, _, _, status, _, _ = families.requests.values(key)
            if endpoint in COMPLETION_ENDPOINTS:
                requests += row[0]
                errors += row[0] if status == "error" else 0
        elif number == families.cache_lookups.number:
            (result,) = families.cache_lookups.values(key)
            hits += row[0] if result in ("hit", "join", "stale") else 0
            lookups += row[0] if result != "bypass" else 0
        elif number == families.spend.number:
            prompt += row[PROMPT_UNCACHED] + row[PROMPT_READ] + row[PROMPT_WRITE]
            completion += row[COMPLETION_TEXT] + row[COMPLETION_REASONING]
            cost += money(row, COST)
            estimated += money(row, COST_ESTIMATED)
            saved += money(row, SAVED)
    return Totals(requests, hits, lookups, errors, prompt, completion, cost, estimated, saved)


def cache_counts(families: Families, names: Iterable[str], sums: Sums, gauges: Gauges) -> dict[str, Any]:
    """What the caches did, tier by tier (`names`), with their sizes as the gauges tell them. Money in dollars."""
    lookups = dict.fromkeys(LOOKUPS, 0)
    tiers: dict[str, dict[str, int]] = {tier: {"hits": 0, "misses": 0} for tier in names}
    saved = prompt_saved = prompt_surcharge = 0
    for key, row in sums.items():
        number = family_number(key)
        if number == families.cache_lookups.number:
            lookups[families.cache_lookups.values(key)[0]] += row[0]
        elif number == families.cache_hits.number:
            tiers[families.cache_hits.values(key)[0]]["hits"] += row[0]
        elif number == families.cache_misses.number:
            tiers[families.cache_misses.values(key)[0]]["misses"] += row[0]
        elif number == families.spend.number:
            saved += money(row, SAVED)
            prompt_saved += money(row, PROMPT_SAVED)
            prompt_surcharge += money(row, PROMPT_SURCHARGE)
    for name, what in (("llm_edge_cache_entries", "entries"), ("llm_edge_cache_bytes", "bytes")):
        for labels, value in gauges.get(name, {}).items():
            tiers.setdefault(dict(labels)["tier"], {})[what] = int(value)
    return {
        "lookups": lookups,
        "tiers": tiers,
        "saved_usd": saved / PICODOLLARS_PER_USD,
        "prompt_cache_saved_usd": prompt_saved / PICODOLLARS_PER_USD,
        "prompt_cache_surcharge_usd": prompt_surcharge / PICODOLLARS_PER_USD,
    }
