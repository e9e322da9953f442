"""What choosing costs: one decision among ten deployments by each strategy, and what a plain model's call pays."""

from collections.abc import Callable
from random import Random

from llm_edge_agent.core.deployments import Deployment, DeploymentState
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


def plain_call() -> Callable[[], None]:
    state = DeploymentState()

    def call() -> None:
        if state.free(1.0):
            state.budget.called()
        state.begin(1.0, stream=False).succeeded(1.5)

    return call


def cases() -> dict[str, Callable[[], object]]:
    dice = Random(1).random

    def decide(of: Group) -> Callable[[], object]:
        return lambda: Plan(of, NEEDS, stream=True).next(2.0, dice())

    decisions: dict[str, Callable[[], object]] = {
        f"choose one of ten deployments: {name}": decide(group(name)) for name in STRATEGIES
    }
    return {**decisions, "a plain model's call: breaker, budget, latency": plain_call()}
