"""The real anthropic SDK in front of the gateway. Every answer is checked against the SDK's own types."""

from collections.abc import Iterator

import anthropic
import pytest

from tests.canaries import CLIENT_KEY, overhear
from tests.conformance.processes import Running, gateway_before_simulator

overhear(anthropic)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with gateway_before_simulator(tmp_path_factory.mktemp("anthropic")) as found:
        yield found


@pytest.fixture(scope="session")
def client(running: Running) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=running.url,
        api_key=CLIENT_KEY,
        max_retries=0,
        timeout=20,
        _strict_response_validation=True,
    ) as sdk:
        yield sdk


@pytest.fixture(params=["claude-haiku-4-5", "claude-opus-5"])
def model(request: pytest.FixtureRequest) -> str:
    """One that thinks only when asked, one that always does."""
    return str(request.param)
