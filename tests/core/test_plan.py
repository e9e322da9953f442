from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core import needs
from llm_edge_agent.core.deployments import Deployment
from llm_edge_agent.core.needs import NOTHING, Needs
from llm_edge_agent.core.plan import Group, Plan
from llm_edge_agent.core.strategies import StrategyName
from tests.core.routing_cases import LIMITED, deployment, fail


def group(*deployments: Deployment, strategy: StrategyName = "failover") -> Group:
    return Group("smart", deployments, strategy=strategy, configured=True)


def order(plan: Plan, now_s: float = 0.0) -> list[str]:
    found = []
    while (chosen := plan.next(now_s, 0.5)) is not None:
        found.append(chosen.upstream_model)
    return found


def test_each_deployment_comes_once_in_the_order_of_the_strategy() -> None:
    group_ = group(deployment("a", priority=2), deployment("b", priority=1), deployment("c", priority=3))
    plan = Plan(group_, NOTHING, stream=True)
    assert order(plan) == ["b", "a", "c"]
    assert [each.upstream_model for each in plan.tried] == ["b", "a", "c"]


def test_plans_take_turns() -> None:
    group_ = group(deployment("a"), deployment("b"), strategy="round_robin")
    plans = [Plan(group_, NOTHING, stream=True) for _ in range(3)]
    assert [plan.next(0.0, 0.5).upstream_model for plan in plans] == ["a", "b", "a"]  # type: ignore[union-attr]  # not None


def test_only_those_that_can_do_it_are_candidates() -> None:
    blind, small, able = deployment("a", vision=False), deployment("b", context_window=100), deployment("c")
    group_ = group(blind, small, able)
    wanted = Needs(features=needs.VISION, prompt_tokens=200)
    assert order(Plan(group_, wanted, stream=True)) == ["c"]
    assert [group_.why_unable(index, wanted) for index in range(3)] == ["vision", "context_window", None]


def test_all_are_candidates_where_none_can_do_it() -> None:
    group_ = group(deployment("a", vision=False), deployment("b", vision=False))
    assert order(Plan(group_, Needs(features=needs.VISION), stream=True)) == ["a", "b"]


def test_an_open_breaker_is_never_called() -> None:
    target, other = deployment("a"), deployment("b")
    fail(target, 0.0, 5)
    assert order(Plan(group(target, other), NOTHING, stream=True)) == ["b"]
    fail(other, 0.0, 5)
    assert order(Plan(group(target, other), NOTHING, stream=True)) == []


def test_of_those_that_are_only_held_back_the_first_to_be_free_is_the_last_resort() -> None:
    targets = [deployment(name) for name in "abc"]
    for at_s, each in zip((2.0, 1.0, 0.0), targets, strict=True):
        fail(each, at_s, 1, LIMITED)
    assert order(Plan(group(*targets), NOTHING, stream=True), 3.0) == ["c"]
    free = deployment("d")
    assert order(Plan(group(*targets, free), NOTHING, stream=True), 3.0) == ["d", "c"]


def test_a_deployment_that_is_full_is_not_asked() -> None:
    full, other = deployment("a", max_in_flight=1), deployment("b", max_in_flight=1)
    full.state.begin(0.0, stream=True)
    assert order(Plan(group(full, other), NOTHING, stream=True)) == ["b"]
    other.state.begin(0.0, stream=True)
    assert order(Plan(group(full, other), NOTHING, stream=True)) == []


def test_never_more_than_half_of_a_group_is_ejected() -> None:
    targets = [deployment(name, breaker_failures=1000) for name in "abcd"]
    for at_s, each in enumerate(targets[:3]):
        fail(each, float(at_s), 5)
    assert order(Plan(group(*targets), NOTHING, stream=True), 3.0) == ["a", "d", "b"]


def test_what_was_tried_is_not_readmitted() -> None:
    targets = [deployment(name, breaker_failures=1000) for name in "ab"]
    plan = Plan(group(*targets), NOTHING, stream=True)
    for each in targets:
        fail(each, 0.0, 5)
    assert order(plan) == ["a", "b"]


def test_only_larger_windows_are_left_after_one_was_too_small() -> None:
    group_ = group(deployment("a", context_window=10), deployment("b", context_window=20), deployment("c"))
    plan = Plan(group_, NOTHING, stream=True)
    plan.next(0.0, 0.5)
    plan.only_larger_than(10)
    assert order(plan) == ["b"]
    plan.only_larger_than(None)
    assert plan.candidates == ()


def test_what_stands_for_a_group_in_cache_keys() -> None:
    one = Group("gpt", [deployment("a")])
    assert one.identity == "p/a"
    names = [group(deployment("a"), deployment("b")), group(deployment("b"), deployment("a")), group(deployment("a"))]
    assert names[0].identity == names[1].identity != names[2].identity != one.identity


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["fail", "limit", "answer"]), st.floats(0, 20))))
def test_a_plan_is_a_way_through_the_group_without_repeats(history: list[tuple[int, str, float]]) -> None:
    targets = [deployment(str(number)) for number in range(4)]
    now_s = 0.0
    for number, what, passed_s in history:
        now_s += passed_s
        state = targets[number].state
        if not state.open(now_s):
            tried = state.begin(now_s, stream=True)
            if what == "answer":
                tried.succeeded(now_s)
            else:
                fail_with = LIMITED if what == "limit" else None
                tried.failed(now_s, fail_with) if fail_with else tried.abandoned(now_s)
    found = order(Plan(group(*targets, strategy="latency"), NOTHING, stream=True), now_s)
    assert len(set(found)) == len(found)
    assert found or all(each.state.open(now_s) for each in targets)
