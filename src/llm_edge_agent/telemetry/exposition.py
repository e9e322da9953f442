"""Rows of integers as Prometheus text or OpenMetrics.

Written here and not with prometheus-client's encoder, which turns every value into a float: sums of money are printed
as exact decimals. Everything before the value is rendered once per series and kept, so a scrape of thousands of lines
does not hold up the event loop.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, isnan
from typing import NamedTuple

from llm_edge_agent.core.pricing import usd
from llm_edge_agent.telemetry.families import (
    CACHE_LATENCY,
    COMPLETION_ESTIMATED,
    COMPLETION_REASONING,
    COMPLETION_TEXT,
    COST,
    COST_ESTIMATED,
    DURATION,
    KEPT_ELSEWHERE,
    OVERHEAD,
    PICODOLLARS_PER_CELL_UNIT,
    PROMPT_READ,
    PROMPT_SAVED,
    PROMPT_SURCHARGE,
    PROMPT_UNCACHED,
    PROMPT_WRITE,
    PROVIDER_LATENCY,
    READ_ESTIMATED,
    SAVED,
    SPEED,
    TTFT,
    UNCACHED_ESTIMATED,
    WRITE_ESTIMATED,
    Families,
    Family,
    Histogram,
    family_number,
)

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = tuple[tuple[str, str], ...]
Sums = Mapping[int, Sequence[int]]
Gauges = Mapping[str, Mapping[Labels, float]]
"""Values by name and labels."""


class Exemplar(NamedTuple):
    """A request that fell into a bucket, by which its trace is found. Times are seconds, `unix_s` when it ended."""

    trace_id: str
    value_s: float
    unix_s: float


Exemplars = Mapping[tuple[int, int], Exemplar]
"""By the key of a histogram's row and the number of the bucket."""


def money(row: Sequence[int], cell: int) -> int:
    """Picodollars of a spend row, from the cell of its microdollars on."""
    return row[cell] * PICODOLLARS_PER_CELL_UNIT + row[cell + 1]


class _CounterSpec(NamedTuple):
    """One counter, read from the rows of a family. `parts` are its extra labels with the cells that make the value."""

    name: str
    help: str
    family: Family
    parts: tuple[tuple[Labels, tuple[int, ...]], ...] = (((), (0,)),)
    money: bool = False


class _HistogramSpec(NamedTuple):
    name: str
    help: str
    family: Family
    histogram: Histogram


