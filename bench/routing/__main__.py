"""Prints how each rule fares on simulated days, and whether the gateway's strategies keep what is claimed of them.

    python -m bench.routing [--seeds N] [--seconds S] [--scenario NAME] [--write]

Every rule meets the same requests at the same times with the same luck (`world.py`). Exits with 1 where a claim does
not hold. `--write` keeps what was printed in bench/results, under the day and the commit.
"""

import argparse
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.routing.day import IN_TIME_S, WARM_UP_S, simulate
from bench.routing.rules import COMPARED, OURS
from bench.routing.scenarios import LOADS, SCENARIOS
from bench.routing.table import HEAD, cheaper, misses, places, rows, turning

RESULTS = Path(__file__).parent.parent / "results"
COMMIT = subprocess.run(
    ["git", "rev-parse", "--short", "HEAD"],
    capture_output=True,
    text=True,
    check=False,
).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if options.seeds < 6:
        parser.error("fewer than 6 seeds have no 95 % interval")
    failed: list[str] = []
    printed = []
    for line in _report(options, failed):
        print(line, flush=True)
        printed.append(line)
    if options.write:
        path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{COMMIT}-routing.md"
        path.write_text("\n".join(printed) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _report(options: argparse.Namespace, failed: list[str]) -> Iterator[str]:
    yield f"# Routing, simulated, {datetime.now(UTC):%Y-%m-%d}, commit {COMMIT}\n"
    given = "".join(f" --scenario {name!r}" for name in options.scenario or ())
    yield (
        f"Command: `python -m bench.routing --seeds {options.seeds} --seconds {options.seconds:g}{given} --write`, "
        f"Python {platform.python_version()} on {platform.machine()}; deterministic, so that the machine does not "
        "matter.\n"
    )
    yield (
        f"Medians over {options.seeds} seeds of {options.seconds:g} s after {WARM_UP_S:g} s of warming up. Time to "
        "the first token (TTFT) in seconds; rules in bold are the gateway's own code. A request without an answer "
        "counts as a wait of 180 s. All rules meet the same requests with the same luck, so that ratios of p99 are "
        "taken seed by seed, and their 95 % interval says what is noise: `latency` is ahead where it lies below 1, "
        "behind where it lies above. A call that is given up costs nothing here, which flatters the rules that let "
        f"requests time out; money per request answered within {IN_TIME_S:g} s shows what their answers are worth.\n"
    )
    tally = {"ahead": 0, "level": 0, "behind": 0}
    dear: list[str] = []
    for scenario in options.scenario or SCENARIOS:
        for load in LOADS:
            made = SCENARIOS[scenario]
            days = {
                name: [simulate(made, load, rule, seconds=options.seconds, seed=seed) for seed in range(options.seeds)]
                for name, rule in {**OURS, **COMPARED}.items()
            }
            yield f"## {scenario}, {load} load ({made.per_s(load):.1f} requests/s, {made.gateways} gateways)\n"
            yield HEAD
            yield from rows(days)
            yield ""
            for name, place in places(days).items():
                tally[place] += name in COMPARED
            failed += misses(scenario, load, days)
            dear += [f"- {scenario}, {load} load: {', '.join(found)}" for found in [cheaper(days)] if found]
    yield "## A deployment that turns eight times slower, and is well again 90 s later\n"
    yield "Its share of all calls in percent, middle load, six deployments:\n"
    yield from turning("middle", seeds=options.seeds)
    yield "\n## Claims\n"
    yield (
        f"`latency` against the compared rules: ahead in {tally['ahead']} comparisons, level in {tally['level']}, "
        f"behind in {tally['behind']}.\n"
    )
    if dear:
        yield f"Cheaper per answer than `cost`, and how much they answered within {IN_TIME_S:g} s:\n"
        yield from dear
        yield ""
    yield "\n".join(f"- Not held: {line}" for line in failed) or "Every claim held."


if __name__ == "__main__":
    sys.exit(main())
