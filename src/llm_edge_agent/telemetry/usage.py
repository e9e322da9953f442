"""What the ledger adds up to: requests, tokens and money, by model, key, day or whatever else a row knows."""

from dataclasses import dataclass, fields
from typing import Any

from llm_edge_agent.telemetry.ledger_file import open_to_read

GROUPS = {
    "model": "model",
    "key": "key_id",
    "tenant": "tenant",
    "provider": "provider",
    "endpoint": "endpoint",
    "day": "strftime('%Y-%m-%d', ended_ms / 1000, 'unixepoch')",
}
"""What can be asked for, and the SQL that says it of a row. Days are UTC."""

_SPLIT = 10**6
"""Money is added up in two parts, so that no sum can outgrow SQLite's integers."""


@dataclass
class Sums:
    """Over the requests of one group."""

    requests: int = 0
    errors: int = 0
    """Without those whose client left."""
    cancelled: int = 0
    hits: int = 0
    """Answered without a call of their own: from the cache, with another request, or by an expired answer."""
    lookups: int = 0
    """Requests that the cache was asked for."""
    prompt_tokens: int = 0
    cache_read_tokens: int = 0
    """Of the prompt tokens: read from the provider's own prompt cache."""
    cache_write_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    unpriced: int = 0
    """Requests that used tokens of a model without a known price: their cost is in no sum."""
    estimated: int = 0
    """Requests that were broken off, with tokens that are estimates."""
    cost_picodollars: int = 0
    estimated_picodollars: int = 0
    """Of the cost: that of requests with tokens that are estimates."""
    saved_picodollars: int = 0
    """What answers from the cache did not cost."""

    @property
    def hit_rate(self) -> float | None:
        return self.hits / self.lookups if self.lookups else None

    def add(self, other: "Sums") -> None:
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


@dataclass(frozen=True)
class Usage:
    """`groups` in order: days as they came, all else by cost, then by requests. A group's name is None where the
    requests have none."""

    groups: tuple[tuple[str | None, Sums], ...]
    total: Sums


_SUMS = f"""
    COUNT(*),
    COALESCE(SUM(outcome = 'error'), 0),
    COALESCE(SUM(outcome = 'cancelled'), 0),
    COALESCE(SUM(cache IN ('hit', 'join', 'stale')), 0),
    COALESCE(SUM(cache NOT IN ('bypass', 'none')), 0),
    COALESCE(SUM(prompt_tokens), 0),
    COALESCE(SUM(cache_read_tokens), 0),
    COALESCE(SUM(cache_write_tokens), 0),
    COALESCE(SUM(completion_tokens), 0),
    COALESCE(SUM(reasoning_tokens), 0),
    COALESCE(SUM(prompt_tokens IS NOT NULL AND cost_picodollars IS NULL), 0),
    COALESCE(SUM(estimated > 0), 0),
    COALESCE(SUM(cost_picodollars / {_SPLIT}), 0),
    COALESCE(SUM(cost_picodollars % {_SPLIT}), 0),
    COALESCE(SUM(cost_picodollars / {_SPLIT}) FILTER (WHERE estimated > 0), 0),
    COALESCE(SUM(cost_picodollars % {_SPLIT}) FILTER (WHERE estimated > 0), 0),
    COALESCE(SUM(saved_picodollars / {_SPLIT}), 0),
    COALESCE(SUM(saved_picodollars % {_SPLIT}), 0)
"""


def read_usage(path: str, by: str, since_ms: int | None = None, until_ms: int | None = None) -> Usage:
    """The requests that ended from `since_ms` on and before `until_ms`. KeyError for a `by` that is not in `GROUPS`;
    raises as `open_to_read` does."""
    group = GROUPS[by]
    statement = f"""
        SELECT {group}, {_SUMS} FROM requests
        WHERE ended_ms >= ? AND ended_ms < ? GROUP BY 1
    """  # noqa: S608  of constants
    window = (since_ms if since_ms is not None else 0, until_ms if until_ms is not None else 2**62)
    database = open_to_read(path)
    try:
        found = [_group(row) for row in database.execute(statement, window)]
    finally:
        database.close()
    total = Sums()
    for _, sums in found:
        total.add(sums)
    if by == "day":
        found.sort(key=lambda each: each[0] or "")
    else:
        found.sort(key=lambda each: (-each[1].cost_picodollars, -each[1].requests, each[0] or ""))
    return Usage(tuple(found), total)


def _group(row: tuple[Any, ...]) -> tuple[str | None, Sums]:
    name, *counts, cost, cost_rest, guess, guess_rest, saved, saved_rest = row
    money = (cost * _SPLIT + cost_rest, guess * _SPLIT + guess_rest, saved * _SPLIT + saved_rest)
    return name, Sums(*(*counts, *money))