def _specs(f: Families) -> tuple[_CounterSpec | _HistogramSpec, ...]:
    prompt = (PROMPT_UNCACHED, PROMPT_READ, PROMPT_WRITE)
    completion = (COMPLETION_TEXT, COMPLETION_REASONING)
    prompt_parts = tuple(
        ((("kind", kind),), (cell,))
        for kind, cell in zip(("uncached", "cache_read", "cache_write"), prompt, strict=True)
    )
    completion_parts = tuple(
        ((("kind", kind),), (cell,)) for kind, cell in zip(("text", "reasoning"), completion, strict=True)
    )
    estimated_parts = tuple(
        ((("kind", kind),), (cell,))
        for kind, cell in (
            ("uncached", UNCACHED_ESTIMATED),
            ("cache_read", READ_ESTIMATED),
            ("cache_write", WRITE_ESTIMATED),
            ("completion", COMPLETION_ESTIMATED),
        )
    )
    return (
        _CounterSpec("llm_edge_requests_total", "Requests ended.", f.requests),
        _HistogramSpec(
            "llm_edge_request_duration_seconds", "From arrival to the end of the reply.", f.duration, DURATION
        ),
        _CounterSpec("llm_edge_request_errors_total", "Requests that ended in an error, by kind.", f.errors),
        _CounterSpec("llm_edge_cache_hits_total", "Answers found in a cache tier.", f.cache_hits),
        _CounterSpec("llm_edge_cache_misses_total", "Cache tiers asked without success.", f.cache_misses),
        _CounterSpec("llm_edge_cache_lookups_total", "Requests by what the cache did for them.", f.cache_lookups),
        _HistogramSpec(
            "llm_edge_cache_latency_seconds", "Time of one cache operation.", f.cache_latency, CACHE_LATENCY
        ),
        _HistogramSpec(
            "llm_edge_provider_latency_seconds",
            "Time spent waiting for a provider.",
            f.provider_latency,
            PROVIDER_LATENCY,
        ),
        _CounterSpec("llm_edge_provider_errors_total", "Failures of a provider.", f.provider_errors),
        _HistogramSpec(
            "llm_edge_time_to_first_token_seconds", "From arrival to the first token of a stream.", f.ttft, TTFT
        ),
        _CounterSpec(
            "llm_edge_cost_usd_total",
            "Dollars billed by providers; a cache hit bills none.",
            f.spend,
            (((), (COST,)),),
            True,
        ),
        _CounterSpec(
            "llm_edge_cost_saved_usd_total", "Dollars that cache hits did not cost.", f.spend, (((), (SAVED,)),), True
        ),
        _CounterSpec(
            "llm_edge_prompt_cache_saved_usd_total",
            "Dollars that tokens read from providers' prompt caches cost less than plain input.",
            f.spend,
            (((), (PROMPT_SAVED,)),),
            True,
        ),
        _CounterSpec(
            "llm_edge_prompt_cache_surcharge_usd_total",
            "Dollars that tokens written to providers' prompt caches cost more than plain input.",
            f.spend,
            (((), (PROMPT_SURCHARGE,)),),
            True,
        ),
        _CounterSpec("llm_edge_tokens_used_total", "Tokens billed.", f.spend, (((), (*prompt, *completion)),)),
        _CounterSpec("llm_edge_tokens_prompt_total", "Prompt tokens billed, by kind.", f.spend, prompt_parts),
        _CounterSpec(
            "llm_edge_tokens_completion_total", "Completion tokens billed, by kind.", f.spend, completion_parts
        ),
        _CounterSpec(
            "llm_edge_tokens_estimated_total",
            "Of the tokens billed: those that are the gateway's estimate, because the provider was cut off.",
            f.spend,
            estimated_parts,
        ),
        _CounterSpec(
            "llm_edge_cost_estimated_usd_total",
            "Of the dollars billed: those of requests with estimated tokens.",
            f.spend,
            (((), (COST_ESTIMATED,)),),
            True,
        ),
        _CounterSpec("llm_edge_translation_warnings_total", "Members dropped or changed on the way.", f.warnings),
        _CounterSpec("llm_edge_stream_interruptions_total", "Streams cut before their end.", f.interruptions),
        _HistogramSpec(
            "llm_edge_overhead_seconds",
            "What the gateway itself took of an answered request: all but the time spent waiting for providers.",
            f.overhead,
            OVERHEAD,
        ),
        _HistogramSpec(
            "llm_edge_tokens_per_second",
            "Completion tokens a second: of a stream from its first token on, else of the whole answer.",
            f.speed,
            SPEED,
        ),
        _CounterSpec("llm_edge_retries_total", "Further attempts at the same provider, by what failed.", f.retries),
        _CounterSpec("llm_edge_fallbacks_total", "Attempts that went on to another provider.", f.fallbacks),
        _CounterSpec("llm_edge_cache_evictions_total", "Entries that left a cache tier.", f.evictions),
        *(_CounterSpec(name, help_text, f.kept_elsewhere[name]) for name, help_text in KEPT_ELSEWHERE),
        _CounterSpec("llm_edge_l2_errors_total", "Failures of the second cache tier, by kind.", f.l2_errors),
        _CounterSpec("llm_edge_l2_corrupt_total", "Values in the second tier that were none of ours.", f.l2_corrupt),
    )


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _series(name: str, labels: Iterable[tuple[str, str]]) -> str:
    inside = ",".join(f'{label}="{_escape(value)}"' for label, value in labels)
    return f"{name}{{{inside}}} " if inside else f"{name} "


def _head(name: str, help_text: str, kind: str, openmetrics: bool) -> str:
    family = name.removesuffix("_total") if openmetrics and kind == "counter" else name
    return f"# HELP {family} {help_text}\n# TYPE {family} {kind}\n"


class Exposition:
    """Renders the sums of one configuration's rows. Keeps the text of every series it has met."""

    def __init__(self, families: Families) -> None:
        self._specs = _specs(families)
        self._known: list[dict[int, tuple[str, ...]]] = [{} for _ in self._specs]

    def render(self, sums: Sums, exemplars: Exemplars | None = None, *, openmetrics: bool) -> str:
        """Every family, empty ones with their head alone, each series in the order of its labels. Exemplars are told in
        OpenMetrics only: the older text has no place for them."""
        shown = exemplars if openmetrics and exemplars else {}
        by_family: dict[int, list[int]] = {}
        for key in sums:
            by_family.setdefault(family_number(key), []).append(key)
        lines: list[str] = []
        for spec, known in zip(self._specs, self._known, strict=True):
            kind = "counter" if isinstance(spec, _CounterSpec) else "histogram"
            lines.append(_head(spec.name, spec.help, kind, openmetrics))
            for key in sorted(by_family.get(spec.family.number, ())):
                starts = known.get(key)
                if starts is None:
                    starts = known[key] = _starts(spec, key)
                if isinstance(spec, _CounterSpec):
                    _counter_lines(lines, spec, starts, sums[key])
                else:
                    _histogram_lines(lines, spec.histogram, starts, sums[key], key, shown)
        return "".join(lines)


