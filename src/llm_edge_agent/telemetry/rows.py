"""Which row an observation goes to: the one with its own labels, while the bounds allow it, else one with `other`.

Rows come into being when first needed. Those that ordinary traffic moves exist from the start, at 0 (`preset_keys`), so
that rates and ratios work from the first request on; among them is every row that `other` can lead to, so that
refusing a new row never loses a count.
"""

from collections.abc import Iterable, Sequence

from llm_edge_agent.telemetry.families import (
    BOOLEANS,
    CACHE,
    CACHE_OPERATIONS,
    ENDPOINTS,
    ERROR_TYPES,
    EVICTION_REASONS,
    INTERRUPTED_BY,
    L2_CORRUPT,
    L2_ERRORS,
    LOOKUPS,
    NONE,
    OTHER,
    OUTCOMES,
    RETRY_REASONS,
    STATUS_CLASSES,
    STATUSES,
    UPSTREAM_ERROR_TYPES,
    UPSTREAM_STATUSES,
    WARNING_FIELDS,
    Families,
    Family,
    family_number,
)
from llm_edge_agent.telemetry.slots import Slot

MAX_PAIRS = 192
"""Provider and model pairs with series of their own, because one answered with the other."""
MAX_HISTOGRAM_PAIRS = 50
"""Those among them with histograms of their own."""
MAX_UNPROVEN_MODELS = 8
"""Models named in request counts although they never answered: enough to see which one fails."""
MAX_PRESET_FALLBACKS = 5
"""So many providers, the first, have a series for each way from one to another from the start."""

_NATURAL_PROVIDER_ERRORS = (
    ("connect", "none"),
    ("timeout", "none"),
    ("upstream_5xx", "500"),
    ("overloaded", "503"),
    ("rate_limit_upstream", "429"),
)
_NATURAL_CACHE = {"2xx": CACHE, "4xx": ("miss", "bypass"), "5xx": ("miss", "bypass")}
_NATURAL_STATUS_CACHE = {"ok": CACHE, "error": ("miss", "bypass"), "cancelled": ("miss", "bypass")}


def preset_keys(f: Families, endpoints: Sequence[str], tiers: Sequence[str]) -> tuple[int, ...]:
    """The rows that exist from the start, the same in every worker, without repeats."""
    keys: list[int] = []
    for provider in (*f.providers, NONE):
        for endpoint in endpoints:
            for status, caches in _NATURAL_STATUS_CACHE.items():
                if provider == NONE and status == "ok":
                    continue
                for cache in caches:
                    keys += [f.requests.key(endpoint, provider, OTHER, status, stream, cache) for stream in BOOLEANS]
            for status_class, caches in _NATURAL_CACHE.items():
                if provider == NONE and status_class == "2xx":
                    continue
                keys += [f.duration.key(endpoint, provider, status_class, cache) for cache in caches]
            keys += [f.errors.key(endpoint, provider, kind) for kind in ERROR_TYPES]
    for provider in (*f.providers, OTHER):
        keys += [f.provider_latency.key(provider, OTHER, outcome) for outcome in OUTCOMES]
        keys += [f.ttft.key(provider, OTHER), f.speed.key(provider, OTHER), f.spend.key(provider, OTHER)]
        keys += [f.retries.key(provider, reason) for reason in RETRY_REASONS]
    for provider in f.providers:
        keys += [f.provider_errors.key(provider, kind, status) for kind, status in _NATURAL_PROVIDER_ERRORS]
    # What is asked of the gateway itself, and what everything beyond the bounds is counted as.
    for endpoint in ("models", OTHER):
        keys += [f.duration.key(endpoint, NONE, status_class, "bypass") for status_class in STATUS_CLASSES]
    keys += [f.duration.key(OTHER, OTHER, status_class, "bypass") for status_class in STATUS_CLASSES]
    for endpoint in (*endpoints, OTHER):
        for status in STATUSES:
            keys += [f.requests.key(endpoint, OTHER, OTHER, status, stream, "bypass") for stream in BOOLEANS]
    keys += [f.errors.key(OTHER, OTHER, kind) for kind in ERROR_TYPES]
    keys += [f.provider_errors.key(OTHER, kind, OTHER) for kind in UPSTREAM_ERROR_TYPES]
    keys += [f.warnings.key(OTHER)]
    keys += [f.interruptions.key(by) for by in INTERRUPTED_BY]
    keys += [f.cache_lookups.key(result) for result in LOOKUPS]
    keys += [f.overhead.key(cache) for cache in CACHE]
    early = f.providers[:MAX_PRESET_FALLBACKS]
    keys += [f.fallbacks.key(first, then) for first in early for then in early if first != then]
    keys += [f.fallbacks.key(OTHER, OTHER), *(family.key() for family in f.kept_elsewhere.values())]
    for tier in tiers:
        keys += [f.cache_hits.key(tier), f.cache_misses.key(tier)]
        keys += [f.cache_latency.key(tier, op) for op in CACHE_OPERATIONS]
        keys += [f.evictions.key(tier, reason) for reason in EVICTION_REASONS]
    if "l2" in tiers:
        keys += [f.l2_errors.key(kind) for kind in L2_ERRORS]
        keys += [f.l2_corrupt.key(reason) for reason in L2_CORRUPT]
    return tuple(dict.fromkeys(keys))


