"""A gateway in front of the simulator, both as the real commands, and what the simulator says of it.

Needs nothing of the project but its command, so that the suites also run in an environment with another SDK major:
`GATEWAY_COMMAND` names the command there. `CONFORMANCE_TARGET=simulator` runs a suite straight against the simulator:
what holds there and not through the gateway is the gateway's doing.
"""

import json
import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import canaries
from tests.canaries import ANTHROPIC_KEY, CLIENT_KEY, OPENAI_KEY

UPSTREAM_TIMEOUT_S = 2
STRAIGHT = os.environ.get("CONFORMANCE_TARGET", "gateway") == "simulator"
through_the_gateway = pytest.mark.skipif(STRAIGHT, reason="about the gateway itself")


@dataclass(frozen=True)
class Running:
    url: str
    """Where the SDKs are pointed at, without `/v1`."""
    simulator_url: str

    def simulator(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.simulator_url}/simulator/{path}", timeout=5) as answer:
            return json.load(answer)

    def open_exchanges(self) -> int:
        """Requests that the provider is still at."""
        found: int = self.simulator("billing?after=1000000000")["open"]
        return found

    def wait_until(self, count: int, timeout_s: float = 3) -> float:
        """Seconds until the provider is at so many requests. Fails the test where that takes too long."""
        began_s = time.monotonic()
        while self.open_exchanges() != count:
            assert time.monotonic() - began_s < timeout_s, f"the provider is at {self.open_exchanges()} requests"
            time.sleep(0.01)
        return time.monotonic() - began_s

    def billed(self, request_id: str) -> dict[str, Any]:
        """The provider's bill for the request whose id it told."""
        (bill,) = [bill for bill in self.simulator("billing")["billed"] if bill["request_id"] == request_id]
        found: dict[str, Any] = bill
        return found


def command() -> list[str]:
    named = os.environ.get("GATEWAY_COMMAND")
    return [named] if named else [sys.executable, "-m", "llm_edge_agent"]


def free_port() -> int:
    """Below the ports of outgoing connections, of which another test's may take one before the program listens."""
    while True:
        port = random.SystemRandom().randint(20_000, 32_767)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


@contextmanager
def process(arguments: list[str], port: int, folder: Path, **environment: str) -> Iterator[None]:
    """The command, once it listens on the port."""
    with (folder / f"{arguments[0]}.log").open("w") as log:
        child = subprocess.Popen(
            [*command(), *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        deadline_s = time.monotonic() + 20
        while time.monotonic() < deadline_s and child.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            pytest.fail(f"{arguments[0]} did not start: {(folder / f'{arguments[0]}.log').read_text()}")
        yield
    finally:
        if arguments == ["serve"]:
            canaries.look_at_pages(port, CLIENT_KEY)
        child.terminate()
        child.wait(20)
    if arguments == ["serve"]:
        assert '"event":"request"' in (folder / "serve.log").read_text()
        canaries.look_at_log(folder / "serve.log")
        canaries.look_at_folder(folder)


@contextmanager
def gateway_before_simulator(folder: Path, **settings: str) -> Iterator[Running]:
    """Both of them, or the simulator alone where the suite runs straight against it."""
    provider, port = free_port(), free_port()
    simulator_url = f"http://127.0.0.1:{provider}"
    mock = ["mock", "--port", str(provider), "--latency", "0", "--tokens-per-second", "0", "--record"]
    environment = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "METRICS_PORT": "0",
        "LEDGER_PATH": str(folder / "ledger.sqlite"),
        "API_KEYS": f"conformance={CLIENT_KEY}",
        "OPENAI_API_KEY": OPENAI_KEY,
        "OPENAI_BASE_URL": f"{simulator_url}/v1",
        "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
        "ANTHROPIC_BASE_URL": simulator_url,
        "UPSTREAM_TIMEOUT_SECONDS": str(UPSTREAM_TIMEOUT_S),
        "STREAM_IDLE_TIMEOUT_SECONDS": str(UPSTREAM_TIMEOUT_S),
        # A suite of failures: each is asked for once, and no provider is left alone for its many.
        "MAX_RETRIES": "0",
        "CIRCUIT_BREAKER_FAILURES": "1000000",
        **settings,
    }
    with process([*mock, "--model", "own-instruct"], provider, folder):
        if STRAIGHT:
            yield Running(simulator_url, simulator_url)
            return
        with process(["serve"], port, folder, **environment):
            yield Running(f"http://127.0.0.1:{port}", simulator_url)
