"""Why a request would go where it would go: every candidate, what speaks for and against it, the order of asking."""

from typing import NamedTuple

from llm_edge_agent.core.deployments import Deployment
from llm_edge_agent.core.needs import FEATURES, Needs
from llm_edge_agent.core.plan import Group, Plan
from llm_edge_agent.core.strategies import STRATEGIES, cost_scores


class Candidate(NamedTuple):
    """One deployment of the group."""

    deployment: Deployment
    unable: str | None
    """Why it cannot do the request, or None."""
    held: str | None
    """Why it is passed over at the moment, or None: circuit_open, full, parked, quota, ejected."""
    free_in_s: float
    """For how long, as far as is known."""
    score: float | None
    """What the strategy goes by, the lowest first; None where it compares nothing."""
    estimated_picodollars: float | None
    place: int | None
    """In the order of asking, from 1; None: it would not be asked."""


class Explanation(NamedTuple):
    group: Group
    needs: Needs
    features: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    """In the order of the configuration."""


def explain(group: Group, needs: Needs, *, stream: bool, now_s: float, chance: float) -> Explanation:
    """Decides as for a request, without leaving a trace. The order is that of failover at this moment; what fails
    would be learned of on the way."""
    plan = Plan(group, needs, stream=stream, counted=False)
    order = []
    while (chosen := plan.next(now_s, chance)) is not None:
        order.append(chosen)
    deployments = group.deployments
    score = STRATEGIES[group.strategy].score
    plan.now_s, plan.rates = now_s, None
    scores = score(deployments, plan) if score is not None else None
    costs = cost_scores(deployments, plan)
    candidates = [
        Candidate(
            deployment=each,
            unable=group.why_unable(at, needs),
            held=each.state.why_not(now_s),
            free_in_s=max(0.0, each.state.free_at_s(now_s) - now_s),
            score=scores[at] if scores is not None else None,
            estimated_picodollars=costs[at] if each.prices is not None else None,
            place=order.index(each) + 1 if each in order else None,
        )
        for at, each in enumerate(deployments)
    ]
    features = tuple(feature.name for feature in FEATURES if feature.flag & needs.features)
    return Explanation(group, needs, features, tuple(candidates))
