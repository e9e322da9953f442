"""A simulator on a socket, and the real SDKs in front of it."""

from collections.abc import AsyncIterator

import anthropic
import openai
import pytest

from llm_edge_agent.simulator import RunningSimulator, SimulatorSettings, start_simulator


@pytest.fixture
async def running() -> AsyncIterator[RunningSimulator]:
    found = await start_simulator(SimulatorSettings())
    yield found
    await found.stop()


@pytest.fixture
async def gpt(running: RunningSimulator) -> AsyncIterator[openai.AsyncOpenAI]:
    client = openai.AsyncOpenAI(
        base_url=running.url_openai, api_key="sk-test", max_retries=0, _strict_response_validation=True
    )
    async with client:
        yield client


@pytest.fixture
async def claude(running: RunningSimulator) -> AsyncIterator[anthropic.AsyncAnthropic]:
    client = anthropic.AsyncAnthropic(
        base_url=running.url_anthropic, api_key="sk-ant-test", max_retries=0, _strict_response_validation=True
    )
    async with client:
        yield client
