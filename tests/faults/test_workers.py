"""Several worker processes behind one port: the real command, killed here and there."""

import asyncio
import json
import os
import re
import signal
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from llm_edge_agent.telemetry.usage import read_usage
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import ask, eventually
from tests.faults.conftest import Bench
from tests.faults.test_process import ANSWERS, Command
from tests.ports import free_port

WORKERS = 2
METRICS = request_bytes(b"", path="/metrics", method="GET")
HEALTH = request_bytes(b"", path="/health", method="GET")


class Cluster(Command):
    """The command with several workers."""

    def __init__(self, folder: Path, upstream_url: str, workers: int = WORKERS) -> None:
        super().__init__(folder, upstream_url)
        self.metrics_port = free_port()
        self.environment |= {"WORKERS": str(workers), "METRICS_PORT": str(self.metrics_port)}

    @property
    def worker_pids(self) -> set[int]:
        listing = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return {int(pid) for pid in listing.split()}

    async def get(self, request: bytes) -> bytes:
        async with self.connect() as wire:
            await wire.send(request)
            return (await wire.answer()).body

    async def samples(self) -> dict[str, float]:
        """Samples by name, added up over their labels."""
        found: dict[str, float] = defaultdict(float)
        for line in (await self.get(METRICS)).decode().splitlines():
            if not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                found[series.partition("{")[0]] += float(value)
        return found

    async def all_steady(self, workers: int = WORKERS) -> None:
        """Waits until every slot has a worker that says something of itself."""

        async def steady() -> bool:
            return (await self.samples()).get("llm_edge_workers") == workers

        deadline_s = time.monotonic() + 20
        while not await steady():
            assert time.monotonic() < deadline_s, self.log
            await asyncio.sleep(0.05)


@pytest.fixture
async def cluster(bench: Bench, tmp_path: Path) -> AsyncIterator[Cluster]:
    upstream = await bench.upstream(ANSWERS)
    cluster = Cluster(tmp_path, upstream.url)
    cluster.log_path.touch()
    yield cluster
    await cluster.end()


async def drive(cluster: Cluster, outcomes: Counter[str], until_s: float, connection: int) -> None:
    """Asks on one connection after the other until the time is over; counts what came back, and what did not."""
    number = 0
    while time.monotonic() < until_s:
        try:
            async with cluster.connect() as wire:
                for _ in range(8):
                    number += 1
                    outcomes["sent"] += 1
                    await wire.send(request_bytes(ask(f"{connection} {number}")))
                    answer = await wire.answer()
                    outcomes[str(answer.status)] += 1
        except (OSError, EOFError, AssertionError):
            outcomes["lost"] += 1


