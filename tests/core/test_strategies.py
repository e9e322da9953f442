from collections import Counter
from math import isclose
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_edge_agent.core.deployments import Deployment
from llm_edge_agent.core.needs import Needs
from llm_edge_agent.core.plan import Group
from llm_edge_agent.core.pricing import Price, PriceList
from llm_edge_agent.core.strategies import (
    FORGOTTEN_S,
    STRATEGIES,
    HybridWeights,
    Situation,
    StrategyName,
    cost_scores,
    hybrid_scores,
    latency_scores,
)
from tests.core.routing_cases import answer, deployment, fail


def situation(
    now_s: float = 1.0,
    *,
    chance: float = 0.5,
    turn: int = 0,
    asked: str = "a",
    stream: bool = True,
    weights: HybridWeights | None = None,
) -> Situation:
    return Situation(
        now_s=now_s,
        chance=chance,
        turn=turn,
        asked=asked,
        stream=stream,
        needs=Needs(prompt_tokens=1000),
        weights=weights or HybridWeights(),
    )


def chosen(strategy: StrategyName, among: list[Deployment], at: Situation | None = None) -> str:
    return STRATEGIES[strategy].choose(among, at or situation()).upstream_model


def test_model_takes_the_one_asked_for_else_the_first() -> None:
    among = [deployment("a"), deployment("b")]
    assert chosen("model", among, situation(asked="b")) == "b"
    assert chosen("model", among, situation(asked="smart")) == "a"


def test_round_robin_takes_turns() -> None:
    among = [deployment(name) for name in "abc"]
    assert [chosen("round_robin", among, situation(turn=turn)) for turn in range(5)] == list("abcab")


def test_weighted_goes_by_the_weights() -> None:
    among = [deployment("a", weight=3), deployment("b", weight=1), deployment("c", weight=0)]
    dice = Random(1)
    seen = Counter(chosen("weighted", among, situation(chance=dice.random())) for _ in range(4000))
    assert 0.72 < seen["a"] / 4000 < 0.78
    assert seen["c"] == 0
    assert chosen("weighted", [deployment("a", weight=0), deployment("b", weight=0)]) == "b"


def test_failover_goes_by_priority_then_by_order() -> None:
    assert (
        chosen("failover", [deployment("a", priority=2), deployment("b", priority=1), deployment("c", priority=1)])
        == "b"
    )


def test_cost_is_prompt_and_answer_at_the_price_that_rules_it() -> None:
    price = Price(input=1, output=2)
    banded = deployment(
        "c", prices=PriceList(base=price, long_context=Price(input=7, output=9), long_context_threshold=999)
    )
    found = cost_scores([deployment("a", price=3), deployment("b", price=None), banded], situation())
    assert found == [1000 * 3 + 500 * 6, float("inf"), 1000 * 7 + 500 * 9]


def test_cost_takes_the_cheapest_and_of_equals_the_quickest() -> None:
    among = [deployment("a", price=None), deployment("b", price=2), deployment("c", price=1), deployment("d", price=1)]
    for each, seconds in zip(among, (0.1, 0.1, 2.0, 1.0), strict=True):
        answer(each, 0.0, seconds)
    assert chosen("cost", among) == "d"


def test_cost_does_not_wait_for_one_that_hardly_answers() -> None:
    among = [deployment("cheap", price=1), deployment("dear", price=2)]
    answer(among[0], 0.0, 60.0)
    answer(among[1], 0.0, 1.0)
    assert chosen("cost", among) == "dear"


def test_cost_asks_the_best_of_those_that_all_hardly_answer() -> None:
    among = [deployment("dear", price=3), deployment("cheap", price=1), deployment("cheaper", price=1)]
    for each, seconds in zip(among, (50.0, 60.0, 58.0), strict=True):
        answer(each, 0.0, seconds)
    assert chosen("cost", among, situation(60.0)) == "cheaper"


def test_cost_asks_one_that_hardly_answered_again_after_a_minute_with_one_request() -> None:
    among = [deployment("cheap", price=1), deployment("dear", price=2)]
    answer(among[0], 0.0, 60.0)
    answer(among[1], 60.0, 1.0)
    assert chosen("cost", among, situation(60.0 + FORGOTTEN_S)) == "dear"
    later = situation(61.0 + FORGOTTEN_S)
    assert chosen("cost", among, later) == "cheap"
    among[0].state.begin(later.now_s, stream=True)
    assert chosen("cost", among, later) == "dear"


def test_latency_takes_the_quickest() -> None:
    among = [deployment("a"), deployment("b"), deployment("c")]
    for each, seconds in zip(among, (2.0, 0.5, 1.0), strict=True):
        answer(each, 0.0, seconds)
    assert chosen("latency", among) == "b"


def test_latency_tries_the_unknown_once_and_by_chance() -> None:
    among = [deployment("a"), deployment("b"), deployment("c")]
    answer(among[0], 0.0)
    assert {chosen("latency", among, situation(chance=chance)) for chance in (0.1, 0.9)} == {"b", "c"}
    among[1].state.begin(0.0, stream=True)
    among[2].state.begin(0.0, stream=True)
    assert chosen("latency", among) == "a"


def test_a_queue_counts_and_streams_that_run_count_less() -> None:
    among = [deployment("a"), deployment("b")]
    for each in among:
        answer(each, 0.0)
    for _ in range(8):
        among[0].state.begin(0.0, stream=True).first_token(1.0)
    running = latency_scores(among, situation())
    for _ in range(8):
        among[0].state.begin(0.0, stream=True)
    waiting = latency_scores(among, situation())
    assert running[1] < running[0] < 2 * running[1]
    assert waiting[0] > 3 * waiting[1]


