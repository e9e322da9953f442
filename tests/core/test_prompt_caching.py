from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core.pricing import NO_EFFECT, PromptCacheEffect, TokenUsage
from llm_edge_agent.core.prompt_caching import (
    CREDIT,
    FIRST_INTERVAL_S,
    LAST_INTERVAL_S,
    PromptCacheLearner,
    Shape,
    relative_gain,
    shape_of,
)

SHAPE = Shape("claude-sonnet-5", b"tools", 10, True)
WRITTEN, READ = -0.25, 0.9


def exhausted(now_s: float = 0.0) -> PromptCacheLearner:
    learner = PromptCacheLearner()
    for _ in range(int(CREDIT / -WRITTEN)):
        assert learner.wants("a", SHAPE, now_s)
        learner.learn("a", SHAPE, WRITTEN, now_s)
    return learner


def test_nobody_is_turned_away_before_anything_is_known() -> None:
    assert PromptCacheLearner().wants("a", SHAPE, 0.0)


def test_where_reads_do_not_follow_writes_it_stops_for_this_tenant_and_shape_alone() -> None:
    learner = exhausted()
    assert not learner.wants("a", SHAPE, 0.1)
    assert learner.wants("b", SHAPE, 0.1)
    assert learner.wants("a", SHAPE._replace(turns=False), 0.1)


def test_where_they_do_it_goes_on_for_ever() -> None:
    learner = PromptCacheLearner()
    for turn in range(1000):
        assert learner.wants("a", SHAPE, float(turn))
        learner.learn("a", SHAPE, WRITTEN if turn % 4 == 0 else READ, float(turn))


def test_past_success_buys_no_more_than_the_first_credit() -> None:
    learner = PromptCacheLearner()
    for _ in range(1000):
        learner.learn("a", SHAPE, READ, 0.0)
    for _ in range(int(CREDIT / -WRITTEN)):
        learner.learn("a", SHAPE, WRITTEN, 0.0)
    assert not learner.wants("a", SHAPE, 0.1)


def test_one_probe_at_a_time_ever_more_seldom() -> None:
    learner = exhausted()
    now_s, probes = 0.0, []
    while now_s < 20 * LAST_INTERVAL_S:
        now_s += 1.0
        if learner.wants("a", SHAPE, now_s):
            probes.append(now_s)
            assert not learner.wants("a", SHAPE, now_s)
            learner.learn("a", SHAPE, WRITTEN, now_s)
    gaps = [later - earlier for earlier, later in pairwise(probes)]
    assert probes[0] == FIRST_INTERVAL_S
    assert gaps == sorted(gaps)
    assert gaps[-1] == LAST_INTERVAL_S
    assert len(probes) < 40


def test_answers_of_before_the_stop_do_not_lengthen_the_interval() -> None:
    learner = exhausted()
    for _ in range(50):
        learner.learn("a", SHAPE, WRITTEN, 0.1)
    assert learner.wants("a", SHAPE, FIRST_INTERVAL_S)


def test_a_probe_that_gains_brings_everything_back() -> None:
    learner = exhausted()
    assert learner.wants("a", SHAPE, FIRST_INTERVAL_S)
    learner.learn("a", SHAPE, READ, FIRST_INTERVAL_S)
    assert learner.wants("a", SHAPE, FIRST_INTERVAL_S)
    assert learner.wants("a", SHAPE, FIRST_INTERVAL_S)


def test_what_the_provider_took_no_notice_of_teaches_nothing() -> None:
    learner = PromptCacheLearner()
    learner.learn("a", SHAPE, 0.0, 0.0)
    assert len(learner) == 0


def test_accounts_are_bounded_and_the_longest_silent_one_goes() -> None:
    learner = PromptCacheLearner(max_accounts=2)
    for tenant in ("a", "b", "a", "c"):
        for _ in range(16):
            learner.learn(tenant, SHAPE, WRITTEN, 0.0)
    assert len(learner) == 2
    assert [learner.wants(tenant, SHAPE, 0.1) for tenant in "abc"] == [False, True, False]


@given(st.lists(st.floats(-0.25, 0.9), max_size=60))
def test_the_loss_on_hopeless_traffic_is_bounded(gains: list[float]) -> None:
    """Whatever came before, from here on not one answer gains: within an hour it costs what the credit and a dozen
    probes are worth."""
    learner = PromptCacheLearner()
    for gain in gains:
        learner.learn("a", SHAPE, gain, 0.0)
    lost, now_s = 0.0, 0.0
    while now_s < 3600.0:
        now_s += 0.5
        if learner.wants("a", SHAPE, now_s):
            learner.learn("a", SHAPE, WRITTEN, now_s)
            lost -= WRITTEN
    assert lost <= CREDIT - WRITTEN + 12 * -WRITTEN


def chat(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"messages": list(messages), **members}


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def test_a_shape_is_coarse() -> None:
    function = {"type": "function", "function": {"name": "f"}}
    custom = {"type": "custom", "custom": {"name": "g"}}
    one = chat(said("system", "It is 10:15 now."), said("user", "Hi"), tools=[function, custom])
    other = chat(
        said("developer", [{"type": "text", "text": "It is 11:59 now."}]), said("user", "!"), tools=one["tools"]
    )
    assert shape_of(one, "m") == shape_of(other, "m")
    assert shape_of(one, "m") == shape_of(chat(*one["messages"], functions=[{"name": "f"}, {"name": "g"}]), "m")


@pytest.mark.parametrize(
    "other",
    [
        chat(said("user", "Hi"), tools=[{"type": "function"}]),
        chat(said("user", "Hi"), said("assistant", "Ho"), said("user", "Hi")),
        chat(said("system", "x" * 100), said("user", "Hi")),
        chat(said("system", [{"type": "text", "text": "x"}, {"type": "image"}, {"type": "text", "text": 1}])),
    ],
)
def test_what_makes_another_shape(other: dict[str, Any]) -> None:
    assert shape_of(other, "m") != shape_of(chat(said("user", "Hi")), "m")


def test_a_system_message_without_content_has_no_size() -> None:
    assert shape_of(chat(said("system", None), said("user", "Hi")), "m") == shape_of(chat(said("user", "Hi")), "m")


def test_gain_is_a_fraction_of_the_prompt_at_the_plain_price() -> None:
    usage = TokenUsage(prompt_tokens=1000, cache_read_tokens=900, cache_write_tokens=100)
    assert relative_gain(PromptCacheEffect(saved=810 * 3, surcharge=25 * 3), usage, 3) == pytest.approx(0.785)
    assert relative_gain(NO_EFFECT, usage, None) == pytest.approx(0.785)
    hour = TokenUsage(prompt_tokens=1000, cache_write_1h_tokens=1000)
    assert relative_gain(NO_EFFECT, hour, None) == pytest.approx(-1.0)
    assert relative_gain(NO_EFFECT, TokenUsage(), None) == 0.0
