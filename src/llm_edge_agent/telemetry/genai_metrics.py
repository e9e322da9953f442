"""The GenAI metrics of OpenTelemetry (semantic conventions v1.41), as histograms over the life of the process.

Label values are few: providers that are configured, models that are known. Beyond MAX_SERIES everything is `other`.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from llm_edge_agent.core.pricing import Estimated
from llm_edge_agent.telemetry import FinishedExchange
from llm_edge_agent.telemetry.genai import OPERATIONS, error_type, provider_name
from llm_edge_agent.telemetry.otlp import Exporter
from llm_edge_agent.telemetry.spans import add_attributes
from llm_edge_agent.telemetry.spending import tokens_of

MAX_SERIES = 500
"""Of one instrument."""
OTHER = "other"

_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(4.0**power for power in range(14))
_FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)

Key = tuple[str, str, str, str | None]
"""Operation, provider, model, and what the instrument adds: a token type, a kind of error."""


class Instrument(NamedTuple):
    name: str
    unit: str
    description: str
    bounds: tuple[float, ...]
    extra: str | None = None
    """The attribute that the last part of a key stands for."""


TOKEN_USAGE = Instrument("gen_ai.client.token.usage", "{token}", "Tokens used, by type.", _TOKENS, "gen_ai.token.type")
OPERATION_DURATION = Instrument(
    "gen_ai.client.operation.duration", "s", "Duration of a call to a provider.", _SECONDS, "error.type"
)
REQUEST_DURATION = Instrument(
    "gen_ai.server.request.duration", "s", "Duration of a request to the gateway.", _SECONDS, "error.type"
)
FIRST_TOKEN = Instrument("gen_ai.server.time_to_first_token", "s", "From arrival to the first token.", _FIRST_TOKEN)
PER_TOKEN = Instrument(
    "gen_ai.server.time_per_output_token", "s", "Time of each token after the first one.", _PER_TOKEN
)
INSTRUMENTS = (TOKEN_USAGE, OPERATION_DURATION, REQUEST_DURATION, FIRST_TOKEN, PER_TOKEN)


class _Series:
    __slots__ = ("counts", "largest", "smallest", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.sum = 0.0
        self.smallest = float("inf")
        self.largest = float("-inf")


class GenAIMetrics:
    """The observer of finished exchanges that exports these histograms. Belongs to one loop; `close` it in the end."""

    def __init__(
        self,
        exporter: Exporter,
        resource: Resource,
        scope: InstrumentationScope,
        *,
        interval_s: float,
        spawn: Callable[[Awaitable[None]], object],
    ) -> None:
        self._exporter = exporter
        self._resource = resource
        self._scope = scope
        self._interval_s = interval_s
        self._spawn = spawn
        self._began_ns = time.time_ns()
        self._series: dict[Instrument, dict[Key, _Series]] = {instrument: {} for instrument in INSTRUMENTS}
        self._timer: asyncio.TimerHandle | None = None
        self._sending = False

    def observe(self, exchange: FinishedExchange) -> None:
        """Counts one request. Never raises."""
        operation = OPERATIONS.get(exchange.endpoint)
        if operation is None or exchange.provider is None:
            return
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._begin)
        provider, model = provider_name(exchange.provider), exchange.model or OTHER
        failed = error_type(exchange.error, exchange.upstream_status) if exchange.error is not None else None
        self._add(REQUEST_DURATION, (operation, provider, model, failed), exchange.duration_s)
        if exchange.upstream_s is not None:
            self._add(OPERATION_DURATION, (operation, provider, model, failed), exchange.upstream_s)
        usage, written = exchange.usage, 0
        if usage is not None:
            # The conventions want what providers billed here, and no estimates.
            tokens = tokens_of(usage)
            if usage.estimated is not Estimated.ALL:
                self._add(TOKEN_USAGE, (operation, provider, model, "input"), tokens.prompt)
            if not usage.estimated:
                written = tokens.completion
                self._add(TOKEN_USAGE, (operation, provider, model, "output"), written)
        if exchange.ttft_s is not None:
            self._add(FIRST_TOKEN, (operation, provider, model, None), exchange.ttft_s)
            if written > 1:
                rest_s = exchange.duration_s - exchange.ttft_s
                self._add(PER_TOKEN, (operation, provider, model, None), rest_s / (written - 1))

    def _add(self, instrument: Instrument, key: Key, value: float) -> None:
        known = self._series[instrument]
        series = known.get(key)
        if series is None:
            if len(known) >= MAX_SERIES:
                key = (OTHER, OTHER, OTHER, key[3])
            series = known.setdefault(key, _Series(len(instrument.bounds) + 1))
        series.counts[bisect_left(instrument.bounds, value)] += 1
        series.sum += value
        series.smallest = min(series.smallest, value)
        series.largest = max(series.largest, value)

    def message(self) -> ExportMetricsServiceRequest:
        """Everything since the start, as one message."""
        now_ns = time.time_ns()
        request = ExportMetricsServiceRequest()
        scoped = request.resource_metrics.add(resource=self._resource).scope_metrics.add(scope=self._scope)
        for instrument, known in self._series.items():
            if not known:
                continue
            metric = scoped.metrics.add(name=instrument.name, unit=instrument.unit, description=instrument.description)
            metric.histogram.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
            for (operation, provider, model, extra), series in known.items():
                point = metric.histogram.data_points.add(
                    start_time_unix_nano=self._began_ns,
                    time_unix_nano=now_ns,
                    count=sum(series.counts),
                    sum=series.sum,
                    min=series.smallest,
                    max=series.largest,
                    bucket_counts=series.counts,
                    explicit_bounds=instrument.bounds,
                )
                add_attributes(
                    point.attributes,
                    {
                        "gen_ai.operation.name": operation,
                        "gen_ai.provider.name": provider,
                        "gen_ai.request.model": model,
                    },
                )
                if instrument.extra is not None and extra is not None:
                    add_attributes(point.attributes, {instrument.extra: extra})
        return request

    def _begin(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._begin)
        if not self._sending:
            self._spawn(self._send())

    async def _send(self) -> None:
        self._sending = True
        try:
            await self._exporter.send(self.message().SerializeToString())
        finally:
            self._sending = False

    async def close(self, timeout_s: float) -> None:
        """Sends what there is a last time, for at most `timeout_s` seconds."""
        if self._timer is None:
            return
        self._timer.cancel()
        self._timer = None
        try:
            async with asyncio.timeout(timeout_s):
                await self._send()
        except TimeoutError:
            return
