"""What is accounted of a request whose client leaves before the provider has told what it used."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llm_edge_agent.simulator import RunningSimulator, SimulatorSettings, start_simulator
from tests.canaries import prompt
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import CLAUDE, RunningGateway, ask, eventually, gateway_config, running
from tests.e2e.scripted_upstream import SSE_HEAD, Line, chunked, event, hang, pieces, says_once, scripted

SLOW = "[[sim: latency=30]]"
SOUND = {"type": "input_audio", "input_audio": {"data": "A" * 40_000, "format": "wav"}}
PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}}


@pytest.fixture
async def simulator() -> AsyncIterator[RunningSimulator]:
    found = await start_simulator(SimulatorSettings())
    yield found
    await found.stop()


async def left(gateway: RunningGateway, simulator: RunningSimulator, body: bytes) -> dict[str, Any]:
    """The log line of a client that leaves when the provider has begun to think."""
    async with gateway.connect() as wire:
        await wire.send(request_bytes(body))
        await eventually(lambda: simulator.simulator.open_exchanges == 1)
        wire.reset()
    await eventually(lambda: '"status":499' in gateway.log())
    (line,) = [json.loads(line) for line in gateway.log().splitlines() if '"status":499' in line]
    await eventually(lambda: simulator.simulator.open_exchanges == 0)
    found: dict[str, Any] = line
    return found


@pytest.mark.parametrize("stream", [False, True])
async def test_who_leaves_before_the_answer_has_used_the_prompt(simulator: RunningSimulator, stream: bool) -> None:
    body = ask(f"{SLOW} How much is it?", stream=stream)
    async with running(gateway_config(simulator.url_anthropic)) as gateway:
        line = await left(gateway, simulator, body)
        guess = len(body) // 4
        assert line["tokens"] == {
            "prompt": pytest.approx(guess, abs=1), "completion": 0, "cached": 0, "reasoning": 0, "estimated": "all",
        }  # fmt: skip
        assert line["cost_usd"] == pytest.approx(line["tokens"]["prompt"] * 0.15e-6)
        assert gateway.metric("llm_edge_cost_estimated_usd_total") == line["cost_usd"]
        assert gateway.metric("llm_edge_tokens_estimated_total") == line["tokens"]["prompt"]
    (bill,) = simulator.simulator.billed
    assert (bill.aborted, bill.output_tokens) == (True, 0)


async def test_the_prompt_is_estimated_by_bills_of_the_same_model(simulator: RunningSimulator) -> None:
    text = "Tell me of the sea. " * 100
    async with running(gateway_config(simulator.url_anthropic)) as gateway:
        for number in range(3):
            assert (await gateway.chat(ask(f"{text}{number}"))).status == 200
        line = await left(gateway, simulator, ask(f"{text}{SLOW}"))
    assert line["tokens"]["prompt"] == pytest.approx(simulator.simulator.billed[-1].input_tokens, rel=0.02)


@pytest.mark.parametrize(("part", "priced"), [(PIXEL, True), (SOUND, False)], ids=["image", "sound"])
async def test_an_attachment_is_not_counted_by_its_bytes(part: dict[str, Any], priced: bool) -> None:
    content = [part, {"type": "text", "text": prompt("What is it?")}]
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}]}).encode()
    async with scripted(hang) as upstream, running(gateway_config(upstream.url)) as gateway:
        async with gateway.connect() as wire:
            await wire.send(request_bytes(body))
            await eventually(lambda: upstream.calls == 1)
            wire.reset()
        (line,) = await gateway.logged('"event":"request"')
    assert line["tokens"]["prompt"] == pytest.approx(1000, rel=0.1)
    assert (line["cost_usd"] is not None) == priced


@pytest.mark.parametrize("members", [{"service_tier": "priority"}, {"service_tier": "flex"}])
async def test_what_is_off_the_price_list_has_tokens_and_no_cost(
    simulator: RunningSimulator, members: dict[str, str]
) -> None:
    async with running(gateway_config(simulator.url_anthropic)) as gateway:
        line = await left(gateway, simulator, ask(f"{SLOW} Be quick.", **members))
    assert line["tokens"]["prompt"] > 0
    assert line["cost_usd"] is None


@pytest.mark.parametrize("reset", [False, True])
async def test_a_stream_that_breaks_between_its_end_and_its_usage_is_estimated(reset: bool) -> None:
    """Its client has the whole answer."""
    data = SSE_HEAD + b"".join(map(chunked, [*pieces("abc"), event({}, "stop")]))
    async with scripted(says_once(data, reset=reset)) as upstream, running(gateway_config(upstream.url)) as gateway:
        body = ask("How much is it?", stream=True)
        answer = await gateway.chat(body)
        assert answer.whole
        assert answer.events[-2]["metadata"]["cost_usd"] is None  # a client is told no estimate
        (line,) = await gateway.logged('"event":"request"')
    assert (line["status"], line["error_type"], line["tokens"]["estimated"]) == (200, None, "all")
    assert line["tokens"]["prompt"] == pytest.approx(len(body) // 4, abs=1)
    assert line["tokens"]["completion"] == pytest.approx(3, abs=1)
    assert line["cost_usd"] > 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_behind_a_stream_that_breaks_no_estimate_is_told(path: str) -> None:
    data = SSE_HEAD + b"".join(map(chunked, pieces("abc")))
    async with (
        scripted(says_once(data)) as upstream,
        running(gateway_config(upstream.url, response_metadata="headers")) as gateway,
    ):
        body = ask("How much is it?", stream=True, max_tokens=50)
        answer = await gateway.exchange(request_bytes(body, path=path))
        (line,) = await gateway.logged('"event":"request"')
    assert (answer.whole, list(answer.trailers)) == (True, ["x-llm-edge-latency-ms"])
    assert line["tokens"]["estimated"] == "all"
    assert line["cost_usd"] > 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
async def test_claude_has_told_everything_with_the_stop_reason(path: str) -> None:
    """Whoever leaves between that and the very end is billed what was told, by every door."""

    def claude(name: str, **members: Any) -> bytes:
        return chunked(b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps({"type": name, **members}).encode()))

    usage = {"input_tokens": 20, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 7, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": CLAUDE, "content": [], "usage": usage}
    begun = [
        claude("message_start", message=message),
        claude("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        claude("content_block_delta", index=0, delta={"type": "text_delta", "text": "a"}),
    ]
    ended = [
        claude("content_block_stop", index=0),
        claude("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 12}),
    ]

    async def script(line: Line) -> None:
        await line.send(SSE_HEAD + b"".join(begun))
        await line.send(b"".join(ended))
        await line.left()
        line.finish()

    async with scripted(script) as upstream, running(gateway_config(upstream.url)) as gateway:
        async with gateway.connect() as wire:
            await wire.send(request_bytes(ask("hello", model=CLAUDE, max_tokens=50, stream=True), path=path))
            await wire.head()
            await asyncio.sleep(0.1)
            wire.reset()
        (line,) = await gateway.logged('"event":"request"')
    assert line["status"] == 499
    assert line["tokens"] == {"prompt": 30, "completion": 12, "cached": 7, "reasoning": 0, "estimated": "none"}


async def test_what_never_went_to_the_provider_costs_nothing(simulator: RunningSimulator) -> None:
    async with running(gateway_config(simulator.url_anthropic, max_concurrency=1)) as gateway:
        async with gateway.connect() as first:
            await first.send(request_bytes(ask(f"{SLOW} first")))
            await eventually(lambda: simulator.simulator.open_exchanges == 1)
            async with gateway.connect() as second:
                await second.send(request_bytes(ask(f"{SLOW} second")))
                await eventually(lambda: gateway.state.pipeline.gate.waiting == 1)
                second.reset()
            line = (await gateway.logged('"event":"request"'))[0]
            assert (line["status"], line["tokens"], line["cost_usd"]) == (499, None, None)
            await asyncio.sleep(0)
        await eventually(lambda: simulator.simulator.open_exchanges == 0)
    assert len(simulator.simulator.billed) == 1
