"""Thinking as effort: one row of mapping section 6 each."""

from typing import Any

import msgspec
import pytest

from llm_edge_agent.dialects.fields import Losses
from llm_edge_agent.dialects.messages_to_chat.reasoning import plan
from tests.dialects.messages_to_chat import models
from tests.dialects.messages_to_chat.models import refused, translate

Json = dict[str, Any]


def enabled(budget: int) -> Json:
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def effort(word: str) -> Json:
    return {"output_config": {"effort": word}}


@pytest.mark.parametrize(
    ("name", "request_", "sent", "warnings"),
    [
        (models.REASONING, {}, None, ()),
        (models.REASONING, {"thinking": {"type": "adaptive"}}, None, ()),
        (models.REASONING, {"thinking": {"type": "between_tools"}}, None, ()),
        (models.REASONING, {"thinking": {"type": "disabled"}}, "none", ()),
        (models.REASONING, {"thinking": {"type": "disabled"}} | effort("high"), "none", ()),
        (models.ALWAYS, {"thinking": {"type": "disabled"}}, "low", ("changed:thinking",)),
        (models.REASONING, enabled(2048), "low", ()),
        (models.REASONING, enabled(8192), "medium", ()),
        (models.REASONING, enabled(24000), "high", ()),
        (models.REASONING, enabled(24001), "xhigh", ()),
        ("gpt-5", enabled(24001), "high", ("changed:thinking",)),
        (models.REASONING, enabled(2048) | effort("high"), "high", ()),
        (models.NEWEST, effort("max"), "max", ()),
        (models.REASONING, effort("max"), "xhigh", ("changed:output_config.effort",)),
        ("gpt-5-pro", effort("low"), "high", ("changed:output_config.effort",)),
        (models.PLAIN, {"thinking": {"type": "disabled"}}, None, ()),
        (models.PLAIN, effort("high"), None, ("dropped:output_config.effort",)),
    ],
)
def test_what_is_sent(name: str, request_: Json, sent: str | None, warnings: tuple[str, ...]) -> None:
    translated = translate(request_, name=name)
    assert msgspec.json.decode(translated.body).get("reasoning_effort") == sent
    assert translated.warnings == warnings


def test_a_model_that_knows_only_none() -> None:
    model = models.model(models.REASONING)
    mute = msgspec.structs.replace(model, rules=msgspec.structs.replace(model.rules, efforts=("none",)))
    assert plan(effort("low"), mute, Losses(strict=False)).effort is None


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (effort("none"), "output_config.effort"),
        ({"thinking": {}}, "thinking.type"),
        ({"thinking": {"type": "on"}}, "thinking.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        (enabled(1000), "thinking.budget_tokens"),
        ({"thinking": {"type": "adaptive", "display": 1}}, "thinking.display"),
    ],
)
def test_words_that_do_not_exist(request_: Json, param: str) -> None:
    assert refused(request_).param == param
