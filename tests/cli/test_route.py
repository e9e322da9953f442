import json
from pathlib import Path

import pytest

from tests.canaries import prompt
from tests.cli.programs import call, keys

GROUPS = """
groups:
  smart:
    strategy: cost
    deployments: [openai/gpt-5.5, anthropic/claude-haiku-5-5]
"""
BODY = {"model": "smart", "messages": [{"role": "user", "content": prompt("hi")}]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "llm-edge-agent.yaml").write_text(GROUPS)
    (tmp_path / "request.json").write_text(json.dumps(BODY))
    return tmp_path


def test_where_a_request_would_go(folder: Path) -> None:
    done = call(folder, "route", "request.json", **keys())
    assert (done.returncode, done.stderr) == (0, "")
    heading, first, second = (line.split("\t") for line in done.stdout.splitlines())
    assert heading == ["place", "deployment", "cost $", "score", "why not"]
    assert first[:2] == ["1", "anthropic/claude-haiku-5-5"]
    assert second[:2] == ["2", "openai/gpt-5.5"]
    assert float(first[2]) < float(second[2])


def test_nothing_is_left_behind(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    shared = {"LEDGER_PATH": str(folder / "ledger.db"), "ENABLE_L2_CACHE": "true", "CACHE_DIR": str(folder / "cache")}
    assert call(folder, "route", "request.json", **keys(), **shared).returncode == 0
    assert sorted(folder.rglob("*")) == before


def test_all_that_is_known(folder: Path) -> None:
    told = json.loads(call(folder, "route", "request.json", "--json", **keys()).stdout)
    assert told["order"] == ["anthropic/claude-haiku-5-5", "openai/gpt-5.5"]
    assert told["cache"]["parts"]["tenant"] == "default"


@pytest.mark.parametrize(
    ("arguments", "body", "code", "words"),
    [
        (("nothing.json",), None, 2, "nothing.json: no such file"),
        (("request.json", "--endpoint", "poems"), None, 2, "--endpoint: must be one of chat"),
        (("request.json",), "{", 1, "would be refused with 400"),
        (("request.json",), json.dumps({**BODY, "model": "nobody"}), 1, "would be refused with 404"),
    ],
)
def test_what_is_wrong(arguments: tuple[str, ...], body: str | None, code: int, words: str, folder: Path) -> None:
    if body is not None:
        (folder / "request.json").write_text(body)
    done = call(folder, "route", *arguments, **keys())
    assert done.returncode == code
    assert words in done.stderr
