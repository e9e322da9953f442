from collections import Counter
from random import Random

import pytest

from llm_edge_agent.core.deployments import Deployment
from llm_edge_agent.core.needs import Needs
from llm_edge_agent.core.pricing import Price, PriceList
from llm_edge_agent.core.strategies import (
    STRATEGIES,
    HybridWeights,
    Situation,
    StrategyName,
    cost_scores,
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
    return Situation(now_s, chance, turn, asked, stream, Needs(prompt_tokens=1000), weights or HybridWeights())


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
    banded = deployment("c")
    price = Price(input=1, output=2)
    banded.prices = PriceList(base=price, long_context=Price(input=7, output=9), long_context_threshold=999)
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
