from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import Estimated, TokenUsage
from llm_edge_agent.core.tracing import Trace
from llm_edge_agent.telemetry.genai import Told
from llm_edge_agent.telemetry.spans import Recorded, SpanBuilder
from llm_edge_agent.telemetry.spending import MOST_TOKENS
from llm_edge_agent.telemetry.traced import Address
from tests.telemetry.exchanges import Finished, Tried, failed, hit

TRACE = Trace("4b" * 16, "aa" * 8, "bb" * 8, True, "vendor=1")
OFFSET_NS = 1_000_000_000_000
OPENAI = Address("api.openai.com", 443, "https://api.openai.com/v1")
ANTHROPIC = Address("api.anthropic.com", 443, "https://api.anthropic.com")


def attributes(pairs: "list[KeyValue]") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind or "string_value")
        found[pair.key] = [each.string_value for each in value.values] if kind == "array_value" else value
    return found


def built(exchange: Finished, *, limit: int | None = None, **gathered: Any) -> list[Span]:
    ids = iter(f"{number:016x}" for number in range(1, 20))
    builder = SpanBuilder(lambda: next(ids), OFFSET_NS, limit)
    return builder.spans(
        Recorded(exchange, TRACE, gathered.pop("request", {}), gathered.pop("told", Told()), **gathered)
    )


def test_whatever_a_provider_claims_makes_a_span() -> None:
    absurd = TokenUsage(prompt_tokens=10**30, completion_tokens=10**400, cache_read_tokens=-1, reasoning_tokens=10**40)
    call = built(Finished(usage=absurd, cost_picodollars=10**400))[1]
    told = attributes(call.attributes)
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (MOST_TOKENS, MOST_TOKENS)
    assert "gen_ai.usage.cache_read.input_tokens" not in told
    assert told["llm_edge.cost_usd"] > 10**6


def test_a_request_its_call_and_its_attempts() -> None:
    exchange = Finished(
        request_id="req-7",
        started_s=1.0,
        duration_s=2.0,
        stream=True,
        ttft_s=0.5,
        provider="anthropic",
        requested_model="smart",
        usage=TokenUsage(
            prompt_tokens=100, completion_tokens=20, cache_read_tokens=60, cache_write_tokens=30, reasoning_tokens=5
        ),
        cost_picodollars=1_500_000_000,
        key_id="1a2b3c4d",
        chosen="anthropic/claude-sonnet-5; group=smart; by=failover; try=2",
        attempts=(
            Tried("openai", "gpt-5.5", 1.1, 1.2, 503, ErrorKind.UPSTREAM_OVERLOADED, OPENAI, "cc" * 8),
            Tried("anthropic", "claude-sonnet-5", 1.25, 3.0, 200, None, ANTHROPIC),
        ),
    )
    server, call, first, second = built(
        exchange,
        request={"gen_ai.request.max_tokens": 64, "gen_ai.request.stop_sequences": ["END"]},
        told=Told("msg_1", "claude-sonnet-5-20260101", "priority", "fp_1"),
        finish_reasons=("stop", None),
    )
    for span in (server, call, first, second):
        assert span.trace_id.hex() == TRACE.trace_id
        assert span.trace_state == "vendor=1"
        assert span.flags == 1
    assert (server.span_id.hex(), server.parent_span_id.hex()) == ("aa" * 8, "bb" * 8)
    assert call.parent_span_id == server.span_id
    assert first.parent_span_id == second.parent_span_id == call.span_id
    assert first.span_id.hex() == "cc" * 8  # as its provider was told
    assert (server.name, server.kind) == ("POST /v1/chat/completions", Span.SPAN_KIND_SERVER)
    assert (call.name, call.kind) == ("chat claude-sonnet-5", Span.SPAN_KIND_CLIENT)
    assert (first.name, first.kind) == ("POST", Span.SPAN_KIND_CLIENT)
    assert server.start_time_unix_nano == OFFSET_NS + 1_000_000_000
    assert server.end_time_unix_nano == OFFSET_NS + 3_000_000_000
    assert (call.start_time_unix_nano, call.end_time_unix_nano) == (OFFSET_NS + 1_100_000_000, OFFSET_NS + 3 * 10**9)
    assert attributes(list(server.attributes)) == {
        "http.request.method": "POST",
        "http.route": "/v1/chat/completions",
        "url.path": "/v1/chat/completions",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "network.protocol.name": "http",
        "llm_edge.request_id": "req-7",
        "llm_edge.cache.status": "miss",
        "llm_edge.cache.tier": "none",
        "llm_edge.key_id": "1a2b3c4d",
        "llm_edge.requested_model": "smart",
        "llm_edge.cost_usd": 0.0015,
        "llm_edge.attempts": 2,
        "llm_edge.route": "anthropic/claude-sonnet-5; group=smart; by=failover; try=2",
    }
    assert [(event.name, attributes(list(event.attributes))) for event in server.events] == [
        ("llm_edge.cache.lookup", {"llm_edge.cache.status": "miss"})
    ]
    assert attributes(list(call.attributes)) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-5",
        "gen_ai.request.stream": True,
        "server.address": "api.anthropic.com",
        "server.port": 443,
        "gen_ai.request.max_tokens": 64,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.response.model": "claude-sonnet-5-20260101",
        "gen_ai.response.id": "msg_1",
        "openai.response.service_tier": "priority",
        "openai.response.system_fingerprint": "fp_1",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.response.time_to_first_chunk": 1.0 + 0.5 - 1.1,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.cache_creation.input_tokens": 30,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "llm_edge.cost_usd": 0.0015,
    }
    assert attributes(list(first.attributes)) == {
        "http.request.method": "POST",
        "llm_edge.provider": "openai",
        "llm_edge.attempt": 1,
        "server.address": "api.openai.com",
        "server.port": 443,
        "url.full": "https://api.openai.com/v1",
        "http.response.status_code": 503,
        "error.type": "503",
    }
    assert attributes(list(second.attributes))["http.request.resend_count"] == 1
    assert [span.status.code for span in (server, call, first, second)] == [
        Status.STATUS_CODE_UNSET,
        Status.STATUS_CODE_UNSET,
        Status.STATUS_CODE_ERROR,
        Status.STATUS_CODE_UNSET,
    ]


