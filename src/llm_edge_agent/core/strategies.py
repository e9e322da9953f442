"""How a deployment is chosen among those that can and may answer. One function and one table row each.

A strategy sees the candidates in the order the configuration lists them, none of them blocked, and returns one. It is
asked again, with what is left, when the chosen one failed: so it need not rank, and what was learned meanwhile counts.
"""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Literal, NamedTuple

from llm_edge_agent.core.deployments import Deployment, DeploymentState
from llm_edge_agent.core.needs import Needs

StrategyName = Literal["model", "round_robin", "weighted", "failover", "cost", "latency", "hybrid"]

NEAR = 1.25
"""Expected waits this much above the least are taken for equal: the difference may be noise, and between equals the
load decides."""
BUSY_WEIGHT = 0.5
"""How much the calls under way count, in proportion to the busiest candidate's: it spreads the load over equals, and
moves it from one that is a little slower only in part."""
NEAR_SUM = 1.2
"""The same for the sums of `hybrid`."""
PATIENCE_S = 3.0
PATIENCE = 8.0
"""`cost` passes over those that answer later than this and this many times later than the quickest: a provider that
queues without end would have its requests time out, be asked elsewhere, and so cost more."""
FORGOTTEN_S = 60.0
"""After so long it asks one of them again: the queue may be gone, and looking costs it nothing but time."""


class HybridWeights(NamedTuple):
    """Shares of the three scores of `hybrid`; only their proportion matters."""

    cost: float = 0.4
    latency: float = 0.4
    reliability: float = 0.2


class Rates(NamedTuple):
    """Base prices of a group's deployments, prepared once: picodollars a token of prompt and answer."""

    each: tuple[tuple[float, float], ...]
    """In the order of the deployments."""
    input: float
    output: float
    """The dearest."""


class Situation:
    """What a strategy may look at besides the candidates."""

    __slots__ = ("asked", "chance", "failing", "needs", "now_s", "rates", "stream", "turn", "weights")

    def __init__(
        self,
        *,
        turn: int,
        asked: str,
        stream: bool,
        needs: Needs,
        weights: HybridWeights,
        rates: Rates | None = None,
        now_s: float = 0.0,
        chance: float = 0.0,
    ) -> None:
        self.turn = turn
        """How many requests of the group came before, for strategies that take turns."""
        self.asked = asked
        """The model name as the client wrote it, aliases resolved."""
        self.stream = stream
        self.needs = needs
        self.weights = weights
        self.rates = rates
        """What the candidates charge, where the group's base prices rule the request and nobody is left out: it saves
        looking at each."""
        self.failing = False
        """Whether some candidate's calls fail now and then: seen where waits are looked at."""
        self.now_s = now_s
        self.chance = chance
        """A random number from 0 to 1."""


def latency_scores(candidates: Sequence[Deployment], situation: Situation) -> list[float]:
    """How long each will probably let a request wait, in seconds; of those about as quick as the quickest and of the
    others alike, more where many calls are under way."""
    waits = _waits(candidates, situation)
    under_way = [each.state.outstanding for each in candidates]
    near = NEAR * min(waits)
    busy = BUSY_WEIGHT / (max(under_way) or 1)
    return [(wait if wait > near else near) * (1.0 + busy * calls) for wait, calls in zip(waits, under_way)]  # noqa: B905  made one by one of the same


def _waits(candidates: Sequence[Deployment], situation: Situation) -> list[float]:
    """The expected wait at each, remembered where nothing has changed."""
    now_s = situation.now_s
    situation.failing = False
    if situation.stream:
        return [
            wait.expected_s
            if now_s < (wait := (state := each.state).first_token).fresh_until_s
            else _wait_s(state, situation)
            for each in candidates
        ]
    return [
        wait.expected_s if now_s < (wait := (state := each.state).whole).fresh_until_s else _wait_s(state, situation)
        for each in candidates
    ]


def _wait_s(state: DeploymentState, situation: Situation) -> float:
    if state.failing:
        situation.failing = True
    return state.wait_s(situation.now_s, situation.turn, stream=situation.stream)


def cost_scores(candidates: Sequence[Deployment], situation: Situation) -> list[float]:
    """Estimated picodollars of the request at each, at the price band that rules it; infinite where the price is
    unknown."""
    prompt, output = situation.needs.prompt_tokens, situation.needs.output_tokens
    if situation.rates is not None:
        return [prompt * by_input + output * by_output for by_input, by_output in situation.rates.each]
    return [
        prompt * each.input_price + output * each.output_price
        if prompt <= each.base_up_to
        else prompt * each.long_input_price + output * each.long_output_price
        for each in candidates
    ]


def model(candidates: Sequence[Deployment], situation: Situation) -> Deployment:
    """The model that was asked for by name, else the first listed."""
    for deployment in candidates:
        if deployment.upstream_model == situation.asked:
            return deployment
    return candidates[0]


def round_robin(candidates: Sequence[Deployment], situation: Situation) -> Deployment:
    """Each in turn."""
    return candidates[situation.turn % len(candidates)]


def weighted(candidates: Sequence[Deployment], situation: Situation) -> Deployment:
    """By chance, in proportion to the configured weights."""
    left = situation.chance * sum(deployment.weight for deployment in candidates)
    for deployment in candidates:
        left -= deployment.weight
        if left < 0:
            return deployment
    return candidates[-1]


