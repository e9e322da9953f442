"""Counts finished exchanges. `observe` and `_count` are the hot path; everything that can be worked out once is kept
for all exchanges that are alike.

How many series there can be:
- made at start, at 0: for each provider what its requests can move (about 230 lines of exposition each, most of them
  buckets), and about 400 for the gateway itself;
- at run time, per provider and model that answered at least once: at most 192 such pairs have series of their own and
  the first 50 of them histograms; later ones are `other`;
- at run time, whatever else traffic brings (odd endpoints, models that never answered, statuses, kinds of failure): at
  most 148 series in all, see `rows.Rows`; beyond that the labels become `other`.
A slot that is full (65,536 cells beyond what it starts with) counts under `other` too. Nothing is ever uncounted.

All that moves a cell stands in this file; which rows there are (`rows`), how they are laid out (`families`) and how
they are told (`exposition`) have files of their own.
"""

import platform
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from time import time
from typing import Any, Literal

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client import generate_latest as generate_text
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import NO_EFFECT, Estimated, PromptCacheEffect, TokenUsage
from llm_edge_agent.telemetry import FinishedAttempt, FinishedExchange
from llm_edge_agent.telemetry.alike import Alike
from llm_edge_agent.telemetry.exposition import (
    OPENMETRICS,
    Exemplar,
    Exposition,
    Labels,
    negotiate,
    render_gauges,
)
from llm_edge_agent.telemetry.families import (
    CACHE_LATENCY,
    CACHE_OPERATIONS,
    COMPLETION_ENDPOINTS,
    COMPLETION_ESTIMATED,
    COMPLETION_REASONING,
    COMPLETION_TEXT,
    COST,
    COST_ESTIMATED,
    DURATION,
    L2_CORRUPT,
    L2_ERRORS,
    MILLI,
    NONE,
    NS_PER_S,
    OTHER,
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
    US_PER_S,
    WRITE_ESTIMATED,
    Families,
    ended_as,
)
from llm_edge_agent.telemetry.gauges import GaugeBook, Merge, Published
from llm_edge_agent.telemetry.mirrored import Mirrored
from llm_edge_agent.telemetry.processes import ProcessesCollector
from llm_edge_agent.telemetry.rows import Rows, preset_keys
from llm_edge_agent.telemetry.slots import WIDTH_MASK, Cells, SlotBlock
from llm_edge_agent.telemetry.spending import MOST_TOKENS, tokens_of
from llm_edge_agent.telemetry.totals import Totals, add_up, cache_counts
from llm_edge_agent.version import __version__

SPARE_CELLS = 65_536
"""Room of a slot beyond the rows it starts with."""
_MAX_CELL = 2**63 - 1
_MAX_SPEED = 10**9
"""Thousandths of a token a second: what a provider claims to have made cannot fill the sum of a histogram."""

_TOGETHER = 64
"""So many exchanges are counted in one go where no other process reads the cells, or fewer as soon as somebody reads
them: one by one, each finds the processor's caches full of other things, and costs three times as much."""
_US_PER_S = float(US_PER_S)
_DURATION_BOUNDS = DURATION.bounds
_OVERHEAD_BOUNDS = OVERHEAD.bounds
_LATENCY_BOUNDS = PROVIDER_LATENCY.bounds
_TTFT_BOUNDS = TTFT.bounds
_SPEED_BOUNDS = SPEED.bounds


class _Moves:
    """The cells that exchanges of one kind move; of a row, its first. 0, which is no row's cell: they have no such
    series. Good while `generation` is that of the metrics."""

    __slots__ = ("counters", "generation", "histograms", "spend")

    def __init__(
        self,
        generation: object,
        counters: tuple[int, ...],
        *,
        spend: int,
        duration: int,
        overhead: int,
        provider_latency: int,
        ttft: int,
        speed: int,
    ) -> None:
        self.generation = generation
        self.counters = counters
        self.spend = spend
        self.histograms = duration, overhead, provider_latency, ttft, speed


_Told = tuple[
    _Moves,
    float,
    float | None,
    float | None,
    float | None,
    TokenUsage | None,
    int | None,
    int,
    PromptCacheEffect,
]
"""What an exchange moves and by how much: its duration, the waits for all providers and for the last, the time to the
first token, usage, cost and savings in picodollars, the effect of the provider's prompt cache."""
_moves_of: Callable[[_Told], _Moves] = itemgetter(0)


