"""Many who ask the same at once, and a leader who hangs up: one call, nobody loses an answer, nothing leaks."""

import asyncio
import json

import pytest

from tests.canaries import ALICE_KEY, BOB_KEY, prompt
from tests.e2e.raw_client import Answer, request_bytes, streamed_text
from tests.e2e.running_gateway import TENANTS, ask, bearer, eventually
from tests.e2e.scripted_upstream import DONE, LAST_CHUNK, SSE_HEAD, Line, chunked, completion, event, pieces, reply
from tests.faults.conftest import Bench

REST = [event({}, "stop"), DONE]


def text_of(answer: Answer) -> str:
    streamed = answer.headers["content-type"].startswith("text/event-stream")
    return streamed_text(answer.events) if streamed else answer.text


@pytest.mark.parametrize("stream", [False, True])
async def test_twenty_identical_and_the_leader_hangs_up(stream: bool, bench: Bench) -> None:
    go = asyncio.Event()

    async def begins(line: Line) -> None:
        """Tells each tenant's answer apart by the question."""
        question = json.loads(line.request.body)["messages"][0]["content"]
        if line.request.json.get("stream"):
            await line.send(SSE_HEAD + b"".join(map(chunked, pieces([question]))))
            await go.wait()
            await line.send(b"".join(map(chunked, REST)) + LAST_CHUNK)
        else:
            await go.wait()
            await line.send(reply(completion(question)))

    upstream, gateway = await bench.pair(begins, auth_enabled=True, keys=TENANTS)
    async with gateway.connect() as leader:
        await leader.send(request_bytes(ask("same", stream=stream), bearer(ALICE_KEY)))
        await eventually(lambda: upstream.calls == 1)
        followers = [
            asyncio.create_task(gateway.chat(ask("same", stream=number % 2 == 0), bearer(ALICE_KEY)))
            for number in range(19)
        ]
        stranger = asyncio.create_task(gateway.chat(ask("same", stream=stream), bearer(BOB_KEY)))
        await eventually(lambda: gateway.server.in_flight == 21)
        leader.reset()
        await eventually(lambda: gateway.server.in_flight == 20)
    assert upstream.exchanges_open == 2
    go.set()
    answers = await asyncio.gather(*followers)
    assert {text_of(answer) for answer in answers} == {prompt("same")}
    assert {answer.headers["x-llm-edge-cache"] for answer in answers} == {"join"}
    assert (await stranger).headers["x-llm-edge-cache"] == "miss"
    assert upstream.calls == 2
    assert gateway.metric("llm_edge_cache_lookups_total", result="join") == 19
    await eventually(lambda: gateway.metric("llm_edge_requests_total", status="cancelled") == 1)
