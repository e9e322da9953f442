"""The provider behind both proxies: the simulator with answers prepared once, in a process of its own."""

import asyncio
import sys

import uvloop

from llm_edge_agent.simulator import SimulatorSettings, start_simulator


async def main(port: int, tokens_per_s: float) -> None:
    await start_simulator(SimulatorSettings(latency_s=0, tokens_per_s=tokens_per_s, canned=True), port=port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2])))
