"""The provider behind both proxies: the simulator with answers prepared once, in a process of its own."""

import asyncio
import sys

import uvloop

from llm_edge_agent.simulator import SimulatorSettings, start_simulator


async def main(port: int) -> None:
    await start_simulator(SimulatorSettings(latency_s=0, tokens_per_s=0, canned=True), port=port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
