"""The real openai SDK in front of the gateway."""

from collections.abc import Iterator

import openai
import pytest

from tests.canaries import CLIENT_KEY, overhear
from tests.conformance.processes import Running, gateway_before_simulator

GPT, CLAUDE = "gpt-5.5", "claude-sonnet-5"

overhear(openai)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway_before_simulator(tmp_path_factory.mktemp("openai")) as found:
        yield found


@pytest.fixture(scope="session")
def gateway_url(running: Running) -> str:
    return running.url


@pytest.fixture(scope="session")
def client(running: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{running.url}/v1", api_key=CLIENT_KEY, max_retries=0, timeout=20) as sdk:
        yield sdk


@pytest.fixture(params=[GPT, CLAUDE])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)
