from typing import Any

import pytest

from llm_edge_agent.core.models import (
    Model,
    ModelTable,
    model_from_record,
    price_list_from_record,
    provider_of_name,
    table_from_document,
)
from llm_edge_agent.core.pricing import Price, TokenUsage, cost_picodollars
from llm_edge_agent.data import model_document

TABLE = table_from_document(model_document())


def model(name: str) -> Model:
    found = TABLE.find(name)
    assert found is not None
    return found


def test_the_whole_shipped_table_reads() -> None:
    document = model_document()
    assert len(TABLE.models) == len(document["models"]) + len(document["embeddings"])
    assert set(TABLE.names()) >= {"gpt-5.5", "claude-sonnet-5", "text-embedding-3-small"}
    assert all(found.prices is not None for found in TABLE.models)
    assert TABLE.find("no-such-model") is None


@pytest.mark.parametrize(
    ("name", "thinking", "sampling", "both", "prefill", "forced", "mid_system"),
    [
        ("claude-fable-5-2", "always", False, False, False, False, True),
        ("claude-opus-5-5", "always", False, False, False, False, True),
        ("claude-sonnet-5-5", "between_tools", False, False, False, False, True),
        ("claude-sonnet-5", "default_on", False, False, False, True, True),
        ("claude-haiku-5-5", "default_on", False, False, False, True, True),
        ("claude-opus-4-8", "adaptive", False, False, False, True, True),
        ("claude-opus-4-7", "adaptive", False, False, False, True, False),
        ("claude-opus-4-6", "adaptive_or_enabled", True, False, False, True, False),
        ("claude-opus-4-5", "enabled_effort", True, False, True, True, False),
        ("claude-haiku-4-5", "enabled", True, False, True, True, False),
        ("claude-3-haiku", "none", True, True, True, True, False),
    ],
)
def test_rules_of_each_claude_generation(
    name: str, thinking: str, sampling: bool, both: bool, prefill: bool, forced: bool, mid_system: bool
) -> None:
    rules = model(name).rules
    assert rules.thinking == thinking
    assert rules.sampling_params is sampling
    assert rules.temperature_and_top_p is both
    assert rules.assistant_prefill is prefill
    assert rules.forced_tool_choice is forced
    assert rules.mid_conversation_system is mid_system


@pytest.mark.parametrize(
    ("name", "tools", "param", "stop", "sampling"),
    [
        ("gpt-4o", "yes", "max_tokens", True, True),
        ("gpt-5.2", "yes", "max_completion_tokens", False, True),
        ("gpt-5.5", "no_explicit_effort", "max_completion_tokens", False, True),
        ("gpt-6-sol", "effort_none", "max_completion_tokens", False, True),
        ("gpt-6-astra", "no", "max_completion_tokens", False, False),
        ("o3", "yes", "max_completion_tokens", False, False),
    ],
)
def test_rules_of_openai_models(name: str, tools: str, param: str, stop: bool, sampling: bool) -> None:
    rules = model(name).rules
    assert (rules.tools_in_chat, rules.max_tokens_param, rules.stop_param) == (tools, param, stop)
    assert rules.sampling_params is sampling
    assert rules.sampling_needs_no_effort is (sampling and bool(rules.efforts))


def test_price_bands_rule_the_whole_request() -> None:
    prices = model("claude-haiku-5-5").prices
    assert (
        cost_picodollars(prices, TokenUsage(prompt_tokens=100_000, completion_tokens=1)) == 100_000 * 100_000 + 500_000
    )
    assert cost_picodollars(prices, TokenUsage(prompt_tokens=100_001)) == 100_001 * 500_000


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("gpt-9", "openai"),
        ("o1", "openai"),
        ("o", None),
        ("opus", None),
        ("chatgpt-x", "openai"),
        ("text-embedding-9", "openai"),
        ("claude-9", "anthropic"),
        ("llama", None),
        ("", None),
    ],
)
def test_the_provider_a_name_suggests(name: str, provider: str | None) -> None:
    assert provider_of_name(name) == provider


def test_unknown_models_have_no_price_and_the_newest_rules() -> None:
    claude = Model.unknown("claude-9", "anthropic", "anthropic")
    assert (claude.prices, claude.known, claude.rules.thinking) == (None, False, "always")
    other = Model.unknown("x", "groq", "openai")
    assert (other.prices, other.known, other.rules.sampling_params) == (None, False, True)


def record(**changes: Any) -> dict[str, Any]:
    found = next(item for item in model_document()["models"] if item["id"] == "claude-sonnet-5")
    return {**found, **changes}


def test_thinking_of_forms_not_in_the_table_today() -> None:
    rules = {"thinking_types": ["adaptive", "disabled"], "thinking_default": "off"}
    assert model_from_record(record(request_rules=rules)).rules.thinking == "adaptive"
    assert model_from_record(record(request_rules=None)).rules.thinking == "none"


@pytest.mark.parametrize("price", [{"output": 1}, {"input": 1, "output": "0.0000001"}, {"input": -1, "output": 1}])
def test_a_price_that_is_none_is_refused(price: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="price"):
        model_from_record(record(price_usd_per_mtok=price))


def test_first_come_first_named() -> None:
    one = Model(id="a", dialect="openai", provider="p", aliases=("x",))
    two = Model(id="x", dialect="openai", provider="q")
    assert ModelTable([one, two]).find("x") is one


def test_overrides_change_known_models_and_add_new_ones() -> None:
    document = model_document(
        [{"id": "gpt-5.5-2026-04-23", "context_window": 7}, {**record(), "id": "house-model", "aliases": []}]
    )
    table = table_from_document(document)
    changed, added = table.find("gpt-5.5"), table.find("house-model")
    assert changed is not None
    assert changed.context_window == 7
    assert changed.prices == model("gpt-5.5").prices
    assert added is not None
    assert added.dialect == "anthropic"


def test_prices_alone() -> None:
    assert price_list_from_record({"input": 1, "output": "2.5"}).base == Price(input=1_000_000, output=2_500_000)
    with pytest.raises(ValueError):
        price_list_from_record({"output": 1})
