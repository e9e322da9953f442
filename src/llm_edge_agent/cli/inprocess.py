"""Gateway and simulator inside the process of a command, on loopback ports of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from llm_edge_agent.app import initialize_app_state
from llm_edge_agent.config import AppConfig, ProviderConfig, Secret
from llm_edge_agent.serving import GatewayServer
from llm_edge_agent.simulator import RunningSimulator, SimulatorSettings, start_simulator

HOST = "127.0.0.1"
LATENCY_S = 0.3
TOKENS_PER_S = 60.0


@asynccontextmanager
async def simulated_providers() -> AsyncIterator[RunningSimulator]:
    """A simulator with the latency and pace of real models."""
    simulator = await start_simulator(SimulatorSettings(latency_s=LATENCY_S, tokens_per_s=TOKENS_PER_S), HOST)
    try:
        yield simulator
    finally:
        await simulator.stop()


def simulated_config(simulator: RunningSimulator) -> AppConfig:
    """A quiet gateway whose only providers are simulated, whatever the environment says."""
    key = Secret("simulated-key")
    return AppConfig(
        host=HOST,
        port=0,
        metrics_port=0,
        log_level="error",
        log_requests=False,
        providers=(
            ProviderConfig(name="openai", dialect="openai", base_url=simulator.url_openai, api_key=key),
            ProviderConfig(
                name="anthropic",
                dialect="anthropic",
                base_url=simulator.url_anthropic,
                api_key=key,
                auth_header="x-api-key",
            ),
        ),
    )


@asynccontextmanager
async def running_gateway(config: AppConfig) -> AsyncIterator[GatewayServer]:
    """A gateway that listens; requests still under way at the end are cut. Raises OSError where it cannot bind."""
    state = await initialize_app_state(config)
    server = GatewayServer(state)
    try:
        await server.start()
    except OSError:
        await state.close()
        raise
    try:
        yield server
    finally:
        await server.stop(0)
