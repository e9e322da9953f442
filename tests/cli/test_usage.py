"""`usage` as its user meets it: table, JSON, CSV, and what it says where there is nothing to show."""

import csv
import io
import json
import os
import pty
import re
import subprocess
import time
from decimal import Decimal
from pathlib import Path

import pytest

from llm_edge_agent.telemetry.ledger_file import LedgerFile
from tests.cli.programs import call, command, environment
from tests.telemetry.test_ledger_file import ROW


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    file = LedgerFile(str(path))
    now = ROW._replace(ended_ms=int(time.time() * 1000))
    file.write(
        [
            now._replace(cost_picodollars=1_234_567_890_123),
            now._replace(cache="hit", cost_picodollars=0, saved_picodollars=1_234_567_890_123, prompt_tokens=None),
            now._replace(model="own\x1b[31m", cost_picodollars=None, cache="bypass"),
            now._replace(ended_ms=now.ended_ms - 48 * 3_600_000, model="old"),
        ]
    )
    file.close()
    return path


def test_a_table_for_cut_and_awk(tmp_path: Path, ledger: Path) -> None:
    done = call(tmp_path, "usage", "--since", "24h", LEDGER_PATH=str(ledger))
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "model\trequests\terrors\thit rate\tprompt\tcompletion\tcost $\tsaved $",
        "gpt-5\t2\t0\t50.0 %\t3\t8\t1.234567890123\t1.234567890123",
        "own\\x1b[31m\t1\t0\t–\t3\t4\t0.0\t0.0",
        "total\t3\t0\t50.0 %\t6\t12\t1.234567890123\t1.234567890123",
    ]
    assert done.stderr == "1 requests went to models without a known price: their cost is not included.\n"


def test_json_and_csv_are_exact(tmp_path: Path, ledger: Path) -> None:
    done = call(tmp_path, "usage", "--by", "provider", "--json", "--since", "24h", "--file", str(ledger))
    found = json.loads(done.stdout, parse_float=Decimal)
    (group,) = found["groups"]
    assert (found["by"], found["until"], group["provider"]) == ("provider", None, "openai")
    assert group["cost_usd"] == found["total"]["cost_usd"] == Decimal("1.234567890123")
    assert (group["requests"], group["hits"], group["lookups"], group["unpriced"]) == (3, 1, 2, 1)
    done = call(tmp_path, "usage", "--by", "model", "--csv", "--until", "24h", "--file", str(ledger))
    assert list(csv.DictReader(io.StringIO(done.stdout))) == [
        {
            "model": "old", "requests": "1", "errors": "0", "cancelled": "0", "hits": "0", "lookups": "1",
            "prompt_tokens": "3", "cache_read_tokens": "0", "cache_write_tokens": "0", "completion_tokens": "4",
            "reasoning_tokens": "0", "unpriced": "0", "estimated": "0", "hit_rate": "0.0",
            "cost_usd": "0.000000000005", "estimated_usd": "0.0", "saved_usd": "0.0",
        }
    ]  # fmt: skip


def test_estimates_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    file = LedgerFile(str(path))
    now = ROW._replace(ended_ms=int(time.time() * 1000), cost_picodollars=10**12)
    file.write([now, *(now._replace(outcome="cancelled", estimated=kind) for kind in (1, 2))])
    file.close()
    done = call(tmp_path, "usage", "--file", str(path))
    assert done.stderr == "2 requests were broken off: part of their tokens, and $2.0, is an estimate.\n"
    total = json.loads(call(tmp_path, "usage", "--json", "--file", str(path)).stdout, parse_float=Decimal)["total"]
    assert (total["estimated"], total["estimated_usd"], total["cost_usd"]) == (2, 2, 3)


def test_a_table_on_a_terminal(tmp_path: Path, ledger: Path) -> None:
    master, slave = pty.openpty()
    variables = environment(tmp_path, {"COLUMNS": "80", "TERM": "dumb"})
    arguments = command(("usage", "--by", "day", "--file", str(ledger)))
    done = subprocess.run(arguments, env=variables, cwd=tmp_path, stdout=slave, stderr=subprocess.PIPE, timeout=60)
    os.close(slave)
    shown = os.read(master, 65536).decode().replace("\r", "")
    os.close(master)
    assert done.returncode == 0, done.stderr
    heading, *days, total = [line.split() for line in shown.splitlines() if line.strip()]
    assert (heading[0], total[0], total[1]) == ("day", "total", "4")
    assert total[-2:] == ["1.234568", "1.234568"]
    assert [re.fullmatch(r"\d{4}-\d\d-\d\d", day[0]) is not None for day in days] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 1, "Error: no ledger is kept\nSet LEDGER_PATH to a file"),
        (("--file", "missing.db"), 1, "missing.db: there is no ledger yet"),
        (("--file", "other.txt"), 1, "other.txt: cannot be read: it is not a database"),
        (("--file", "."), 1, ".: cannot be read"),
        (("--since", "yesterday"), 2, "--since: must be 24h, 7d"),
        (("--since", "1h", "--until", "2h"), 2, "--until: must be later than --since"),
        (("--json", "--csv"), 2, "--json and --csv exclude each other"),
        (("--by", "colour"), 2, "--by"),
    ],
)
def test_what_it_says_where_there_is_nothing_to_show(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "other.txt").write_text("no database at all, but as long as the head of one would be " * 5)
    done = call(tmp_path, "usage", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
