"""Memory, descriptors and time under many distinct requests."""

import asyncio
import gc
import os

from llm_edge_agent.config import OtelConfig
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import ask, eventually, rss_bytes
from tests.e2e.scripted_upstream import completion, either, hang, reply, whole_stream
from tests.faults.conftest import Bench


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_distinct_requests_do_not_pile_up(bench: Bench) -> None:
    """The cache is bounded in bytes; nothing else of a request may stay."""
    upstream, gateway = await bench.pair(either(reply(completion("x" * 2000)), whole_stream(["x" * 2000])))

    async def some(start: int) -> None:
        async with gateway.connect() as wire:
            for number in range(start, start + 100):
                headers = {"cache-control": "no-store"}
                await wire.send(request_bytes(ask(f"question {number}" * 50, stream=number % 2 == 0), headers))
                assert (await wire.answer()).status == 200
        upstream.received.clear()
        gateway.sent.clear()

    for start in range(0, 1000, 100):
        await some(start)
    gc.collect()
    before = rss_bytes()
    for start in range(1000, 4000, 100):
        await some(start)
    gc.collect()
    assert rss_bytes() - before < 12 * 2**20


async def test_descriptors_stay_flat(bench: Bench) -> None:
    upstream, gateway = await bench.pair(hang, otel=OtelConfig())  # exports have descriptors of their own
    await gateway.get("/health")
    before = _descriptors()
    for start in range(0, 200, 50):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(gateway.chat(ask(f"{start + n}"))) for n in range(50)]
            await eventually(lambda: upstream.exchanges_open == 50)
            for task in tasks:
                task.cancel()
        await eventually(lambda: upstream.connections_open == 0)
    await eventually(lambda: _descriptors() <= before + 2)


async def test_a_reset_at_every_byte_of_a_request_leaks_nothing(bench: Bench) -> None:
    upstream, gateway = await bench.pair(either(reply(completion()), whole_stream()))
    data = request_bytes(ask())
    for start in range(0, len(data), 40):

        async def cut(at: int) -> None:
            async with gateway.connect() as wire:
                await wire.send(data[:at])
                wire.reset()

        await asyncio.gather(*(cut(at) for at in range(start, min(start + 40, len(data)))))
    await eventually(lambda: gateway.server.in_flight == 0)
    assert upstream.calls == 0
    assert (await gateway.chat()).status == 200


async def test_1000_idle_connections_do_not_matter(bench: Bench) -> None:
    _, gateway = await bench.pair(either(reply(completion()), whole_stream()))
    writers = []
    for _ in range(1000):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writers.append(writer)
    async with asyncio.timeout(5):
        assert (await gateway.chat()).status == 200
    for writer in writers:
        writer.close()
