"""What is counted: closed lists of label values, and the families of rows made from them.

A label value that is not in its list is `other`; nothing that a client wrote becomes a label. Names, labels and
buckets are public API (docs/observability).
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.telemetry.slots import WIDTH_BITS

OTHER = "other"
NONE = "none"

ENDPOINTS = ("chat", "messages", "embeddings", "responses", "models", "count_tokens", "completions", OTHER)
COMPLETION_ENDPOINTS = frozenset(("chat", "messages", "embeddings", "responses", "completions"))
"""Those that cost money: what the totals of a run are about."""
STATUSES = ("ok", "error", "cancelled")
STATUS_CLASSES = ("2xx", "4xx", "5xx")
BOOLEANS = ("false", "true")
CACHE = ("hit", "miss", "bypass")
LOOKUPS = (*CACHE, "join", "stale")
"""What the cache did for a request. Where the finer word is no label, both show as the misses that they began as."""
TIERS = ("l1", "l2")
CACHE_OPERATIONS = ("get", "set")
OUTCOMES = ("ok", "error")
ERROR_TYPES = tuple(sorted({kind.value.label for kind in ErrorKind} | {OTHER}))
UPSTREAM_ERROR_TYPES = tuple(sorted({kind.value.label for kind in ErrorKind if kind.value.fault == "upstream"}))
INTERRUPTED_BY = ("upstream", "client")
L2_ERRORS = (
    "connect", "timeout", "closed", "auth", "protocol", "too_large", "oom", "loading", "readonly", "moved",
    "queue_full", "disk", "refused", OTHER,
)  # fmt: skip
"""What goes wrong with L2 itself: each is a lookup without an answer, or a write that was dropped."""
L2_CORRUPT = ("foreign", "size", "seal", "payload", "type", OTHER)
"""Why a value found in L2 was none of ours: each is a miss, and the value is deleted."""
UPSTREAM_STATUSES = (
    NONE, "200", "400", "401", "402", "403", "404", "408", "409", "413", "415", "422", "424", "429",
    "500", "502", "503", "504", "520", "522", "524", "529", OTHER,
)  # fmt: skip

WARNING_FIELDS = (
    "audio", "cache_control", "file", "frequency_penalty", "function_call", "functions", "image_url", "json_schema",
    "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "messages", "metadata", "modalities",
    "moderation", "n", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_breakpoint",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "response_format",
    "safety_identifier", "seed", "service_tier", "stop", "store", "stream_options", "temperature",
    "thinking_blocks", "tool_choice", "tools", "tools.strict", "top_k", "top_logprobs", "top_p", "unknown", "user",
    "verbosity", "web_search_options", "deprecated-model", "retired-model", "limited-model", OTHER,
)  # fmt: skip
"""Request members that a translation may drop or change, and the warnings about a model's age."""

DURATION_BUCKETS_S = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    20.0,
    40.0,
    80.0,
    160.0,
    320.0,
    600.0,
)
PROVIDER_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 600.0)
TTFT_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0)
CACHE_BUCKETS_S = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
)  # fmt: skip

OVERHEAD_BUCKETS_S = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
)  # fmt: skip
SPEED_BUCKETS = (1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 80.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1000.0, 2500.0)

RETRY_REASONS = ("connect", "overloaded", "rate_limit_upstream", "timeout", "upstream_5xx", OTHER)
EVICTION_REASONS = ("expired", "explicit", "replaced", "size")
KEPT_ELSEWHERE = (
    ("llm_edge_accept_errors_total", "Connections that could not be accepted for want of descriptors or memory."),
    ("llm_edge_connections_refused_total", "Connections closed on arrival because MAX_CONNECTIONS were open."),
    ("llm_edge_upstream_connections_opened_total", "Connections opened to providers."),
    (
        "llm_edge_upstream_reconnects_total",
        "Requests sent again because the provider had closed the idle connection they went out on.",
    ),
    ("llm_edge_shed_total", "Requests turned away because the queue for providers was full or too slow."),
    ("llm_edge_ledger_rows_total", "Requests written to the ledger."),
    ("llm_edge_ledger_rows_lost_total", "Requests that could not be written to the ledger."),
    ("llm_edge_ledger_errors_total", "Failures to write to the ledger."),
)
"""Counters without labels that others keep in this process (see `Metrics.mirror`), and what they count."""

US_PER_S = 10**6
MILLI = 10**3
NS_PER_S = 10**9


class Histogram:
    """Buckets of whole ticks. Its row holds one cell per bucket (not cumulative), one beyond the last, and the sum.

    Ticks are microseconds where thousands of requests may be waiting at once (a 64-bit sum of nanoseconds would be
    full after ten days of ten thousand open streams), nanoseconds where one caller at a time measures.
    """

    def __init__(self, limits: Sequence[float], ticks_per_unit: int) -> None:
        """`limits`: of the buckets, in the unit that the name of the metric says."""
        self.limits = tuple(limits)
        self.ticks_per_unit = ticks_per_unit
        self.bounds = tuple(round(limit * ticks_per_unit) for limit in limits)
        self.sum_cell = len(self.bounds) + 1
        self.width = len(self.bounds) + 2


DURATION = Histogram(DURATION_BUCKETS_S, US_PER_S)
PROVIDER_LATENCY = Histogram(PROVIDER_BUCKETS_S, US_PER_S)
TTFT = Histogram(TTFT_BUCKETS_S, US_PER_S)
CACHE_LATENCY = Histogram(CACHE_BUCKETS_S, NS_PER_S)
OVERHEAD = Histogram(OVERHEAD_BUCKETS_S, US_PER_S)
SPEED = Histogram(SPEED_BUCKETS, MILLI)

