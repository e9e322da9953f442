"""`demo`: what a stranger sees first."""

import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import openai
import pytest
from typer.testing import CliRunner

from llm_edge_agent.cli import inprocess
from llm_edge_agent.cli.commands import application
from llm_edge_agent.config import AppConfig, CacheConfig
from llm_edge_agent.simulator import RunningSimulator
from tests.canaries import CLIENT_KEY, prompt
from tests.cli.programs import call, keys, program


def test_shows_the_main_job_without_any_account(tmp_path: Path) -> None:
    # Nobody real is called: what the environment says plays no part, not even what is invalid.
    done = call(tmp_path, "demo", **keys(PORT="not a port"))
    assert (done.returncode, done.stderr) == (0, "")
    captions = [line for line in done.stdout.splitlines() if " ms | $" in line]
    assert [caption.split(" | ")[:2] for caption in captions] == [
        ["openai", "not cached"],
        ["openai", "cached in l1"],
        ["openai", "not cached"],
        ["anthropic", "not cached"],
    ]
    assert captions[1].endswith("| $0.000000")
    assert all("first token after" in caption for caption in captions[2:])
    assert "1 of 4 (25%)" in done.stdout
    assert "simulated money" in done.stdout
    spent, saved = re.findall(r"(?:Spent|Saved)\D+\$([0-9.]+)", done.stdout)
    assert float(spent) > float(saved) > 0
    assert "\x1b" not in done.stdout


def test_keep_leaves_it_running(tmp_path: Path) -> None:
    with program(tmp_path, "demo", "--keep") as shown:
        found = re.search(r'base_url="(http://127\.0\.0\.1:\d+/v1)"', shown.wait_for("print(answer"))
        assert found is not None
        assert f"curl -s {found[1]}/chat/completions" in shown.stdout
        with openai.OpenAI(base_url=found[1], api_key=CLIENT_KEY, max_retries=0, timeout=20) as sdk:
            answer = sdk.chat.completions.create(
                model="gpt-5.5", messages=[{"role": "user", "content": prompt("Hello!")}]
            )
        assert answer.choices[0].message.content
        assert shown.stop(signal.SIGINT) == 0


def test_ctrl_c_is_130(tmp_path: Path) -> None:
    with program(tmp_path, "demo") as shown:
        shown.wait_for("> What does")
        assert shown.stop(signal.SIGINT) == 130
        assert "Error" not in shown.stderr


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda config: replace(config, cache=CacheConfig(l1_enabled=False)), "was not answered from the L1 cache"),
        (lambda config: replace(config, response_metadata="headers"), "did not come from the provider"),
        (lambda config: replace(config, providers=config.providers[:1]), "status 404"),
    ],
)
def test_a_broken_promise_fails(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[AppConfig], AppConfig], complaint: str
) -> None:
    honest = inprocess.simulated_config

    def broken(simulator: RunningSimulator) -> AppConfig:
        return change(honest(simulator))

    monkeypatch.setattr(inprocess, "simulated_config", broken)
    monkeypatch.setattr(inprocess, "LATENCY_S", 0.01)
    monkeypatch.setattr(inprocess, "TOKENS_PER_S", 1000.0)
    result = CliRunner().invoke(application, ["demo"])
    assert result.exit_code == 1
    assert "Error: " in result.stderr
    assert complaint in result.stderr