async def test_counts_add_up_over_workers_and_on_either_port(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.all_steady()
    asked = 60
    for number in range(asked):
        assert await cluster.status(request_bytes(ask(str(number)))) == 200
    for port in (cluster.port, cluster.metrics_port):
        cluster.port = port
        for _ in range(6):  # whichever worker the connection goes to
            samples = await cluster.samples()
            assert samples["llm_edge_requests_total"] == asked
            assert samples["llm_edge_build_info"] == 1
            assert samples["llm_edge_worker_restarts_total"] == 0
            assert samples["process_open_fds"] > 0
        health = json.loads(await cluster.get(HEALTH))
        assert health["providers"]["openai"] == {"configured": True, "healthy": True}


async def test_killed_workers_are_replaced_and_their_counts_stay(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.all_steady()
    outcomes: Counter[str] = Counter()
    connections = 4
    until_s = time.monotonic() + 4.0
    load = [asyncio.create_task(drive(cluster, outcomes, until_s, number)) for number in range(connections)]
    kills = 0
    while time.monotonic() < until_s - 1.5:
        await asyncio.sleep(0.8)
        before = cluster.worker_pids
        os.kill(sorted(before)[kills % len(before)], signal.SIGKILL)
        kills += 1
        await eventually(partial(_renewed, cluster, before), timeout_s=10)
    await asyncio.gather(*load)
    await cluster.all_steady()
    samples = await cluster.samples()
    # A killed worker takes along at most what was in flight on it, which nobody can count any more.
    assert outcomes["lost"] <= kills * connections
    assert outcomes["sent"] == outcomes["200"] + outcomes["lost"]
    assert outcomes["200"] <= samples["llm_edge_requests_total"] <= outcomes["sent"]
    assert samples["llm_edge_worker_restarts_total"] == kills
    assert len(re.findall(r"ended with signal 9; restarting", cluster.log)) == kills
    assert outcomes["200"] > 20 * kills


async def test_a_replaced_worker_goes_by_what_the_others_have_reloaded(bench: Bench, tmp_path: Path) -> None:
    upstream = await bench.upstream(ANSWERS)
    file = tmp_path / "llm-edge-agent.yaml"
    file.write_text("groups: {smart: [openai/gpt-4o-mini]}")
    cluster = Cluster(tmp_path, upstream.url)
    try:
        await cluster.start()
        await cluster.all_steady()
        (tmp_path / "new").write_text("groups: {smart: [openai/gpt-4.1]}")
        os.replace(tmp_path / "new", file)
        await eventually(lambda: cluster.log.count("the configuration was reloaded") >= WORKERS)
        for pid in cluster.worker_pids:
            before = cluster.worker_pids
            os.kill(pid, signal.SIGKILL)
            await eventually(partial(_renewed, cluster, before), timeout_s=10)
        await cluster.all_steady()
        for number in range(12):
            assert await cluster.status(request_bytes(ask(f"after {number}", model="smart"))) == 200
        assert {each.json["model"] for each in upstream.received} == {"gpt-4.1"}
    finally:
        await cluster.end()


def _renewed(cluster: Cluster, before: set[int]) -> bool:
    return len(cluster.worker_pids - before) == 1


async def test_sigterm_drains_every_worker(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.all_steady()
    pids = cluster.worker_pids
    assert len(pids) == WORKERS
    cluster.process.send_signal(signal.SIGTERM)
    assert await cluster.exit_code() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


async def test_a_killed_supervisor_leaves_no_orphan(cluster: Cluster) -> None:
    await cluster.start()
    await cluster.all_steady()
    pids = cluster.worker_pids
    cluster.process.kill()
    await cluster.exit_code()
    await eventually(lambda: not any(_alive(pid) for pid in pids), timeout_s=5)
    await cluster.start()
    assert await cluster.status(request_bytes(ask())) == 200


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


async def test_a_taken_port_is_one_clear_line(cluster: Cluster) -> None:
    await cluster.start()
    second = Cluster(cluster.log_path.parent, "http://127.0.0.1:1")
    second.log_path = cluster.log_path.with_name("second.log")
    second.port = cluster.port
    second.environment["PORT"] = str(cluster.port)
    await second.launch()
    assert await second.exit_code() == 1
    assert "in use" in second.log
    await second.end()


@pytest.mark.long
@pytest.mark.parametrize("workers", [2, 4])
async def test_a_minute_of_killing(workers: int, bench: Bench, tmp_path: Path) -> None:
    upstream = await bench.upstream(ANSWERS)
    cluster = Cluster(tmp_path, upstream.url, workers)
    cluster.log_path.touch()
    try:
        await cluster.start()
        await cluster.all_steady(workers)
        outcomes: Counter[str] = Counter()
        connections = 8
        until_s = time.monotonic() + 60
        load = [asyncio.create_task(drive(cluster, outcomes, until_s, number)) for number in range(connections)]
        kills = 0
        while time.monotonic() < until_s - 2:
            await asyncio.sleep(2)
            pids = sorted(cluster.worker_pids)
            os.kill(pids[kills % len(pids)], signal.SIGKILL)
            kills += 1
        await asyncio.gather(*load)
        await cluster.all_steady(workers)
        samples = await cluster.samples()
        print(f"{workers} workers: {kills} kills, {dict(outcomes)}, counted {samples['llm_edge_requests_total']:.0f}")
        assert outcomes["lost"] <= kills * connections
        assert outcomes["sent"] == outcomes["200"] + outcomes["lost"]
        assert outcomes["200"] <= samples["llm_edge_requests_total"] <= outcomes["sent"]
        assert samples["llm_edge_worker_restarts_total"] == kills
    finally:
        await cluster.end()


async def test_the_ledger_has_the_requests_of_all_workers_and_of_all_runs(bench: Bench, tmp_path: Path) -> None:
    upstream = await bench.upstream(ANSWERS)
    ledger = tmp_path / "ledger.db"
    asked = 0
    for run in ("first", "second"):
        folder = tmp_path / run
        folder.mkdir()
        cluster = Cluster(folder, upstream.url)
        cluster.environment |= {"LEDGER_PATH": str(ledger)}
        cluster.log_path.touch()
        await cluster.start()
        await cluster.all_steady()
        outcomes: Counter[str] = Counter()
        await asyncio.gather(*(drive(cluster, outcomes, time.monotonic() + 0.5, number) for number in range(8)))
        counted = (await cluster.samples())["llm_edge_requests_total"]
        cluster.process.send_signal(signal.SIGTERM)
        assert await cluster.exit_code() == 0
        assert outcomes["200"] == outcomes["sent"] == counted > 0
        asked += outcomes["sent"]
        assert read_usage(str(ledger), "model").total.requests == asked
        await cluster.end()
