"""What a client sees of the gateway besides the provider's answer: metadata, headers, names, models, health."""

import asyncio
import json
import re
from collections import Counter

import pytest

from llm_edge_agent import __version__
from llm_edge_agent.simulator import RunningSimulator, SimulatorSettings, start_simulator
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import CLAUDE, MODEL, RunningGateway, ask, eventually, gateway_config, running
from tests.e2e.scripted_upstream import completion, failure, reply, says, scripted

TOLD = ("x-llm-edge-cost-usd", "x-llm-edge-latency-ms")
METADATA = {"provider", "cached", "cache_tier", "latency_ms", "cost_usd"}


@pytest.mark.parametrize("model", [MODEL, CLAUDE])
@pytest.mark.parametrize("stream", [False, True])
async def test_metadata_in_the_body(model: str, stream: bool, gateway: RunningGateway) -> None:
    body = ask("hello", model=model, stream=stream)
    miss, hit = await gateway.chat(body), await gateway.chat(body)
    provider = "anthropic" if model == CLAUDE else "openai"
    for answer, cached in ((miss, False), (hit, True)):
        last = answer.events[-2] if stream else answer.json
        assert set(last["metadata"]) == METADATA
        assert last["metadata"]["provider"] == provider
        assert last["metadata"]["cached"] is cached
        assert last["metadata"]["cache_tier"] == ("l1" if cached else None)
        assert last["metadata"]["latency_ms"] >= 0
        assert answer.headers["x-llm-edge-provider"] == provider
        assert answer.headers["x-llm-edge-cache"] == ("hit-l1" if cached else "miss")
        if stream:
            assert not any("metadata" in each for each in answer.events[:-2])
            assert last["choices"][0]["finish_reason"] == "stop"
    cost = (miss.events[-2] if stream else miss.json)["metadata"]["cost_usd"]
    assert 0 < cost < 0.01
    assert (hit.events[-2] if stream else hit.json)["metadata"]["cost_usd"] == 0
    assert int(hit.headers["age"]) >= 0
    assert miss.headers["x-llm-edge-attempts"] == "1"
    assert miss.headers["x-request-id"] != hit.headers["x-request-id"]


@pytest.mark.parametrize("where", ["headers", "off"])
@pytest.mark.parametrize("stream", [False, True])
async def test_metadata_elsewhere(where: str, stream: bool, simulator: RunningSimulator) -> None:
    async with running(gateway_config(simulator.url_anthropic, response_metadata=where)) as gateway:
        body = ask("hello", stream=stream)
        for tier in ("miss", "hit-l1"):
            answer = await gateway.chat(body)
            assert b"metadata" not in answer.body
            assert answer.headers["x-llm-edge-cache"] == tier
            lines, others = answer.headers, answer.trailers
            if stream and tier == "miss":  # a head comes before anything of this is known
                lines, others = others, lines
            assert set(others).isdisjoint(TOLD)
            if where == "off":
                assert set(lines).isdisjoint(TOLD)
                continue
            assert (float(lines["x-llm-edge-cost-usd"]) == 0) == (tier == "hit-l1")
            assert 0 < float(lines["x-llm-edge-latency-ms"]) < 10_000
            assert answer.headers.get("trailer") == (", ".join(TOLD) if answer.trailers else None)


