"""The rules that are compared: the gateway's own code, and others as they are commonly built.

The others are given what routers of their kind have: failover to a deployment not yet tried, chosen by the same rule,
and a cool-down of 5 s after more than three failures in a minute, or for as long as a 429 asked.
"""

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from math import exp
from typing import Protocol

from bench.routing.world import Outcome, Provider
from llm_edge_agent.core.deployments import Deployment, DeploymentState, Try
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.core.needs import Needs
from llm_edge_agent.core.plan import Group
from llm_edge_agent.core.pricing import Price, PriceList
from llm_edge_agent.core.strategies import StrategyName
from llm_edge_agent.core.walk import Walk

TOTAL_DEADLINE_S = 180.0
MAX_RETRIES = 2


class Journey(Protocol):
    """One request's decisions. `ask` is called first and after every failure: (provider's number, pause) or None."""

    def ask(self, now_s: float) -> tuple[int, float] | None: ...

    def began(self, now_s: float) -> None: ...

    def first(self, now_s: float) -> None: ...

    def ended(self, now_s: float, outcome: Outcome, wait_s: float | None) -> None: ...


class Worker(Protocol):
    """One process of the gateway: what it learned is its own."""

    def journey(self, now_s: float, prompt_tokens: int) -> Journey: ...


MakeWorker = Callable[[tuple[Provider, ...], random.Random], Worker]

_KINDS: dict[Outcome, ErrorKind] = {
    "error": ErrorKind.UPSTREAM_ERROR,
    "limited": ErrorKind.UPSTREAM_RATE_LIMIT,
    "timeout": ErrorKind.UPSTREAM_TIMEOUT,
}


class Ours:
    """The gateway's routing, as it is."""

    def __init__(self, providers: tuple[Provider, ...], chance: random.Random, strategy: StrategyName) -> None:
        model = Model(id="m", dialect="openai", provider="p")
        self.chance = chance
        self.deployments = [
            Deployment(
                each.name,
                model,
                DeploymentState(),
                provider=each.name,
                upstream_model="m",
                prices=PriceList(base=Price(input=int(each.price * 10**6), output=int(each.price * 4 * 10**6))),
            )
            for each in providers
        ]
        self.number = {deployment: number for number, deployment in enumerate(self.deployments)}
        self.group = Group("m", self.deployments, strategy=strategy, configured=True)

    def journey(self, now_s: float, prompt_tokens: int) -> "OurJourney":
        return OurJourney(self, now_s, prompt_tokens)


class OurJourney:
    def __init__(self, worker: Ours, now_s: float, prompt_tokens: int) -> None:
        self._worker = worker
        self._walk = Walk(
            worker.group,
            Needs(prompt_tokens=prompt_tokens),
            _no_group,
            stream=True,
            max_retries=MAX_RETRIES,
            deadline_s=now_s + TOTAL_DEADLINE_S,
        )
        self._error: GatewayError | None = None
        self._deployment: Deployment | None = None
        self._try: Try | None = None

    def ask(self, now_s: float) -> tuple[int, float] | None:
        chance = self._worker.chance.random()
        try:
            if self._error is None:
                ask = self._walk.first(now_s, chance)
            else:
                found = self._walk.after(self._error, now_s, chance)
                if found is None:
                    return None
                ask = found
        except GatewayError:
            return None
        self._deployment = ask.deployment
        return self._worker.number[ask.deployment], ask.pause_s

    def began(self, now_s: float) -> None:
        assert self._deployment is not None
        self._try = self._deployment.state.begin(now_s, stream=True)

    def first(self, now_s: float) -> None:
        assert self._try is not None
        self._try.first_token(now_s)

    def ended(self, now_s: float, outcome: Outcome, wait_s: float | None) -> None:
        assert self._try is not None
        if outcome == "ok":
            self._try.succeeded(now_s)
            return
        self._error = GatewayError(_KINDS[outcome], "", retry_after_s=wait_s)
        self._try.failed(now_s, self._error)


def _no_group(name: str) -> Group:
    raise GatewayError(ErrorKind.MODEL_NOT_FOUND, name)


class Common(ABC):
    """A rule as commonly built: `choose` picks among those neither tried nor cooling down."""

    MEAN_OF = 10
    COOL_S = 5.0
    FAILURES_A_MINUTE = 3
    TIMEOUT_COUNTS_S = 1000.0

    def __init__(self, providers: tuple[Provider, ...], chance: random.Random) -> None:
        self.chance = chance
        self.outstanding = [0] * len(providers)
        self.latencies: list[deque[float]] = [deque(maxlen=self.MEAN_OF) for _ in providers]
        self.cool_until_s = [0.0] * len(providers)
        self.failures: list[deque[float]] = [deque(maxlen=self.FAILURES_A_MINUTE + 1) for _ in providers]

    def journey(self, now_s: float, prompt_tokens: int) -> "CommonJourney":
        return CommonJourney(self)

    @abstractmethod
    def choose(self, among: list[int], now_s: float) -> int: ...

    def answered(self, number: int, seconds: float, now_s: float) -> None:
        """The first token came after so many seconds, or the call timed out."""
        self.latencies[number].append(seconds)

    def failed(self, number: int, now_s: float, wait_s: float | None) -> None:
        if wait_s is not None:
            self.cool_until_s[number] = now_s + wait_s
            return
        recent = self.failures[number]
        recent.append(now_s)
        if len(recent) > self.FAILURES_A_MINUTE and now_s - recent[0] < 60:
            self.cool_until_s[number] = now_s + self.COOL_S