@pytest.mark.parametrize(
    ("estimated", "told"), [(Estimated.NOTHING, None), (Estimated.COMPLETION, "completion"), (Estimated.ALL, "all")]
)
def test_a_call_says_which_of_its_tokens_are_estimates(estimated: Estimated, told: str | None) -> None:
    _, call, _ = built(Finished(usage=TokenUsage(prompt_tokens=5, estimated=estimated)))
    assert attributes(list(call.attributes)).get("llm_edge.usage.estimated") == told


def test_a_hit_is_one_span() -> None:
    (server,) = built(hit())
    found = attributes(list(server.attributes))
    assert (found["llm_edge.cache.status"], found["llm_edge.cache.tier"]) == ("hit", "l1")
    assert found["llm_edge.cost_usd"] == 0.0


def test_what_is_no_call_has_no_call_span() -> None:
    (server,) = built(Finished(endpoint="models", cache="none", attempts=()))
    assert "llm_edge.cache.status" not in attributes(list(server.attributes))
    assert not server.events


def test_failures_are_errors_where_they_are_ours_or_the_providers() -> None:
    broken = Tried(status=None, error=ErrorKind.UPSTREAM_TIMEOUT, ended_s=None)
    server, call, attempt = built(failed(ErrorKind.UPSTREAM_TIMEOUT, attempts=(broken,), duration_s=0.5))
    for span in (server, call, attempt):
        assert attributes(list(span.attributes))["error.type"] == "timeout"
        assert span.status.code == Status.STATUS_CODE_ERROR
    assert attempt.end_time_unix_nano == server.end_time_unix_nano  # it never heard of its end
    (server,) = built(failed(ErrorKind.INVALID_TYPE, attempts=()))
    assert attributes(list(server.attributes))["error.type"] == "400"
    assert server.status.code == Status.STATUS_CODE_UNSET


def test_long_values_are_cut_and_unknown_providers_have_no_address() -> None:
    exchange = Finished(provider="elsewhere", attempts=(Tried(provider="elsewhere", upstream_model="m" * 50),))
    _, call, attempt = built(
        exchange, limit=10, finish_reasons=("a" * 30,), content={"gen_ai.input.messages": "p" * 99}
    )
    found = attributes(list(call.attributes))
    assert found["gen_ai.request.model"] == "m" * 10
    assert found["gen_ai.response.finish_reasons"] == ["a" * 10]
    assert found["gen_ai.input.messages"] == "p" * 10
    assert "server.address" not in attributes(list(attempt.attributes))
