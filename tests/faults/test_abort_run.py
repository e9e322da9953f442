"""Clients that leave at any point of a request, thousands of them: nothing of them stays."""

import asyncio
import gc
import os
import random

import pytest

from llm_edge_agent.http.tasks import running_tasks
from tests.e2e.raw_client import Wire, request_bytes
from tests.e2e.running_gateway import CLAUDE, RunningGateway, ask, eventually, rss_bytes
from tests.e2e.scripted_upstream import LAST_CHUNK, SSE_HEAD, Line, ScriptedUpstream, chunked, completion, reply
from tests.faults.conftest import Bench
from tests.faults.test_streams import CLAUDE_BEGUN, CLAUDE_END, ways_of_the_world

AT_ONCE = 40
GROWTH_BYTES = 15 * 2**20
WARM_UP = 300

MOMENTS = (
    "before the head",
    "inside the head",
    "inside the body",
    "waiting",
    "mid-stream",
    "at the end",
)


async def _at_its_own_pace(line: Line) -> None:
    """Answers whole or as a stream, in either dialect, with rests in which a client may leave."""
    await asyncio.sleep(0.003)
    if not line.request.json.get("stream"):
        await line.send(reply(completion()))
        return
    claude = line.request.target.endswith("/messages")
    await line.send(SSE_HEAD)
    for each in [*CLAUDE_BEGUN, *CLAUDE_END] if claude else ways_of_the_world(line):
        await line.send(chunked(each))
        await asyncio.sleep(0.001)
    await line.send(LAST_CHUNK)


async def _abandon(gateway: RunningGateway, number: int, chance: random.Random) -> None:
    moment = chance.choice(MOMENTS)
    stream = moment == "mid-stream" or chance.random() < 0.5
    model = chance.choice(["gpt-4o-mini", CLAUDE]) if stream else "gpt-4o-mini"
    body = ask(f"question {number} of one who leaves " * chance.randrange(1, 60), stream=stream, model=model)
    data = request_bytes(body, {"cache-control": chance.choice(["no-store", "no-cache", "max-age=1"])})
    head_bytes = data.index(b"\r\n\r\n") + 4
    async with gateway.connect() as wire:
        if moment == "inside the head":
            await wire.send(data[: chance.randrange(1, head_bytes)])
        elif moment == "inside the body":
            await wire.send(data[: chance.randrange(head_bytes, len(data))])
        elif moment != "before the head":
            await wire.send(data)
            await _read_up_to(moment, wire, chance)
        if chance.random() < 0.5:
            wire.reset()


async def _read_up_to(moment: str, wire: Wire, chance: random.Random) -> None:
    if moment == "at the end":
        assert (await wire.answer()).status == 200
    elif moment == "mid-stream":
        await wire.head()
        for _ in range(chance.randrange(1, 5)):
            if await wire.chunk() is None:
                break
    else:
        await asyncio.sleep(chance.random() * 0.01)


async def _run(upstream: ScriptedUpstream, gateway: RunningGateway, numbers: range) -> None:
    for start in range(numbers.start, numbers.stop, AT_ONCE):
        group = range(start, min(start + AT_ONCE, numbers.stop))
        await asyncio.gather(*(_abandon(gateway, number, random.Random(number)) for number in group))
        upstream.received.clear()
        gateway.sent.clear()


async def _nothing_is_left(upstream: ScriptedUpstream, gateway: RunningGateway) -> None:
    await eventually(lambda: gateway.server.in_flight == 0)
    await eventually(lambda: gateway.state.pool.in_use == 0)
    await eventually(lambda: running_tasks() == 0)
    await eventually(lambda: upstream.exchanges_open == 0)
    assert gateway.metric("llm_edge_upstream_connections", state="in_use") == 0
    assert gateway.metric("llm_edge_active_requests") == 0
    assert (await gateway.chat()).status == 200


async def _abort_run(bench: Bench, count: int) -> None:
    # The log is at `error`: a line per request is not what is measured, and a run that logs an error has failed.
    upstream, gateway = await bench.pair(_at_its_own_pace, log_level="error")
    await _run(upstream, gateway, range(WARM_UP))
    await _nothing_is_left(upstream, gateway)
    gc.collect()
    memory, descriptors = rss_bytes(), len(os.listdir("/proc/self/fd"))
    await _run(upstream, gateway, range(WARM_UP, WARM_UP + count))
    await _nothing_is_left(upstream, gateway)
    gc.collect()
    assert rss_bytes() - memory < GROWTH_BYTES
    await eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors + AT_ONCE)
    assert gateway.log() == ""


async def test_300_requests_that_are_abandoned(bench: Bench) -> None:
    await _abort_run(bench, 300)


@pytest.mark.long
async def test_10_000_requests_that_are_abandoned(bench: Bench) -> None:
    await _abort_run(bench, 10_000)
