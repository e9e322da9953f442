"""The reasoning table, one row per effort and one column per generation."""

from typing import Any

import msgspec
import pytest

from llm_edge_agent.core.models import Model, Rules
from llm_edge_agent.dialects.chat_to_messages.reasoning import Reasoning, Wish, fit_budget, plan
from llm_edge_agent.dialects.fields import Losses
from tests.dialects.chat_to_messages import models
from tests.dialects.chat_to_messages.models import function, out, refused, translate

OFF = {"type": "disabled"}
BETWEEN = {"type": "between_tools"}
ADAPTIVE = {"type": "adaptive"}
WARNED = "changed:reasoning_effort"


def budget(tokens: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": tokens}


# effort: thinking and output_config.effort by generation; a third member is the warning
TABLE: dict[str | None, dict[str, tuple[Any, ...]]] = {
    None: {
        models.ALWAYS: (None, None),
        models.BETWEEN_TOOLS: (None, None),
        models.DEFAULT_ON: (None, None),
        models.ADAPTIVE: (None, None),
        models.ADAPTIVE_OR_ENABLED: (None, None),
        models.ENABLED_EFFORT: (None, None),
        models.ENABLED: (None, None),
        models.NO_THINKING: (None, None),
    },
    "none": {
        models.ALWAYS: (None, "low", WARNED),
        models.BETWEEN_TOOLS: (BETWEEN, "low"),
        models.DEFAULT_ON: (OFF, None),
        models.ADAPTIVE: (None, None),
        models.ADAPTIVE_OR_ENABLED: (None, None),
        models.ENABLED_EFFORT: (None, None),
        models.ENABLED: (None, None),
        models.NO_THINKING: (None, None),
    },
    "minimal": {
        models.ALWAYS: (None, "low"),
        models.BETWEEN_TOOLS: (None, "low"),
        models.DEFAULT_ON: (None, "low"),
        models.ADAPTIVE: (ADAPTIVE, "low"),
        models.ADAPTIVE_OR_ENABLED: (ADAPTIVE, "low"),
        models.ENABLED_EFFORT: (None, "low"),
        models.ENABLED: (budget(1024), None),
        models.NO_THINKING: (None, None, "dropped:reasoning_effort"),
    },
    "low": {
        models.ALWAYS: (None, "low"),
        models.BETWEEN_TOOLS: (None, "low"),
        models.DEFAULT_ON: (None, "low"),
        models.ADAPTIVE: (ADAPTIVE, "low"),
        models.ADAPTIVE_OR_ENABLED: (ADAPTIVE, "low"),
        models.ENABLED_EFFORT: (budget(1024), "low"),
        models.ENABLED: (budget(1024), None),
    },
    "medium": {
        models.ALWAYS: (None, "medium"),
        models.ADAPTIVE: (ADAPTIVE, "medium"),
        models.ENABLED_EFFORT: (budget(4096), "medium"),
        models.ENABLED: (budget(4096), None),
    },
    "high": {
        models.BETWEEN_TOOLS: (None, "high"),
        models.ADAPTIVE_OR_ENABLED: (ADAPTIVE, "high"),
        models.ENABLED_EFFORT: (budget(16384), "high"),
        models.ENABLED: (budget(16384), None),
    },
    "xhigh": {
        models.ALWAYS: (None, "xhigh"),
        models.DEFAULT_ON: (None, "xhigh"),
        models.ADAPTIVE: (ADAPTIVE, "xhigh"),
        models.ADAPTIVE_OR_ENABLED: (ADAPTIVE, "high", WARNED),
        models.ENABLED_EFFORT: (budget(32000), None),
        models.ENABLED: (budget(24000), None),
    },
    "max": {
        models.ALWAYS: (None, "max"),
        models.ADAPTIVE_OR_ENABLED: (ADAPTIVE, "max"),
        models.ENABLED_EFFORT: (budget(48000), None),
        models.ENABLED: (budget(32000), None),
    },
}
ROWS = [(effort, name, row) for effort, columns in TABLE.items() for name, row in columns.items()]


@pytest.mark.parametrize(("effort", "name", "row"), ROWS)
def test_table(effort: str | None, name: str, row: tuple[Any, ...]) -> None:
    request = {"max_tokens": 60000} if models.model(name).max_output_tokens == 64000 else {}
    result = translate(request | {"reasoning_effort": effort}, name=name)
    body = msgspec.json.decode(result.body)
    thinking, word, *warning = row
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == word
    assert list(result.warnings) == warning


def test_a_word_that_does_not_exist() -> None:
    error = refused({"reasoning_effort": "extreme"})
    assert (error.code, error.param) == ("invalid_value", "reasoning_effort")


def test_effort_below_all_that_the_model_takes_becomes_its_weakest() -> None:
    rules = Rules(thinking="always", efforts=("high", "max"))
    wish = Wish("low", forced_tool=False, must_not_think=False, show=False)
    losses = Losses(strict=False)
    made_up = Model(id="m", dialect="anthropic", provider="anthropic", rules=rules)
    assert plan(wish, made_up, losses).effort == "high"
    none_at_all = Model(id="m", dialect="anthropic", provider="anthropic", rules=Rules(thinking="always"))
    assert plan(wish, none_at_all, losses).effort is None
    assert losses.warnings() == (WARNED,)


@pytest.mark.parametrize("name", [models.ALWAYS, models.BETWEEN_TOOLS, models.DEFAULT_ON])
def test_thinking_that_should_be_seen_is_asked_for_where_it_is_omitted_by_default(name: str) -> None:
    assert out({}, name=name, expose_thinking=True)["thinking"] == {"type": "adaptive", "display": "summarized"}


def test_between_tools_has_no_display() -> None:
    body = out({"reasoning_effort": "none"}, name=models.BETWEEN_TOOLS, expose_thinking=True)
    assert body["thinking"] == BETWEEN


def test_older_generations_show_thinking_without_being_asked() -> None:
    body = out({"reasoning_effort": "low"}, name=models.ADAPTIVE_OR_ENABLED, expose_thinking=True)
    assert body["thinking"] == ADAPTIVE


def test_include_reasoning_decides_for_its_own_request() -> None:
    assert translate({"include_reasoning": True}).sent.expose_thinking
    assert not translate({"include_reasoning": False}, expose_thinking=True).sent.expose_thinking


def reasoning(tokens: int) -> Reasoning:
    return Reasoning(budget(tokens), None, True)


def limited(max_output_tokens: int | None) -> Model:
    return Model(id="m", dialect="anthropic", provider="anthropic", max_output_tokens=max_output_tokens)


@pytest.mark.parametrize(
    ("tokens", "max_tokens", "bound", "expected_budget", "expected_max", "warnings"),
    [
        pytest.param(1024, 2049, 64000, 1024, 2049, (), id="just enough"),
        pytest.param(1024, 2048, 64000, 1024, 2049, ("changed:max_tokens",), id="raised"),
        pytest.param(4096, 100, None, 4096, 5121, ("changed:max_tokens",), id="no bound known"),
        pytest.param(32000, 32000, 32000, 30975, 32000, (WARNED, "changed:max_tokens"), id="budget shrunk"),
        pytest.param(4096, 100, 2048, None, 100, (WARNED,), id="not even the least fits"),
    ],
)
def test_budget_and_max_tokens(
    tokens: int,
    max_tokens: int,
    bound: int | None,
    expected_budget: int | None,
    expected_max: int,
    warnings: tuple[str, ...],
) -> None:
    losses = Losses(strict=False)
    fitted, limit = fit_budget(reasoning(tokens), max_tokens, chosen=True, model=limited(bound), losses=losses)
    assert fitted.thinking == (None if expected_budget is None else budget(expected_budget))
    assert fitted.on == (expected_budget is not None)
    assert limit == expected_max
    assert losses.warnings() == warnings


def test_raising_a_limit_that_nobody_chose_is_no_change() -> None:
    result = translate({"reasoning_effort": "high"}, name=models.ENABLED)
    assert msgspec.json.decode(result.body)["max_tokens"] == 17409
    assert result.warnings == ()


@pytest.mark.parametrize(
    ("name", "effort", "forced"),
    [
        pytest.param(models.ENABLED, "low", False, id="manual thinking"),
        pytest.param(models.ADAPTIVE, "low", False, id="adaptive thinking asked for"),
        pytest.param(models.ADAPTIVE, None, True, id="adaptive thinking not asked for"),
        pytest.param(models.DEFAULT_ON, "low", False, id="default thinking asked for"),
        pytest.param(models.DEFAULT_ON, "none", True, id="thinking switched off"),
        pytest.param("claude-fable-5", None, False, id="always thinks"),
        pytest.param(models.BETWEEN_TOOLS, None, False, id="model refuses"),
    ],
)
def test_forced_tools_and_thinking(name: str, effort: str | None, forced: bool) -> None:
    body = out({"reasoning_effort": effort, "tools": [function()], "tool_choice": "required"}, name=name)
    assert body["tool_choice"] == {"type": "any" if forced else "auto"}
    assert ("system" in body) != forced
