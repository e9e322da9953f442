from itertools import count

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.resilience import LONGEST_PAUSE_S, RetryBudget, RetryPolicy, pause_s


def error(kind: ErrorKind, *, asked_s: float | None = None, should_retry: bool | None = None) -> GatewayError:
    return GatewayError(kind, "x", retry_after_s=asked_s, should_retry=should_retry)


@pytest.mark.parametrize(
    ("kind", "asked_s", "should_retry", "expected_s"),
    [
        (ErrorKind.UPSTREAM_ERROR, None, None, 0.25),
        (ErrorKind.UPSTREAM_OVERLOADED, 1.5, None, 1.5),
        (ErrorKind.UPSTREAM_OVERLOADED, 0.1, None, 0.25),
        (ErrorKind.UPSTREAM_OVERLOADED, 60, None, None),
        (ErrorKind.UPSTREAM_CONNECTION, None, None, 0.25),
        (ErrorKind.UPSTREAM_ERROR, None, False, None),
        (ErrorKind.UPSTREAM_ERROR, None, True, 0.25),
        (ErrorKind.UPSTREAM_RATE_LIMIT, None, None, None),
        (ErrorKind.UPSTREAM_RATE_LIMIT, 1.0, None, 1.0),
        (ErrorKind.UPSTREAM_RATE_LIMIT, 20.0, None, None),
        (ErrorKind.UPSTREAM_QUOTA, None, None, None),
        (ErrorKind.UPSTREAM_AUTH, None, None, None),
        (ErrorKind.UPSTREAM_TIMEOUT, None, None, None),
        (ErrorKind.UPSTREAM_REJECTED, None, None, None),
        (ErrorKind.CIRCUIT_OPEN, 30, None, None),
    ],
)
def test_which_failures_are_repeated_and_when(
    kind: ErrorKind, asked_s: float | None, should_retry: bool | None, expected_s: float | None
) -> None:
    assert pause_s(error(kind, asked_s=asked_s, should_retry=should_retry), 0, 0.5) == expected_s


def test_pauses_double_up_to_a_bound_with_full_jitter() -> None:
    failed = error(ErrorKind.UPSTREAM_ERROR)
    assert [pause_s(failed, repeats, 1.0) for repeats in range(6)] == [0.5, 1, 2, 4, 8, LONGEST_PAUSE_S]
    assert pause_s(failed, 3, 0.0) == 0.0


def test_an_outage_is_not_multiplied() -> None:
    budget = RetryBudget(RetryPolicy())
    repeats, requests = 0, 100_000
    for number in range(requests):  # 1,000 requests a second, all failing, each wanting two repeats
        now_s = number / 1000
        budget.called()
        repeats += budget.spend(now_s) + budget.spend(now_s)
    assert repeats <= 0.2 * requests + 10 * 100 + 50


def test_a_quiet_deployment_has_repeats_too() -> None:
    budget = RetryBudget(RetryPolicy())
    spent_at_once = next(number for number in count() if not budget.spend(0.0))
    assert spent_at_once == 20
    assert not budget.spend(0.05)
    assert budget.spend(0.2)


def test_requests_save_up_no_more_than_a_bound() -> None:
    budget = RetryBudget(RetryPolicy(per_s=0.0))
    assert not budget.spend(0.0)
    for _ in range(10_000):
        budget.called()
    assert next(number for number in count() if not budget.spend(1.0)) == 20
