"""More requests than may be under way: a queue with bounds, refusals that say when to come back, and nobody hurt."""

import asyncio
import time
from collections import Counter

from llm_edge_agent.config.values import DeploymentConfig, GroupConfig
from tests.canaries import ALICE_KEY, BOB_KEY
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import TENANTS, ask, bearer, eventually
from tests.e2e.scripted_upstream import SSE_HEAD, Line, Script, chunked, completion, either, pieces, reply, whole_stream
from tests.faults.conftest import Bench

WELL = either(reply(completion()), whole_stream())


def slow(seconds: float, answer: Script = WELL) -> Script:
    async def script(line: Line) -> None:
        await asyncio.sleep(seconds)
        await answer(line)

    return script


async def test_the_queue_is_bounded_in_length(bench: Bench) -> None:
    upstream, gateway = await bench.pair(slow(0.3), max_concurrency=2, queue_size=3, queue_timeout_ms=5000)
    asking = [asyncio.ensure_future(gateway.chat(ask(str(number)))) for number in range(12)]
    await eventually(lambda: gateway.metric("llm_edge_queued_requests") == 3)
    began_s = time.monotonic()
    assert (await gateway.get("/health")).status == 200
    assert time.monotonic() - began_s < 0.2
    answers = await asyncio.gather(*asking)
    assert Counter(answer.status for answer in answers) == {200: 5, 503: 7}
    refused = next(answer for answer in answers if answer.status == 503)
    assert (refused.json["error"]["code"], refused.headers["retry-after"]) == ("gateway_overloaded", "1")
    assert "x-should-retry" not in refused.headers
    assert upstream.calls == 5
    assert gateway.metric("llm_edge_shed_total") == 7
    assert gateway.metric("llm_edge_request_errors_total", error_type="overloaded") == 7
    assert (await gateway.chat()).status == 200


async def test_the_queue_is_bounded_in_time(bench: Bench) -> None:
    _, gateway = await bench.pair(slow(0.6), max_concurrency=1, queue_timeout_ms=150)
    asking = [asyncio.ensure_future(gateway.chat(ask(str(number)))) for number in range(3)]
    done, _ = await asyncio.wait(asking, timeout=0.5)
    assert [each.result().status for each in done] == [503, 503]
    assert sorted(answer.status for answer in await asyncio.gather(*asking)) == [200, 503, 503]


async def test_a_stream_keeps_its_place_until_it_ends_and_gives_it_back_when_its_client_leaves(bench: Bench) -> None:
    release = asyncio.Event()

    async def script(line: Line) -> None:
        if not line.request.json.get("stream"):
            await line.send(reply(completion()))
            return
        await line.send(SSE_HEAD + chunked(b"".join(pieces(["one"]))))
        await release.wait()
        await line.left()
        line.finish()

    _, gateway = await bench.pair(script, max_concurrency=1, queue_timeout_ms=100)
    async with gateway.connect() as wire:
        await wire.send(request_bytes(ask(stream=True)))
        await eventually(lambda: gateway.state.pipeline.gate.inside == 1)
        assert (await gateway.chat(ask("other"))).status == 503
    release.set()
    await eventually(lambda: gateway.state.pipeline.gate.inside == 0)
    assert (await gateway.chat(ask("other"))).status == 200


async def test_those_who_leave_the_queue_take_no_place(bench: Bench) -> None:
    upstream, gateway = await bench.pair(slow(0.5), max_concurrency=1, queue_timeout_ms=3000)
    asking = [asyncio.ensure_future(gateway.chat(ask(str(number)))) for number in range(4)]
    await eventually(lambda: gateway.state.pipeline.gate.waiting == 3)
    for each in asking[1:3]:
        each.cancel()
    await eventually(lambda: gateway.state.pipeline.gate.waiting == 1)
    assert (await asking[3]).status == 200
    assert upstream.calls == 2
    assert gateway.state.pipeline.gate.inside == 0


async def test_a_deployment_at_its_bound_leaves_room_for_another_and_then_waits(bench: Bench) -> None:
    upstream = await bench.upstream(slow(0.3))
    places = [
        DeploymentConfig(name=name, provider="openai", model=name, max_concurrency=bound)
        for name, bound in (("gpt-4o-mini", 1), ("gpt-4o", 2))
    ]
    group = GroupConfig(name="smart", strategy="failover", deployments=tuple(places))
    gateway = await bench.gateway(upstream, groups=(group,), queue_timeout_ms=2000)
    asking = [asyncio.ensure_future(gateway.chat(ask(str(number), model="smart"))) for number in range(6)]
    await eventually(lambda: upstream.calls == 3)
    assert Counter(received.json["model"] for received in upstream.received) == {"gpt-4o-mini": 1, "gpt-4o": 2}
    answers = await asyncio.gather(*asking)
    assert {answer.status for answer in answers} == {200}
    assert upstream.calls == 6


async def test_each_key_has_its_own_rate(bench: Bench) -> None:
    upstream, gateway = await bench.pair(
        WELL, auth_enabled=True, keys=TENANTS, rate_limit_enabled=True, rate_limit_rpm=60, rate_limit_burst=3
    )
    alice = [await gateway.chat(ask("same"), bearer(ALICE_KEY)) for _ in range(5)]
    assert [answer.status for answer in alice] == [200, 200, 200, 429, 429]
    refused = alice[-1]
    assert refused.json["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 2
    assert refused.headers["x-ratelimit-limit-requests"] == "60"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert refused.headers["x-ratelimit-reset-requests"].endswith("ms")
    assert (await gateway.chat(ask("same"), bearer(BOB_KEY))).status == 200
    assert (await gateway.get("/v1/models", bearer(ALICE_KEY))).status == 200
    assert gateway.metric("llm_edge_request_errors_total", error_type="rate_limit_local") == 2
    await asyncio.sleep(1.05)
    assert (await gateway.chat(ask("same"), bearer(ALICE_KEY))).status == 200
    assert upstream.calls == 2


async def test_answers_that_are_remembered_count_too(bench: Bench) -> None:

    _, gateway = await bench.pair(WELL, rate_limit_enabled=True, rate_limit_rpm=60, rate_limit_burst=6)
    statuses = []
    async with gateway.connect() as wire:
        for _ in range(8):
            await wire.send(request_bytes(ask()))
            statuses.append((await wire.answer()).status)
    assert statuses == [200] * 6 + [429] * 2
