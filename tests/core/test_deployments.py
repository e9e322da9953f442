import pytest

from llm_edge_agent.core.breaker import BreakerPolicy, State
from llm_edge_agent.core.deployments import (
    EJECT_S,
    MOST_EJECTIONS,
    PARKED_S,
    SET_ASIDE_S,
    SUSTAINED_REFUSALS,
    UNHEALTHY_AFTER_FAILURES,
    CallPolicies,
    DeploymentState,
)
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.core.quotas import Quota
from llm_edge_agent.core.resilience import RetryPolicy
from tests.core.routing_cases import FAILED, LIMITED, REFUSED, answer, deployment, fail

AUTH = GatewayError(ErrorKind.UPSTREAM_AUTH, "x", extra={"upstream_status": 401})
FORBIDDEN = GatewayError(ErrorKind.UPSTREAM_AUTH, "x", extra={"upstream_status": 403})
QUOTA = GatewayError(ErrorKind.UPSTREAM_QUOTA, "x")


def test_a_new_deployment_is_free_and_unknown() -> None:
    state = DeploymentState()
    assert state.free(0.0)
    assert state.why_not(0.0) is None
    assert state.healthy
    assert not state.known


def test_consecutive_failures_make_unhealthy_and_one_success_heals() -> None:
    target = deployment("a", breaker_failures=100)
    seen = []
    for _ in range(UNHEALTHY_AFTER_FAILURES):
        seen.append(target.state.healthy)
        fail(target, 0.0)
    seen.append(target.state.healthy)
    answer(target, 0.0)
    assert [*seen, target.state.healthy] == [True] * UNHEALTHY_AFTER_FAILURES + [False, True]
    assert target.state.known


def test_the_breaker_blocks_and_the_probe_frees() -> None:
    target = deployment("a")
    fail(target, 0.0, 5)
    state = target.state
    assert (state.free(0.0), state.why_not(0.0), state.open(0.0)) == (False, "circuit_open", True)
    assert state.free_at_s(0.0) == 30.0
    assert state.free(30.0)
    probe = state.begin(30.0, stream=True)
    assert probe.probe
    assert not state.free(1e9)
    assert state.free_at_s(40.0) == 41.0
    probe.succeeded(31.0)
    assert state.free(31.0)
    assert state.breaker.state is State.CLOSED


def test_a_client_that_leaves_during_the_probe_does_not_wedge_the_breaker() -> None:
    target = deployment("a")
    fail(target, 0.0, 5)
    target.state.begin(30.0, stream=True).abandoned(30.5)
    assert target.state.outstanding == 0
    assert target.state.free(30.5)


def test_a_refused_request_is_a_sign_of_life() -> None:
    target = deployment("a")
    fail(target, 0.0, 4)
    fail(target, 0.0, 25, REFUSED)
    fail(target, 0.0, 4)
    assert target.state.free(0.0)
    fail(target, 0.0)
    fail(target, 30.0, 1, REFUSED)
    assert target.state.breaker.state is State.CLOSED


@pytest.mark.parametrize("kind", [ErrorKind.UPSTREAM_TOO_LARGE, ErrorKind.INTERNAL, ErrorKind.SHUTTING_DOWN])
def test_what_says_nothing_of_the_deployment_leaves_it_as_it_was(kind: ErrorKind) -> None:
    target = deployment("a")
    fail(target, 0.0, 50, GatewayError(kind, "x"))
    assert target.state.free(0.0)
    assert not target.state.known


def test_ejection_after_failures_in_a_row_grows_and_is_forgotten() -> None:
    target = deployment("a", breaker_failures=1000)
    state = target.state
    fail(target, 0.0, 5)
    assert state.why_not(0.0) == "ejected"
    assert state.ejected_until_s == EJECT_S
    fail(target, EJECT_S)
    assert state.ejected_until_s == 3 * EJECT_S
    fail(target, 3 * EJECT_S)
    assert state.ejected_until_s == 6 * EJECT_S
    fail(target, 6 * EJECT_S + 2.5 * EJECT_S)
    assert state.ejections == 2
    for _ in range(20):
        fail(target, state.ejected_until_s)
    assert state.ejections == MOST_EJECTIONS
    assert state.free(state.ejected_until_s)


