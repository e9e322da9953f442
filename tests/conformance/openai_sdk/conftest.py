"""A gateway in front of the simulator, both as the real commands, and the real openai SDK as the client.

Needs nothing of the project but its command, so that the suite also runs in an environment with another SDK major:
`GATEWAY_COMMAND` names the command there.
"""

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

GPT, CLAUDE = "gpt-5.5", "claude-sonnet-5"


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
def running(arguments: list[str], port: int, folder: Path, **environment: str) -> Iterator[None]:
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
        child.terminate()
        child.wait(20)


@pytest.fixture(scope="session")
def gateway_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("gateway")
    provider, port = free_port(), free_port()
    settings = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "METRICS_PORT": "0",
        "API_KEYS": "conformance=gateway-key",
        "OPENAI_API_KEY": "sk-upstream-openai",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{provider}/v1",
        "ANTHROPIC_API_KEY": "sk-ant-upstream",
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{provider}",
        "UPSTREAM_TIMEOUT_SECONDS": "3",
    }
    mock = ["mock", "--port", str(provider), "--latency", "0", "--tokens-per-second", "0"]
    with running(mock, provider, folder), running(["serve"], port, folder, **settings):
        yield f"http://127.0.0.1:{port}"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def client(gateway_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway_url}/v1", api_key="gateway-key", max_retries=0, timeout=20) as sdk:
        yield sdk


@pytest.fixture(params=[GPT, CLAUDE])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)
