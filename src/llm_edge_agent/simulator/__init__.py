"""Strict, scripted OpenAI and Anthropic servers for the demo, the tests and the benchmarks."""

from llm_edge_agent.simulator.behaviour import Behaviour, Limits
from llm_edge_agent.simulator.records import Billed, RecordedRequest
from llm_edge_agent.simulator.running import RunningSimulator, start_simulator
from llm_edge_agent.simulator.settings import SimulatorSettings
from llm_edge_agent.simulator.simulator import Simulator

__all__ = [
    "Behaviour",
    "Billed",
    "Limits",
    "RecordedRequest",
    "RunningSimulator",
    "Simulator",
    "SimulatorSettings",
    "start_simulator",
]
