"""One rule's simulated day: clients come, ask a gateway, call a provider, and again where that fails."""

import random
from functools import partial
from typing import NamedTuple

from bench.routing.rules import TOTAL_DEADLINE_S, Journey, MakeWorker, Worker
from bench.routing.scenarios import OUTPUT_TOKENS, PROMPT_TOKENS, Scenario
from bench.routing.world import ATTEMPT_TIMEOUT_S, Clock, Luck, Outcome, Server

WARM_UP_S = 30.0
IN_TIME_S = 10.0


class Day(NamedTuple):
    """One rule's result with one seed."""

    p50_s: float
    p95_s: float
    p99_s: float
    success: float
    in_time: float
    """Share of all requests whose first token came within IN_TIME_S."""
    calls: float
    """Upstream calls per request."""
    cost: float
    """USD per thousand answered requests."""
    cost_in_time: float
    """The same money per thousand requests that were answered in time."""


class _Request:
    """A client's request on its way."""

    def __init__(self, run: "_Run", journey: Journey, prompt_tokens: int, output_tokens: int, luck: Luck) -> None:
        self._run = run
        self._journey = journey
        self._prompt_tokens = prompt_tokens
        self._output_tokens = output_tokens
        self._luck = luck
        self._arrived_s = run.clock.now_s
        self._counted = self._arrived_s >= WARM_UP_S
        self._number = 0

    def go_on(self) -> None:
        clock = self._run.clock
        asked = self._journey.ask(clock.now_s) if clock.now_s < self._arrived_s + TOTAL_DEADLINE_S else None
        if asked is None:
            self._run.failed += self._counted
            return
        self._number, pause_s = asked
        if pause_s:
            clock.at(clock.now_s + pause_s, self._call)
        else:
            self._call()

    def _call(self) -> None:
        run = self._run
        self._journey.began(run.clock.now_s)
        run.calls += self._counted
        if run.log is not None:
            run.log.append((run.clock.now_s, self._number))
        left_s = self._arrived_s + TOTAL_DEADLINE_S - run.clock.now_s
        run.servers[self._number].call(
            self._output_tokens, self._luck, min(ATTEMPT_TIMEOUT_S, left_s), self._first, self._ended
        )

    def _first(self) -> None:
        run = self._run
        self._journey.first(run.clock.now_s)
        if self._counted:
            run.waits.append(run.clock.now_s - self._arrived_s)
            price = run.servers[self._number].provider.price
            run.cost += price * (self._prompt_tokens + 4 * self._output_tokens) / 1e6

    def _ended(self, outcome: Outcome, wait_s: float | None) -> None:
        self._journey.ended(self._run.clock.now_s, outcome, wait_s)
        if outcome != "ok":
            self.go_on()


class _Run:
    def __init__(self, scenario: Scenario, make: MakeWorker, per_s: float, seconds: float, seed: int) -> None:
        self.clock = Clock()
        self.servers = [Server(provider, self.clock) for provider in scenario.providers]
        self.waits: list[float] = []
        self.failed = 0
        self.calls = 0
        self.cost = 0.0
        self.log: list[tuple[float, int]] | None = None
        workers = [
            make(scenario.providers, random.Random(f"{seed} worker {number}")) for number in range(scenario.gateways)
        ]
        arrivals = random.Random(seed)
        when_s = 0.0
        while (when_s := when_s + arrivals.expovariate(per_s)) < seconds + WARM_UP_S:
            worker = arrivals.choice(workers)
            prompt = max(1, int(arrivals.lognormvariate(0, 0.8) * PROMPT_TOKENS / 1.38))
            output = max(1, int(arrivals.lognormvariate(0, 0.6) * OUTPUT_TOKENS / 1.2))
            luck = Luck(arrivals.getrandbits(48))
            self.clock.at(when_s, partial(self._arrive, worker, prompt, output, luck))

    def _arrive(self, worker: Worker, prompt: int, output: int, luck: Luck) -> None:
        _Request(self, worker.journey(self.clock.now_s, prompt), prompt, output, luck).go_on()

    def day(self) -> Day:
        self.clock.run()
        waits = sorted(self.waits)
        answered, asked = len(waits), len(waits) + self.failed
        in_time = sum(each <= IN_TIME_S for each in waits)
        waits += [TOTAL_DEADLINE_S] * self.failed  # who got no answer waited for all the time there is
        p50_s, p95_s, p99_s = (waits[min(asked - 1, int(asked * share))] for share in (0.5, 0.95, 0.99))
        return Day(
            p50_s,
            p95_s,
            p99_s,
            answered / asked,
            in_time / asked,
            self.calls / asked,
            1000 * self.cost / max(1, answered),
            1000 * self.cost / max(1, in_time),
        )


def simulate(scenario: Scenario, load: str, rule: MakeWorker, *, seconds: float, seed: int) -> Day:
    """The figures of one rule on one day."""
    return _Run(scenario, rule, scenario.per_s(load), seconds, seed).day()


def calls_of(scenario: Scenario, load: str, rule: MakeWorker, *, seconds: float, seed: int) -> list[tuple[float, int]]:
    """When each call of one day began, and at which provider, by number."""
    run = _Run(scenario, rule, scenario.per_s(load), seconds, seed)
    run.log = []
    run.day()
    return run.log
