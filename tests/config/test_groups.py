from pathlib import Path

import pytest

from llm_edge_agent.config import Secret
from llm_edge_agent.config.values import DeploymentConfig, DeploymentTimeouts
from llm_edge_agent.core.pricing import Price, PriceList
from llm_edge_agent.core.strategies import HybridWeights
from tests.config.reading import problems, read, without_lines, written

BOTH = {"ANTHROPIC_API_KEY": "sk-ant-x"}

WHOLE = """
routing:
  strategy: latency
  fallbacks:
    gpt-5.5: [smart, claude-sonnet-5]
groups:
  smart:
    strategy: hybrid
    weights: {cost: 1, latency: 3}
    fallbacks: gpt-5.4-mini
    context_window_fallbacks: [long]
    content_filter_fallbacks: [claude-sonnet-5]
    deployments:
      - provider: anthropic
        model: claude-sonnet-5
        weight: 3
        priority: 1
        region: eu
        tags: [a, b]
        rpm: 600
        tpm: 100000
        max_concurrency: 20
        price_usd_per_mtok: {input: 1, output: 2}
        timeouts: {connect_seconds: 1, attempt_seconds: 60, first_token_seconds: 5, idle_seconds: 10}
      - provider: openai
        model: gpt-5.5
        base_url: https://eu.example/v1/
        api_keys: [sk-one, sk-two]
      - openai/gpt-5.5
      - openai/gpt-5.5
  long: [openai/gpt-5.4]
"""


def test_a_whole_section(tmp_path: Path) -> None:
    config = read(BOTH, config_file=written(tmp_path, WHOLE))
    smart, long = config.groups
    assert (config.strategy, config.fallbacks) == ("latency", {"gpt-5.5": ("smart", "claude-sonnet-5")})
    assert (smart.name, smart.strategy, smart.weights) == ("smart", "hybrid", HybridWeights(1, 3, 0))
    assert smart.fallbacks == ("gpt-5.4-mini",)
    assert (smart.context_window_fallbacks, smart.content_filter_fallbacks) == (("long",), ("claude-sonnet-5",))
    assert smart.deployments[0] == DeploymentConfig(
        name="anthropic/claude-sonnet-5",
        provider="anthropic",
        model="claude-sonnet-5",
        weight=3,
        priority=1,
        region="eu",
        tags=("a", "b"),
        rpm=600,
        tpm=100_000,
        max_concurrency=20,
        prices=PriceList(base=Price(input=10**6, output=2 * 10**6)),
        timeouts=DeploymentTimeouts(connect_s=1, attempt_s=60, first_token_s=5, idle_s=10),
    )
    assert smart.deployments[1].base_url == "https://eu.example/v1"
    assert smart.deployments[1].api_keys == (Secret("sk-one"), Secret("sk-two"))
    assert [each.name for each in smart.deployments[1:]] == ["openai/gpt-5.5", "openai/gpt-5.5#2", "openai/gpt-5.5#3"]
    assert (long.strategy, long.deployments[0].name) == (None, "openai/gpt-5.4")
    assert {"sk-one", "sk-two"} <= set(config.provider_keys())
    assert "sk-one" not in repr(config)


def test_fallbacks_of_the_environment() -> None:
    config = read({**BOTH, "FALLBACKS": "gpt-5.5=claude-sonnet-5,gpt-5.4"})
    assert config.fallbacks == {"gpt-5.5": ("claude-sonnet-5", "gpt-5.4")}