class Metrics:
    """The counters of one worker, and the exposition of all of them. `observe` and the cache observers belong to one
    thread, the event loop's."""

    def __init__(
        self,
        providers: Sequence[str],
        models: Sequence[str],
        *,
        endpoints: Sequence[str] = ("chat",),
        tiers: Sequence[Literal["l1", "l2"]] = ("l1",),
        block: SlotBlock | None = None,
        slot: int = 0,
        peers: Callable[[], list[Published]] | None = None,
    ) -> None:
        """`providers` and `models` close the lists of label values; `endpoints` are those whose series exist at 0;
        `tiers` are those that a miss was looked for in.

        Workers of one gateway pass the same lists, a `block` from `Metrics.shared_block`, a number each, and what
        tells what the other workers say of themselves. Raises ValueError where the slot was written for other lists.
        """
        self._families = Families(providers, models)
        self._tiers = tuple(tiers)
        preset = preset_keys(self._families, endpoints, tiers)
        self._told: list[_Told] | None = [] if block is None else None
        """What is not counted yet; None where each exchange is counted at once."""
        if block is None:
            block = _block(self._families, preset, 1, shared=False)
        self._block = block
        own = block.slot(slot)
        self._cells: Cells = own.cells
        self._rows = Rows(self._families, own, preset, endpoints)
        self._exposition = Exposition(self._families)
        self._alike = Alike()
        self._generation = object()
        self._cache_latency = {
            (tier, op): self._rows.require(self._families.cache_latency, tier, op)
            for tier in tiers
            for op in CACHE_OPERATIONS
        }
        self._exemplars: dict[tuple[int, int], Exemplar] = {}
        """The last request of each bucket of this worker whose trace is recorded."""
        self._mirrored: list[Mirrored] = []
        self._gauges = GaugeBook()
        self._peers = peers
        self._runtime = CollectorRegistry()
        PlatformCollector(registry=self._runtime)
        if peers is None:
            ProcessCollector(registry=self._runtime)
            GCCollector(registry=self._runtime)
        else:
            self._runtime.register(ProcessesCollector(peers))
        version = {"python": platform.python_version(), "version": __version__}
        self.gauge("llm_edge_build_info", version, _always_one, merge="max")

    @staticmethod
    def shared_block(
        providers: Sequence[str],
        models: Sequence[str],
        workers: int,
        *,
        endpoints: Sequence[str] = ("chat",),
        tiers: Sequence[Literal["l1", "l2"]] = ("l1",),
    ) -> SlotBlock:
        """Slots for `workers` processes, to be made before they are forked, with the arguments that each passes."""
        families = Families(providers, models)
        return _block(families, preset_keys(families, endpoints, tiers), workers, shared=True)

    def observe(self, exchange: FinishedExchange) -> None:
        """Counts one request. Never raises, whatever a provider claims to have used."""
        usage, cost, saved = exchange.usage, exchange.cost_picodollars, exchange.saved_picodollars
        spends = not (usage is None and not cost and not saved)
        memo = exchange.memo
        if memo is None:
            memo = exchange.memo = self._alike.memo(exchange)
        moves: _Moves | None = memo.get("metrics")
        if moves is None or moves.generation is not self._generation or (spends and not moves.spend):
            moves = memo["metrics"] = self._resolve(exchange, spends)
        duration_s = exchange.duration_s
        upstream_s = last_s = exchange.upstream_s
        attempts = exchange.attempts
        if len(attempts) > 1:
            upstream_s, last_s = self._earlier_attempts(attempts)
        traced = exchange.traced
        if traced is not None and traced.trace.sampled:
            row = moves.histograms[0]
            bucket = bisect_left(_DURATION_BOUNDS, int(duration_s * _US_PER_S))
            # A row's key stands before its first cell.
            self._exemplars[self._cells[row - 1], bucket] = Exemplar(traced.trace.trace_id, duration_s, time())
        if exchange.warnings:
            for warning in exchange.warnings:
                self._cells[self._rows.warning(warning)] += 1
        one = (moves, duration_s, upstream_s, last_s, exchange.ttft_s, usage, cost, saved, exchange.prompt_cache)
        told = self._told
        if told is None:
            self._count(moves, (one,))
            return
        told.append(one)
        if len(told) >= _TOGETHER:
            self._count_told()

    def _count_told(self) -> None:
        """Counts what was told since the last time."""
        if self._told:
            told, self._told = self._told, []
            for moves, alike in groupby(told, _moves_of):
                self._count(moves, alike)

    def _count(self, moves: _Moves, alike: Iterable[_Told]) -> None:
        """Moves the cells of exchanges of one kind."""
        cells = self._cells
        duration, overhead, provider_latency, ttft, speed = moves.histograms
        spend = moves.spend
        number = duration_sum = overhead_sum = latency_sum = ttft_sum = speed_sum = cost_sum = saved_sum = 0
        for _, duration_s, upstream_s, last_s, ttft_s, usage, cost, saved, effect in alike:
            number += 1
            ticks = int(duration_s * _US_PER_S)
            cells[duration + bisect_left(_DURATION_BOUNDS, ticks)] += 1
            duration_sum += ticks
            if overhead:
                ticks = int((duration_s - upstream_s) * _US_PER_S) if upstream_s is not None else ticks
                if ticks > 0:
                    cells[overhead + bisect_left(_OVERHEAD_BOUNDS, ticks)] += 1
                    overhead_sum += ticks
                else:
                    cells[overhead] += 1
            if last_s is not None and provider_latency:
                ticks = int(last_s * _US_PER_S)
                cells[provider_latency + bisect_left(_LATENCY_BOUNDS, ticks)] += 1
                latency_sum += ticks
            if ttft_s is not None:
                ticks = int(ttft_s * _US_PER_S)
                cells[ttft + bisect_left(_TTFT_BOUNDS, ticks)] += 1
                ttft_sum += ticks
            if usage is not None:
                self._account(spend, usage, cost, effect)
                if speed:
                    # Of a stream: from its first token on, which the tokens after it took.
                    tokens = usage.completion_tokens if ttft_s is None else usage.completion_tokens - 1
                    took_s = last_s if ttft_s is None else duration_s - ttft_s
                    if tokens > 0 and took_s:
                        if tokens > MOST_TOKENS:
                            tokens = MOST_TOKENS  # no float is as large as what a provider may claim
                        pace = tokens * MILLI / (took_s if took_s > 1e-6 else 1e-6)
                        ticks = int(pace) if pace < _MAX_SPEED else _MAX_SPEED
                        cells[speed + bisect_left(_SPEED_BOUNDS, ticks)] += 1
                        speed_sum += ticks
            if cost and cost > 0:
                cost_sum += cost
            if saved > 0:
                saved_sum += saved
        for cell in moves.counters:
            cells[cell] += number
        cells[duration + DURATION.sum_cell] += duration_sum
        if overhead_sum:
            cells[overhead + OVERHEAD.sum_cell] += overhead_sum
        if latency_sum:
            cells[provider_latency + PROVIDER_LATENCY.sum_cell] += latency_sum
        if ttft_sum:
            cells[ttft + TTFT.sum_cell] += ttft_sum
        if speed_sum:
            cells[speed + SPEED.sum_cell] += speed_sum
        _add_money(cells, spend + COST, cost_sum)
        _add_money(cells, spend + SAVED, saved_sum)

    def _earlier_attempts(self, attempts: Sequence[FinishedAttempt]) -> tuple[float, float]:
        """Counts what led from one attempt to the next, and each but the last as its provider's; the exchange speaks
        for the last. Returns the seconds that all and that the last of them took."""
        cells, rows = self._cells, self._rows
        total_s = 0.0
        for earlier, later in pairwise(attempts):
            took_s = _took_s(earlier)
            total_s += took_s
            label = OTHER
            if earlier.error is not None:
                label = earlier.error.value.label
                row = rows.histogram(self._families.provider_latency, earlier.provider, earlier.upstream_model, "error")
                ticks = int(took_s * _US_PER_S)
                cells[row + bisect_left(PROVIDER_LATENCY.bounds, ticks)] += 1
                cells[row + PROVIDER_LATENCY.sum_cell] += ticks
                if earlier.error.value.fault == "upstream":
                    cells[rows.provider_error(earlier.provider, label, earlier.status)] += 1
            if earlier.provider == later.provider:
                cells[rows.retry(earlier.provider, label)] += 1
            else:
                cells[rows.fallback(earlier.provider, later.provider)] += 1
        last_s = _took_s(attempts[-1])
        return total_s + last_s, last_s

    def cache_observer(self, tier: Literal["l1", "l2"], op: Literal["get", "set"]) -> Callable[[float], None]:
        """What is to be told of every such operation, in seconds. KeyError for a tier not given at construction."""
        cells, bounds, per_s = self._cells, CACHE_LATENCY.bounds, float(NS_PER_S)
        row, quick = self._cache_latency[tier, op], bounds[0]
        sum_cell = row + CACHE_LATENCY.sum_cell

        def observe(seconds: float) -> None:
            ticks = int(seconds * per_s)
            cells[row if ticks <= quick else row + bisect_left(bounds, ticks)] += 1
            cells[sum_cell] += ticks

        return observe

    def l2_error(self, kind: str) -> None:
        """Counts a failure of L2 itself."""
        self._cells[self._rows.require(self._families.l2_errors, kind if kind in L2_ERRORS else OTHER)] += 1

    def l2_corrupt(self, reason: str) -> None:
        """Counts a value in L2 that was none of ours."""
        self._cells[self._rows.require(self._families.l2_corrupt, reason if reason in L2_CORRUPT else OTHER)] += 1

    def gauge(
        self, name: str, labels: Mapping[str, str], callback: Callable[[], float], *, merge: Merge = "sum"
    ) -> None:
        """Registers a value that `callback` tells at each scrape. The same name and labels again replace it. `merge`
        says what the values of several workers make: their sum, or the largest of them."""
        self._gauges.register(name, labels, callback, merge)

    def gauge_group(self, name: str, callback: Callable[[], Mapping[Labels, float]], *, merge: Merge = "sum") -> None:
        """As `gauge`, for values that are told together, by their labels in the order of the labels' names."""
        self._gauges.register_group(name, callback, merge)

    def mirror(self, name: str, count: Callable[[], int]) -> None:
        """A counter that somebody else keeps in this process, by its name in `families.KEPT_ELSEWHERE`. What it grew
        by is moved into this worker's slot whenever gauges are asked, so that it outlives the worker."""
        self._mirrored.append(Mirrored(count, self._rows.require(self._families.kept_elsewhere[name])))

    def mirror_evictions(self, tier: Literal["l1", "l2"], reason: str, count: Callable[[], int]) -> None:
        """The same for the entries that left a cache tier. KeyError for a reason that is not in the list."""
        self._mirrored.append(Mirrored(count, self._rows.require(self._families.evictions, tier, reason)))

    def gauge_values(self) -> dict[str, dict[Labels, float]]:
        """This worker's own gauges."""
        self._move_mirrored()
        return self._gauges.values()

    def _move_mirrored(self) -> None:
        for mirrored in self._mirrored:
            mirrored.move(self._cells)

    def render(self, accept: str | None) -> tuple[bytes, str]:
        """The exposition of all workers and its content type, by the Accept header."""
        content_type = negotiate(accept)
        openmetrics = content_type == OPENMETRICS
        self._move_mirrored()
        own = self._exposition.render(self._sums(), self._exemplars, openmetrics=openmetrics)
        values = self._gauges.merged(self._peers() if self._peers is not None else [])
        gauges = render_gauges(values, openmetrics=openmetrics)
        encode: Callable[[CollectorRegistry], bytes] = generate_openmetrics if openmetrics else generate_text
        return b"".join((own.encode(), gauges.encode(), encode(self._runtime))), content_type

    def _sums(self) -> dict[int, list[int]]:
        self._count_told()
        return self._block.sums()

    def totals(self) -> Totals:
        """What a summary at the end of a run shows."""
        return add_up(self._families, self._sums())

    def cache_counts(self) -> dict[str, Any]:
        """What the caches did since the start, over every worker. Money in dollars."""
        gauges = self._gauges.merged(self._peers() if self._peers is not None else [])
        return cache_counts(self._families, self._tiers, self._sums(), gauges)

    def _resolve(self, exchange: FinishedExchange, spends: bool) -> _Moves:
        """The cells of exchanges of a kind that was not met before. `spends`: there are tokens or money to account."""
        endpoint, provider, model = exchange.endpoint, exchange.provider, exchange.model
        status, stream, error = exchange.status, exchange.stream, exchange.error
        cache, tier = exchange.cache, exchange.cache_tier
        rows, families = self._rows, self._families
        if spends and model is not None and rows.prove(provider, model):
            self._forget()
        if error is None and status < 400 and model is not None and rows.prove(provider, model):
            self._forget()
        ended = ended_as(status, error)
        status_class = "2xx" if status < 400 else "4xx" if status < 500 else "5xx"
        # The label's list is hit, miss and bypass: where there is no cache, none was asked.
        shown_cache = "bypass" if cache == NONE else "miss" if cache in ("join", "stale") else cache
        counters = [rows.request(endpoint, provider, model, ended, "true" if stream else "false", shown_cache)]
        if error is not None or ended == "error":
            counters.append(rows.error(endpoint, provider, error.value.label if error is not None else OTHER))
        if cache != NONE:
            counters.append(rows.require(families.cache_lookups, cache))
        if cache == "hit":
            counters.append(rows.require(families.cache_hits, tier or "l1"))
            if tier == "l2" and "l1" in self._tiers:
                counters.append(rows.require(families.cache_misses, "l1"))
        elif cache == "join":
            counters.append(rows.require(families.cache_misses, "l1"))
        elif cache in ("miss", "stale"):
            counters.extend(rows.require(families.cache_misses, name) for name in self._tiers)
        if stream and error is not None:
            if error is ErrorKind.CLIENT_GONE:
                counters.append(rows.require(families.interruptions, "client"))
            elif error.value.fault == "upstream" and status < 400:
                counters.append(rows.require(families.interruptions, "upstream"))
        latency = 0
        if cache in ("join", "stale"):
            pass  # what the provider took, or failed at, is the leader's, and counts once; or was no answer
        elif error is None:
            latency = rows.histogram(families.provider_latency, provider, model, "ok")
        elif error.value.fault == "upstream":
            latency = rows.histogram(families.provider_latency, provider, model, "error")
            counters.append(rows.provider_error(provider, error.value.label, exchange.upstream_status))
        answered = error is None and status < 400 and endpoint in COMPLETION_ENDPOINTS
        return _Moves(
            self._generation,
            tuple(counters),
            spend=rows.spend(provider, model) if spends else 0,
            duration=rows.duration(endpoint, provider, status_class, shown_cache),
            # Who joined another's request waited for a provider, too, and nobody knows how long.
            overhead=rows.require(families.overhead, shown_cache) if answered and cache != "join" else 0,
            provider_latency=latency,
            ttft=rows.histogram(families.ttft, provider, model),
            speed=rows.histogram(families.speed, provider, model) if answered and cache != "join" else 0,
        )

    def _forget(self) -> None:
        """A model has got series of its own: what was worked out before may count it as `other`."""
        self._generation = object()

    def _account(self, row: int, usage: TokenUsage, cost: int | None, effect: PromptCacheEffect) -> None:
        """Tokens, in a row of spend. The kinds of a prompt's tokens always add up to the prompt, whatever the provider
        says."""
        cells = self._cells
        # Spelled out where nothing is odd, which is always: making a tuple costs more than all the rest.
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        read, reasoning = usage.cache_read_tokens, usage.reasoning_tokens
        written = usage.cache_write_tokens + usage.cache_write_1h_tokens
        if not (0 <= read <= prompt - written <= prompt < MOST_TOKENS and 0 <= reasoning <= completion < MOST_TOKENS):
            prompt, read, written, completion, reasoning = tokens_of(usage)
        try:
            cells[row + PROMPT_UNCACHED] += prompt - read - written
            cells[row + COMPLETION_TEXT] += completion - reasoning
            if read:
                cells[row + PROMPT_READ] += read
            if written:
                cells[row + PROMPT_WRITE] += written
            if reasoning:
                cells[row + COMPLETION_REASONING] += reasoning
        except ValueError:
            pass  # full, after millions of requests that claimed as much as is believed
        if usage.estimated:
            told = usage.estimated is not Estimated.ALL
            self._account_estimated(row, (0, 0, 0) if told else (prompt - read - written, read, written), completion)
            _add_money(cells, row + COST_ESTIMATED, cost or 0)
        if effect is not NO_EFFECT:
            _add_money(cells, row + PROMPT_SAVED, effect.saved)
            _add_money(cells, row + PROMPT_SURCHARGE, effect.surcharge)

    def _account_estimated(self, row: int, prompt: tuple[int, int, int], completion: int) -> None:
        """What of a request's tokens is an estimate, once more: the difference is what providers told."""
        cells = self._cells
        uncached, read, written = prompt
        try:
            cells[row + UNCACHED_ESTIMATED] += uncached
            cells[row + READ_ESTIMATED] += read
            cells[row + WRITE_ESTIMATED] += written
            cells[row + COMPLETION_ESTIMATED] += completion
        except ValueError:
            pass  # as above


def _took_s(attempt: FinishedAttempt) -> float:
    return attempt.ended_s - attempt.started_s if attempt.ended_s is not None else 0.0


def _block(families: Families, preset: Sequence[int], workers: int, *, shared: bool) -> SlotBlock:
    cells = SPARE_CELLS + sum(1 + (key & WIDTH_MASK) for key in preset)
    return SlotBlock(workers, cells, families.fingerprint(), shared=shared)


def _always_one() -> float:
    return 1


def _add_money(cells: Cells, cell: int, picodollars: int) -> None:
    if picodollars > 0:
        micros = picodollars // PICODOLLARS_PER_CELL_UNIT
        try:
            cells[cell] += micros
        except ValueError:
            cells[cell] = _MAX_CELL
        rest = picodollars - micros * PICODOLLARS_PER_CELL_UNIT
        if rest:
            cells[cell + 1] += rest
