"""Traces in a receiver that decodes them with OpenTelemetry's own package."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from llm_edge_agent.config import OtelConfig, ProviderConfig, Secret
from llm_edge_agent.config.values import DeploymentConfig, GroupConfig
from llm_edge_agent.core.tracing import SamplerName
from tests import canaries
from tests.canaries import CANARY_KEYS, CANARY_TEXTS, PROMPT_CANARY, key_of, prompt
from tests.e2e.collector import Collector
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import MODEL, RunningGateway, ask, eventually, gateway_config, running
from tests.e2e.scripted_upstream import (
    completion,
    either,
    failure,
    reply,
    says,
    scripted,
    whole_stream,
)
from tests.telemetry.test_spans import attributes

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01", "tracestate": "vendor=1"}
ANSWERS = either(reply(completion()), whole_stream())


@contextlib.asynccontextmanager
async def traced_gateway(
    tmp_path: Path, script: Any, **changes: Any
) -> AsyncIterator[tuple[RunningGateway, Collector]]:
    collector = Collector()
    async with scripted(collector.script) as receiver, scripted(script) as upstream:
        otel = OtelConfig(endpoint=receiver.url, delay_ms=50, metric_interval_ms=200, **changes)
        config = replace(gateway_config(upstream.url), otel=otel)
        async with running(config, str(tmp_path / "gateway.log")) as gateway:
            yield gateway, collector


async def test_a_streams_spans_with_the_callers_trace(tmp_path: Path) -> None:
    async with traced_gateway(tmp_path, ANSWERS) as (gateway, collector):
        body = ask(stream=True, max_tokens=9, temperature=0.25)
        answer = await gateway.chat(body, PARENT)
        assert answer.status == 200
        await eventually(lambda: len(collector.spans) == 3)
        server = collector.of("POST /v1/chat/completions")
        call = collector.of(f"chat {MODEL}")
        attempt = collector.of("POST")
        assert {span.trace_id.hex() for span in collector.spans} == {TRACE_ID}
        assert {span.trace_state for span in collector.spans} == {"vendor=1"}
        assert server.parent_span_id.hex() == SPAN_ID
        assert call.parent_span_id == server.span_id
        assert attempt.parent_span_id == call.span_id
        assert server.start_time_unix_nano <= call.start_time_unix_nano <= attempt.start_time_unix_nano
        assert attempt.end_time_unix_nano <= server.end_time_unix_nano
        found = attributes(list(call.attributes))
        assert found["gen_ai.request.max_tokens"] == 9
        assert found["gen_ai.request.temperature"] == 0.25
        assert found["gen_ai.request.stream"] is True
        assert found["gen_ai.response.finish_reasons"] == ["stop"]
        assert found["gen_ai.usage.input_tokens"] == 10
        assert found["gen_ai.usage.output_tokens"] == 5
        assert 0 < found["gen_ai.response.time_to_first_chunk"] < 10
        assert found["server.address"] == "127.0.0.1"
        assert attributes(list(attempt.attributes))["http.response.status_code"] == 200
        assert attributes(list(server.attributes))["llm_edge.request_id"] == answer.headers["x-request-id"]
        resource = collector.resources[0]
        assert resource["service.name"] == "llm-edge-agent"
        assert resource["service.version"]
        assert resource["service.instance.id"]


async def test_repeats_from_the_cache_are_spans_of_their_own(tmp_path: Path) -> None:
    async with traced_gateway(tmp_path, ANSWERS) as (gateway, collector):
        async with gateway.connect() as wire:
            for _ in range(4):  # the last ones are answered without reading the request again
                await wire.send(request_bytes(ask()))
                assert (await wire.answer()).status == 200
        await eventually(lambda: len(collector.spans) == 6)
        servers = [span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER]
        assert len({span.trace_id for span in servers}) == len({span.span_id for span in servers}) == 4
        statuses = [attributes(list(span.attributes))["llm_edge.cache.status"] for span in servers]
        assert sorted(statuses) == ["hit", "hit", "hit", "miss"]


async def test_a_failure_is_an_error_on_every_level(tmp_path: Path) -> None:
    async with traced_gateway(tmp_path, says(failure(500))) as (gateway, collector):
        assert (await gateway.chat()).status == 502
        await eventually(lambda: len(collector.spans) >= 3)
        for span in collector.spans:
            assert span.status.code == 2
            assert "error.type" in attributes(list(span.attributes))


async def test_metrics_go_out_too(tmp_path: Path) -> None:
    async with traced_gateway(tmp_path, ANSWERS) as (gateway, collector):
        await gateway.chat()
        await eventually(lambda: bool(collector.metrics))
        assert gateway.metric("llm_edge_provider_latency_seconds_count", outcome="ok") == 1
        names = {
            metric.name
            for resource in collector.metrics[-1].resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        assert {"gen_ai.client.token.usage", "gen_ai.client.operation.duration"} <= names


async def test_neither_prompts_nor_answers_nor_keys_leave(tmp_path: Path) -> None:
    async with traced_gateway(tmp_path, ANSWERS) as (gateway, collector):
        await gateway.chat()
        await gateway.chat(ask(stream=True, tools=[{"type": "function", "function": {"name": PROMPT_CANARY}}]))
        await gateway.chat(b'{"model": "' + PROMPT_CANARY.encode())
        await eventually(lambda: len(collector.spans) == 7 and bool(collector.metrics))
        for body in collector.bodies:
            for canary in (*CANARY_KEYS, *CANARY_TEXTS):
                assert canary.encode() not in body


@pytest.mark.lets_out(canaries.SPANS, reason="it puts content capture on")
async def test_content_goes_out_where_it_is_wanted(tmp_path: Path) -> None:
    async with traced_gateway(tmp_path, ANSWERS, capture_content=True) as (gateway, collector):
        await gateway.chat()
        await eventually(lambda: len(collector.spans) == 3)
        found = attributes(list(collector.of(f"chat {MODEL}").attributes))
        assert PROMPT_CANARY in found["gen_ai.input.messages"]
        assert json.loads(found["gen_ai.output.messages"])["choices"]
        for body in collector.bodies:
            assert not any(key.encode() in body for key in CANARY_KEYS)


@pytest.mark.parametrize(("sampler", "spans"), [("always_off", 0), ("parentbased_always_off", 0), ("always_on", 3)])
async def test_sampling(tmp_path: Path, sampler: SamplerName, spans: int) -> None:
    async with traced_gateway(tmp_path, ANSWERS, sampler=sampler) as (gateway, collector):
        await gateway.chat()
        await eventually(lambda: bool(collector.metrics))  # metrics know no sampling
        assert len(collector.spans) == spans


async def test_a_number_beyond_all_bounds_costs_nobody_their_spans(tmp_path: Path) -> None:
    async with traced_gateway(tmp_path, ANSWERS) as (gateway, collector):
        for members in ({"max_tokens": 10**30}, {"seed": -(10**20)}, {"top_k": 10**400}, {}):
            assert (await gateway.chat(ask(str(len(str(members))), **members))).status == 200
        await eventually(lambda: len(collector.spans) == 4 * 3)
        assert gateway.metric("llm_edge_traces_dropped_total") == 0


async def test_a_model_name_of_any_length_is_cut(tmp_path: Path) -> None:
    async with traced_gateway(tmp_path, ANSWERS) as (gateway, collector):
        assert (await gateway.chat(ask(model="gpt-" + "o" * 100_000))).status == 200
        await eventually(lambda: len(collector.spans) == 3)
        assert sum(len(body) for body in collector.bodies) < 10_000


async def test_the_collectors_own_headers_compression_and_names(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "common_headers": Secret(f"api-key={key_of('the-collector')},x-team=a%20b"),
        "compression": "gzip",
        "service_name": "edge",
        "resource_attributes": {"deployment.environment.name": "prod"},
    }
    async with traced_gateway(tmp_path, ANSWERS, **changes) as (gateway, collector):
        await gateway.chat()
        await eventually(lambda: bool(collector.spans))
        headers = collector.requests[0].headers
        assert (headers["api-key"], headers["x-team"]) == (key_of("the-collector"), "a b")
        assert headers["content-type"] == "application/x-protobuf"
        resource = collector.resources[0]
        assert (resource["service.name"], resource["deployment.environment.name"]) == ("edge", "prod")


async def test_what_waits_goes_out_at_the_end(tmp_path: Path) -> None:
    collector = Collector()
    async with scripted(collector.script) as receiver, scripted(ANSWERS) as upstream:
        config = replace(gateway_config(upstream.url), otel=OtelConfig(endpoint=receiver.url))
        async with running(config, str(tmp_path / "gateway.log")) as gateway:
            await gateway.chat()
            assert collector.spans == []
        assert len(collector.spans) == 3
        assert len(collector.metrics) == 1


async def test_a_dead_collector_is_said_once_and_harms_nobody(tmp_path: Path) -> None:
    async with scripted(ANSWERS) as upstream:
        otel = OtelConfig(endpoint="http://127.0.0.1:9", delay_ms=10, max_queue=2, metrics_exporter="none")
        async with running(replace(gateway_config(upstream.url), otel=otel), str(tmp_path / "log")) as gateway:
            for number in range(8):
                assert (await gateway.chat(ask(str(number)))).status == 200
            await eventually(lambda: gateway.metric("llm_edge_traces_dropped_total") > 0)
            await asyncio.sleep(0.2)
            text = gateway.log()
    assert text.count("cannot be exported") <= 1
    assert "Traceback" not in text


async def test_without_a_collector_nothing_is_exported(tmp_path: Path) -> None:
    async with (
        scripted(ANSWERS) as upstream,
        running(gateway_config(upstream.url), str(tmp_path / "log")) as gateway,
    ):
        assert (await gateway.chat(headers=PARENT)).status == 200
        assert gateway.state.exporting.close is None


@pytest.mark.parametrize("told", [False, True])
async def test_a_server_of_ones_own_is_told_of_the_trace(tmp_path: Path, told: bool) -> None:
    collector = Collector()
    async with scripted(collector.script) as receiver, scripted(ANSWERS) as upstream:
        config = gateway_config(upstream.url)
        providers = tuple(replace(provider, trace_context=told) for provider in config.providers)
        config = replace(config, providers=providers, otel=OtelConfig(endpoint=receiver.url, delay_ms=50))
        async with running(config, str(tmp_path / "gateway.log")) as gateway:
            assert (await gateway.chat(headers=PARENT)).status == 200
            await eventually(lambda: len(collector.spans) == 3)
        headers = upstream.received[0].headers
        if told:
            attempt = collector.of("POST")
            assert headers["traceparent"] == f"00-{TRACE_ID}-{attempt.span_id.hex()}-01"
            assert headers["tracestate"] == "vendor=1"
        else:
            assert "traceparent" not in headers


async def test_a_failover_with_a_stream_is_told_attempt_by_attempt(tmp_path: Path) -> None:
    collector = Collector()
    async with (
        scripted(collector.script) as receiver,
        scripted(says(reply(failure(503), 503))) as broken,
        scripted(ANSWERS) as sound,
    ):
        accounts = tuple(
            ProviderConfig(name=name, dialect="openai", base_url=f"{each.url}/v1", api_key=Secret(key_of(name)))
            for name, each in (("first", broken), ("second", sound))
        )
        places = tuple(DeploymentConfig(name=each.name, provider=each.name, model=MODEL) for each in accounts)
        group = GroupConfig(name="smart", strategy="failover", deployments=places)
        otel = OtelConfig(endpoint=receiver.url, delay_ms=50)
        config = replace(gateway_config(sound.url), providers=accounts, groups=(group,), otel=otel)
        async with running(config, str(tmp_path / "gateway.log")) as gateway:
            body = {"model": "smart", "messages": [{"role": "user", "content": prompt("hi")}], "stream": True}
            answer = await gateway.chat(json.dumps(body).encode(), PARENT)
            assert (answer.status, answer.headers["x-llm-edge-attempts"]) == (200, "2")
            await eventually(lambda: len(collector.spans) == 4)
    server, call = collector.of("POST /v1/chat/completions"), collector.of(f"chat {MODEL}")
    first, second = (span for span in collector.spans if span.name == "POST")
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE_ID}
    assert (server.parent_span_id.hex(), call.parent_span_id) == (SPAN_ID, server.span_id)
    assert first.parent_span_id == second.parent_span_id == call.span_id
    assert call.start_time_unix_nano <= first.start_time_unix_nano <= second.start_time_unix_nano
    failed, worked = attributes(list(first.attributes)), attributes(list(second.attributes))
    common = {"http.request.method": "POST", "server.address": "127.0.0.1"}
    assert failed == common | {
        "llm_edge.provider": "first",
        "llm_edge.attempt": 1,
        "server.port": broken.port,
        "url.full": f"{broken.url}/v1",
        "http.response.status_code": 503,
        "error.type": "503",
    }
    assert worked == common | {
        "llm_edge.provider": "second",
        "llm_edge.attempt": 2,
        "server.port": sound.port,
        "url.full": f"{sound.url}/v1",
        "http.response.status_code": 200,
        "http.request.resend_count": 1,
    }
    assert [span.status.code for span in (server, call, first, second)] == [0, 0, 2, 0]
    told = attributes(list(call.attributes))
    assert told.pop("gen_ai.response.time_to_first_chunk") > 0
    assert told.pop("llm_edge.cost_usd", 0) >= 0
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "second",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.stream": True,
        "server.address": "127.0.0.1",
        "server.port": sound.port,
        "gen_ai.response.id": "chatcmpl-upstream",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
    }
