"""What choosing costs: one decision among ten deployments by each strategy, while nothing changes and at work, and what
a plain model's call pays."""

from collections import deque
from collections.abc import Callable
from random import Random

from llm_edge_agent.core.deployments import Deployment, DeploymentState, Try
from llm_edge_agent.core.models import table_from_document
from llm_edge_agent.core.needs import Needs
from llm_edge_agent.core.plan import Group, Plan
from llm_edge_agent.core.strategies import STRATEGIES, StrategyName
from llm_edge_agent.data import model_document

NEEDS = Needs(prompt_tokens=1200)


def group(strategy: StrategyName) -> Group:
    """Ten deployments at work: each has answered and has calls under way."""
    models = [model for model in table_from_document(model_document()).models if model.mode == "chat"][:10]
    deployments = []
    for number, model in enumerate(models):
        state = DeploymentState()
        deployment = Deployment(model.id, model, state, provider=model.provider, upstream_model=model.id)
        for _ in range(20):
            tried = state.begin(0.0, stream=True)
            tried.first_token(0.3 + number / 10)
            tried.succeeded(2.0)
        for _ in range(3):
            state.begin(1.0, stream=True)
        deployments.append(deployment)
    return Group("ten", deployments, strategy=strategy, configured=True)


def only_choice() -> Callable[[], None]:
    """What `gateway/attempts.py` does where a model has one deployment and nothing speaks against it."""
    state = DeploymentState()

    def choose() -> None:
        if state.free(1.0):
            state.budget.called()

    return choose


def plain_call() -> Callable[[], None]:
    state = DeploymentState()

    def call() -> None:
        if state.free(1.0):
            state.budget.called()
        state.begin(1.0, stream=False).succeeded(1.5)

    return call


def at_work(of: Group | None) -> Callable[[], None]:
    """A hundred requests a second, 30 calls under way: one begins, at whom `of` chooses or at each in turn, one gets
    its first token, one ends. What was remembered of a wait is so forgotten as on a busy day."""
    dice = Random(1).random
    deployments = group("latency").deployments if of is None else of.deployments
    now_s = 2.0
    turn = 0
    waiting: deque[Try] = deque()
    told: deque[Try] = deque()

    def step() -> None:
        nonlocal now_s, turn
        now_s += 0.01
        turn += 1
        chosen = deployments[turn % 10] if of is None else Plan(of, NEEDS, stream=True).next(now_s, dice())
        assert chosen is not None
        waiting.append(chosen.state.begin(now_s, stream=True))
        if len(waiting) > 20:
            waiting[0].first_token(now_s)
            told.append(waiting.popleft())
        if len(told) > 10:
            told.popleft().succeeded(now_s)

    return step


def cases() -> dict[str, Callable[[], object]]:
    dice = Random(1).random

    def decide(of: Group) -> Callable[[], object]:
        return lambda: Plan(of, NEEDS, stream=True).next(2.0, dice())

    decisions: dict[str, Callable[[], object]] = {
        f"choose one of ten deployments: {name}": decide(group(name)) for name in STRATEGIES
    }
    moving: dict[str, Callable[[], object]] = {
        f"a stream's call, of ten by {name}": at_work(group(name)) for name in ("cost", "latency", "hybrid")
    }
    return {
        **decisions,
        "a stream's call, of ten without choosing": at_work(None),
        **moving,
        "choose where there is one deployment": only_choice(),
        "a plain model's call: breaker, budget, latency": plain_call(),
    }
