"""What a lookup costs in each cache tier, and a hit in Redis end to end beside one in memory. Exits 1 beyond a bound.

    python -m bench.cache [--seconds 4] [--rounds 3] [--write]

Tiers: wall time of single lookups, 2 KB values. End to end: CPU of the gateway (user + system) per request under wrk
with 64 connections, which go round 5,000 different requests of 1 KB: in memory all of them; in Redis with a memory of
64 entries, so that each is found there and fills the memory for nothing; and, for comparison, one request again and
again, whose bytes are known and need no reading.
"""

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench.load.processes import Process, free_port, gateway, upstream, wrk
from bench.micro.__main__ import ANSWER, chat_request
from llm_edge_agent.cache.disk import DiskStore
from llm_edge_agent.cache.epochs import Epochs
from llm_edge_agent.cache.memory import MemoryCache
from llm_edge_agent.cache.redis import RedisStore
from llm_edge_agent.config.redis_address import redis_address
from llm_edge_agent.core.cache_key import NOT_KEYED, cache_key
from llm_edge_agent.core.strict_json import key_material
from llm_edge_agent.dialects.chat import read_request
from llm_edge_agent.gateway.stored import StoredAnswer

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "bench" / "load" / "request.lua"
LOOKUPS = 20_000
VALUE = os.urandom(2048)
IN_FLIGHT = 32
CYCLE = "5000"
RATIO_BOUND = 3.0


