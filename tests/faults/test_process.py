"""The real command as a process of its own: signals, ports, settings, and descriptors that are gone."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import canaries
from tests.canaries import ALICE_KEY, OPENAI_KEY, key_of
from tests.e2e.raw_client import Wire, connected, request_bytes
from tests.e2e.running_gateway import ask, bearer, eventually
from tests.e2e.scripted_upstream import completion, either, hang, reply, whole_stream
from tests.faults.conftest import Bench
from tests.faults.test_drain import Gate
from tests.faults.test_streams import BEGUN, stalls
from tests.ports import free_port

START_S = 15.0
ANSWERS = either(reply(completion()), whole_stream())


class Command:
    """`python -m llm_edge_agent serve` in a folder of its own, with no settings but those given."""

    def __init__(self, folder: Path, upstream_url: str) -> None:
        self.port = free_port()
        self.log_path = folder / "stderr.log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "METRICS_PORT": "0",
            "LEDGER_PATH": str(folder / "ledger.sqlite"),
            "OPENAI_API_KEY": OPENAI_KEY,
            "OPENAI_BASE_URL": f"{upstream_url}/v1",
            "LOG_FORMAT": "json",
            "SHUTDOWN_TIMEOUT_SECONDS": "20",
        }
        self._folder = folder
        self.process: asyncio.subprocess.Process

    async def launch(self, wrapper: str = 'exec "$@"') -> None:
        """Starts it, its standard error in a file. `wrapper` is a shell command around it."""
        with open(self.log_path, "ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                wrapper,
                "sh",
                sys.executable,
                "-m",
                "llm_edge_agent",
                "serve",
                cwd=self._folder,
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )

    async def start(self, wrapper: str = 'exec "$@"') -> None:
        """Starts it and waits until it is ready."""
        await self.launch(wrapper)
        deadline_s = time.monotonic() + START_S
        while True:
            assert self.process.returncode is None, self.log
            with contextlib.suppress(OSError):
                if await self.status(request_bytes(b"", path="/health/ready", method="GET")) == 200:
                    return
            assert time.monotonic() < deadline_s, self.log
            await asyncio.sleep(0.05)

    async def status(self, data: bytes) -> int:
        async with self.connect() as wire:
            await wire.send(data)
            return (await wire.answer()).status

    def connect(self) -> contextlib.AbstractAsyncContextManager[Wire]:
        return connected(self.port, bytearray())

    async def exit_code(self, within_s: float = 10.0) -> int:
        async with asyncio.timeout(within_s):
            return await self.process.wait()

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8")

    async def end(self) -> None:
        if hasattr(self, "process") and self.process.returncode is None:
            await asyncio.to_thread(canaries.look_at_pages, self.port)
            self.process.kill()
            await self.process.wait()
        assert "Traceback" not in self.log
        canaries.look_at_log(self.log_path)
        canaries.look_at_folder(self._folder)


@pytest.fixture
async def command(bench: Bench, tmp_path: Path) -> AsyncIterator[Command]:
    upstream = await bench.upstream(ANSWERS)
    command = Command(tmp_path, upstream.url)
    command.log_path.touch()
    yield command
    await command.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_idle_a_signal_ends_it_within_a_second(number: signal.Signals, command: Command) -> None:
    await command.start()
    began_s = time.monotonic()
    command.process.send_signal(number)
    assert await command.exit_code() == 0
    # An idle gateway promises one second, of the twenty it may take; the rest is a busy machine's.
    assert time.monotonic() - began_s < 8


async def test_a_request_and_a_stream_in_flight_finish(command: Command, bench: Bench) -> None:
    gate = Gate()
    bench.upstreams[0].script = gate
    await command.start()
    async with command.connect() as whole, command.connect() as streamed:
        await whole.send(request_bytes(ask("a")))
        await streamed.send(request_bytes(ask("b", stream=True)))
        await streamed.until(b"assistant")
        await eventually(lambda: bench.upstreams[0].exchanges_open == 2)
        command.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert await command.status(request_bytes(b"", path="/health/ready", method="GET")) == 503
        assert await command.status(request_bytes(ask("c"))) == 503
        gate.open.set()
        assert (await whole.answer()).status == 200
        assert (await streamed.to_end()).endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert await command.exit_code() == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_what_hangs_is_cut_at_the_limit(stream: bool, command: Command, bench: Bench) -> None:
    bench.upstreams[0].script = stalls(BEGUN) if stream else hang
    command.environment["SHUTDOWN_TIMEOUT_SECONDS"] = "1"
    await command.start()
    async with command.connect() as wire:
        await wire.send(request_bytes(ask(stream=stream)))
        await eventually(lambda: bench.upstreams[0].exchanges_open == 1)
        if stream:
            await wire.until(b"four")
        command.process.send_signal(signal.SIGTERM)
        rest = await wire.to_end()
        assert b'"code":"shutting_down"' in rest
        assert await command.exit_code() == 0
    await eventually(lambda: bench.upstreams[0].exchanges_open == 0)


async def test_a_second_signal_ends_it_at_once_without_a_traceback(command: Command, bench: Bench) -> None:
    bench.upstreams[0].script = hang
    await command.start()
    async with command.connect() as wire:
        await wire.send(request_bytes(ask()))
        await eventually(lambda: bench.upstreams[0].exchanges_open == 1)
        command.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert command.process.returncode is None
        command.process.send_signal(signal.SIGTERM)
        assert await command.exit_code(3.0) == 128 + signal.SIGTERM


async def test_sighup_is_survived(command: Command) -> None:
    await command.start()
    command.process.send_signal(signal.SIGHUP)
    await asyncio.sleep(0.1)
    assert await command.status(request_bytes(ask())) == 200


async def test_after_sigkill_the_port_is_free_again(command: Command) -> None:
    await command.start()
    async with command.connect() as wire:
        await wire.send(request_bytes(ask()))
        assert (await wire.answer()).status == 200
        command.process.kill()
        assert await command.exit_code() == -signal.SIGKILL
    await command.start()
    assert await command.status(request_bytes(ask())) == 200


BAD_SETTINGS: list[tuple[str, dict[str, str], str]] = [
    ("a port that is no number", {"PORT": "abc"}, "PORT"),
    ("a port out of range", {"PORT": "70000"}, "PORT"),
    ("no provider", {"OPENAI_API_KEY": ""}, "Error: No providers configured"),
    ("keys asked for and none given", {"AUTH_ENABLED": "true"}, "API_KEYS"),
    ("an empty list of keys", {"AUTH_ENABLED": "true", "API_KEYS": ""}, "API_KEYS"),
    ("an address with a password", {"OPENAI_BASE_URL": f"https://user:{key_of('a-user')}@host/v1"}, "OPENAI_BASE_URL"),
    ("a limit that is no number", {"MAX_REQUEST_SIZE": "lots"}, "MAX_REQUEST_SIZE"),
]


@pytest.mark.parametrize(("name", "settings", "names"), BAD_SETTINGS, ids=[row[0] for row in BAD_SETTINGS])
async def test_bad_settings_stop_the_start(name: str, settings: dict[str, str], names: str, command: Command) -> None:
    command.environment.update(settings)
    if settings.get("OPENAI_API_KEY") == "":
        del command.environment["OPENAI_API_KEY"]
        del command.environment["OPENAI_BASE_URL"]
    await command.launch()
    assert await command.exit_code(START_S) == 2
    assert names in command.log


async def test_a_taken_port_is_named(command: Command) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", command.port))
        taken.listen()
        await command.launch()
        assert await command.exit_code(START_S) != 0
    assert re.search(rf"\b{command.port}\b", command.log)


@pytest.mark.parametrize(
    "wrapper",
    ['exec "$@" 1>&- 2>&-', 'exec "$@" 2>/dev/full', 'mkfifo gone; true <gone & exec "$@" 1>gone 2>&1'],
    ids=["closed", "disk full", "pipe gone"],
)
async def test_it_serves_without_anywhere_to_log(wrapper: str, command: Command) -> None:
    await command.launch(wrapper)
    deadline_s = time.monotonic() + START_S
    while True:
        with contextlib.suppress(OSError):
            if await command.status(request_bytes(b"", path="/health/ready", method="GET")) == 200:
                break
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.05)
    for number in range(20):
        assert await command.status(request_bytes(ask(f"question {number}"))) == 200


async def test_keys_from_the_environment_are_asked_for(command: Command) -> None:
    command.environment["API_KEYS"] = f"alice={ALICE_KEY}"
    await command.start()
    assert await command.status(request_bytes(ask())) == 401
    assert await command.status(request_bytes(ask(), bearer(ALICE_KEY))) == 200
    assert ALICE_KEY not in command.log
