"""Every file under examples/ runs as it stands, against simulated providers."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llm_edge_agent.simulator import RunningSimulator, SimulatorSettings, start_simulator
from tests import canaries
from tests.canaries import OPENAI_KEY
from tests.e2e.raw_client import connected, request_bytes
from tests.e2e.running_gateway import RunningGateway, ask, gateway_config, running
from tests.ports import free_port

EXAMPLES = Path(__file__).parent.parent / "examples"
PATIENCE_S = 30.0


@pytest.fixture
async def simulator() -> AsyncIterator[RunningSimulator]:
    found = await start_simulator(SimulatorSettings())
    yield found
    await found.stop()


@pytest.fixture
async def gateway(simulator: RunningSimulator) -> AsyncIterator[RunningGateway]:
    async with running(gateway_config(simulator.url_anthropic)) as found:
        yield found


async def run(name: str, folder: Path, **environment: str) -> str:
    """Runs an example to its end in an empty folder, with no other settings, and returns what it printed."""
    program = [str(EXAMPLES / name)] if name.endswith(".sh") else [sys.executable, str(EXAMPLES / name)]
    process = await asyncio.create_subprocess_exec(
        *program,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, errors = await process.communicate()
    canaries.look(canaries.LOG, f"of {name}", errors)
    assert process.returncode == 0, errors.decode()
    return out.decode()


def test_every_example_has_its_test() -> None:
    tests = Path(__file__).read_text("utf-8")
    names = [path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")]
    assert len(names) >= 6
    assert [name for name in names if f'"{name}"' not in tests] == []


async def test_the_openai_sdk(gateway: RunningGateway, tmp_path: Path) -> None:
    first, first_data, second, second_data = (
        await run("openai_sdk.py", tmp_path, GATEWAY_URL=gateway.url)
    ).splitlines()
    assert first == second
    assert "'cached': False" in first_data
    assert "'cached': True" in second_data


async def test_a_stream(gateway: RunningGateway, tmp_path: Path) -> None:
    printed = await run("openai_stream.py", tmp_path, GATEWAY_URL=gateway.url)
    assert "tokens in" in printed
    assert "'cost_usd'" in printed


async def test_claude(gateway: RunningGateway, simulator: RunningSimulator, tmp_path: Path) -> None:
    printed = await run("claude_through_openai_sdk.py", tmp_path, GATEWAY_URL=gateway.url)
    assert printed.startswith("get_weather({")
    assert len(printed.splitlines()) >= 2
    assert [request.path for request in simulator.simulator.requests] == ["/v1/messages"] * 2


async def test_curl(gateway: RunningGateway, tmp_path: Path) -> None:
    printed = await run("curl.sh", tmp_path, GATEWAY_URL=gateway.url)
    assert printed.count('"metadata"') == 3
    assert "data: [DONE]" in printed
    assert "llm_edge_cost_usd_total{" in printed


async def test_the_library(simulator: RunningSimulator, tmp_path: Path) -> None:
    printed = await run("library_call.py", tmp_path, OPENAI_API_KEY=OPENAI_KEY, OPENAI_BASE_URL=simulator.url_openai)
    assert printed.startswith("200 ")
    assert "data: [DONE]" in printed
    assert "spent:" in printed


async def test_a_starlette_application(simulator: RunningSimulator, tmp_path: Path) -> None:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLES / "starlette_app.py"),
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PORT": str(port),
            "OPENAI_API_KEY": OPENAI_KEY,
            "OPENAI_BASE_URL": simulator.url_openai,
        },
    )
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            assert time.monotonic() < deadline_s
            await asyncio.sleep(0.05)
            with contextlib.suppress(OSError):
                async with connected(port, bytearray()) as wire:
                    await wire.send(request_bytes(b"", path="/", method="GET"))
                    assert b"/llm/v1" in (await wire.answer()).body
                    break
        async with connected(port, bytearray()) as wire:
            await wire.send(request_bytes(ask("hello"), path="/llm/v1/chat/completions"))
            answer = await wire.answer()
        assert (answer.status, answer.json["metadata"]["provider"]) == (200, "openai")
        assert json.loads(simulator.simulator.requests[0].body)["model"] == "gpt-4o-mini"
        process.terminate()
        async with asyncio.timeout(PATIENCE_S):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
