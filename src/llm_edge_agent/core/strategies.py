"""How a deployment is chosen among those that can and may answer. One function and one table row each.

A strategy sees the candidates in the order the configuration lists them, none of them blocked, and returns one. It is
asked again, with what is left, when the chosen one failed: so it need not rank, and what was learned meanwhile counts.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from llm_edge_agent.core.deployments import Deployment
from llm_edge_agent.core.needs import Needs

StrategyName = Literal["model", "round_robin", "weighted", "failover", "cost", "latency", "hybrid"]

UNKNOWN_S = 1.0
"""Taken for the latency of a deployment that has a call waiting and no answer yet. One without calls is taken for the
fastest: it gets one."""
FAILURE_PENALTY = 4.0
"""How much a share of failures weighs in a latency: a call that fails costs another one."""
QUEUE_POWER = 0.7
"""Calls that wait for their first token are a queue, but not all of it: a provider serves several at once."""
_QUEUE = tuple((waiting + 1) ** QUEUE_POWER for waiting in range(64))
BUSY_WEIGHT = 0.5
"""How much the calls under way count, in proportion to the busiest candidate's: it spreads the load over equals."""
PATIENCE_S = 10.0
PATIENCE = 10.0
"""`cost` passes over those that answer later than this and this many times later than the quickest: a provider that
queues without end would have its requests time out, be asked elsewhere, and so cost more."""


_UNKNOWN_COST = float("inf")


class HybridWeights(NamedTuple):
    """Shares of the three scores of `hybrid`; only their proportion matters."""

    cost: float = 0.4
    latency: float = 0.4
    reliability: float = 0.2


class Situation(NamedTuple):
    """What a strategy may look at besides the candidates."""

    now_s: float
    chance: float
    """A random number from 0 to 1."""
    turn: int
    """How many requests of the group came before, for strategies that take turns."""
    asked: str
    """The model name as the client wrote it, aliases resolved."""
    stream: bool
    needs: Needs
    weights: HybridWeights


def latency_scores(candidates: Sequence[Deployment], situation: Situation) -> list[float]:
    """How long each will probably let a request wait, in seconds, more where calls fail or many are under way."""
    now_s, turn, stream = situation.now_s, situation.turn, situation.stream
    busy = BUSY_WEIGHT / (max([each.state.outstanding for each in candidates]) or 1)
    scores = []
    for each in candidates:
        state = each.state
        estimate = state.first_token if stream else state.whole
        seconds = estimate.value_s
        if not seconds:
            estimate = state.whole if stream else state.first_token
            seconds = estimate.value_s
        waiting = state.waiting
        if not waiting:
            seconds = estimate.faded(now_s, turn)
        elif seconds:
            seconds *= _QUEUE[waiting] if waiting < len(_QUEUE) else waiting**QUEUE_POWER
        else:
            seconds = UNKNOWN_S
        scores.append(seconds * (1.0 + FAILURE_PENALTY * state.failing) * (1.0 + busy * state.outstanding))
    return scores


def cost_scores(candidates: Sequence[Deployment], situation: Situation) -> list[float]:
    """Estimated picodollars of the request at each, at the price band that rules it; infinite where the price is
    unknown."""
    needs = situation.needs
    prompt, output = needs.prompt_tokens, needs.output_tokens
    scores = []
    for each in candidates:
        prices = each.prices
        if prices is None:
            scores.append(_UNKNOWN_COST)
            continue
        price = prices.base if prices.long_context is None else prices.band(prompt)
        scores.append(float(prompt * price.input + output * price.output))
    return scores


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
    cheapest = [each for each, score in zip(candidates, costs, strict=True) if score == least]
    waits = latency_scores(cheapest, situation)
    if min(waits) <= PATIENCE_S:
        return _least(cheapest, waits, situation)
    waits = latency_scores(candidates, situation)
    patience_s = max(PATIENCE_S, PATIENCE * min(waits))
    patient = [
        (score, wait, at) for at, (score, wait) in enumerate(zip(costs, waits, strict=True)) if wait <= patience_s
    ]
    return candidates[min(patient)[2]]


def latency(candidates: Sequence[Deployment], situation: Situation) -> Deployment:
    """The one that lets a request wait the least. Workers that know nothing of each other do not fall upon the same one
    all at once, as they would with plain averages, because each counts its own queue."""
    return _least(candidates, latency_scores(candidates, situation), situation)


def hybrid(candidates: Sequence[Deployment], situation: Situation) -> Deployment:
    """The lowest sum of cost, latency and failures, each in proportion to the worst candidate's, weighted."""
    return _least(candidates, hybrid_scores(candidates, situation), situation)


def hybrid_scores(candidates: Sequence[Deployment], situation: Situation) -> list[float]:
    """The sums that `hybrid` goes by, in the order of the candidates."""
    costs = cost_scores(candidates, situation)
    waits = latency_scores(candidates, situation)
    most = max([each for each in costs if each != _UNKNOWN_COST], default=0.0) or 1.0
    longest = max(waits) or 1.0
    weights = situation.weights
    by_cost, by_wait, by_failures = weights.cost / most, weights.latency / longest, weights.reliability
    return [
        by_cost * (cost if cost < most else most) + by_wait * wait + by_failures * each.state.failing
        for each, cost, wait in zip(candidates, costs, waits, strict=True)
    ]


def _least(candidates: Sequence[Deployment], scores: Sequence[float], situation: Situation) -> Deployment:
    """The one of the lowest score; of equal ones, such as those nothing is known of, one by chance."""
    least = min(scores)
    if scores.count(least) > 1:
        equal = [each for each, score in zip(candidates, scores, strict=True) if score == least]
        chosen = equal[int(situation.chance * len(equal))]
    else:
        chosen = candidates[scores.index(least)]
    return chosen


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