def test_failures_count() -> None:
    among = [deployment("a"), deployment("b")]
    for each in among:
        answer(each, 0.0, 1.0, times=20)
    fail(among[0], 1.0)
    assert chosen("latency", among) == "b"


def test_whole_answers_and_streams_are_known_apart_and_stand_in_for_each_other() -> None:
    among = [deployment("a"), deployment("b")]
    for each, whole_s, first_s in ((among[0], 9.0, 1.0), (among[1], 6.0, 2.0)):
        each.state.begin(0.0, stream=False).succeeded(whole_s)
        answer(each, 0.0, first_s)
    assert chosen("latency", among, situation(9.0, stream=True)) == "a"
    assert chosen("latency", among, situation(9.0, stream=False)) == "b"
    only = [deployment("a"), deployment("b")]
    only[0].state.begin(0.0, stream=False).succeeded(9.0)
    answer(only[1], 0.0, 2.0)
    assert chosen("latency", only, situation(9.0, stream=True)) == "b"
    assert chosen("latency", only, situation(9.0, stream=False)) == "b"


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (HybridWeights(cost=1, latency=0, reliability=0), "cheap"),
        (HybridWeights(cost=0, latency=1, reliability=0), "quick"),
        (HybridWeights(cost=0, latency=0, reliability=1), "sure"),
        (HybridWeights(), "sure"),
    ],
)
def test_hybrid_weighs(weights: HybridWeights, expected: str) -> None:
    among = [deployment("cheap", price=1), deployment("quick", price=10), deployment("sure", price=3)]
    for each, seconds in zip(among, (4.0, 0.5, 1.2), strict=True):
        answer(each, 0.0, seconds, times=20)
    fail(among[0], 4.0, 2)
    fail(among[1], 4.0, 1)
    assert chosen("hybrid", among, situation(4.0, weights=weights)) == expected


def test_hybrid_takes_an_unknown_price_for_the_worst() -> None:
    assert chosen("hybrid", [deployment("a", price=None), deployment("b", price=5)]) in "ab"
    among = [deployment("a", price=None), deployment("b", price=5), deployment("c", price=6)]
    assert chosen("hybrid", among, situation(weights=HybridWeights(1, 0, 0))) == "b"


def test_every_strategy_chooses_one_of_the_candidates() -> None:
    among = [deployment("a"), deployment("b")]
    for name, strategy in STRATEGIES.items():
        assert chosen(name, among) in "ab"
        if strategy.score is not None:
            assert len(strategy.score(among, situation())) == 2


@given(
    st.lists(st.tuples(st.sampled_from([0.4, 0.45, 0.6, 0.9, 3.0]), st.integers(0, 6), st.integers(0, 2)), min_size=2),
    st.floats(0, 0.999),
)
@example([(0.4, 0, 0), (0.6, 0, 0), (0.4, 0, 0)], 0.9)
def test_latency_takes_one_of_the_lowest_score(history: list[tuple[float, int, int]], chance: float) -> None:
    among = [deployment(str(number)) for number in range(len(history))]
    for each, (seconds, running, failures) in zip(among, history, strict=True):
        answer(each, 0.0, seconds)
        for _ in range(running):
            each.state.begin(3.0, stream=True)
        fail(each, 3.0, failures)
    now = situation(3.0, chance=chance)
    scores = latency_scores(among, now)
    best = STRATEGIES["latency"].choose(among, now)
    assert isclose(scores[among.index(best)], min(scores))


def test_of_about_equally_quick_ones_the_least_busy_is_taken() -> None:
    among = [deployment("a"), deployment("b"), deployment("c")]
    for each, seconds in zip(among, (1.0, 1.2, 4.0), strict=True):
        answer(each, 0.0, seconds)
        each.state.begin(4.0, stream=True).first_token(4.0 + seconds)
    among[0].state.begin(4.0, stream=True).first_token(5.0)
    assert chosen("latency", among, situation(5.2)) == "b"


def test_hybrid_takes_the_least_busy_of_about_equally_good_ones() -> None:
    among = [deployment("a", price=10), deployment("b", price=11), deployment("c", price=30)]
    for each in among:
        answer(each, 0.0)
    assert {chosen("hybrid", among, situation(chance=chance)) for chance in (0.1, 0.9)} == {"a", "b"}
    among[0].state.begin(1.0, stream=True).first_token(2.0)
    assert chosen("hybrid", among, situation(2.0)) == "b"


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0.1, 3.0), st.integers(0, 2)), min_size=2, max_size=6))
@example([(1, 1.0, 0), (2, 1.0, 1)])
def test_prepared_rates_change_no_choice(history: list[tuple[int, float, int]]) -> None:
    among = [deployment(str(number), price=price) for number, (price, _, _) in enumerate(history)]
    for each, (_, seconds, failures) in zip(among, history, strict=True):
        answer(each, 0.0, seconds)
        fail(each, 3.0, failures)
    by_one = situation(3.0)
    prepared = situation(3.0)
    prepared.rates = Group("g", among, configured=True).rates
    assert cost_scores(among, prepared) == cost_scores(among, by_one)
    assert all(
        isclose(ours, its)
        for ours, its in zip(hybrid_scores(among, prepared), hybrid_scores(among, by_one), strict=True)
    )
