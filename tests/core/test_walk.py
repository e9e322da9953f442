import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.needs import NOTHING
from llm_edge_agent.core.plan import NO_FALLBACKS, Fallbacks, Group
from llm_edge_agent.core.resilience import RetryPolicy
from llm_edge_agent.core.walk import Ask, Walk
from tests.core.routing_cases import FAILED, LIMITED, REFUSED, deployment, fail

TOO_LONG = GatewayError(ErrorKind.CONTEXT_LENGTH, "x")
FILTERED = GatewayError(ErrorKind.CONTENT_FILTER, "x")
NOT_FOUND = GatewayError(ErrorKind.MODEL_NOT_FOUND, "x")
AUTH = GatewayError(ErrorKind.UPSTREAM_AUTH, "x")
TIMEOUT = GatewayError(ErrorKind.UPSTREAM_TIMEOUT, "x")


def group(name: str, *models: str, fallbacks: Fallbacks = NO_FALLBACKS, configured: bool = True) -> Group:
    targets = [deployment(each, context_window=len(each) * 100) for each in models]
    return Group(name, targets, strategy="failover", fallbacks=fallbacks, configured=configured)


def walk(of: Group, *others: Group, max_retries: int = 2, deadline_s: float = 100.0) -> Walk:
    known = {each.name: each for each in (of, *others)}

    def resolve(name: str) -> Group:
        if name not in known:
            raise NOT_FOUND
        return known[name]

    return Walk(of, NOTHING, resolve, stream=True, max_retries=max_retries, deadline_s=deadline_s)


def shown(ask: Ask | None) -> str | None:
    return None if ask is None else ask.deployment.upstream_model + ("~" if ask.pause_s else "")


def steps(of: Walk, *errors: GatewayError, now_s: float = 0.0) -> list[str | None]:
    """Who is asked first, and after each error; `~`: after a pause."""
    found = [shown(of.first(now_s, 0.5))]
    return [*found, *(shown(of.after(error, now_s, 0.5)) for error in errors)]


def test_failover_first_then_repeats_then_the_end() -> None:
    asked = walk(group("g", "a", "b"))
    assert steps(asked, *[FAILED] * 4) == ["a", "b", "a~", "a~", None]
    assert asked.spent(FAILED)


def test_one_deployment_is_only_repeated() -> None:
    assert steps(walk(group("g", "a")), *[FAILED] * 3) == ["a", "a~", "a~", None]
    assert steps(walk(group("g", "a"), max_retries=0), FAILED) == ["a", None]


def test_a_refused_request_ends_the_walk() -> None:
    asked = walk(group("g", "a", "b", fallbacks=Fallbacks(("h",))), group("h", "c"))
    assert steps(asked, REFUSED) == ["a", None]
    assert not asked.spent(REFUSED)


def test_fallbacks_come_after_the_repeats_each_group_once() -> None:
    of = group("g", "a", fallbacks=Fallbacks(("h", "nobody", "g", "h", "i")))
    asked = walk(of, group("h", "b"), group("i", "c"), max_retries=1)
    assert not asked.fallback
    assert steps(asked, FAILED, FAILED, FAILED, FAILED) == ["a", "a~", "b", "c", None]
    assert asked.fallback


def test_a_limited_deployment_is_left_and_its_advice_kept() -> None:
    asked = walk(group("g", "a", "b"))
    assert steps(asked, LIMITED, LIMITED) == ["a", "b", None]
    assert not asked.spent(LIMITED)


def test_a_timeout_is_not_repeated_here() -> None:
    assert steps(walk(group("g", "a")), TIMEOUT) == ["a", None]


def test_a_prompt_too_long_goes_to_larger_windows_then_to_its_own_chain() -> None:
    of = group("g", "aa", "b", "cccc", fallbacks=Fallbacks(("h",), context_window=("long",)))
    asked = walk(of, group("h", "d"), group("long", "eeeeeeee"))
    assert steps(asked, TOO_LONG, TOO_LONG, TOO_LONG) == ["aa", "cccc", "eeeeeeee", None]
    assert steps(walk(group("g", "a", fallbacks=Fallbacks(("h",))), group("h", "b")), TOO_LONG) == ["a", None]


def test_a_content_filter_has_a_chain_of_its_own() -> None:
    of = group("g", "a", "b", fallbacks=Fallbacks(("h",), content_filter=("free",)))
    assert steps(walk(of, group("h", "c"), group("free", "d")), FILTERED) == ["a", "d"]
    assert steps(walk(group("g", "a", "b")), FILTERED) == ["a", None]


