import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llm_edge_agent.telemetry.ledger_file import LedgerFile, NoLedgerError, Row, open_to_read

ROW = Row(
    ended_ms=1_000, request_id="r", trace_id=None, key_id=None, tenant="default", endpoint="chat", model="gpt-5",
    provider="openai", outcome="ok", status=200, error=None, cache="miss", tier=None, stream=False, attempts=1,
    prompt_tokens=3, cache_read_tokens=0, cache_write_tokens=0, completion_tokens=4, reasoning_tokens=0,
    estimated=False, cost_picodollars=5, saved_picodollars=0, duration_us=1000, ttft_us=None,
)  # fmt: skip


def times(path: Path) -> list[int]:
    database = open_to_read(str(path))
    found = [row[0] for row in database.execute("SELECT ended_ms FROM requests ORDER BY ended_ms")]
    database.close()
    return found


def test_what_was_written_is_read_by_others_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "ledger.db"
    file = LedgerFile(str(path))
    file.write([ROW, ROW._replace(ended_ms=2_000)])
    assert times(path) == [1_000, 2_000]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert file.size_bytes() > 0
    file.close()
    again = LedgerFile(str(path))
    again.write([ROW])
    again.close()
    assert times(path) == [1_000, 1_000, 2_000]


def test_all_rows_of_a_batch_or_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    file = LedgerFile(str(path))
    nothing: Any = None
    broken = ROW._replace(endpoint=nothing)
    with pytest.raises(sqlite3.IntegrityError):
        file.write([ROW, broken])
    file.write([ROW])
    file.close()
    assert times(path) == [1_000]


def test_old_rows_leave_first_and_then_the_oldest(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    file = LedgerFile(str(path))
    file.write(ROW._replace(ended_ms=number) for number in range(20_000))
    file.trim(oldest_ms=500, max_bytes=10**9)
    assert times(path) == list(range(500, 20_000))
    file.close()
    before = path.stat().st_size
    file = LedgerFile(str(path))
    file.trim(oldest_ms=0, max_bytes=before // 2)
    kept = times(path)
    assert 5_000 < len(kept) < 10_000
    assert kept == list(range(20_000 - len(kept), 20_000))
    file.close()
    assert path.stat().st_size <= before // 2 + 65_536


@pytest.mark.parametrize("content", [b"not a database, but long enough to be looked at " * 50, None])
def test_another_file_is_left_alone(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.db"
    if content is None:
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE theirs (a)")
        database.close()
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    for use in (LedgerFile, open_to_read):
        with pytest.raises(NoLedgerError):
            use(str(path))
    assert path.read_bytes() == before


def test_a_version_of_the_future_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    LedgerFile(str(path)).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 9")
    database.close()
    for use in (LedgerFile, open_to_read):
        with pytest.raises(NoLedgerError, match="version 9"):
            use(str(path))


def test_reading_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_to_read(str(tmp_path / "ledger.db"))
    assert os.listdir(tmp_path) == []


WRITER = """
import sys
from llm_edge_agent.telemetry.ledger_file import LedgerFile
from tests.telemetry.test_ledger_file import ROW

file = LedgerFile(sys.argv[1])
for _ in range(20):
    file.write([ROW] * 50)
file.close()
"""


def test_several_processes_make_and_write_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert "".join(writer.communicate()[1] for writer in writers) == ""
    assert len(times(path)) == 4 * 20 * 50
