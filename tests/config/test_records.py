"""Model records and aliases of the file."""

from pathlib import Path
from typing import Any

import pytest

from llm_edge_agent.config import AppConfig
from llm_edge_agent.core.models import Model, table_from_document
from llm_edge_agent.core.pricing import picodollars_per_token
from llm_edge_agent.data import model_document
from tests.config.reading import problems, read, without_lines, written


def configured(folder: Path, text: str) -> AppConfig:
    return read(config_file=written(folder, text))


def model(folder: Path, text: str, name: str) -> Model:
    overrides: Any = configured(folder, f"models: [{text}]").model_overrides
    found = table_from_document(model_document(overrides)).find(name)
    assert found is not None
    return found


def test_a_known_model_is_changed_member_by_member(tmp_path: Path) -> None:
    before = table_from_document(model_document()).find("gpt-4.1")
    after = model(tmp_path, "{id: gpt-4.1-2025-04-14, price_usd_per_mtok: {input: 1.5}}", "gpt-4.1")
    assert before is not None
    assert before.prices is not None
    assert after.prices is not None
    assert after.prices.base.input == picodollars_per_token("1.5")
    assert after.prices.base.output == before.prices.base.output
    assert (after.context_window, after.aliases, after.rules) == (before.context_window, before.aliases, before.rules)


def test_an_alias_stands_for_the_model_that_has_it(tmp_path: Path) -> None:
    after = model(tmp_path, "{id: gpt-4.1, status: retired}", "gpt-4.1")
    assert (after.id, after.status) == ("gpt-4.1-2025-04-14", "retired")


def test_a_new_model_needs_little(tmp_path: Path) -> None:
    after = model(tmp_path, "{id: llama-lab, provider: lab, price_usd_per_mtok: {input: 0.1, output: 0}}", "llama-lab")
    assert (after.dialect, after.provider, after.mode, after.status) == ("openai", "lab", "chat", "active")
    assert after.prices is not None
    assert (after.prices.base.input, after.prices.base.output) == (100_000, 0)
    assert after.tools
    assert not after.reasoning


def test_capabilities_and_rules(tmp_path: Path) -> None:
    text = (
        "{id: lab-1, provider: lab, aliases: [lab], context_window: 1000, price_usd_per_mtok: {input: 1, output: 2},"
        " capabilities: {vision: false}, request_rules: {max_tokens_param: max_tokens}, notes: ours,"
        " long_context_price: {threshold_prompt_tokens: 500, input: 3, output: 4}}"
    )
    after = model(tmp_path, text, "lab")
    assert (after.vision, after.pdf, after.context_window) == (False, True, 1000)
    assert after.rules.max_tokens_param == "max_tokens"
    assert after.prices is not None
    assert after.prices.band(501).input == picodollars_per_token(3)


NEW = "id: x, provider: p, price_usd_per_mtok: {input: 1, output: 2}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{a: b}", "models: must be a list of records"),
        ("[x]", "models[0]: must be a mapping with an id"),
        ("[{provider: p}]", "models[0]: must have an id"),
        ("[{id: [x]}]", "models[0]: must have an id"),
        ("[{id: modèle}]", "models[0]: must have an id of plain visible characters: it stands in headers"),
        ('[{id: "a\\r\\nb: c"}]', "models[0]: must have an id of plain visible characters: it stands in headers"),
        ("[{id: x}]", "models[0]: a new model needs provider and price_usd_per_mtok"),
        ("[{id: gpt-4.1, prise: 1}]", "models[0].prise: unknown"),
        ("[{id: gpt-4.1, statuss: active}]", "models[0].statuss: unknown; did you mean status?"),
        ("[{id: gpt-4.1, status: gone}]", "models[0].status: must be one of active, deprecated, retired, limited"),
        ("[{id: gpt-4.1, mode: video}]", "models[0].mode: must be one of chat, responses, completion, embedding"),
        ("[{id: gpt-4.1, aliases: gpt}]", "models[0].aliases: must be a list of names"),
        ("[{id: gpt-4.1, provider: [x]}]", "models[0].provider: must be a name"),
        ("[{id: gpt-4.1, shutdown_date: 5}]", "models[0].shutdown_date: must be a date in text, or null"),
        ("[{id: gpt-4.1, notes: [x]}]", "models[0].notes: must be text, or null"),
        ("[{id: gpt-4.1, context_window: big}]", "models[0].context_window: must be a whole number above 0, or null"),
        (
            "[{id: gpt-4.1, max_output_tokens: 0}]",
            "models[0].max_output_tokens: must be a whole number above 0, or null",
        ),
        ("[{id: gpt-4.1, price_usd_per_mtok: 5}]", "models[0].price_usd_per_mtok: must be a mapping"),
        (
            "[{id: gpt-4.1, price_usd_per_mtok: {imput: 1}}]",
            "models[0].price_usd_per_mtok.imput: unknown; did you mean input?",
        ),
        (
            "[{id: gpt-4.1, price_usd_per_mtok: {input: -1}}]",
            "models[0].price_usd_per_mtok.input: must be a number from 0 (USD per million tokens)",
        ),
        (
            "[{id: gpt-4.1, price_usd_per_mtok: {input: '1'}}]",
            "models[0].price_usd_per_mtok.input: must be a number from 0 (USD per million tokens)",
        ),
        (
            "[{id: gpt-4.1, price_usd_per_mtok: {input: 0.0000001}}]",
            "models[0]: is no record of the form of the model table",
        ),
        ("[{id: gpt-4.1, capabilities: {tools: maybe}}]", "models[0].capabilities.tools: must be true or false"),
        ("[{id: gpt-4.1, request_rules: [x]}]", "models[0].request_rules: must be a mapping"),
        (f"[{{{NEW}}}, {{{NEW}}}]", "models[1]: a model that has a record before it"),
        (f"[{{{NEW}, price_usd_per_mtok: {{input: 1}}}}]", "models[0].price_usd_per_mtok: given twice"),
        ("[{id: gpt-4.1}, {id: gpt-4.1-2025-04-14}]", "models[1]: a model that has a record before it"),
        ("[{id: gpt-4.1, price_usd_per_mtok: null}]", "models[0].price_usd_per_mtok: must be a mapping"),
        ("[{id: gpt-4.1, capabilities: null}]", "models[0].capabilities: must be a mapping"),
    ],
)
def test_records_that_are_none(text: str, line: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"models: {text}")
    assert without_lines(problems(config_file=path), path) == [line]


def test_aliases(tmp_path: Path) -> None:
    config = configured(tmp_path, "aliases: {fast: gpt-5.4-mini, claude: anthropic/claude-opus-5}")
    assert config.aliases == {"fast": "gpt-5.4-mini", "claude": "anthropic/claude-opus-5"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[a]", "aliases: must be a mapping from names to models"),
        ("{a: }", "aliases.a: must be the name of a model"),
        ("{a: [b]}", "aliases.a: must be the name of a model"),
        ("{a: b, b: c}", "aliases.a: must name a model, not another alias"),
        ("{a: a}", "aliases.a: must name a model, not another alias"),
    ],
)
def test_aliases_that_are_none(text: str, line: str, tmp_path: Path) -> None:
    path = written(tmp_path, f"aliases: {text}")
    assert without_lines(problems(config_file=path), path) == [line]


def test_empty_sections_say_nothing(tmp_path: Path) -> None:
    config = configured(tmp_path, "models:\naliases:\nproviders:\n")
    assert (config.model_overrides, dict(config.aliases)) == ((), {})
