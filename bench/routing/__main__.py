"""Prints how each rule fares on simulated days, and whether the gateway's strategies keep what is claimed of them.

    python -m bench.routing [--seeds N] [--seconds S]

Several gateway workers share nothing; each request comes to one of them by chance. Every rule meets the same arrivals
and the same providers with the same seed. A request without an answer counts as a wait of 180 s. Figures are medians
over seeds, with the lowest and highest where they tell.
"""

import argparse
import random
import statistics
import sys
from typing import NamedTuple

from bench.routing.rules import COMPARED, OURS, Journey, MakeWorker
from bench.routing.world import Clock, Outcome, Provider, Server
from llm_edge_agent.core.strategies import PATIENCE_S

WORKERS = 4
WARM_UP_S = 30.0

SCENARIOS: dict[str, tuple[Provider, ...]] = {
    "all well": tuple(Provider(name=f"d{number}", price=1 + number / 5) for number in range(6)),
    "one slow, one failing": (
        Provider(name="slow", slowness=8, price=0.8),
        Provider(name="failing", failing=1.0, price=0.9),
        *(Provider(name=f"d{number}", price=1 + number / 5) for number in range(4)),
    ),
    "worst day": (
        Provider(name="slow8", slowness=8, price=0.8),
        Provider(name="slow4", slowness=4, price=1.2),
        Provider(name="failing", failing=1.0, price=0.9),
        Provider(name="limited", rpm=60, price=0.7),
        Provider(name="d0", price=1.0),
        Provider(name="d1", price=1.5),
    ),
    "gray": (
        Provider(name="flaky", failing=0.3, price=0.8),
        Provider(name="stalling", stalls=0.1, price=0.9),
        Provider(name="slow2", slowness=2, price=0.7),
        *(Provider(name=f"d{number}", price=1 + number / 5) for number in range(3)),
    ),
}
LOADS = {"low": 0.3, "middle": 0.6, "high": 0.85}
"""Requests per second as a share of what the well providers can serve."""

PROMPT_TOKENS, OUTPUT_TOKENS = 1200, 240


class Day(NamedTuple):
    """One rule's result with one seed."""

    p50_s: float
    p95_s: float
    p99_s: float
    success: float
    calls: float
    """Upstream calls per request."""
    cost: float
    """USD per thousand answered requests."""


def capacity_per_s(providers: tuple[Provider, ...]) -> float:
    """What the providers that are neither slow, failing, limited nor gray serve."""
    well = [each for each in providers if each.slowness == 1 and not each.failing and not each.rpm and not each.stalls]
    return sum(each.slots / (each.first_token_s + OUTPUT_TOKENS / 60) for each in well)


class _Request:
    """A client's request on its way: asks its worker, calls a server, and again."""

    def __init__(self, day: "_Run", journey: Journey, prompt_tokens: int, output_tokens: int) -> None:
        self.day = day
        self.journey = journey
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.arrived_s = day.clock.now_s
        self.counted = self.arrived_s >= WARM_UP_S
        self.number = 0

    def go_on(self) -> None:
        clock = self.day.clock
        asked = self.journey.ask(clock.now_s)
        if asked is None:
            if self.counted:
                self.day.failed += 1
            return
        self.number, pause_s = asked
        if pause_s:
            clock.at(clock.now_s + pause_s, self.call)
        else:
            self.call()

    def call(self) -> None:
        self.journey.began(self.day.clock.now_s)
        self.day.calls += self.counted
        self.day.servers[self.number].call(self.output_tokens, self.first, self.ended)

    def first(self) -> None:
        now_s = self.day.clock.now_s
        self.journey.first(now_s)
        if self.counted:
            self.day.waits.append(now_s - self.arrived_s)
            price = self.day.servers[self.number].provider.price
            self.day.cost += price * (self.prompt_tokens + 4 * self.output_tokens) / 1e6

    def ended(self, outcome: Outcome, wait_s: float | None) -> None:
        self.journey.ended(self.day.clock.now_s, outcome, wait_s)
        if outcome != "ok":
            self.go_on()