def test_a_model_that_the_configuration_names_wrongly_is_passed_over() -> None:
    assert steps(walk(group("g", "a", "b")), NOT_FOUND) == ["a", "b"]
    assert steps(walk(group("g", "a", configured=False)), NOT_FOUND) == ["a", None]


def test_nothing_begins_after_the_deadline_and_no_pause_crosses_it() -> None:
    asked = walk(group("g", "a", "b"), deadline_s=1.0)
    assert shown(asked.first(0.0, 0.5)) == "a"
    assert asked.after(FAILED, 1.0, 0.5) is None
    asked = walk(group("g", "a"), deadline_s=1.0)
    asked.first(0.0, 0.5)
    assert asked.after(FAILED, 0.8, 0.5) is None


def test_an_empty_budget_allows_no_repeat() -> None:
    of = Group("g", [deployment("a", retries=RetryPolicy(share=0.0, per_s=0.0))])
    assert steps(walk(of), FAILED) == ["a", None]


def test_a_breaker_that_opened_is_not_repeated() -> None:
    of = group("g", "a", "b")
    asked = walk(of)
    steps(asked, FAILED)
    fail(of.deployments[0], 0.0, 5)
    assert shown(asked.after(FAILED, 0.0, 0.5)) == "b~"


def test_what_never_failed_is_not_repeated() -> None:
    of = group("g", "a", "b")
    asked = walk(of)
    asked.began_with(of.deployments[0])
    assert shown(asked.after(AUTH, 0.0, 0.5)) == "b"
    assert shown(asked.after(FAILED, 0.0, 0.5)) == "b~"
    asked = walk(of)
    asked.plan.tried.append(of.deployments[0])
    asked.began_with(of.deployments[1])
    assert shown(asked.after(FAILED, 0.0, 0.5)) == "b~"


@pytest.mark.parametrize(("keys", "expected"), [(1, ["a", "b"]), (2, ["a", "a", "b"]), (3, ["a", "a", "a", "b"])])
def test_another_key_is_tried_at_once_each_once(keys: int, expected: list[str]) -> None:
    target = deployment("a", keys=keys)
    asked = walk(Group("g", [target, deployment("b")], configured=True))
    found = [shown(asked.first(0.0, 0.5))]
    while found[-1] == "a":
        target.state.begin(0.0, stream=True).failed(0.0, AUTH)
        found.append(shown(asked.after(AUTH, 0.0, 0.5)))
    assert found == expected


def test_keys_are_not_tried_for_ever() -> None:
    target = deployment("a", keys=2)
    asked = walk(Group("g", [target], configured=True))
    assert steps(asked, AUTH, AUTH) == ["a", "a", None]
    target = deployment("a", keys=2, retries=RetryPolicy(share=0.0, per_s=0.0))
    assert steps(walk(Group("g", [target])), AUTH) == ["a", None]


def test_nobody_to_ask_is_said_at_once_with_the_time_to_wait() -> None:
    one = group("g", "a")
    fail(one.deployments[0], 0.0, 5)
    with pytest.raises(GatewayError) as caught:
        walk(one).first(10.0, 0.5)
    assert (caught.value.kind, caught.value.retry_after_s) == (ErrorKind.CIRCUIT_OPEN, 20.0)
    assert caught.value.extra == {"provider": "p"}
    two = group("g", "a", "b")
    for each in two.deployments:
        fail(each, 0.0, 5)
    with pytest.raises(GatewayError) as caught:
        walk(two).first(29.9, 0.5)
    assert (caught.value.kind, caught.value.retry_after_s) == (ErrorKind.NO_HEALTHY_UPSTREAM, 1.0)


def test_a_group_that_is_out_falls_back_at_once() -> None:
    of = group("g", "a", fallbacks=Fallbacks(("out", "h")))
    out = group("out", "b")
    for each in (of, out):
        fail(each.deployments[0], 0.0, 5)
    asked = walk(of, out, group("h", "c"))
    assert shown(asked.first(0.0, 0.5)) == "c"
    assert asked.fallback


def test_before_anybody_was_asked_there_is_nothing_after() -> None:
    assert walk(group("g", "a")).after(FAILED, 0.0, 0.5) is None


def test_a_group_at_its_bounds_may_be_asked_again() -> None:
    full = deployment("a", max_in_flight=1)
    asked = walk(Group("g", [full], configured=True))
    call = full.state.begin(0.0, stream=True)
    with pytest.raises(GatewayError) as caught:
        asked.first(0.0, 0.5)
    assert (caught.value.kind, caught.value.retry_after_s) == (ErrorKind.OVERLOADED, 1)
    call.abandoned(0.0)
    assert shown(asked.first(0.0, 0.5)) == "a"