class Rows:
    """Finds or makes the rows of one slot."""

    def __init__(self, families: Families, slot: Slot, preset: Iterable[int], endpoints: Sequence[str]) -> None:
        """`preset` and `endpoints`: those of `preset_keys`."""
        self._f = families
        self._served = frozenset(endpoints)
        self._slot = slot
        self._providers = frozenset((*families.providers, NONE))
        self._models = frozenset(families.models)
        self._endpoints = frozenset(ENDPOINTS)
        # Series that may still be made for what is no proven pair: 32 + 2 x 20 + 24 + 24 + 20 + 8 = 148 in all.
        self._left = {
            families.requests.number: 32,
            families.duration.number: 2,
            families.errors.number: 24,
            families.provider_errors.number: 24,
            families.warnings.number: 20,
            families.fallbacks.number: 8,
        }
        self._proven: dict[tuple[str, str], bool] = {}
        self._unproven: set[str] = set()
        self._warnings: dict[str, int] = {}
        preset_rows = frozenset(preset)
        for key in preset_rows:
            if slot.find(key) is None:
                slot.add(key)
        self._inherit(preset_rows)

    def _inherit(self, preset: frozenset[int]) -> None:
        """Takes over what a dead worker's slot says: its proven pairs, and how much of the bounds it had used."""
        spend, latency = self._f.spend, self._f.provider_latency
        keys = [key for key, _ in self._slot.rows() if key not in preset]
        for key in keys:
            if spend.owns(key):
                provider, model = spend.values(key)
                self._proven.setdefault((provider, model), False)
        for key in keys:
            if latency.owns(key):
                provider, model, _ = latency.values(key)
                self._proven[provider, model] = True
        for key in keys:
            if self._f.requests.owns(key):
                _, provider, model, *_ = self._f.requests.values(key)
                if (provider, model) in self._proven:
                    continue
                if model != OTHER:
                    self._unproven.add(model)
            number = family_number(key)
            if number in self._left:
                self._left[number] -= 1

    def prove(self, provider: str | None, model: str) -> bool:
        """Notes that this provider answered with this model; True where that is news and a row may follow from it."""
        pair = (self._provider(provider), model)
        if pair in self._proven or len(self._proven) >= MAX_PAIRS:
            return False
        if model not in self._models or pair[0] in (NONE, OTHER):
            return False
        self._proven[pair] = len(self._proven) < MAX_HISTOGRAM_PAIRS
        return True

    def require(self, family: Family, *labels: str) -> int:
        """The row of labels that are few by nature: made if need be."""
        key = family.key(*labels)
        row = self._slot.find(key)
        return row if row is not None else self._preset(key)

    def request(
        self, endpoint: str, provider: str | None, model: str | None, status: str, stream: str, cache: str
    ) -> int:
        endpoint, provider = self._endpoint(endpoint), self._provider(provider)
        proven = model is not None and (provider, model) in self._proven
        if not proven and not self._may_name(model):
            model = OTHER
        key = self._f.requests.key(endpoint, provider, model or OTHER, status, stream, cache)
        nearest = endpoint if endpoint in self._served else OTHER
        fallback = self._f.requests.key(nearest, OTHER, OTHER, status, stream, "bypass")
        return self._find(self._f.requests, key, fallback, free=proven)

    def duration(self, endpoint: str, provider: str | None, status_class: str, cache: str) -> int:
        key = self._f.duration.key(self._endpoint(endpoint), self._provider(provider), status_class, cache)
        return self._find(self._f.duration, key, self._f.duration.key(OTHER, OTHER, status_class, "bypass"))

    def error(self, endpoint: str, provider: str | None, error_type: str) -> int:
        key = self._f.errors.key(self._endpoint(endpoint), self._provider(provider), error_type)
        return self._find(self._f.errors, key, self._f.errors.key(OTHER, OTHER, error_type))

    def provider_error(self, provider: str | None, error_type: str, status: int | None) -> int:
        shown = NONE if status is None else str(status)
        if shown not in UPSTREAM_STATUSES:
            shown = OTHER
        key = self._f.provider_errors.key(self._provider(provider), error_type, shown)
        return self._find(self._f.provider_errors, key, self._f.provider_errors.key(OTHER, error_type, OTHER))

    def retry(self, provider: str | None, error_type: str) -> int:
        reason = error_type if error_type in RETRY_REASONS else OTHER
        return self.require(self._f.retries, self._payer(provider), reason)

    def fallback(self, first: str | None, then: str | None) -> int:
        key = self._f.fallbacks.key(self._payer(first), self._payer(then))
        return self._find(self._f.fallbacks, key, self._f.fallbacks.key(OTHER, OTHER))

    def histogram(self, family: Family, provider: str | None, model: str | None, *rest: str) -> int:
        """A row of a family labelled by provider and model: named for the first proven pairs only."""
        name = self._payer(provider)
        if model is not None and self._proven.get((name, model)):
            return self._find(family, family.key(name, model, *rest), family.key(name, OTHER, *rest), free=True)
        return self.require(family, name, OTHER, *rest)

    def spend(self, provider: str | None, model: str | None) -> int:
        name = self._payer(provider)
        if model is not None and (name, model) in self._proven:
            return self._find(self._f.spend, self._f.spend.key(name, model), self._f.spend.key(name, OTHER), free=True)
        return self.require(self._f.spend, name, OTHER)

    def warning(self, text: str) -> int:
        """The row of a warning such as `dropped:logit_bias`."""
        field = text.rpartition(":")[2]
        if field not in _WARNING_FIELDS:
            field = OTHER
        row = self._warnings.get(field)
        if row is None:
            key = self._f.warnings.key(field)
            row = self._warnings[field] = self._find(self._f.warnings, key, self._f.warnings.key(OTHER))
        return row

    def _endpoint(self, endpoint: str) -> str:
        return endpoint if endpoint in self._endpoints else OTHER

    def _provider(self, provider: str | None) -> str:
        if provider is None:
            return NONE
        return provider if provider in self._providers else OTHER

    def _payer(self, provider: str | None) -> str:
        """Where something was billed or waited for there was a provider, if an unknown one."""
        name = self._provider(provider)
        return OTHER if name == NONE else name

    def _may_name(self, model: str | None) -> bool:
        if model is None or model not in self._models:
            return False
        if model not in self._unproven:
            if len(self._unproven) >= MAX_UNPROVEN_MODELS:
                return False
            self._unproven.add(model)
        return True

    def _find(self, family: Family, key: int, fallback: int, *, free: bool = False) -> int:
        """The row, made within the bounds; else the fallback's, which exists from the start."""
        row = self._slot.find(key)
        if row is None and (free or self._left[family.number] > 0):
            row = self._slot.add(key)
            if row is not None and not free:
                self._left[family.number] -= 1
        return row if row is not None else self._preset(fallback)

    def _preset(self, key: int) -> int:
        row = self._slot.find(key)
        if row is None:
            row = self._slot.add(key)
        if row is None:
            raise MemoryError("no room for a row that every slot has room for")
        return row


_WARNING_FIELDS = frozenset(WARNING_FIELDS)