class _Run:
    def __init__(
        self, providers: tuple[Provider, ...], make: MakeWorker, per_s: float, seconds: float, seed: int
    ) -> None:
        self.clock = Clock()
        self.servers = [
            Server(provider, self.clock, random.Random(f"{seed} {provider.name}")) for provider in providers
        ]
        self.waits: list[float] = []
        self.failed = 0
        self.calls = 0
        self.cost = 0.0
        self._workers = [make(providers, random.Random(f"{seed} worker {number}")) for number in range(WORKERS)]
        arrivals = random.Random(seed)
        when_s = 0.0
        while (when_s := when_s + arrivals.expovariate(per_s)) < seconds + WARM_UP_S:
            worker = arrivals.choice(self._workers)
            prompt = max(1, int(arrivals.lognormvariate(0, 0.8) * PROMPT_TOKENS / 1.38))
            output = max(1, int(arrivals.lognormvariate(0, 0.6) * OUTPUT_TOKENS / 1.2))
            self.clock.at(
                when_s, lambda worker=worker, prompt=prompt, output=output: self._arrive(worker, prompt, output)
            )  # type: ignore[misc]

    def _arrive(self, worker, prompt: int, output: int) -> None:  # type: ignore[no-untyped-def]
        _Request(self, worker.journey(self.clock.now_s, prompt), prompt, output).go_on()

    def day(self) -> Day:
        self.clock.run()
        waits = sorted(self.waits)
        answered, asked = len(waits), len(waits) + self.failed
        waits += [180.0] * self.failed  # a request without an answer waited for all the time there is
        at = [waits[min(len(waits) - 1, int(len(waits) * share))] for share in (0.5, 0.95, 0.99)]
        return Day(*at, answered / asked, self.calls / asked, 1000 * self.cost / max(1, answered))


def simulate(scenario: str, load: str, rule: MakeWorker, *, seconds: float, seed: int) -> Day:
    """One day of one rule."""
    providers = SCENARIOS[scenario]
    return _Run(providers, rule, LOADS[load] * capacity_per_s(providers), seconds, seed).day()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--scenario", action="append", choices=list(SCENARIOS))
    options = parser.parse_args()
    misses = []
    for scenario in options.scenario or SCENARIOS:
        for load in LOADS:
            days = {
                name: [
                    simulate(scenario, load, rule, seconds=options.seconds, seed=seed) for seed in range(options.seeds)
                ]
                for name, rule in {**OURS, **COMPARED}.items()
            }
            per_s = LOADS[load] * capacity_per_s(SCENARIOS[scenario])
            print(f"\n{scenario}, {load} load ({per_s:.1f} requests/s)\n")
            print("| rule | TTFT p50 s | p95 s | p99 s (lowest to highest) | success % | calls each | USD per 1,000 |")
            print("|---|---|---|---|---|---|---|")
            for name, each in days.items():
                print(_row(name, each), flush=True)
            misses += _misses(scenario, load, days)
    print()
    for line in misses or ["Every claim held."]:
        print(line)
    return 1 if misses else 0


def _median(days: list[Day], field: str) -> float:
    return statistics.median(getattr(day, field) for day in days)


def _row(name: str, days: list[Day]) -> str:
    p99s = [day.p99_s for day in days]
    shown = f"**{name}**" if name in OURS else name
    return (
        f"| {shown} | {_median(days, 'p50_s'):.2f} | {_median(days, 'p95_s'):.2f} "
        f"| {_median(days, 'p99_s'):.2f} ({min(p99s):.2f} to {max(p99s):.2f}) "
        f"| {100 * _median(days, 'success'):.2f} | {_median(days, 'calls'):.3f} | {_median(days, 'cost'):.3f} |"
    )


def _misses(scenario: str, load: str, days: dict[str, list[Day]]) -> list[str]:
    """What was claimed and did not hold."""
    at = f"{scenario}, {load} load"
    p99 = {name: _median(each, "p99_s") for name, each in days.items()}
    cost = {name: _median(each, "cost") for name, each in days.items()}
    found = [
        f"{at}: latency has a p99 of {p99['latency']:.3f} s, {name} of {p99[name]:.3f} s"
        for name in COMPARED
        if p99[name] <= p99["latency"]
    ]
    if scenario == "one slow, one failing" and p99["weighted random"] < 5 * p99["latency"]:
        found.append(f"{at}: latency is not 5 times better than weighted random")
    # Who makes its clients wait for minutes, or turns them away, may be cheaper: what was not answered is not billed.
    as_good = [name for name in days if p99[name] <= max(2 * p99["cost"], PATIENCE_S)]
    found += [f"{at}: cost is dearer than {name}" for name in as_good if cost[name] < cost["cost"] * 0.9999]
    found += [
        f"{at}: hybrid is behind {name} in both p99 and cost"
        for name in days
        if p99[name] < p99["hybrid"] and cost[name] < cost["hybrid"]
    ]
    return found


if __name__ == "__main__":
    sys.exit(main())
