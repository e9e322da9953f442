"""`cache generate | cache simulate`, as a user runs them."""

import json
from pathlib import Path

import pytest

from tests.cli.programs import call


def generated(folder: Path, workload: str, requests: int) -> Path:
    done = call(folder, "cache", "generate", workload, "--requests", str(requests), "--seed", "7")
    assert (done.returncode, done.stderr) == (0, "")
    path = folder / "log.jsonl"
    path.write_text(done.stdout)
    return path


def test_a_log_becomes_a_table_json_and_a_drawing(tmp_path: Path) -> None:
    path = generated(tmp_path, "support-bot", 400)
    assert len(path.read_text().splitlines()) == 400
    arguments = ("cache", "simulate", str(path), "--entries", "10,1000", "--ttl", "60,3600")
    table = call(tmp_path, *arguments, "--plot", "chart.svg")
    assert (table.returncode, table.stderr) == (0, "")
    heading, *rows = [line.split("\t") for line in table.stdout.splitlines()]
    assert heading == ["entries", "ttl_seconds", "hit_rate", "saved_usd", "saved_share"]
    assert [row[:2] for row in rows] == [["10", "60"], ["10", "3600"], ["1000", "60"], ["1000", "3600"]]
    rates = [float(row[2]) for row in rows]
    assert 0 < rates[0] <= rates[1] < rates[3] < 1
    assert (tmp_path / "chart.svg").read_text().startswith("<svg ")
    found = json.loads(call(tmp_path, *arguments, "--json").stdout)
    assert found["requests"] == 400
    assert [cache["hit_rate"] for cache in found["caches"]] == pytest.approx(
        rates, abs=0.03
    )  # what leaves first, chance decides
    assert found["repeats"]["hit_rate"] >= rates[3]
    assert found["cost_usd"] > found["repeats"]["saved_usd"] > 0


def test_it_reads_stdin_and_says_what_it_had_to_assume(tmp_path: Path) -> None:
    request = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": "Hi"}]}
    log = "".join(json.dumps({"request": each}) + "\n" for each in (request, request, {"model": "x"}))
    done = call(tmp_path, "cache", "simulate", "-", "--json", typed=log)
    assert done.returncode == 0
    assert json.loads(done.stdout)["repeats"]["hit_rate"] == 0.5
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == ["1", "2", "the"]


@pytest.mark.parametrize(
    ("text", "arguments", "code", "said"),
    [
        ("", (), 1, "holds no chat completion request"),
        ('{"request": {}}\nx', (), 1, "line 2 is no record of a request"),
        ("", ("--entries", "many"), 2, "--entries: must be whole numbers"),
        ("", ("--ttl", "0"), 2, "--ttl: must be whole numbers"),
    ],
)
def test_what_it_cannot_work_with(tmp_path: Path, text: str, arguments: tuple[str, ...], code: int, said: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(text)
    done = call(tmp_path, "cache", "simulate", str(path), *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = call(tmp_path, "cache", "simulate", "nowhere.jsonl")
    assert (done.returncode, done.stderr) == (2, "Error: nowhere.jsonl: no such file or directory\n")