PROMPT_UNCACHED, PROMPT_READ, PROMPT_WRITE, COMPLETION_TEXT, COMPLETION_REASONING = range(5)
COST, SAVED, PROMPT_SAVED, PROMPT_SURCHARGE, COST_ESTIMATED = 5, 7, 9, 11, 13
UNCACHED_ESTIMATED, READ_ESTIMATED, WRITE_ESTIMATED, COMPLETION_ESTIMATED = range(15, 19)
SPEND_WIDTH = 19
"""Cells of a spend row. Money takes two: whole microdollars, and the picodollars below one. Both only grow, so a
reader never sees a carry half done, and neither fills up: one cell of picodollars would at nine million dollars."""
PICODOLLARS_PER_CELL_UNIT = 10**6


class Family:
    """Rows of one shape. `lists` are the label names with their closed lists of values."""

    def __init__(self, number: int, width: int, lists: Sequence[tuple[str, Sequence[str]]]) -> None:
        self.number = number
        self.width = width
        self.labels = tuple(name for name, _ in lists)
        self._values = tuple(tuple(values) for _, values in lists)
        self._positions = tuple({value: i for i, value in enumerate(values)} for values in self._values)

    def key(self, *labels: str) -> int:
        """The row's key, the same in every worker. Raises KeyError for a value that is not in its list."""
        packed = 0
        for label, positions in zip(labels, self._positions, strict=True):
            packed = packed * len(positions) + positions[label]
        return ((packed * _MAX_FAMILIES + self.number) << WIDTH_BITS) | self.width

    def owns(self, key: int) -> bool:
        """Whether a key is of this family."""
        return family_number(key) == self.number

    def values(self, key: int) -> tuple[str, ...]:
        """The labels that a key was made from."""
        packed = (key >> WIDTH_BITS) // _MAX_FAMILIES
        found: list[str] = []
        for values in reversed(self._values):
            packed, position = divmod(packed, len(values))
            found.append(values[position])
        return tuple(reversed(found))


_MAX_FAMILIES = 64


def ended_as(status: int, error: ErrorKind | None) -> str:
    """How a request ended, of `STATUSES`."""
    if error is ErrorKind.CLIENT_GONE or status == 499:
        return "cancelled"
    return "ok" if error is None and status < 400 else "error"


def family_number(key: int) -> int:
    """Which family a key belongs to."""
    return (key >> WIDTH_BITS) % _MAX_FAMILIES


class Families:
    """Every family over the providers and models of one configuration."""

    def __init__(self, providers: Iterable[str], models: Iterable[str]) -> None:
        self.providers = tuple(dict.fromkeys(name for name in providers if name not in (OTHER, NONE)))
        self.models = tuple(dict.fromkeys(name for name in models if name != OTHER))
        provider = ("provider", (*self.providers, NONE, OTHER))
        model = ("model", (*self.models, OTHER))
        endpoint = ("endpoint", ENDPOINTS)
        error_type = ("error_type", ERROR_TYPES)
        cache = ("cache", CACHE)
        tier = ("tier", TIERS)
        self.requests = Family(0, 1, (endpoint, provider, model, ("status", STATUSES), ("stream", BOOLEANS), cache))
        self.duration = Family(1, DURATION.width, (endpoint, provider, ("status_class", STATUS_CLASSES), cache))
        self.errors = Family(2, 1, (endpoint, provider, error_type))
        self.cache_hits = Family(3, 1, (tier,))
        self.cache_misses = Family(4, 1, (tier,))
        self.cache_lookups = Family(5, 1, (("result", LOOKUPS),))
        self.cache_latency = Family(6, CACHE_LATENCY.width, (tier, ("op", CACHE_OPERATIONS)))
        self.provider_latency = Family(7, PROVIDER_LATENCY.width, (provider, model, ("outcome", OUTCOMES)))
        self.provider_errors = Family(8, 1, (provider, error_type, ("status", UPSTREAM_STATUSES)))
        self.spend = Family(9, SPEND_WIDTH, (provider, model))
        self.ttft = Family(10, TTFT.width, (provider, model))
        self.warnings = Family(11, 1, (("field", WARNING_FIELDS),))
        self.interruptions = Family(12, 1, (("by", INTERRUPTED_BY),))
        self.overhead = Family(40, OVERHEAD.width, (cache,))
        self.speed = Family(41, SPEED.width, (provider, model))
        self.retries = Family(42, 1, (provider, ("reason", RETRY_REASONS)))
        self.fallbacks = Family(43, 1, (("from", provider[1]), ("to", provider[1])))
        self.evictions = Family(44, 1, (tier, ("reason", EVICTION_REASONS)))
        self.kept_elsewhere = {name: Family(45 + i, 1, ()) for i, (name, _) in enumerate(KEPT_ELSEWHERE)}
        self.l2_errors = Family(13, 1, (("kind", L2_ERRORS),))
        self.l2_corrupt = Family(14, 1, (("reason", L2_CORRUPT),))

    def fingerprint(self) -> int:
        """A number for these lists, never 0: keys made from one set of lists are noise in another."""
        text = "\n".join(
            chain(
                ("providers", *self.providers, "models", *self.models), ERROR_TYPES, UPSTREAM_STATUSES, WARNING_FIELDS
            )
        )
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2 | 1
