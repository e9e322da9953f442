"""The way of one request through a group: who can do it, who is asked first, and who next when that fails.

A plan is decided as it is walked: `next` chooses among the deployments not yet tried with what is known at that
moment, since seconds may lie between two tries. `candidates` is fixed when the plan is made. Time and chance are told.
"""

from collections.abc import Sequence
from typing import NamedTuple

from llm_edge_agent.core.deployments import Deployment
from llm_edge_agent.core.needs import Needs, fits, lacking, why_unable
from llm_edge_agent.core.strategies import STRATEGIES, HybridWeights, Rates, Situation, StrategyName


class Fallbacks(NamedTuple):
    """Names that are tried, in order, when a group's own deployments could not answer: for any reason that another
    model may be free of, because the prompt is too long, because a content filter refused."""

    general: tuple[str, ...] = ()
    context_window: tuple[str, ...] = ()
    content_filter: tuple[str, ...] = ()


NO_FALLBACKS = Fallbacks()


class Group:
    """A name that clients use, and the deployments that answer to it. At least one."""

    __slots__ = (
        "_lacks",
        "asked",
        "base_up_to",
        "choose",
        "configured",
        "deployments",
        "fallbacks",
        "identity",
        "lacked",
        "least_window",
        "name",
        "rates",
        "strategy",
        "turn",
        "weights",
    )

    def __init__(
        self,
        name: str,
        deployments: Sequence[Deployment],
        *,
        strategy: StrategyName = "model",
        weights: HybridWeights | None = None,
        fallbacks: Fallbacks = NO_FALLBACKS,
        asked: str | None = None,
        configured: bool = False,
    ) -> None:
        """`asked`: the model name with aliases resolved, for the strategy `model`. `configured`: the configuration
        lists it; other groups stand for one model of one provider."""
        self.name = name
        self.deployments = tuple(deployments)
        self.strategy: StrategyName = strategy
        self.choose = STRATEGIES[strategy].choose
        self.weights = weights or HybridWeights()
        self.fallbacks = fallbacks
        self.asked = asked if asked is not None else name
        self.configured = configured
        self.turn = 0
        self.identity = _identity(self)
        """What stands for the group in cache keys: the answers of any of its deployments are each other's equals, and
        of nobody else's."""
        self._lacks = tuple(lacking(deployment.model) for deployment in self.deployments)
        self.lacked = 0
        """What one of them or another cannot do: a request that needs nothing of it, and less room than the
        `least_window`, can be done by all."""
        for lacks in self._lacks:
            self.lacked |= lacks
        windows = [each.model.context_window for each in self.deployments if each.model.context_window is not None]
        self.least_window = min(windows, default=1 << 62)
        priced = all(each.prices is not None for each in self.deployments)
        self.base_up_to = min(each.base_up_to for each in self.deployments) if priced else -1
        """Prompts of at most so many tokens cost the base price at every deployment; -1 where a price is unknown."""
        rates = tuple((each.input_price, each.output_price) for each in self.deployments)
        self.rates = Rates(rates, max(each[0] for each in rates), max(each[1] for each in rates))

    def able(self, needs: Needs) -> tuple[Deployment, ...]:
        """The deployments that can do a request. All of them where none can: the provider has the last word."""
        found = tuple(
            deployment
            for deployment, lacks in zip(self.deployments, self._lacks, strict=True)
            if not lacks & needs.features and fits(deployment.model, needs)
        )
        return found or self.deployments

    def why_unable(self, index: int, needs: Needs) -> str | None:
        """The reasons why a deployment cannot do a request, by its place in the group, or None."""
        return why_unable(self.deployments[index].model, self._lacks[index], needs)


def _identity(group: Group) -> str:
    places = [f"{each.provider}/{each.upstream_model}" for each in group.deployments]
    if not group.configured:
        return places[0]
    listed = "".join(f"{len(place)}:{place}" for place in sorted(set(places)))
    return f"group {len(group.name)}:{group.name}{listed}"


class Plan(Situation):
    """One request's walk through one group, and the situation that the group's strategy looks at. No deployment comes
    twice."""

    __slots__ = ("_counted", "_last_resort", "candidates", "group", "tried")

    def __init__(self, group: Group, needs: Needs, *, stream: bool, counted: bool = True) -> None:
        """`counted` False: only to see what it would be; nobody's turn passes."""
        self.group = group
        self.needs = needs
        if needs.features & group.lacked or needs.prompt_tokens + needs.max_output_tokens > group.least_window:
            self.candidates = group.able(needs)
        else:
            self.candidates = group.deployments
        self.tried: list[Deployment] = []
        self.stream = stream
        self.turn = group.turn
        self.asked = group.asked
        self.weights = group.weights
        self.rates = None
        self._last_resort = False
        self._counted = counted
        group.turn += counted

    def next(self, now_s: float, chance: float) -> Deployment | None:
        """Who is to be asked now, or None: all were, or no breaker lets a call pass.

        Those that nothing speaks against come first, as the strategy chooses. After them one of those that are
        parked, out of quota or ejected is asked, the one that will be free first: such reasons only choose between
        candidates, so somebody is always asked. Behind an open breaker, and at its bound, nobody is called.
        """
        left: Sequence[Deployment] = self.candidates
        if self.tried:
            left = [deployment for deployment in left if deployment not in self.tried]
        free = [each for each in left if now_s >= each.state.blocked_until_s]  # `state.free`, spelled out: it counts
        if len(free) < len(left):
            readmitted = self._readmitted(now_s)
            if readmitted:
                free = [each for each in left if each in free or each in readmitted]
        if len(free) > 1:
            group = self.group
            self.now_s, self.chance = now_s, chance
            whole = len(free) == len(group.deployments) and self.needs.prompt_tokens <= group.base_up_to
            self.rates = group.rates if whole else None
            chosen = group.choose(free, self)
        elif free:
            chosen = free[0]
        else:
            held = [deployment for deployment in left if deployment.state.callable(now_s)]
            if not held or self._last_resort:
                return None
            self._last_resort = True
            chosen = min(held, key=lambda deployment: deployment.state.free_at_s(now_s))
        self.tried.append(chosen)
        if self._counted:
            state = chosen.state
            state.first_token.turn = state.whole.turn = self.turn
        return chosen

    def only_larger_than(self, context_window: int | None) -> None:
        """Leaves those whose context window is larger than one that was too small; none where that is unknown."""
        self.candidates = tuple(
            each
            for each in self.candidates
            if context_window is not None and (each.model.context_window or 0) > context_window
        )

    def _readmitted(self, now_s: float) -> list[Deployment]:
        """Ejected ones beyond half of the candidates, those first whose time is over first. When most of a group
        fails, whom it fails says little about one of them."""
        ejected = [each for each in self.candidates if each.state.why_not(now_s) == "ejected"]
        surplus = len(ejected) - len(self.candidates) // 2
        if surplus <= 0:
            return []
        ejected.sort(key=lambda deployment: deployment.state.ejected_until_s)
        return ejected[:surplus]
