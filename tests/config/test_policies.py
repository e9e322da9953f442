"""`cache.policies` of the file."""

from pathlib import Path

import pytest

from llm_edge_agent.core.cache_policy import PolicyRule
from tests.config.reading import problems, read, written


def in_file(folder: Path, rules: str) -> Path:
    return written(folder, f"cache:\n  policies: {rules}\n")


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("", ()),
        ("[{models: gpt-*, policy: off}]", (PolicyRule(("gpt-*",), "off"),)),
        (
            "[{models: [fast, claude-*], policy: deterministic, ttl_seconds: 60}, {models: b, ttl_seconds: 5}]",
            (PolicyRule(("fast", "claude-*"), "deterministic", 60.0), PolicyRule(("b",), None, 5.0)),
        ),
    ],
)
def test_rules(tmp_path: Path, rules: str, expected: tuple[PolicyRule, ...]) -> None:
    assert read(config_file=in_file(tmp_path, rules)).cache.policies == expected


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("off", "must be a list of rules"),
        ("[off]", "must be a mapping with models"),
        ("[{policy: off}]", "must say for which models"),
        ("[{models: a}]", "must have a policy or ttl_seconds"),
        ("[{models: [], policy: off}]", "must be names of models"),
        ("[{models: [{a: b}], policy: off}]", "must be names of models"),
        ("[{models: a, policy: never}]", "must be one of all, deterministic, off"),
        ("[{models: a, policy: [off]}]", "must be a single value"),
        ("[{models: a, ttl_seconds: -1}]", "must be a number of seconds"),
        ("[{models: a, policy: off, tll_seconds: 4}]", "unknown; did you mean ttl_seconds?"),
    ],
)
def test_what_is_no_rule(tmp_path: Path, rules: str, said: str) -> None:
    lines = problems(config_file=in_file(tmp_path, rules))
    assert any(said in line and "cache.policies" in line for line in lines), lines
