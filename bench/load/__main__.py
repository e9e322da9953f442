"""CPU per request of the gateway beside nginx, in the same run. Prints a table, exits 1 beyond a bound.

    python -m bench.load [--rounds 3] [--seconds 4] [--only NAME] [--write]

CPU is user and system time of the proxy's processes from /proc, divided by requests. nginx parses no JSON, keeps no
cache and counts no money; it is the yardstick for what moving the bytes costs. Rounds alternate between the two, and
the ratio is the median over rounds: the machine's speed drifts, ratios of neighbours do not. `floor` is the CPU of a
forwarder that does nothing but forward (`bench.load.floor`): what Python leaves for all that a gateway is for.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.load.processes import Load, Process, floor, gateway, nginx, upstream, wrk

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CONNECTIONS = 64
ANSWER = json.dumps({"id": "chatcmpl-1", "object": "chat.completion", "choices": [], "filler": "x" * 780})


@dataclass(frozen=True)
class Case:
    name: str
    bound: float | None
    """CPU of the gateway over CPU of nginx, at most; None: for information."""
    environment: dict[str, str]
    nginx_target: str = "/v1/chat/completions"
    buffering: bool = True
    tokens_per_s: float = 0
    floor: bool = False
    """Whether a forwarder that does nothing else could stand in."""


MESSAGES = {"TARGET": "/v1/messages", "MODEL": "claude-haiku-4-5", "UNIQUE": "1"}
"""By Anthropic's door to Anthropic: no dearer than chat to OpenAI, so the same bounds."""

CASES = (
    Case("hit, 600 B", 2.5, {"BODY_BYTES": "600"}, nginx_target="/return"),
    Case("pass-through, 600 B", 2.2, {"BODY_BYTES": "600", "UNIQUE": "1"}, floor=True),
    Case("50-chunk stream", 2.0, {"BODY_BYTES": "600", "UNIQUE": "1", "STREAM": "1"}, buffering=False),
    Case(
        "50-chunk stream at 500 chunks/s",
        None,
        {"BODY_BYTES": "600", "UNIQUE": "1", "STREAM": "1"},
        buffering=False,
        tokens_per_s=500,
    ),
    Case("messages pass-through, 600 B", 2.2, {**MESSAGES, "BODY_BYTES": "600"}, nginx_target="/v1/messages"),
    Case(
        "messages 50-chunk stream",
        2.0,
        {**MESSAGES, "BODY_BYTES": "600", "STREAM": "1"},
        nginx_target="/v1/messages",
        buffering=False,
    ),
    Case("pass-through, 256 KB", 4.0, {"BODY_BYTES": "262144", "UNIQUE": "1"}, floor=True),
)


@dataclass(frozen=True)
class Sample:
    cpu_us: float
    load: Load


def measure(process: Process, environment: dict[str, str], seconds: float) -> Sample:
    wrk(process.port, HERE / "request.lua", connections=CONNECTIONS, seconds=1, environment=environment)
    before_s = process.cpu_s()
    load = wrk(process.port, HERE / "request.lua", connections=CONNECTIONS, seconds=seconds, environment=environment)
    return Sample((process.cpu_s() - before_s) / max(1, load.requests) * 1e6, load)


def run(case: Case, rounds: int, seconds: float, folder: Path) -> tuple[str, bool]:
    with (
        upstream(case.tokens_per_s) as provider,
        nginx(folder, provider.port, ANSWER, buffering=case.buffering) as baseline,
        gateway(provider.port) as ours,
    ):
        pairs = []
        for _ in range(rounds):
            theirs_environment = {**case.environment, "TARGET": case.nginx_target}
            theirs = measure(baseline, theirs_environment, seconds)
            pairs.append((measure(ours, case.environment, seconds), theirs))
    least = "-"
    if case.floor:
        with upstream(case.tokens_per_s) as provider, floor(provider.port) as bare:
            least = f"{min(measure(bare, case.environment, seconds).cpu_us for _ in range(rounds)):.1f}"
    ratio = statistics.median(mine.cpu_us / theirs.cpu_us for mine, theirs in pairs)
    errors = sum(mine.load.errors + theirs.load.errors for mine, theirs in pairs)
    good = (case.bound is None or ratio <= case.bound) and errors == 0

    def median(of: str, index: int) -> float:
        return statistics.median(getattr(pair[index].load, of) for pair in pairs)

    row = (
        f"| {case.name} | {statistics.median(p[0].cpu_us for p in pairs):.1f} "
        f"| {statistics.median(p[1].cpu_us for p in pairs):.1f} | {least} | {ratio:.2f} | {case.bound or '-'} "
        f"| {median('requests_per_s', 0):.0f} | {median('requests_per_s', 1):.0f} "
        f"| {median('p50_ms', 0) - median('p50_ms', 1):+.2f} | {median('p99_ms', 0) - median('p99_ms', 1):+.2f} "
        f"| {errors} | {'ok' if good else 'BEYOND'} |"
    )
    return row, good


def machine() -> str:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    nginx_version = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.strip()
    return f"{cpu}, Linux {platform.release()}, Python {platform.python_version()}, {nginx_version}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--write", action="store_true", help="write the table to bench/results/")
    arguments = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    command = f"python -m bench.load --rounds {arguments.rounds} --seconds {arguments.seconds:g}"
    command += f" --only '{arguments.only}'" if arguments.only else ""
    lines = [
        f"# Load, {datetime.now(UTC):%Y-%m-%d}, commit {commit}",
        "",
        f"Machine: {machine()}. Command: `{command}`. {CONNECTIONS} connections, one process each.",
        "CPU in microseconds per request (user + system of the proxy); added latency in ms against nginx at full load.",
        "",
        "| case | gateway | nginx | floor | ratio | bound | gateway req/s | nginx req/s | p50 added | p99 added "
        "| errors | |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    all_good = True
    with tempfile.TemporaryDirectory() as folder:
        for case in (each for each in CASES if arguments.only in each.name):
            row, good = run(case, arguments.rounds, arguments.seconds, Path(folder))
            print(row, flush=True)
            lines.append(row)
            all_good = all_good and good
    if arguments.write:
        target = ROOT / "bench" / "results" / f"{datetime.now(UTC):%Y-%m-%d}-{commit}.md"
        target.write_text("\n".join(lines) + "\n")
    return 0 if all_good else 1


if __name__ == "__main__":
    sys.exit(main())