def test_ejection_for_failing_often() -> None:
    target = deployment("a", breaker_failures=1000)
    for _ in range(20):
        assert target.state.why_not(0.0) is None
        fail(target, 0.0, 2)
        answer(target, 0.0, 0.0)
        if target.state.ejections:
            break
    assert target.state.why_not(0.0) == "ejected"
    assert target.state.failing == 0.0


def test_a_probe_that_succeeds_ends_an_ejection() -> None:
    target = deployment("a", breaker_failures=5)
    fail(target, 0.0, 5)
    fail(target, 30.0)
    assert target.state.ejected_until_s > 60.0
    answer(target, 60.0, 1.0)
    assert target.state.free(61.0)


def test_a_rate_limit_parks_as_long_as_was_asked() -> None:
    target = deployment("a")
    fail(target, 0.0, 1, LIMITED)
    assert target.state.why_not(19.9) == "parked"
    assert target.state.free(20.0)
    fail(target, 100.0, 1, GatewayError(ErrorKind.UPSTREAM_RATE_LIMIT, "x"))
    assert target.state.why_not(100.0 + PARKED_S - 0.1) == "parked"


def test_only_sustained_rate_limits_are_failures() -> None:
    target = deployment("a")
    fail(target, 0.0, SUSTAINED_REFUSALS - 1, LIMITED)
    assert target.state.failing == 0.0
    fail(target, 0.0, 5, LIMITED)
    assert target.state.breaker.state is State.OPEN


def test_a_failure_that_says_when_to_come_back_parks_too() -> None:
    target = deployment("a")
    fail(target, 0.0, 1, GatewayError(ErrorKind.UPSTREAM_OVERLOADED, "x", retry_after_s=7))
    assert target.state.free_at_s(0.0) == 7.0


def test_an_answer_can_say_that_the_next_would_be_refused() -> None:
    target = deployment("a")
    tried = target.state.begin(0.0, stream=False)
    tried.park(12.0, 0.0)
    tried.park(3.0, 0.0)
    tried.succeeded(1.0)
    assert (target.state.free(11.9), target.state.free(12.0)) == (False, True)


def test_keys_take_turns_and_a_dead_one_is_passed_over() -> None:
    target = deployment("a", keys=3)
    assert [target.state.key(0.0) for _ in range(4)] == [1, 2, 0, 1]
    tried = target.state.begin(0.0, stream=True)
    dead = tried.key
    tried.failed(0.0, AUTH)
    assert dead not in [target.state.key(1.0) for _ in range(6)]
    assert target.state.another_key(1.0)
    assert target.state.free(1.0)


def test_the_key_that_is_usable_first_is_tried_where_none_is() -> None:
    target = deployment("a", keys=2)
    first = target.state.begin(0.0, stream=True)
    second = target.state.begin(0.0, stream=True)
    assert {first.key, second.key} == {0, 1}
    first.failed(0.0, QUOTA)
    second.failed(1.0, LIMITED)
    assert not target.state.another_key(2.0)
    assert target.state.why_not(2.0) == "parked"
    assert target.state.key(2.0) == second.key
    assert target.state.key(22.0) == second.key


def test_a_dead_key_is_set_aside_everywhere_and_a_forbidden_model_only_here() -> None:
    target, other = deployment("a"), deployment("b")
    other.state.keys = target.state.keys
    fail(target, 0.0, 1, FORBIDDEN)
    assert target.state.keys_free_at_s() == SET_ASIDE_S
    assert other.state.keys_free_at_s() == 0.0
    fail(target, 0.0, 1, AUTH)
    assert other.state.keys_free_at_s() == SET_ASIDE_S
    assert not target.state.breaker.failures


def test_quotas_and_bounds_count_what_is_under_way() -> None:
    target = deployment("a", max_in_flight=2, quota=Quota(rpm=3))
    state = target.state
    calls = [state.begin(0.0, stream=True) for _ in range(2)]
    assert (state.why_not(0.0), state.free(0.0)) == ("full", False)
    calls[0].succeeded(0.0, TokenUsage(prompt_tokens=10))
    calls[1].abandoned(0.0)
    calls[1].succeeded(0.0)
    assert state.outstanding == state.first_token.waiting == 0
    state.begin(0.0, stream=True).failed(0.0, FAILED)
    assert state.why_not(0.0) == "quota"
    assert state.free(20.0)


