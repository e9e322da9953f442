"""Deployments as the tests of routing need them."""

from llm_edge_agent.core.breaker import BreakerPolicy
from llm_edge_agent.core.deployments import CallPolicies, Deployment, DeploymentState
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.core.pricing import Price, PriceList
from llm_edge_agent.core.quotas import KeyPool, Quota
from llm_edge_agent.core.resilience import RetryPolicy

FAILED = GatewayError(ErrorKind.UPSTREAM_ERROR, "failed")
REFUSED = GatewayError(ErrorKind.UPSTREAM_REJECTED, "refused")
LIMITED = GatewayError(ErrorKind.UPSTREAM_RATE_LIMIT, "limited", retry_after_s=20)


def deployment(
    name: str,
    *,
    price: int | None = 1,
    weight: float = 1.0,
    priority: int = 0,
    context_window: int | None = None,
    vision: bool = True,
    keys: int = 1,
    max_in_flight: int | None = None,
    quota: Quota | None = None,
    breaker_failures: int = 5,
    retries: RetryPolicy | None = None,
    prices: PriceList | None = None,
) -> Deployment:
    """A deployment `p/name`; `price` in picodollars a token, output at twice that, unless `prices` says otherwise."""
    if prices is None and price is not None:
        prices = PriceList(base=Price(input=price, output=2 * price))
    model = Model(id=name, dialect="openai", provider="p", context_window=context_window, vision=vision)
    policies = CallPolicies(BreakerPolicy(failures=breaker_failures), retries or RetryPolicy())
    return Deployment(
        f"p/{name}",
        model,
        DeploymentState(policies, KeyPool(keys), max_in_flight=max_in_flight, quota=quota),
        provider="p",
        upstream_model=name,
        weight=weight,
        priority=priority,
        prices=prices,
    )


def fail(target: Deployment, now_s: float, times: int = 1, error: GatewayError = FAILED) -> None:
    """So many calls that fail."""
    for _ in range(times):
        target.state.begin(now_s, stream=True).failed(now_s, error)


def answer(target: Deployment, now_s: float, seconds: float = 1.0, times: int = 1) -> None:
    """So many streams that begin after `seconds`, and end with that."""
    for _ in range(times):
        tried = target.state.begin(now_s, stream=True)
        tried.first_token(now_s + seconds)
        tried.succeeded(now_s + seconds)