def test_more_keys_of_a_provider(tmp_path: Path) -> None:
    path = written(tmp_path, "providers:\n  openai:\n    api_keys: [sk-b, sk-a, sk-c]\n")
    (openai,) = read({"OPENAI_API_KEY": "sk-a"}, config_file=path).providers
    assert [value for _, value in openai.credentials()] == ["Bearer sk-a", "Bearer sk-b", "Bearer sk-c"]
    (openai,) = read({"OPENAI_API_KEY": ""}, config_file=path).providers
    assert [value for _, value in openai.credentials()] == ["Bearer sk-b", "Bearer sk-a", "Bearer sk-c"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("groups: [a]", "groups: must be a mapping from names to groups"),
        ("groups: {'a b': [openai/x]}", "groups.(hidden): the name must be letters"),
        ("groups: {g: x}", "groups.g: must be a mapping"),
        ("groups: {g: {strategy: cost}}", "groups.g: needs deployments"),
        ("groups: {g: []}", "groups.g: needs deployments"),
        ("groups: {g: [gpt-5.5]}", "groups.g[0]: must be provider/model"),
        ("groups: {g: [[]]}", "groups.g[0]: must be a mapping"),
        ("groups: {g: [{provider: openai}]}", "groups.g[0]: needs a model"),
        ("groups: {g: [{region: eu}]}", "groups.g[0]: needs a provider and a model"),
        ("groups: {g: [opanai/x]}", "groups.g[0]: names a provider that is not configured; did you mean openai?"),
        ("groups: {g: [{provider: openai, model: x, wight: 1}]}", "groups.g[0].wight: unknown; did you mean weight?"),
        ("groups: {g: [{provider: openai, model: [x]}]}", "groups.g[0].model: must be a single value"),
        ("groups: {g: [{provider: openai, model: x, weight: -1}]}", "groups.g[0].weight: must be a number from 0"),
        ("groups: {g: [{provider: openai, model: x, weight: a}]}", "groups.g[0].weight: must be a number from 0"),
        ("groups: {g: [{provider: openai, model: x, rpm: 0}]}", "groups.g[0].rpm: must be a whole number"),
        ("groups: {g: [{provider: openai, model: x, tags: {a: b}}]}", "groups.g[0].tags: must be a list of names"),
        ("groups: {g: [{provider: openai, model: x, base_url: x}]}", "groups.g[0].base_url: must start with"),
        ("groups: {g: [{provider: openai, model: x, api_key: [{}]}]}", "must be a key"),
        ("groups: {g: [{provider: openai, model: x, api_key: 'a b'}]}", "holds characters"),
        ("groups: {g: [{provider: openai, model: x, api_keys: [a, a]}]}", "the same key as one before it"),
        ("groups: {g: [{provider: openai, model: x, api_key: a, api_keys: [b]}]}", "together with api_key"),
        ("groups: {g: [{provider: openai, model: x, price_usd_per_mtok: {input: 1}}]}", "must be prices"),
        ("groups: {g: [{provider: openai, model: x, price_usd_per_mtok: 3}]}", "must be prices"),
        ("groups: {g: [{provider: openai, model: x, timeouts: {idle_seconds: 0}}]}", "idle_seconds: must be a number"),
        ("groups: {g: {strategy: fastest, deployments: [openai/x]}}", "groups.g.strategy: must be one of model"),
        ("groups: {g: {weights: {cost: 0}, deployments: [openai/x]}}", "groups.g.weights: must weigh something"),
        ("groups: {g: {weights: 1, deployments: [openai/x]}}", "groups.g.weights: must be a mapping"),
        ("groups: {g: {fallbacks: [nobody], deployments: [openai/x]}}", None),
        ("groups: {g: [openai/x]}\naliases: {g: gpt-5.5}", None),
    ],
)
def test_what_is_wrong_is_said(text: str, expected: str | None, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    found = problems(config_file=path)
    assert len(found) == 1
    if expected is not None:
        assert expected in without_lines(found, path)[0]
    else:
        assert found[0] in (
            "groups.g.fallbacks: names a model that no configured provider serves",
            "aliases.g: is the name of a group too",
        )


def test_names_of_fallbacks_must_lead_somewhere() -> None:
    assert problems({"FALLBACKS": "gpt-5.5=claude-sonnet-5"}) == (
        "FALLBACKS: names a model that no configured provider serves",
    )


def test_several_problems_are_told_together(tmp_path: Path) -> None:
    path = written(tmp_path, "groups: {g: [opanai/x, {provider: openai}], h: {deployments: 1, kind: 2}}")
    assert len(problems(config_file=path)) == 4