def test_a_call_is_ended_once() -> None:
    target = deployment("a")
    told: list[DeploymentState] = []
    tried = target.state.begin(0.0, stream=True)
    tried.on_end = told.append
    tried.first_token(1.0)
    tried.failed(2.0, FAILED)
    assert told == [target.state]
    tried.failed(2.0, FAILED)
    tried.succeeded(2.0)
    tried.abandoned(2.0)
    assert told == [target.state]
    assert (target.state.outstanding, target.state.first_token.waiting, target.state.unhealthy) == (0, 0, 1)


def test_whole_answers_are_timed_per_so_many_tokens() -> None:
    target = deployment("a")
    target.state.begin(0.0, stream=False).succeeded(40.0, TokenUsage(completion_tokens=2000))
    assert target.state.whole.value_s == 4.0
    assert not target.state.first_token.value_s


def test_a_deployment_takes_what_is_not_said_from_its_model() -> None:
    target = deployment("a", price=None)
    assert (target.account, target.dialect, target.prices) == ("p", "openai", None)
    assert repr(target) == "Deployment(p/a)"


def test_probes_are_blocked_by_nothing_else_that_is_recomputed_meanwhile() -> None:
    target = deployment("a")
    fail(target, 0.0, 5)
    probe = target.state.begin(30.0, stream=True)
    probe.park(1.0, 30.0)
    assert not target.state.free(100.0)
    probe.abandoned(31.0)
    assert target.state.free(31.0)


def test_what_a_call_was_billed_counts_beyond_the_estimate() -> None:
    target = deployment("a", quota=Quota(tpm=600))
    target.state.begin(0.0, stream=False, tokens=300).succeeded(
        0.0, TokenUsage(prompt_tokens=310, completion_tokens=289)
    )
    assert target.state.free(0.0)
    target.state.begin(0.0, stream=False, tokens=0).succeeded(0.0)
    target.state.begin(0.0, stream=False, tokens=0).succeeded(0.0, TokenUsage(completion_tokens=1))
    assert target.state.why_not(0.0) == "quota"


def test_other_rules_leave_what_was_learned() -> None:
    quota = Quota(rpm=60)
    target = deployment("a", quota=quota)
    fail(target, 0.0, 4)
    policies = CallPolicies(BreakerPolicy(failures=10), RetryPolicy())
    target.state.adopt(policies, max_in_flight=1, quota=Quota(rpm=60))
    assert target.state.quota is quota
    fail(target, 0.0, 2)
    assert target.state.breaker.failures == 6
    assert target.state.why_not(0.0) == "ejected"
    target.state.begin(0.0, stream=True)
    assert target.state.why_not(0.0) == "full"
    other = Quota(rpm=30)
    target.state.adopt(policies, max_in_flight=None, quota=other)
    assert target.state.quota is other
    target.state.adopt(policies, max_in_flight=None, quota=None)
    assert target.state.why_not(40.0) is None


def test_at_its_bound_it_is_not_free_until_a_call_has_ended() -> None:
    target = deployment("a", max_in_flight=1)
    state = target.state
    tried = state.begin(0.0, stream=True)
    assert (state.free(0.0), state.callable(0.0), state.why_not(0.0)) == (False, False, "full")
    assert state.free_at_s(5.0) == 5.0
    tried.park(10.0, 0.0)
    tried.abandoned(1.0)
    assert (state.free(1.0), state.why_not(1.0), state.free(10.0)) == (False, "parked", True)


def test_what_is_expected_counts_failures_and_is_remembered_until_something_happens() -> None:
    state = deployment("a").state
    assert state.wait_s(0.0, 0, stream=True) == 0.0
    state.begin(0.0, stream=False).succeeded(3.0)
    assert state.wait_s(3.0, 0, stream=True) == 3.0
    assert not state.first_token.fresh_until_s
    tried = state.begin(3.0, stream=True)
    tried.first_token(4.0)
    assert state.wait_s(4.0, 0, stream=True) == state.first_token.expected_s == 1.0
    assert state.first_token.fresh_until_s > 4.0
    tried.failed(4.0, FAILED)
    assert not state.first_token.fresh_until_s
    assert state.wait_s(4.0, 0, stream=True) == 1.0 + 4.0 * state.failing
    for _ in range(100):
        state.begin(4.0, stream=False).succeeded(4.0)
    assert state.failing == 0.0