async def test_http_1_0_has_no_place_for_what_is_told_behind_a_stream(simulator: RunningSimulator) -> None:
    asked = request_bytes(ask("hello", stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    config = gateway_config(simulator.url_anthropic, response_metadata="headers")
    async with running(config) as gateway, gateway.connect() as wire:
        await wire.send(asked)
        status, headers = await wire.head()
        body = await wire.to_end()
    assert (status, "trailer" in headers, "transfer-encoding" in headers) == (200, False, False)
    assert body.endswith(b"data: [DONE]\n\n")


async def test_whoever_joins_a_stream_is_told_its_own_cost_behind_it() -> None:
    provider = await start_simulator(SimulatorSettings(latency_s=0.2, tokens_per_s=100))
    async with running(gateway_config(provider.url_anthropic, response_metadata="headers")) as gateway:
        answers = await asyncio.gather(*(gateway.chat(ask("hello", model=CLAUDE, stream=True)) for _ in range(4)))
    await provider.stop()
    told = Counter(
        (answer.headers["x-llm-edge-cache"], float(answer.trailers["x-llm-edge-cost-usd"]) > 0) for answer in answers
    )
    assert told == {("miss", True): 1, ("join", False): 3}


async def test_a_providers_own_metadata_gives_way(gateway: RunningGateway) -> None:
    answer = await gateway.chat(ask("hello", store=True, metadata={"mine": "x"}))
    assert answer.body.count(b'"metadata"') == 1
    assert set(answer.json["metadata"]) == METADATA


async def test_the_cost_is_that_of_the_tokens(gateway: RunningGateway) -> None:
    """gpt-4o-mini: 0.15 dollars a million tokens in, 0.60 out."""
    answer = (await gateway.chat(ask("what does it cost?"))).json
    usage = answer["usage"]
    expected = usage["prompt_tokens"] * 0.15e-6 + usage["completion_tokens"] * 0.60e-6
    assert answer["metadata"]["cost_usd"] == pytest.approx(expected, rel=1e-9)
    assert gateway.metric("llm_edge_cost_usd_total") == pytest.approx(expected, rel=1e-9)


NAMES = [
    (MODEL, MODEL, "openai"),
    ("gpt-4o-mini-2024-07-18", "gpt-4o-mini-2024-07-18", "openai"),
    ("fast", MODEL, "openai"),
    (f"openai/{MODEL}", MODEL, "openai"),
    ("forced", MODEL, "openai"),
    (CLAUDE, CLAUDE, "anthropic"),
    ("team/clever", CLAUDE, "anthropic"),
    (f"anthropic/{CLAUDE}", CLAUDE, "anthropic"),
    ("claude-haiku-4-5", "claude-haiku-4-5", "anthropic"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("asked", "upstream_name", "provider"), NAMES, ids=[row[0] for row in NAMES])
async def test_names(
    asked: str, upstream_name: str, provider: str, stream: bool, gateway: RunningGateway, simulator: RunningSimulator
) -> None:
    answer = await gateway.chat(ask("hello", model=asked, stream=stream))
    assert (answer.status, answer.headers["x-llm-edge-provider"]) == (200, provider)
    assert json.loads(simulator.simulator.requests[-1].body)["model"] == upstream_name


@pytest.mark.parametrize(
    "model", ["no-such-model", "openai/", "/gpt", "nobody/gpt-4o", "mistral-large", "", " gpt-4o-mini"]
)
async def test_an_unknown_model_is_not_found(model: str, gateway: RunningGateway, simulator: RunningSimulator) -> None:
    answer = await gateway.chat(ask("hello", model=model))
    assert answer.status == 404
    assert (answer.error["code"], answer.error["param"]) == ("model_not_found", "model")
    assert answer.error["type"] == "invalid_request_error"


async def test_a_retired_model_still_goes_upstream_with_a_warning(
    gateway: RunningGateway, simulator: RunningSimulator
) -> None:
    answer = await gateway.chat(ask("hello", model="gpt-4-0314"))
    assert "retired-model" in answer.headers["x-llm-edge-warnings"]
    assert json.loads(simulator.simulator.requests[-1].body)["model"] == "gpt-4-0314"
    assert gateway.metric("llm_edge_translation_warnings_total", field="retired-model") == 1
    assert (await gateway.logged("retired-model"))[0]["requested_model"] == "gpt-4-0314"


async def test_a_hit_carries_the_warnings_of_its_answer(gateway: RunningGateway) -> None:
    body = ask("hello", model=CLAUDE, seed=5)
    for _ in range(2):
        answer = await gateway.chat(body)
        assert "seed" in answer.headers["x-llm-edge-warnings"]


async def test_models(gateway: RunningGateway) -> None:
    listing = (await gateway.get("/v1/models")).json
    assert listing["object"] == "list"
    ids = [item["id"] for item in listing["data"]]
    assert len(ids) == len(set(ids))
    assert {MODEL, CLAUDE, "fast", "team/clever"} <= set(ids)
    assert "gpt-4-0314" not in ids
    for item in listing["data"]:
        assert (item["object"], type(item["created"])) == ("model", int)
        assert item["owned_by"] in ("openai", "anthropic")
        one = await gateway.get(f"/v1/models/{item['id']}")
        assert one.json == item
    assert (await gateway.get("/v1/models/team%2Fclever")).json["id"] == "team/clever"
    assert (await gateway.get("/v1/models/")).status in (200, 404)
    missing = await gateway.get("/v1/models/no/such/model")
    assert (missing.status, missing.error["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("path", ["/v1/models", f"/v1/models/{MODEL}", "/health", "/health/ready", "/metrics"])
async def test_head_is_get_without_a_body(path: str, gateway: RunningGateway) -> None:
    got, headed = await gateway.get(path), await gateway.get(path, method="HEAD")
    assert (headed.status, headed.headers["content-type"]) == (200, got.headers["content-type"])
    assert abs(int(headed.headers["content-length"]) - len(got.body)) < 600
    async with gateway.connect() as wire:
        for _ in range(2):
            await wire.send(request_bytes(b"", path=path, method="HEAD"))
            assert (await wire.answer(bodyless=True)).status == 200
        await wire.send(request_bytes(b"", path="/health/live", method="GET"))
        assert (await wire.answer()).json == {"status": "alive"}


WRONG = [
    ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
    ("HEAD", "/v1/chat/completions", 405, None),
    ("OPTIONS", "/v1/chat/completions", 405, "method_not_allowed"),
    ("DELETE", "/v1/models", 405, "method_not_allowed"),
    ("POST", "/health", 405, "method_not_allowed"),
    ("BREW", "/v1/models", 405, "method_not_allowed"),
    ("GET", "/", 404, "unknown_url"),
    ("GET", "/v1", 404, "unknown_url"),
    ("POST", "/v1/unknown", 404, "unknown_url"),
    ("GET", "/v1/../health", 404, "unknown_url"),
    ("GET", "/health/../metrics", 404, "unknown_url"),
    ("GET", "/v1/models/../../etc/passwd", 404, "model_not_found"),
    ("GET", "/V1/MODELS", 404, "unknown_url"),
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/nowhere"])
async def test_a_method_of_a_clients_own_making_is_kept_nowhere(path: str, gateway: RunningGateway) -> None:
    for method in ("g" * 9000, "sk-live-0123456789abcdef"):
        answer = await gateway.exchange(f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())
        assert answer.status in (404, 405)
    await eventually(lambda: gateway.log().count('"event":"request"') == 2)
    assert [json.loads(line)["method"] for line in gateway.log().splitlines() if '"request"' in line] == ["other"] * 2
    assert "g" * 17 not in gateway.log()


@pytest.mark.parametrize(("method", "path", "status", "code"), WRONG)
async def test_wrong_paths_and_methods(
    method: str, path: str, status: int, code: str | None, gateway: RunningGateway
) -> None:
    answer = await gateway.get(path, {"content-length": "0"}, method=method)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    if code is not None:
        assert answer.error["code"] == code
    if status == 405:
        assert answer.headers["allow"]


async def test_health_has_its_exact_shape(gateway: RunningGateway) -> None:
    answer = await gateway.get("/health")
    health = answer.json
    assert answer.status == 200
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", health.pop("timestamp"))
    assert health == {
        "status": "healthy",
        "version": __version__,
        "cache": {"l1_healthy": True, "l2_healthy": False, "l2_configured": False},
        "providers": {
            "openai": {"configured": True, "healthy": True},
            "anthropic": {"configured": True, "healthy": True},
        },
    }
    assert (await gateway.get("/health/ready")).json == {"status": "ready"}
    assert (await gateway.get("/health/live")).json == {"status": "alive"}


async def test_health_without_a_provider(simulator: RunningSimulator) -> None:
    async with running(gateway_config(simulator.url_anthropic, providers=())) as gateway:
        health = await gateway.get("/health")
        assert (health.status, health.json["status"]) == (200, "unhealthy")
        assert health.json["providers"]["openai"] == {"configured": False, "healthy": False}
        assert (await gateway.get("/health/ready")).status == 503
        assert (await gateway.get("/health/live")).status == 200
        assert (await gateway.chat(ask("hello"))).status == 404


async def test_health_and_metrics_are_not_counted_and_call_nobody(
    gateway: RunningGateway, simulator: RunningSimulator
) -> None:
    for path in ("/health", "/health/ready", "/health/live", "/metrics"):
        await gateway.get(path)
    assert gateway.metric("llm_edge_requests_total") == 0
    assert len(simulator.simulator.requests) == 0
    assert "request finished" not in gateway.log()


async def test_the_cost_of_an_unknown_model_is_null_and_never_nothing() -> None:
    async with scripted(says(reply(completion()))) as upstream, running(gateway_config(upstream.url)) as gateway:
        for tier in ("miss", "hit-l1"):
            answer = await gateway.chat(ask("hello", model="gpt-99-unheard-of"))
            assert answer.headers["x-llm-edge-cache"] == tier
            assert answer.json["metadata"]["cost_usd"] == (None if tier == "miss" else 0)
            assert "x-llm-edge-model" not in answer.headers
        assert gateway.metric("llm_edge_requests_total", model="other") == 2


async def test_a_refusal_tells_the_limits_and_who_refused() -> None:
    limits = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6s"}
    lines = ["Retry-After: 17", "x-request-id: req_theirs", "set-cookie: a=b"]
    lines += [f"{name}: {value}" for name, value in limits.items()]
    async with (
        scripted(says(failure(429, "slow down", *lines))) as upstream,
        running(gateway_config(upstream.url)) as gateway,
    ):
        answer = await gateway.chat()
    assert answer.status == 429
    expected = {**limits, "retry-after": "17", "x-llm-edge-provider": "openai", "x-llm-edge-upstream-id": "req_theirs"}
    assert expected.items() <= answer.headers.items()
    assert "set-cookie" not in answer.headers