class CommonJourney:
    def __init__(self, worker: Common) -> None:
        self._worker = worker
        self._tried: set[int] = set()
        self._number = 0
        self._began_s = 0.0

    def ask(self, now_s: float) -> tuple[int, float] | None:
        worker = self._worker
        left = [number for number in range(len(worker.outstanding)) if number not in self._tried]
        if not left:
            return None
        warm = [number for number in left if worker.cool_until_s[number] <= now_s]
        self._number = worker.choose(warm or left, now_s)
        self._tried.add(self._number)
        return self._number, 0.0

    def began(self, now_s: float) -> None:
        self._began_s = now_s
        self._worker.outstanding[self._number] += 1

    def first(self, now_s: float) -> None:
        self._worker.answered(self._number, now_s - self._began_s, now_s)

    def ended(self, now_s: float, outcome: Outcome, wait_s: float | None) -> None:
        worker = self._worker
        worker.outstanding[self._number] -= 1
        if outcome == "timeout":
            worker.answered(self._number, worker.TIMEOUT_COUNTS_S, now_s)
        if outcome != "ok":
            worker.failed(self._number, now_s, wait_s)


class WeightedRandom(Common):
    def choose(self, among: list[int], now_s: float) -> int:
        return self.chance.choice(among)


class LeastOutstanding(Common):
    def choose(self, among: list[int], now_s: float) -> int:
        least = min(self.outstanding[number] for number in among)
        return self.chance.choice([number for number in among if self.outstanding[number] == least])


class TwoLeastOutstanding(Common):
    def choose(self, among: list[int], now_s: float) -> int:
        two = self.chance.sample(among, min(2, len(among)))
        return min(two, key=lambda number: self.outstanding[number])


class TwoPeak(Common):
    """Peak EWMA of latency times outstanding calls, the better of two taken by chance: the best of what is common."""

    DECAY_S = 10.0

    def __init__(self, providers: tuple[Provider, ...], chance: random.Random) -> None:
        super().__init__(providers, chance)
        self._peaks = [(0.0, 0.0)] * len(providers)

    def answered(self, number: int, seconds: float, now_s: float) -> None:
        super().answered(number, seconds, now_s)
        value_s, at_s = self._peaks[number]
        kept = exp((at_s - now_s) / self.DECAY_S)
        self._peaks[number] = (max(seconds, value_s * kept + seconds * (1 - kept)), now_s)

    def choose(self, among: list[int], now_s: float) -> int:
        two = self.chance.sample(among, min(2, len(among)))
        return min(two, key=lambda number: self._score(number, now_s))

    def _score(self, number: int, now_s: float) -> float:
        value_s, at_s = self._peaks[number]
        return value_s * exp((at_s - now_s) / self.DECAY_S) * (self.outstanding[number] + 1)


class LowestMean(Common):
    """The lowest average of the last ten latencies."""

    def choose(self, among: list[int], now_s: float) -> int:
        means = [
            sum(self.latencies[each]) / len(self.latencies[each]) if self.latencies[each] else 0.0 for each in among
        ]
        least = min(means)
        return self.chance.choice([number for number, mean in zip(among, means, strict=True) if mean == least])


class LowestPrice(Common):
    """The lowest price of all."""

    def __init__(self, providers: tuple[Provider, ...], chance: random.Random) -> None:
        super().__init__(providers, chance)
        self._prices = [each.price for each in providers]

    def choose(self, among: list[int], now_s: float) -> int:
        return min(among, key=self._prices.__getitem__)


def ours(strategy: StrategyName) -> MakeWorker:
    return lambda providers, chance: Ours(providers, chance, strategy)


COMPARED: dict[str, MakeWorker] = {
    "weighted random": WeightedRandom,
    "least outstanding": LeastOutstanding,
    "two, least outstanding": TwoLeastOutstanding,
    "two, peak EWMA": TwoPeak,
    "lowest mean latency": LowestMean,
    "lowest price": LowestPrice,
}
OURS: dict[str, MakeWorker] = {
    name: ours(name) for name in ("latency", "hybrid", "cost", "weighted", "round_robin", "failover")
}
