import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import Estimated, TokenUsage
from llm_edge_agent.core.tracing import Trace
from llm_edge_agent.telemetry import ledger as ledger_module
from llm_edge_agent.telemetry import ledger_file
from llm_edge_agent.telemetry.ledger import MAX_WAITING, Ledger
from llm_edge_agent.telemetry.ledger_file import open_to_read
from llm_edge_agent.telemetry.redaction import Redactor
from llm_edge_agent.telemetry.traced import Traced
from tests.telemetry.exchanges import Finished, as_protocol, failed, hit

MIB = 2**20


def ledger(path: Path, **changes: Any) -> Ledger:
    arguments: dict[str, Any] = {"max_bytes": 64 * MIB, "max_days": 30, "clean": Redactor().clean, **changes}
    return Ledger(str(path), **arguments)


def rows(path: Path) -> list[dict[str, Any]]:
    database = open_to_read(str(path))
    database.row_factory = sqlite3.Row
    found = [dict(row) for row in database.execute("SELECT * FROM requests ORDER BY id")]
    database.close()
    return found


def soon(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline_s, "it never came about"
        time.sleep(0.01)


def test_a_row_says_what_the_exchange_says(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    book = ledger(path, now=lambda: 1_700_000_000.5)
    usage = TokenUsage(
        prompt_tokens=100, completion_tokens=30, cache_read_tokens=40, cache_write_tokens=10, cache_write_1h_tokens=5,
        reasoning_tokens=12,
    )  # fmt: skip
    trace = Traced(Trace("ab" * 16, "cd" * 8, None, False))
    answer = Finished(
        stream=True, usage=usage, cost_picodollars=123_456_789_012_345, duration_s=1.5, ttft_s=0.25, key_id="0a1b2c3d",
        tenant="team", traced=trace, provider="anthropic", model="claude-opus-5-5",
    )  # fmt: skip
    book.observe(as_protocol(answer))
    book.observe(as_protocol(hit(saved_picodollars=7, model=None, requested_model="own-model")))
    book.observe(as_protocol(failed(ErrorKind.UPSTREAM_OVERLOADED, model=None, requested_model="invented")))
    book.close()
    first, second, third = rows(path)
    del first["id"]
    assert first == {
        "ended_ms": 1_700_000_000_500, "request_id": "req-1", "trace_id": "ab" * 16, "key_id": "0a1b2c3d",
        "tenant": "team", "endpoint": "chat", "model": "claude-opus-5-5", "provider": "anthropic", "outcome": "ok",
        "status": 200, "error": None, "cache": "miss", "tier": None, "stream": 1, "attempts": 1, "prompt_tokens": 100,
        "cache_read_tokens": 40, "cache_write_tokens": 15, "completion_tokens": 30, "reasoning_tokens": 12,
        "estimated": 0, "cost_picodollars": 123_456_789_012_345, "saved_picodollars": 0, "duration_us": 1_500_000,
        "ttft_us": 250_000,
    }  # fmt: skip
    assert (second["model"], second["cache"], second["tier"], second["attempts"]) == ("own-model", "hit", "l1", 0)
    assert (second["prompt_tokens"], second["cost_picodollars"], second["saved_picodollars"]) == (None, 0, 7)
    assert (third["model"], third["outcome"], third["error"]) == (None, "error", "overloaded")
    assert (book.written, book.lost, book.errors) == (3, 0, 0)


def test_a_row_says_which_tokens_are_estimates(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    book = ledger(path)
    for estimated in Estimated:
        book.observe(as_protocol(Finished(usage=TokenUsage(prompt_tokens=5, estimated=estimated))))
    book.observe(as_protocol(hit()))
    book.close()
    assert [row["estimated"] for row in rows(path)] == [0, 1, 2, 0]


def test_what_has_no_row(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    book = ledger(path)
    book.observe(as_protocol(failed(ErrorKind.UNAUTHENTICATED)))
    book.observe(as_protocol(Finished(endpoint="models")))
    book.observe(as_protocol(Finished(endpoint="other")))
    book.observe(as_protocol(Finished(endpoint="embeddings")))
    book.close()
    assert [row["endpoint"] for row in rows(path)] == ["embeddings"]


def test_keys_and_odd_text_do_not_get_in(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    book = ledger(path, clean=Redactor(["a-secret-of-mine"]).clean)
    odd = Finished(model=None, requested_model="m\ud800-a-secret-of-mine", request_id="sk-ant-0123456789")
    odd.usage = TokenUsage(prompt_tokens=10**40, completion_tokens=-1)
    odd.cost_picodollars = 10**40
    book.observe(as_protocol(odd))
    book.close()
    (row,) = rows(path)
    assert (row["model"], row["request_id"]) == ("m\\ud800-[redacted]", "[redacted]")
    assert (row["prompt_tokens"], row["completion_tokens"], row["cost_picodollars"]) == (10**12, 0, 2**63 - 1)


def test_a_ledger_that_cannot_be_written_is_said_once_and_its_rows_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(ledger_module, "LONGEST_PAUSE_S", 0.01)
    monkeypatch.setattr(ledger_module, "FLUSH_S", 0.01)
    path = tmp_path / "ledger.db"
    path.mkdir()
    with caplog.at_level(logging.WARNING, "llm_edge_agent.ledger"):
        book = ledger(path)
        book.observe(as_protocol(Finished()))
        soon(lambda: book.errors >= 3)
        path.rmdir()
        soon(lambda: book.written == 1)
        book.close()
    assert [record.__dict__["event"] for record in caplog.records] == ["ledger_failed", "ledger_recovered"]
    assert (len(rows(path)), book.lost) == (1, 0)


def test_a_request_never_waits_and_what_is_too_much_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    book = ledger(tmp_path / "file" / "ledger.db")
    soon(lambda: book.errors == 1)
    began_s = time.monotonic()
    for _ in range(MAX_WAITING + 10):
        book.observe(as_protocol(Finished()))
    assert time.monotonic() - began_s < 5
    assert book.lost == 10
    book.close()
    assert book.lost == MAX_WAITING + 10
    assert caplog.records[-1].__dict__["event"] == "ledger_lost"
    book.close()
    assert book.lost == MAX_WAITING + 10


def test_a_writer_that_holds_the_file_costs_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_file, "BUSY_S", 0.1)
    path = tmp_path / "ledger.db"
    book = ledger(path)
    soon(path.exists)
    soon(lambda: book.size_bytes > 0)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    book.observe(as_protocol(Finished()))
    soon(lambda: book.errors >= 1)
    other.execute("COMMIT")
    other.close()
    soon(lambda: book.written == 1)
    book.close()
    assert len(rows(path)) == 1


def test_old_rows_leave(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    now = [1_700_000_000.0]
    book = ledger(path, max_days=2, now=lambda: now[0])
    book.observe(as_protocol(Finished()))
    book.close()
    now[0] += 3 * 86_400
    again = ledger(path, max_days=2, now=lambda: now[0])
    again.observe(as_protocol(Finished(request_id="new")))
    again.close()
    assert [row["request_id"] for row in rows(path)] == ["new"]
