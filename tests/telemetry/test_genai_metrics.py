import asyncio
from collections.abc import Awaitable
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import Estimated, TokenUsage
from llm_edge_agent.telemetry.genai_metrics import MAX_SERIES, GenAIMetrics
from llm_edge_agent.telemetry.otlp import Exporter
from llm_edge_agent.telemetry.spending import MOST_TOKENS
from tests.telemetry.exchanges import Finished, failed, hit
from tests.telemetry.test_spans import attributes


def metrics(sent: list[bytes] | None = None, interval_s: float = 60.0) -> GenAIMetrics:
    async def post(headers: bytes, body: bytes) -> int:
        if sent is not None:
            sent.append(body)
        return 200

    def spawn(work: Awaitable[None]) -> object:
        return asyncio.ensure_future(work)

    exporter = Exporter("metrics", post, headers={}, gzip=False)
    return GenAIMetrics(exporter, Resource(), InstrumentationScope(name="x"), interval_s=interval_s, spawn=spawn)


def points(message: ExportMetricsServiceRequest) -> dict[str, list[tuple[dict[str, Any], HistogramDataPoint]]]:
    (resource,) = message.resource_metrics
    (scope,) = resource.scope_metrics
    return {
        metric.name: [(attributes(list(point.attributes)), point) for point in metric.histogram.data_points]
        for metric in scope.metrics
    }


CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5"}


async def test_a_stream_moves_every_instrument() -> None:
    observer = metrics()
    usage = TokenUsage(prompt_tokens=100, completion_tokens=11)
    observer.observe(Finished(stream=True, duration_s=2.5, upstream_s=2.4, ttft_s=0.5, usage=usage))
    found = points(observer.message())
    assert set(found) == {
        "gen_ai.client.token.usage",
        "gen_ai.client.operation.duration",
        "gen_ai.server.request.duration",
        "gen_ai.server.time_to_first_token",
        "gen_ai.server.time_per_output_token",
    }
    tokens = {labels["gen_ai.token.type"]: point for labels, point in found["gen_ai.client.token.usage"]}
    assert (tokens["input"].sum, tokens["output"].sum) == (100, 11)
    assert list(tokens["input"].explicit_bounds[:4]) == [1, 4, 16, 64]
    assert list(tokens["input"].bucket_counts[:6]) == [0, 0, 0, 0, 1, 0]
    ((labels, per_token),) = found["gen_ai.server.time_per_output_token"]
    assert labels == CHAT
    assert (per_token.count, per_token.sum, per_token.min, per_token.max) == (1, 0.2, 0.2, 0.2)
    await observer.close(1)


async def test_estimates_are_no_usage() -> None:
    observer = metrics()
    for estimated in Estimated:
        usage = TokenUsage(prompt_tokens=100, completion_tokens=11, estimated=estimated)
        observer.observe(Finished(stream=True, ttft_s=0.05, usage=usage))
    found = points(observer.message())
    tokens = {labels["gen_ai.token.type"]: point.sum for labels, point in found["gen_ai.client.token.usage"]}
    assert tokens == {"input": 200, "output": 11}
    ((_, per_token),) = found["gen_ai.server.time_per_output_token"]
    assert per_token.count == 1
    await observer.close(1)


async def test_whatever_a_provider_claims_is_counted_within_bounds() -> None:
    observer = metrics()
    observer.observe(Finished(ttft_s=0.05, usage=TokenUsage(prompt_tokens=-5, completion_tokens=10**400)))
    found = points(observer.message())
    tokens = {labels["gen_ai.token.type"]: point.sum for labels, point in found["gen_ai.client.token.usage"]}
    assert tokens == {"input": 0, "output": MOST_TOKENS}
    await observer.close(1)


async def test_hits_errors_and_what_is_no_call() -> None:
    observer = metrics()
    observer.observe(hit())
    observer.observe(failed(ErrorKind.UPSTREAM_TIMEOUT))
    observer.observe(Finished(endpoint="models"))
    observer.observe(Finished(provider=None))
    observer.observe(Finished(model=None))
    found = points(observer.message())
    durations = [labels for labels, _ in found["gen_ai.server.request.duration"]]
    assert durations == [CHAT, {**CHAT, "error.type": "timeout"}, {**CHAT, "gen_ai.request.model": "other"}]
    assert len(found["gen_ai.client.operation.duration"]) == 2  # a hit asked nobody
    await observer.close(1)


async def test_series_are_bounded() -> None:
    observer = metrics()
    for number in range(MAX_SERIES + 50):
        observer.observe(Finished(model=f"m{number}"))
    labels = [labels for labels, _ in points(observer.message())["gen_ai.server.request.duration"]]
    assert len(labels) == MAX_SERIES + 1
    assert labels[-1]["gen_ai.request.model"] == "other"
    await observer.close(1)


async def test_they_are_sent_at_intervals_and_at_the_end() -> None:
    sent: list[bytes] = []
    observer = metrics(sent, interval_s=0.01)
    await observer.close(1)
    assert sent == []  # nothing to say
    observer.observe(Finished())
    while len(sent) < 2:
        await asyncio.sleep(0.005)
    observer.observe(Finished())
    await observer.close(1)
    last = ExportMetricsServiceRequest.FromString(sent[-1])
    ((_, point),) = points(last)["gen_ai.server.request.duration"]
    assert point.count == 2
