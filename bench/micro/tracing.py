"""What traces cost: microseconds of CPU per request by the share that is sampled, everything included.

    python -m bench.micro.tracing

Of each request: finding its place in the trace, what it gathers while it runs, spans, encoding and the message, all in
batches as in service; only the socket is left out. GenAI metrics over OTLP stand beside it, and what the request path
itself pays (the rest runs when the request is over). Best of several rounds.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Coroutine
from dataclasses import replace
from typing import Any, cast

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bench.micro.telemetry import SAMPLES
from llm_edge_agent.core.tracing import Sampler
from llm_edge_agent.telemetry.genai_metrics import GenAIMetrics
from llm_edge_agent.telemetry.otlp import Exporter
from llm_edge_agent.telemetry.traced import Tracer
from llm_edge_agent.telemetry.traces import Traces

ROUNDS = 7
PER_ROUND = 2_000
BODY = {"model": "gpt-5.5", "messages": [{"role": "user", "content": "x" * 500}], "max_tokens": 256, "seed": 7}
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-5.5-2026-03-05",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "y" * 500}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 412, "completion_tokens": 96},
    }
).encode()


async def _post(headers: bytes, body: bytes) -> int:
    return 200


def _spawn(work: Awaitable[None]) -> object:
    return asyncio.ensure_future(cast(Coroutine[Any, Any, None], work))


def _traces(tracer: Tracer) -> Traces:
    return Traces(
        Exporter("traces", _post, headers={}, gzip=False),
        Resource(),
        InstrumentationScope(name="bench"),
        tracer.new_span_id,
        max_queue=100_000,
        max_batch=512,
        delay_s=60,
        max_value_length=None,
        spawn=_spawn,
    )


async def sampled(ratio: float) -> tuple[float, float]:
    """Microseconds per request: of everything, and of what happens before the request is over."""
    best = on_path = float("inf")
    for _ in range(ROUNDS):
        tracer = Tracer(Sampler("parentbased_traceidratio", ratio))
        traces = _traces(tracer)
        sample = replace(SAMPLES["whole answer"])
        began_ns = time.process_time_ns()
        for _ in range(PER_ROUND):
            traced = tracer.begin({})
            traced.ask(BODY)
            traced.tell(ANSWER, ("stop",))
            sample.traced = traced  # type: ignore[assignment]  # the sample's own default is None
            traces.observe(sample)
        path_ns = time.process_time_ns() - began_ns
        await traces.close(30)
        best = min(best, (time.process_time_ns() - began_ns) / PER_ROUND / 1000)
        on_path = min(on_path, path_ns / PER_ROUND / 1000)
    return best, on_path


async def genai_metrics() -> float:
    """Microseconds per request."""
    exporter = Exporter("metrics", _post, headers={}, gzip=False)
    observer = GenAIMetrics(exporter, Resource(), InstrumentationScope(name="b"), interval_s=60, spawn=_spawn)
    best = float("inf")
    for _ in range(ROUNDS):
        began_ns = time.process_time_ns()
        for _ in range(PER_ROUND):
            observer.observe(SAMPLES["streamed answer"])
        best = min(best, (time.process_time_ns() - began_ns) / PER_ROUND / 1000)
    await observer.close(1)
    return best


async def main() -> None:
    print(f"{'us of CPU per request':<28}{'in all':>10}{'on its path':>14}")
    for ratio in (0.0, 0.1, 1.0):
        in_all, on_path = await sampled(ratio)
        print(f"{f'traces, {ratio:.0%} sampled':<28}{in_all:>10.2f}{on_path:>14.2f}")
    print(f"{'GenAI metrics over OTLP':<28}{await genai_metrics():>10.2f}")


if __name__ == "__main__":
    asyncio.run(main())