def failover(candidates: Sequence[Deployment], situation: Situation) -> Deployment:
    """The lowest configured priority; the first listed of equals."""
    return min(candidates, key=lambda deployment: deployment.priority)


def cost(candidates: Sequence[Deployment], situation: Situation) -> Deployment:
    """The cheapest; of equally cheap ones, the one that answers soonest. Not one that hardly answers any more."""
    costs = cost_scores(candidates, situation)
    least = min(costs)
    cheapest = (
        [candidates[costs.index(least)]]
        if costs.count(least) == 1
        else [each for each, score in zip(candidates, costs, strict=True) if score == least]
    )
    waits = _waits(cheapest, situation)
    if min(waits) <= PATIENCE_S:
        return cheapest[0] if len(cheapest) == 1 else latency(cheapest, situation)
    waits = _waits(candidates, situation)
    patience_s = max(PATIENCE_S, PATIENCE * min(waits))
    patient = [
        (score, wait, at)
        for at, (score, wait) in enumerate(zip(costs, waits, strict=True))
        if wait <= patience_s or _forgotten(candidates[at].state, situation)
    ]
    return candidates[min(patient)[2]]


def _forgotten(state: DeploymentState, situation: Situation) -> bool:
    """Whether it is time to see if a deployment still lets requests wait."""
    wait = state.first_token if situation.stream else state.whole
    return not wait.waiting and situation.now_s - wait.at_s > FORGOTTEN_S


def latency(candidates: Sequence[Deployment], situation: Situation) -> Deployment:
    """The one that lets a request wait the least: the lowest of `latency_scores`. Workers that know nothing of each
    other do not fall upon the same one all at once, as they would with plain averages, because each counts the calls
    that it has under way itself."""
    waits = _waits(candidates, situation)
    near = NEAR * min(waits)
    if max(waits) <= near:  # all alike, as on most days: their scores are in the order of the calls under way
        return _least_busy(candidates, waits, near, situation)
    under_way = [each.state.outstanding for each in candidates]
    far = near * (1.0 + BUSY_WEIGHT)  # nobody beyond has the lowest score
    busy = BUSY_WEIGHT / (max(under_way) or 1)
    least = inf
    best: list[Deployment] = []
    for each, wait, calls in zip(candidates, waits, under_way):  # noqa: B905  one each
        if wait <= far:
            score = (wait if wait > near else near) * (1.0 + busy * calls)
            if score < least:
                least, best = score, [each]
            elif score == least:
                best.append(each)
    return best[int(situation.chance * len(best))]


def hybrid(candidates: Sequence[Deployment], situation: Situation) -> Deployment:
    """The lowest sum of cost, latency and failures, each in proportion to the worst candidate's, weighted."""
    scores = hybrid_scores(candidates, situation)
    return _least_busy(candidates, scores, NEAR_SUM * min(scores), situation)


def hybrid_scores(candidates: Sequence[Deployment], situation: Situation) -> list[float]:
    """The sums that `hybrid` goes by, in the order of the candidates."""
    waits = _waits(candidates, situation)
    weights, rates = situation.weights, situation.rates
    by_wait = weights.latency / (max(waits) or 1.0)
    if rates is None:
        costs = cost_scores(candidates, situation)
        most = max([each for each in costs if each != inf], default=0.0)
        by_cost = weights.cost / (most or 1.0)
        scores = [by_cost * min(cost, most) + by_wait * wait for cost, wait in zip(costs, waits, strict=True)]
    else:
        prompt, output = situation.needs.prompt_tokens, situation.needs.output_tokens
        by_cost = weights.cost / (prompt * rates.input + output * rates.output or 1.0)
        by_input, by_output = by_cost * prompt, by_cost * output
        scores = [
            by_input * input_price + by_output * output_price + by_wait * wait
            for (input_price, output_price), wait in zip(rates.each, waits)  # noqa: B905  one each
        ]
    if situation.failing:
        by_failures = weights.reliability
        return [score + by_failures * each.state.failing for score, each in zip(scores, candidates, strict=True)]
    return scores


def _least_busy(
    candidates: Sequence[Deployment], scores: Sequence[float], near: float, situation: Situation
) -> Deployment:
    """Of those whose score is at most `near` the one with the fewest calls under way; of several, one by chance."""
    fewest: float = inf
    best: list[Deployment] = []
    for each, score in zip(candidates, scores):  # noqa: B905  one each
        if score <= near:
            calls = each.state.outstanding
            if calls < fewest:
                fewest, best = calls, [each]
            elif calls == fewest:
                best.append(each)
    return best[int(situation.chance * len(best))]


class Strategy(NamedTuple):
    """`score` is what it goes by, lower is better, for explanations; None where it compares nothing."""

    choose: Callable[[Sequence[Deployment], Situation], Deployment]
    score: Callable[[Sequence[Deployment], Situation], list[float]] | None = None


STRATEGIES: Mapping[StrategyName, Strategy] = {
    "model": Strategy(model),
    "round_robin": Strategy(round_robin),
    "weighted": Strategy(weighted),
    "failover": Strategy(failover),
    "cost": Strategy(cost, cost_scores),
    "latency": Strategy(latency, latency_scores),
    "hybrid": Strategy(hybrid, hybrid_scores),
}
