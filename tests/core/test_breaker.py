from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core.breaker import TRANSITIONS, Breaker, BreakerPolicy, Event, State

POLICY = BreakerPolicy(failures=3, timeout_s=10.0)


def opened(now_s: float = 0.0) -> Breaker:
    breaker = Breaker(POLICY)
    for _ in range(3):
        breaker.failed(now_s, probe=breaker.begin())
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = Breaker(POLICY)
    for outcome in "ffsff":
        (breaker.failed if outcome == "f" else breaker.succeeded)(0.0, probe=breaker.begin())
    assert breaker.allows(0.0)
    breaker.failed(0.0, probe=breaker.begin())
    assert breaker.state is State.OPEN


def test_open_lets_nothing_pass_until_its_time_is_over_and_then_one_probe() -> None:
    breaker = opened()
    assert [breaker.allows(now) for now in (0.0, 9.9, 10.0)] == [False, False, True]
    assert breaker.begin()
    assert breaker.state is State.HALF_OPEN
    assert not breaker.allows(1000.0)


@pytest.mark.parametrize(
    ("outcome", "state", "probes_at_s"),
    [("succeeded", State.CLOSED, 10.0), ("failed", State.OPEN, 20.0), ("abandoned", State.OPEN, 10.0)],
)
def test_what_follows_from_the_probe(outcome: str, state: State, probes_at_s: float) -> None:
    breaker = opened()
    probe = breaker.begin()
    getattr(breaker, outcome)(10.0, probe=probe)
    assert breaker.state is state
    assert breaker.allows(probes_at_s)
    assert state is State.CLOSED or not breaker.allows(probes_at_s - 0.1)


def test_calls_from_before_say_nothing_of_the_present() -> None:
    breaker = Breaker(POLICY)
    late = [breaker.begin() for _ in range(4)]
    for probe in late[:3]:
        breaker.failed(0.0, probe=probe)
    breaker.succeeded(1.0, probe=late[3])
    assert not breaker.allows(1.0)
    probe = breaker.begin()
    breaker.failed(11.0, probe=False)
    breaker.abandoned(11.0, probe=False)
    assert not breaker.allows(11.0)
    breaker.succeeded(12.0, probe=probe)
    assert breaker.allows(12.0)


def test_a_share_of_failures_opens_it_too_once_there_are_enough_calls() -> None:
    breaker = Breaker(POLICY)
    for number in range(20):
        assert breaker.state is State.CLOSED
        (breaker.failed if number % 2 else breaker.succeeded)(0.0, probe=False)
    assert breaker.state is State.OPEN


def test_a_new_window_forgets_the_old_one() -> None:
    breaker = Breaker(POLICY)
    for number in range(40):
        now_s = number * 4.0  # seven calls a window
        (breaker.failed if number % 2 else breaker.succeeded)(now_s, probe=False)
    assert breaker.state is State.CLOSED


def test_a_breaker_of_many_failures_needs_a_longer_window() -> None:
    assert BreakerPolicy().window_calls == 20
    assert BreakerPolicy(failures=100).window_calls == 400


def test_the_table_leads_out_of_every_state() -> None:
    leaving = {state for state, _ in TRANSITIONS}
    assert leaving == set(State)
    unlisted = set(product(State, Event)) - set(TRANSITIONS)
    for state, event in unlisted:
        breaker = Breaker(POLICY)
        breaker.state = state
        breaker._move(event)
        assert breaker.state is state


@given(st.lists(st.tuples(st.sampled_from(["succeeded", "failed", "abandoned"]), st.floats(0, 40))))
def test_any_history_ends_where_a_call_may_pass_in_time(history: list[tuple[str, float]]) -> None:
    breaker, now_s = Breaker(POLICY), 0.0
    failures = 0
    for outcome, passed_s in history:
        now_s += passed_s
        if breaker.allows(now_s):
            getattr(breaker, outcome)(now_s, probe=breaker.begin())
            failures += outcome == "failed"
        assert failures or breaker.state is State.CLOSED
    assert breaker.allows(now_s + POLICY.timeout_s)
