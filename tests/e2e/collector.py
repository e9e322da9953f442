"""An OTLP receiver that decodes what it gets with OpenTelemetry's own package."""

import gzip
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests import canaries
from tests.e2e.scripted_upstream import Line, Received
from tests.telemetry.test_spans import attributes


class Collector:
    """Its script answers over HTTP. What it gets is searched for canaries."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.requests: list[Received] = []
        self.bodies: list[bytes] = []

    async def script(self, line: Line) -> None:
        request = line.request
        self.requests.append(request)
        body = request.body
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.bodies.append(body)
        before = len(self.spans)
        if request.target == "/v1/traces":
            message = ExportTraceServiceRequest.FromString(body)
            for resource in message.resource_spans:
                self.resources.append(attributes(list(resource.resource.attributes)))
                for scope in resource.scope_spans:
                    assert scope.scope.name == "llm_edge_agent"
                    self.spans.extend(scope.spans)
            canaries.look(canaries.SPANS, "at a collector", body, len(self.spans) - before)
        else:
            assert request.target == "/v1/metrics"
            canaries.look(canaries.METRICS, "at a collector", body)
            self.metrics.append(ExportMetricsServiceRequest.FromString(body))
        await line.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    def forget(self) -> None:
        """What was received so far."""
        for kept in (self.spans, self.resources, self.metrics, self.requests, self.bodies):
            kept.clear()

    def of(self, name: str) -> Span:
        (found,) = [span for span in self.spans if span.name == name]
        return found