def _starts(spec: _CounterSpec | _HistogramSpec, key: int) -> tuple[str, ...]:
    """Every line of a series up to its value."""
    labels: Labels = tuple(zip(spec.family.labels, spec.family.values(key), strict=True))
    if isinstance(spec, _CounterSpec):
        return tuple(_series(spec.name, (*labels, *extra)) for extra, _ in spec.parts)
    bounds = [repr(bound) for bound in spec.histogram.limits] + ["+Inf"]
    buckets = [_series(f"{spec.name}_bucket", (*labels, ("le", bound))) for bound in bounds]
    return (*buckets, _series(f"{spec.name}_count", labels), _series(f"{spec.name}_sum", labels))


def _counter_lines(lines: list[str], spec: _CounterSpec, starts: tuple[str, ...], row: Sequence[int]) -> None:
    for start, (_, cells) in zip(starts, spec.parts, strict=True):
        if spec.money:
            lines.append(f"{start}{usd(money(row, cells[0]))}\n")
        else:
            lines.append(f"{start}{sum(row[cell] for cell in cells)}\n")


def _histogram_lines(
    lines: list[str],
    histogram: Histogram,
    starts: tuple[str, ...],
    row: Sequence[int],
    key: int,
    exemplars: Exemplars,
) -> None:
    total = 0
    buckets = histogram.sum_cell
    for i in range(buckets):
        total += row[i]
        exemplar = exemplars.get((key, i)) if exemplars else None
        lines.append(f"{starts[i]}{total}\n" if exemplar is None else f"{starts[i]}{total}{_exemplar(exemplar)}\n")
    lines.append(f"{starts[buckets]}{total}\n")
    whole, ticks = divmod(row[buckets], histogram.ticks_per_unit)
    digits = len(str(histogram.ticks_per_unit)) - 1
    lines.append(f"{starts[buckets + 1]}{whole}.{ticks:0{digits}d}\n")


def _exemplar(exemplar: Exemplar) -> str:
    return f' # {{trace_id="{exemplar.trace_id}"}} {exemplar.value_s:.6f} {exemplar.unix_s:.3f}'


def _number(value: float) -> str:
    if isfinite(value):
        return repr(+value)
    return "NaN" if isnan(value) else "+Inf" if value > 0 else "-Inf"


GAUGE_HELP = {
    "llm_edge_active_requests": "Requests being served, by endpoint.",
    "llm_edge_build_info": "Always 1; the labels say what runs.",
    "llm_edge_cache_bytes": "Bytes held by a cache tier.",
    "llm_edge_cache_entries": "Answers held by a cache tier.",
    "llm_edge_l2_up": "Whether the second cache tier answered last.",
    "llm_edge_connections": "Open client connections.",
    "llm_edge_event_loop_lag_seconds": "How late the event loop was at its worst in the last 15 to 30 seconds.",
    "llm_edge_ledger_bytes": "Size of the ledger's file.",
    "llm_edge_upstream_connections": "Connections to providers, by state.",
    "llm_edge_config_reload_success": "Whether the last reload of the configuration succeeded.",
    "llm_edge_config_last_reload_timestamp_seconds": "When the configuration was last read with success.",
    "llm_edge_queued_requests": "Requests that wait for their turn to be sent to a provider.",
    "llm_edge_circuit_state": "Circuit breakers, a provider's worst: 0 closed, 1 half-open, 2 open.",
    "llm_edge_log_lines_dropped": "Log lines lost because their reader was too slow or gone.",
    "llm_edge_worker_restarts_total": "Worker processes that died and were replaced.",
    "llm_edge_traces_dropped_total": "Sampled requests whose spans were lost, because the queue was full.",
    "llm_edge_workers": "Worker processes that serve.",
}


def render_gauges(gauges: Gauges, *, openmetrics: bool) -> str:
    """Values as they are now. A name that ends in `_total` is a counter that somebody else keeps."""
    lines: list[str] = []
    for name, series in gauges.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        lines.append(_head(name, GAUGE_HELP.get(name, "A value that goes up and down."), kind, openmetrics))
        lines += [f"{_series(name, labels)}{_number(value)}\n" for labels, value in series.items()]
    return "".join(lines)


def negotiate(accept: str | None) -> str:
    """The content type for an Accept header: OpenMetrics 1.0.0 where it is preferred or tied, else text 0.0.4."""
    best = {TEXT: 0.0, OPENMETRICS: 0.0}
    for item in (accept or "").split(","):
        media, *parameters = (part.strip().lower() for part in item.split(";"))
        values = dict(parameter.partition("=")[::2] for parameter in parameters)
        try:
            weight = float(values.get("q", "1"))
        except ValueError:
            continue
        if media == "application/openmetrics-text" and values.get("version", "1.0.0").strip('"') == "1.0.0":
            best[OPENMETRICS] = max(best[OPENMETRICS], weight)
        elif media in ("text/plain", "text/*", "*/*"):
            best[TEXT] = max(best[TEXT], weight)
    return OPENMETRICS if best[OPENMETRICS] > 0 and best[OPENMETRICS] >= best[TEXT] else TEXT
