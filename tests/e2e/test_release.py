"""What a request held is free once it is answered, without the collector: bodies are megabytes, and it runs seldom."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from llm_edge_agent.gateway.miss import Miss
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import ask, eventually, gateway_config, running
from tests.e2e.scripted_upstream import (
    SSE_HEAD,
    Line,
    Script,
    chunked,
    completion,
    event,
    failure,
    hang,
    pieces,
    reply,
    says,
    says_once,
    scripted,
    streams,
    whole_stream,
)


async def begins_and_hangs(line: Line) -> None:
    await line.send(SSE_HEAD + chunked(event({"content": "one"})))
    await hang(line)


def held() -> int:
    return sum(isinstance(each, Miss) for each in gc.get_objects())


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "script",
    [
        pytest.param(says(reply(completion())), id="whole"),
        pytest.param(streams(whole_stream()), id="stream"),
        pytest.param(streams(pieces(["one", "two"])), id="stream cut"),
        pytest.param(
            says(SSE_HEAD + chunked(b'data: {"error":{"message":"no"}}\n\n') + b"0\r\n\r\n"), id="error at first"
        ),
        pytest.param(says(failure(400)), id="refused"),
        pytest.param(says(failure(500)), id="failed"),
        pytest.param(says(reply(b"<html>")), id="no completion"),
        pytest.param(says_once(b"HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\n{"), id="cut short"),
        pytest.param(says_once(b"", reset=True), id="reset"),
    ],
)
async def test_answered(script: Script, stream: bool) -> None:
    async with scripted(script) as upstream, running(gateway_config(upstream.url)) as gateway:
        await gateway.chat(ask(stream=stream))
        await eventually(lambda: held() == 0)


@pytest.mark.parametrize("script", [hang, begins_and_hangs])
async def test_left(script: Script) -> None:
    async with scripted(script) as upstream, running(gateway_config(upstream.url)) as gateway:
        async with gateway.connect() as wire:
            await wire.send(request_bytes(ask(stream=True)))
            await eventually(lambda: upstream.exchanges_open == 1)
            await asyncio.sleep(0.05)
            assert held() == 1
        await eventually(lambda: held() == 0)
