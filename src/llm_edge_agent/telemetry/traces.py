"""Finished exchanges to spans to the collector, away from every request's path.

An exchange that is sampled waits in a bounded queue. A timer, or a full batch, makes spans of what waits: a few at a
time, so that nobody's request waits for them, and encodes and sends them as one message.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from llm_edge_agent.telemetry import FinishedExchange
from llm_edge_agent.telemetry.otlp import Exporter
from llm_edge_agent.telemetry.spans import Recorded, SpanBuilder

SLICE = 16
"""Exchanges made into spans in one turn of the loop: about half a millisecond."""
SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"


class Traces:
    """The observer of finished exchanges that exports spans. Belongs to one loop; `close` it in the end."""

    def __init__(
        self,
        exporter: Exporter,
        resource: Resource,
        scope: InstrumentationScope,
        new_span_id: Callable[[], str],
        *,
        max_queue: int,
        max_batch: int,
        delay_s: float,
        max_value_length: int | None,
        spawn: Callable[[Awaitable[None]], object],
    ) -> None:
        """`max_queue`, `max_batch` and `delay_s` as OTEL_BSP_* say, in exchanges. `spawn` starts a task and
        keeps it."""
        self.dropped = 0
        """Sampled exchanges that found the queue full, or could not be encoded."""
        self._exporter = exporter
        self._resource = resource
        self._scope = scope
        self._new_span_id = new_span_id
        self._max_queue = max_queue
        self._max_batch = max_batch
        self._delay_s = delay_s
        self._max_value_length = max_value_length
        self._spawn = spawn
        self._waiting: deque[Recorded] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._exporting = False
        self._closed = False

    def observe(self, exchange: FinishedExchange) -> None:
        """Takes a sampled exchange. Never raises, never waits."""
        traced = exchange.traced
        if traced is None or not traced.trace.sampled:
            return
        if self._closed or len(self._waiting) >= self._max_queue:
            self.dropped += 1
            return
        self._waiting.append(
            Recorded(exchange, traced.trace, traced.asked, traced.told, traced.finish_reasons, traced.content or None)
        )
        if len(self._waiting) >= self._max_batch:
            self._begin()
        elif self._timer is None and not self._exporting:
            self._timer = asyncio.get_running_loop().call_later(self._delay_s, self._begin)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._exporting:
            self._exporting = True
            self._spawn(self._export())

    async def _export(self) -> None:
        try:
            while self._waiting:
                await self._send_batch()
        finally:
            self._exporting = False

    async def _send_batch(self) -> None:
        offset_ns = time.time_ns() - time.monotonic_ns()
        builder = SpanBuilder(self._new_span_id, offset_ns, self._max_value_length)
        request = ExportTraceServiceRequest()
        spans = request.resource_spans.add(resource=self._resource, schema_url=SCHEMA_URL)
        scoped = spans.scope_spans.add(scope=self._scope, schema_url=SCHEMA_URL)
        for number in range(min(len(self._waiting), self._max_batch)):
            if number and number % SLICE == 0:
                await asyncio.sleep(0)
            recorded = self._waiting.popleft()
            try:
                scoped.spans.extend(builder.spans(recorded))
            except (ValueError, TypeError):  # what protobuf cannot write: one request's loss, not that of all others
                self.dropped += 1
        await self._exporter.send(request.SerializeToString())

    async def close(self, timeout_s: float) -> None:
        """Sends what waits, for at most `timeout_s` seconds."""
        self._closed = True
        self._begin()
        deadline_s = time.monotonic() + timeout_s
        while (self._exporting or self._waiting) and time.monotonic() < deadline_s:  # noqa: ASYNC110  once, at the end
            await asyncio.sleep(0.01)
