"""The simulator on a port of its own."""

from dataclasses import dataclass

from llm_edge_agent.config import ServerLimits
from llm_edge_agent.http.server import Server
from llm_edge_agent.simulator.settings import SimulatorSettings
from llm_edge_agent.simulator.simulator import Simulator

_MAX_BODY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RunningSimulator:
    """A simulator that listens. `stop()` closes it."""

    simulator: Simulator
    server: Server
    host: str

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def url_openai(self) -> str:
        """As the OpenAI SDK takes it."""
        return f"http://{self.host}:{self.port}/v1"

    @property
    def url_anthropic(self) -> str:
        """As the Anthropic SDK takes it."""
        return f"http://{self.host}:{self.port}"

    async def stop(self) -> None:
        """Stops listening and cuts what is under way."""
        await self.server.stop(0.0)


async def start_simulator(settings: SimulatorSettings, host: str = "127.0.0.1", port: int = 0) -> RunningSimulator:
    """Listens on `host` and `port` (0: any free one). Raises OSError where that is not possible."""
    simulator = Simulator(settings)
    server = Server(simulator, ServerLimits(max_body_bytes=_MAX_BODY_BYTES))
    await server.start(host, port)
    return RunningSimulator(simulator, server, host)