class Table:
    """Rows of figures with their bounds, printed as they come."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.good = True

    def say(self, line: str) -> None:
        self.lines.append(line)
        print(line, flush=True)

    def times(self, name: str, samples_us: list[float], p50_bound_us: float, p99_bound_us: float | None) -> None:
        samples_us.sort()
        p50, p99 = (samples_us[int(len(samples_us) * part)] for part in (0.5, 0.99))
        good = p50 < p50_bound_us and (p99_bound_us is None or p99 < p99_bound_us)
        self.good = self.good and good
        bounds = f"{p50_bound_us:g} | {p99_bound_us if p99_bound_us is not None else '-'}"
        self.say(f"| {name} | {p50:.1f} | {p99:.1f} | {bounds} | {'ok' if good else 'BEYOND'} |")


def l1_samples() -> list[float]:
    """Key computation and lookup for a request of 1 KB that was read."""
    call = read_request(chat_request(1024), max_depth=128)
    epochs = Epochs(None, entry_ttl_s=300)
    memory: MemoryCache[StoredAnswer] = MemoryCache(max_entries=10_000, max_bytes=1 << 26, ttl_s=300, tti_s=120)

    def look() -> StoredAnswer | None:
        material = key_material(call.body, NOT_KEYED)
        key = cache_key(
            tenant="default",
            epoch=epochs.of("default", "openai/gpt-5.5"),
            endpoint="chat",
            model="openai/gpt-5.5",
            namespace="",
            passed=b"0:",
            material=material,
        )
        found = memory.get(key)
        if found is None:
            memory.set(key, StoredAnswer(ANSWER, "openai", "gpt-5.5", 5, ()), ttl_s=300)
        return found

    look()
    samples = []
    for _ in range(LOOKUPS):
        began_s = time.perf_counter()
        assert look() is not None
        samples.append((time.perf_counter() - began_s) * 1e6)
    return samples


async def timed(look: Callable[[bytes], Awaitable[bytes | None]], names: list[bytes], in_flight: int) -> list[float]:
    samples: list[float] = []

    async def client(first: int) -> None:
        for number in range(LOOKUPS // in_flight):
            began_s = time.perf_counter()
            assert await look(names[(number * 7 + first) % len(names)]) is not None
            samples.append((time.perf_counter() - began_s) * 1e6)

    await asyncio.gather(*(client(first) for first in range(in_flight)))
    return samples


async def shared_tiers(table: Table, redis_port: int, folder: Path) -> None:
    names = [os.urandom(32) for _ in range(1000)]
    disk = DiskStore(folder / "cache")
    redis = RedisStore(redis_address(f"redis://127.0.0.1:{redis_port}"), lookup_timeout_s=1.0)
    for store in (disk, redis):
        if not await store.start():
            raise SystemExit("a store did not start")
        for name in names:
            store.put(name, VALUE, ttl_s=600)
    await asyncio.sleep(1.0)
    table.times("LMDB get, 1 at a time", await timed(disk.get, names, 1), 30, None)
    table.times("Redis get, 1 at a time", await timed(redis.get, names, 1), 1000, None)
    table.times(f"Redis get, {IN_FLIGHT} in flight", await timed(redis.get, names, IN_FLIGHT), 1000, 2000)
    await disk.close()
    await redis.close()


def cpu_us(process: Process, cycle: str, seconds: float) -> float:
    environment = {"BODY_BYTES": "1024", "CYCLE": cycle}
    before_s = process.cpu_s()
    load = wrk(process.port, SCRIPT, connections=64, seconds=seconds, environment=environment)
    if load.errors:
        raise SystemExit(f"{load.errors} errors")
    return (process.cpu_s() - before_s) / max(1, load.requests) * 1e6


def end_to_end(table: Table, redis_port: int, rounds: int, seconds: float) -> None:
    shared = {"ENABLE_L2_CACHE": "true", "REDIS_URL": f"redis://127.0.0.1:{redis_port}", "L1_CACHE_SIZE": "64"}
    with upstream(0) as provider, gateway(provider.port) as memory, gateway(provider.port, shared) as redis:
        for process in (memory, redis):  # learn all of them
            cpu_us(process, CYCLE, 2 * seconds)
        rows = [
            (cpu_us(memory, CYCLE, seconds), cpu_us(redis, CYCLE, seconds), cpu_us(memory, "1", seconds))
            for _ in range(rounds)
        ]
    l1, l2, known = (statistics.median(row[column] for row in rows) for column in range(3))
    ratio = statistics.median(row[1] / row[0] for row in rows)
    good = ratio <= RATIO_BOUND
    table.good = table.good and good
    table.say("")
    table.say("| hit end to end, 64 connections | CPU us per request | times a hit in memory | bound | |")
    table.say("|---|---|---|---|---|")
    table.say(f"| in memory, read anew | {l1:.1f} | 1 | - | |")
    table.say(f"| in Redis | {l2:.1f} | {ratio:.2f} | {RATIO_BOUND:g} | {'ok' if good else 'BEYOND'} |")
    table.say(
        f"| in memory, the same bytes again | {known:.1f} | {known / l1:.2f} | - | Redis is {l2 / known:.1f} of it |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the tables to bench/results/")
    arguments = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    version = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout.split()[
        2
    ]
    table = Table()
    table.say(f"# Cache tiers, {datetime.now(UTC):%Y-%m-%d}, commit {commit}")
    table.say("")
    machine = f"{cpu}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"
    command = f"python -m bench.cache --seconds {arguments.seconds:g} --rounds {arguments.rounds}"
    table.say(f"Machine: {machine}, Redis {version} on loopback; load {os.getloadavg()[0]:.1f} at the start.")
    table.say(f"Command: `{command}`.")
    table.say("")
    table.say("| lookup | p50 us | p99 us | p50 bound | p99 bound | |")
    table.say("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        with Process(["redis-server", "--port", str(port), "--save", "", "--dir", name], port):
            table.times("L1 get with its key, 1 KB request", l1_samples(), 10, 100)
            uvloop.run(shared_tiers(table, port, folder))
            end_to_end(table, port, arguments.rounds, arguments.seconds)
    if arguments.write:
        target = ROOT / "bench" / "results" / f"{datetime.now(UTC):%Y-%m-%d}-{commit}-cache.md"
        target.write_text("\n".join(table.lines) + "\n")
    return 0 if table.good else 1


if __name__ == "__main__":
    sys.exit(main())
