"""What caching saves, measured: three made-up workloads through the gateway, billed by the provider simulator.

    python -m bench.workloads [--requests N] [--seed S] [--write]

Each workload runs twice over real sockets, through two gateways in turn: with everything off, and as configured by
default with a second tier that the two share (the embedded one). The bill is the simulator's own record of tokens, at
the published prices; half of the requests are streams. The provider's clock is
the log's, so prefixes expire there as they would; the answer cache runs in the machine's time, which a log passes too
quickly for anything to expire (`llm-edge-agent cache simulate` replays a log's own time).
"""

import argparse
import asyncio
import json
import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from llm_edge_agent.app import initialize_app_state
from llm_edge_agent.cli.inprocess import simulated_config
from llm_edge_agent.config import AppConfig, CacheConfig
from llm_edge_agent.core.models import ModelTable, table_from_document
from llm_edge_agent.core.pricing import TokenUsage, cost_picodollars
from llm_edge_agent.data import model_document
from llm_edge_agent.http.deadlines import running_sweep
from llm_edge_agent.http.origins import Origin, Timeouts
from llm_edge_agent.http.pool import UpstreamPool
from llm_edge_agent.serving import GatewayServer
from llm_edge_agent.simulator import RunningSimulator, SimulatorSettings, start_simulator
from llm_edge_agent.simulator.records import Billed
from llm_edge_agent.workloads import GENERATORS, LoggedRequest, generate

RESULTS = Path(__file__).parents[1] / "results"
TIMEOUTS = Timeouts(connect_s=5.0, answer_s=60.0, idle_s=60.0)
PICODOLLARS_PER_USD = 10**12
GATEWAYS = 2


class Clock:
    """Stands for the module `time` where the log's time shall pass. Begins where expiry reckons."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def monotonic(self) -> float:
        return self.now_s

    def time(self) -> float:
        return self.now_s


@dataclass
class Run:
    """What one run was answered and billed."""

    caches: Counter[str] = field(default_factory=Counter)
    input_picodollars: int = 0
    output_picodollars: int = 0

    @property
    def cost(self) -> int:
        return self.input_picodollars + self.output_picodollars


def config(simulator: RunningSimulator, *, caching: bool, folder: str) -> AppConfig:
    plain = simulated_config(simulator)
    if caching:
        return replace(plain, cache=CacheConfig(l2_enabled=True, directory=folder))
    return replace(plain, prompt_cache="off", cache=CacheConfig(policy="off"))


async def run(name: str, records: Sequence[LoggedRequest], table: ModelTable, *, caching: bool, folder: str) -> Run:
    """One workload, request by request, as the log has them, in turn to two gateways that share a second tier."""
    found = Run()
    clock = Clock()
    simulator = await start_simulator(SimulatorSettings(kept_requests=1))
    servers = []
    for _ in range(GATEWAYS):
        state = await initialize_app_state(config(simulator, caching=caching, folder=folder))
        servers.append(GatewayServer(state))
        await servers[-1].start()
    client = UpstreamPool(sweep=running_sweep(), max_response_bytes=2**26)
    origins = [Origin.from_url(f"http://127.0.0.1:{server.port}") for server in servers]
    try:
        with (
            patch("llm_edge_agent.simulator.simulator.time", clock),
            patch("llm_edge_agent.gateway.prompt_caching.monotonic", clock.monotonic),
        ):
            for number, record in enumerate(records):
                clock.now_s = 1_000_000.0 + (record.time or 0.0)
                body = json.loads(bytes(record.request))
                body["stream"] = number % 4 >= 2
                simulator.simulator.billed.clear()
                headers = b"content-type: application/json\r\n"
                answer = await client.send(
                    origins[number % GATEWAYS],
                    b"POST",
                    b"/v1/chat/completions",
                    headers,
                    json.dumps(body).encode(),
                    TIMEOUTS,
                )
                text = await answer.read()
                answer.close()
                if answer.status != 200:
                    raise SystemExit(f"{name}: request {number} was answered {answer.status}: {text[:300]!r}")
                found.caches[answer.headers[b"x-llm-edge-cache"].decode()] += 1
                for bill in simulator.simulator.billed:
                    _add(found, table, bill)
    finally:
        await client.close()
        for server in servers:
            await server.stop(0)
        await simulator.stop()
    return found


def _add(found: Run, table: ModelTable, bill: Billed) -> None:
    model = table.find(bill.model)
    prompt = TokenUsage(
        prompt_tokens=bill.input_tokens
        + bill.cache_read_tokens
        + bill.cache_write_5m_tokens
        + bill.cache_write_1h_tokens,
        cache_read_tokens=bill.cache_read_tokens,
        cache_write_tokens=bill.cache_write_5m_tokens,
        cache_write_1h_tokens=bill.cache_write_1h_tokens,
    )
    completion = TokenUsage(completion_tokens=bill.output_tokens)
    prices = model.prices if model is not None else None
    found.input_picodollars += cost_picodollars(prices, prompt) or 0
    found.output_picodollars += cost_picodollars(prices, completion) or 0


def share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


async def measure(requests: int, seed: int) -> list[str]:
    table = table_from_document(model_document(()))
    lines = [
        "| workload | requests | hits | of these L1 | L2 | cost without | cost with | cost saved | input cost saved |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for name in GENERATORS:
        records = list(generate(name, requests, seed))
        with TemporaryDirectory() as folder:
            before = await run(name, records, table, caching=False, folder=folder)
            after = await run(name, records, table, caching=True, folder=folder)
        l1, l2 = after.caches["hit-l1"], after.caches["hit-l2"]
        lines.append(
            f"| {name} | {requests} | {share(l1 + l2, requests)} | {share(l1, requests)} | {share(l2, requests)} "
            f"| ${before.cost / PICODOLLARS_PER_USD:.4f} | ${after.cost / PICODOLLARS_PER_USD:.4f} "
            f"| {share(before.cost - after.cost, before.cost)} "
            f"| {share(before.input_picodollars - after.input_picodollars, before.input_picodollars)} |"
        )
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.workloads")
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write bench/results/<date>-<commit>-workloads.md")
    chosen = parser.parse_args()
    lines = asyncio.run(measure(chosen.requests, chosen.seed))
    if chosen.write:
        git: Any = ["git", "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
        today = date.today().isoformat()
        head = [
            f"# Workloads, {today}, commit {commit}",
            "",
            f"Python {platform.python_version()}. Command: `python -m bench.workloads --requests {chosen.requests} "
            f"--seed {chosen.seed} --write`.",
            "",
        ]
        (RESULTS / f"{today}-{commit}-workloads.md").write_text("\n".join((*head, *lines, "")))


if __name__ == "__main__":
    main()
