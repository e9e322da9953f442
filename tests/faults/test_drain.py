"""Stopping: what can finish within the grace finishes, the rest is told, nothing is left."""

import asyncio
import time

import pytest

from tests.canaries import ANSWER_CANARY
from tests.e2e.raw_client import request_bytes, streamed_text
from tests.e2e.running_gateway import ask, eventually
from tests.e2e.scripted_upstream import (
    LAST_CHUNK,
    SSE_HEAD,
    Line,
    chunked,
    completion,
    either,
    hang,
    reply,
    whole_stream,
)
from tests.faults.conftest import Bench
from tests.faults.shapes import assert_error
from tests.faults.test_streams import BEGUN, stalls


class Gate:
    """A provider that answers when it is let: whole, or a stream of which the beginning is out already."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, line: Line) -> None:
        if line.request.json.get("stream"):
            first, *rest = whole_stream()
            await line.send(SSE_HEAD + chunked(first))
            await self.open.wait()
            await line.send(b"".join(map(chunked, rest)) + LAST_CHUNK)
        else:
            await self.open.wait()
            await line.send(reply(completion()))


async def test_idle_it_is_over_within_a_second(bench: Bench) -> None:
    _, gateway = await bench.pair(hang)
    port = gateway.port
    async with gateway.connect() as wire:
        await wire.send(request_bytes(b"", path="/health", method="GET"))
        assert (await wire.answer()).status == 200
        began_s = time.monotonic()
        await gateway.server.stop(30)
        # An idle gateway promises one second; the rest is a busy machine's.
        assert time.monotonic() - began_s < 5
        assert await wire.to_end() == b""
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_under_way_finishes(stream: bool, bench: Bench) -> None:
    gate = Gate()
    upstream, gateway = await bench.pair(gate)
    async with gateway.connect() as wire:
        await wire.send(request_bytes(ask(stream=stream)))
        await eventually(lambda: upstream.exchanges_open == 1)
        if stream:
            await wire.head()
            assert await wire.chunk()
        stopping = asyncio.ensure_future(gateway.server.stop(20))
        await asyncio.sleep(0.1)
        assert not stopping.done()
        gate.open.set()
        if stream:
            rest = b""
            while (piece := await wire.chunk()) is not None:
                rest += piece
            assert rest.endswith(b"data: [DONE]\n\n")
        else:
            answer = await wire.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert answer.text == ANSWER_CANARY
        assert await wire.to_end() == b""
        async with asyncio.timeout(10):
            await stopping


async def test_meanwhile_newcomers_are_turned_away(bench: Bench) -> None:
    gate = Gate()
    _, gateway = await bench.pair(gate)
    gate.open.set()
    for _ in range(3):
        assert (await gateway.chat(ask("cached"))).status == 200
    gate.open.clear()
    assert (await gateway.get("/health/ready")).status == 200
    async with gateway.connect() as wire:
        await wire.send(request_bytes(ask("slow")))
        await eventually(lambda: gateway.server.in_flight == 1)
        stopping = asyncio.ensure_future(gateway.server.stop(20))
        await asyncio.sleep(0.05)
        ready = await gateway.get("/health/ready")
        assert (ready.status, ready.json) == (503, {"status": "not_ready"})
        assert (await gateway.get("/health/live")).status == 200
        assert (await gateway.get("/health")).status == 200
        for body in (ask("new"), ask("cached")):
            refused = await gateway.chat(body)
            assert_error(refused, 503, "shutting_down")
            assert refused.headers["connection"] == "close"
            assert int(refused.headers["retry-after"]) >= 1
        assert_error(await gateway.get("/v1/models"), 503, "shutting_down")
        gate.open.set()
        assert (await wire.answer()).status == 200
        await stopping


@pytest.mark.parametrize("stream", [False, True])
async def test_what_hangs_is_cut_when_the_grace_is_over_and_told_so(stream: bool, bench: Bench) -> None:
    upstream, gateway = await bench.pair(stalls(BEGUN) if stream else hang)
    async with gateway.connect() as wire:
        await wire.send(request_bytes(ask(stream=stream)))
        await eventually(lambda: upstream.exchanges_open == 1)
        if stream:
            await wire.until(b"four")
        began_s = time.monotonic()
        await gateway.server.stop(0.3)
        assert 0.25 < time.monotonic() - began_s < 10
        if stream:
            rest = await wire.to_end()
            assert rest.count(b'data: {"error":') == 1
            assert b'"code":"shutting_down"' in rest
            assert b"[DONE]" not in rest
        else:
            assert_error(await wire.answer(), 503, "shutting_down")
            assert await wire.to_end() == b""
    await eventually(lambda: upstream.exchanges_open == 0)


async def test_a_pipelined_request_behind_the_last_answer_is_not_run(bench: Bench) -> None:
    gate = Gate()
    upstream, gateway = await bench.pair(gate)
    async with gateway.connect() as wire:
        await wire.send(request_bytes(ask("first")) + request_bytes(ask("second")))
        await eventually(lambda: upstream.calls == 1)
        stopping = asyncio.ensure_future(gateway.server.stop(20))
        await asyncio.sleep(0.05)
        gate.open.set()
        first = await wire.answer()
        assert (first.status, first.headers["connection"]) == (200, "close")
        assert await wire.to_end() == b""
        await stopping
    assert upstream.calls == 1


async def test_many_streams_finish_under_a_drain(bench: Bench) -> None:
    _, gateway = await bench.pair(either(reply(completion()), whole_stream(["a"] * 30), pause_s=0.01))
    asking = [asyncio.ensure_future(gateway.chat(ask(f"{n}", stream=True))) for n in range(50)]
    await eventually(lambda: gateway.server.in_flight == 50)
    await gateway.server.stop(20)
    for answer in await asyncio.gather(*asking):
        assert streamed_text(answer.events) == "a" * 30
        assert answer.events[-1] == "[DONE]"
