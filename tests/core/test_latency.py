from collections.abc import Callable
from math import exp, inf, isclose

from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core.latency import (
    CHANGE,
    CHANGE_WEIGHT,
    FADE_S,
    FADE_TURNS,
    FRESH_S,
    LEAST_WEIGHT,
    UNKNOWN_S,
    Wait,
)


def answered(wait: Wait, seconds: float, began_s: float) -> None:
    wait.begun(began_s)
    wait.answered(seconds, began_s + seconds)


def test_the_first_answer_is_the_estimate() -> None:
    wait = Wait()
    answered(wait, 2.0, 0.0)
    assert (wait.value_s, wait.at_s, wait.waiting) == (2.0, 2.0, 0)


def test_a_few_answers_make_a_change_and_one_does_not() -> None:
    wait = Wait()
    for _ in range(5):
        answered(wait, 1.0, 0.0)
    answered(wait, 8.0, -7.0)  # began long ago, so that no time has passed since the last
    assert isclose(wait.value_s, 1.0 + 7.0 * CHANGE_WEIGHT)
    for _ in range(6):
        answered(wait, 8.0, -7.0)
    assert 3.0 < wait.value_s < 8.0
    for _ in range(30):
        answered(wait, 0.5, 0.5)
    assert wait.value_s < 2.5


def test_noise_moves_it_little_and_answers_that_come_seldom_more() -> None:
    wait = Wait()
    answered(wait, 1.0, 0.0)
    answered(wait, 3.0, -2.0)
    assert isclose(wait.value_s, 1.0 + 2.0 * LEAST_WEIGHT)
    answered(wait, 3.0, 600.0)
    assert wait.value_s > 2.9


@given(st.floats(0.01, 10), st.floats(0.01, 10))
def test_an_estimate_stays_between_what_it_was_and_what_came(before_s: float, after_s: float) -> None:
    wait = Wait()
    answered(wait, before_s, 0.0)
    answered(wait, after_s, before_s)
    least, most = sorted((before_s, after_s))
    assert least * 0.999 <= wait.value_s <= most * 1.001
    if after_s > CHANGE * before_s:
        assert wait.value_s >= before_s + (after_s - before_s) * CHANGE_WEIGHT * 0.999


def test_a_queue_is_as_long_as_it_takes_to_come_through() -> None:
    wait = Wait()
    for _ in range(40):
        wait.begun(0.0)
    for at in range(1, 31):
        wait.answered(0.4 + at / 10, at / 10)
    assert isclose(wait.expect(3.0, 0), max(wait.value_s, 10 * 0.1))
    assert wait.fresh_until_s == inf
    for _ in range(90):
        wait.begun(3.0)
    assert isclose(wait.expect(3.0, 0), 100 * 0.1, rel_tol=0.01)


def test_many_that_wait_where_many_come_through_are_no_queue() -> None:
    wait = Wait()
    for at in range(400):
        wait.begun(at / 100)
        if at >= 40:
            wait.answered(0.4, at / 100)
    assert wait.waiting == 40
    assert isclose(wait.expect(4.0, 0), 0.4, rel_tol=0.05)


def test_who_leaves_waits_no_more() -> None:
    wait = Wait()
    wait.begun(0.0)
    wait.begun(0.0)
    assert (wait.expect(0.0, 0), wait.fresh_until_s) == (2 * UNKNOWN_S, 0.0)
    wait.left()
    wait.left()
    assert (wait.expect(0.0, 0), wait.fresh_until_s) == (0.0, 0.0)


def test_an_estimate_nobody_uses_fades_by_time_and_by_turns_whichever_is_less() -> None:
    wait = Wait()
    answered(wait, 1.0, -1.0)
    assert wait.expect(FADE_S, 0) == 1.0
    assert wait.expect(0.0, FADE_TURNS) == 1.0
    assert isclose(wait.expect(FADE_S, 10 * FADE_TURNS), exp(-1))
    assert isclose(wait.expect(10 * FADE_S, FADE_TURNS), exp(-1))
    assert (wait.value_s, wait.fresh_until_s) == (1.0, 10 * FADE_S + FRESH_S)


def test_what_happens_makes_it_ask_again() -> None:
    wait = Wait()
    events: list[Callable[[], None]] = [
        lambda: wait.begun(1.0),
        lambda: wait.answered(1.0, 2.0),
        lambda: wait.begun(3.0),
        wait.left,
    ]
    for event in events:
        wait.fresh_until_s = inf
        event()
        assert wait.fresh_until_s == 0.0
