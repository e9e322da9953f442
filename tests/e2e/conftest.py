"""The gateway in front of the simulator, and the real SDK in front of the gateway."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import openai
import pytest
import uvloop

from llm_edge_agent.simulator import RunningSimulator, SimulatorSettings, start_simulator
from tests.canaries import CLIENT_KEY, overhear
from tests.e2e.running_gateway import CLAUDE, MODEL, RunningGateway, gateway_config, running

overhear(openai)

ALIASES = {"fast": MODEL, "team/clever": CLAUDE, "forced": f"openai/{MODEL}"}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the gateway runs on in service."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def simulator() -> AsyncIterator[RunningSimulator]:
    found = await start_simulator(SimulatorSettings())
    yield found
    await found.stop()


@pytest.fixture
async def gateway(simulator: RunningSimulator) -> AsyncIterator[RunningGateway]:
    """A gateway with its ordinary settings in front of the simulator's both sides."""
    async with running(gateway_config(simulator.url_anthropic, aliases=ALIASES)) as found:
        yield found


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    """The real SDK, as a user has it, but that it does not retry."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=CLIENT_KEY, max_retries=0) as found:
        yield found
