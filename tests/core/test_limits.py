import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core.limits import RateLimiter


def test_a_burst_then_an_even_rate() -> None:
    limiter = RateLimiter(per_minute=60, burst=3)
    assert [limiter.take("a", 0.0) for _ in range(4)] == [0, 0, 0, pytest.approx(1.0)]
    assert limiter.take("a", 0.5) == pytest.approx(0.5)
    assert [limiter.take("a", 1.0), limiter.take("a", 1.0)] == [0, pytest.approx(1.0)]
    assert limiter.full_in_s("a", 1.0) == pytest.approx(3.0)
    assert limiter.full_in_s("a", 10.0) == 0.0
    assert [limiter.take("a", 10.0) for _ in range(4)] == [0, 0, 0, pytest.approx(1.0)]


def test_callers_do_not_share() -> None:
    limiter = RateLimiter(per_minute=1, burst=1)
    assert [limiter.take(each, 0.0) for each in ("a", "b", None)] == [0, 0, 0]
    assert limiter.take("a", 0.0) > 0


@given(st.integers(1, 600), st.integers(1, 50), st.lists(st.floats(0, 3), max_size=200))
def test_never_more_than_the_burst_and_the_rate(per_minute: int, burst: int, pauses: list[float]) -> None:
    limiter, now_s, taken = RateLimiter(per_minute, burst), 0.0, 0
    for pause_s in pauses:
        now_s += pause_s
        taken += limiter.take("a", now_s) == 0
    assert taken <= burst + now_s * per_minute / 60 + 1e-6
