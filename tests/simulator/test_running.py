"""The simulator behind a real socket: clients that leave, and clients that read slowly."""

import asyncio
import json

import openai

from llm_edge_agent.simulator import RunningSimulator, SimulatorSettings, start_simulator
from tests.simulator.direct import chat


async def quiet(running: RunningSimulator) -> bool:
    for _ in range(200):
        if running.simulator.open_exchanges == 0:
            return True
        await asyncio.sleep(0.01)
    return False


def wire(body: dict[str, object]) -> bytes:
    data = json.dumps(body).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer k\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


async def test_urls_and_stop() -> None:
    running = await start_simulator(SimulatorSettings())
    assert running.url_openai == f"http://127.0.0.1:{running.port}/v1"
    assert running.url_anthropic == f"http://127.0.0.1:{running.port}"
    await running.stop()


async def test_a_client_that_leaves_mid_stream_is_noticed(running: RunningSimulator, gpt: openai.AsyncOpenAI) -> None:
    stream = await gpt.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "[[sim: tokens=10000, chunk_delay=0.01]]"}],
        stream=True,
    )
    read = 0
    async for _ in stream:
        read += 1
        if read == 4:
            break
    assert running.simulator.open_exchanges == 1
    await stream.close()
    assert await quiet(running)
    bill = running.simulator.billed[-1]
    assert bill.aborted
    assert 3 <= bill.output_tokens < 1000


async def test_clients_that_leave_before_an_answer(running: RunningSimulator) -> None:
    for text, stream in (("[[sim: mode=stall]]", False), ("[[sim: latency=30]]", False), ("[[sim: latency=30]]", True)):
        _, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(wire(chat(text, stream=stream)))
        while running.simulator.open_exchanges == 0:
            await asyncio.sleep(0.005)
        writer.transport.abort()
        assert await quiet(running)
        assert running.simulator.requests[-1].aborted
        assert running.simulator.billed[-1].output_tokens == 0


async def test_a_slow_reader_holds_the_stream(running: RunningSimulator) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port, limit=1024)
    writer.write(wire(chat("[[sim: tokens=16000]]", stream=True) | {"n": 8}))
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(0.2)
    assert running.simulator.open_exchanges == 1
    body = b""
    while not body.endswith(b"0\r\n\r\n"):
        body = (body + await reader.read(1 << 20))[-64:]
    assert b"data: [DONE]" in body
    writer.close()
    assert await quiet(running)
    assert running.simulator.billed[-1].output_tokens == 128_000


async def test_forty_streams_keep_apart(running: RunningSimulator, gpt: openai.AsyncOpenAI) -> None:
    async def ask(number: int) -> str:
        text = f"[[sim: echo, chunk_delay=0.001]] stream number {number}"
        stream = await gpt.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": text}], stream=True
        )
        parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert "".join(parts) == text
        return "".join(parts)

    assert len(set(await asyncio.gather(*(ask(number) for number in range(40))))) == 40
    assert await quiet(running)
    assert len(running.simulator.billed) == 40
