"""The ledger's file: one SQLite database that several processes write to, a row for each request to a model.

No row holds a prompt, an answer or a key. Money is integer picodollars, times are Unix milliseconds (UTC), durations
microseconds. NULL is what nobody knows: tokens that were not told, the cost of a model without a price.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

APPLICATION_ID = 0x4C454147
"""Marks the file as a ledger (SQLite's `application_id`)."""
VERSION = 1
LARGEST = 2**63 - 1
"""What fits into a column."""

BUSY_S = 5.0
"""How long one process waits for another that writes."""
_OPEN_TRIES = 20
_OPEN_PAUSE_S = 0.05
_PIECE = 2_000
"""Rows deleted at once: others want to write, too."""
_MOST_PIECES = 50
_SPARE = 0.95
"""A file that is too large is cut down to this share of its bound."""

_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS requests (
        id INTEGER PRIMARY KEY,
        ended_ms INTEGER NOT NULL,
        request_id TEXT NOT NULL,
        trace_id TEXT,
        key_id TEXT,
        tenant TEXT,
        endpoint TEXT NOT NULL,
        model TEXT,
        provider TEXT,
        outcome TEXT NOT NULL,
        status INTEGER NOT NULL,
        error TEXT,
        cache TEXT NOT NULL,
        tier TEXT,
        stream INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        prompt_tokens INTEGER,
        cache_read_tokens INTEGER,
        cache_write_tokens INTEGER,
        completion_tokens INTEGER,
        reasoning_tokens INTEGER,
        estimated INTEGER NOT NULL,
        cost_picodollars INTEGER,
        saved_picodollars INTEGER NOT NULL,
        duration_us INTEGER NOT NULL,
        ttft_us INTEGER
    )""",
    "CREATE INDEX IF NOT EXISTS requests_by_time ON requests (ended_ms)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {VERSION}",
)


class Row(NamedTuple):
    """One request, in the order of the table's columns."""

    ended_ms: int
    request_id: str
    trace_id: str | None
    key_id: str | None
    tenant: str | None
    endpoint: str
    model: str | None
    provider: str | None
    outcome: str
    """ok, error or cancelled, as `llm_edge_requests_total` has it."""
    status: int
    error: str | None
    cache: str
    tier: str | None
    stream: bool
    attempts: int
    prompt_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    completion_tokens: int | None
    reasoning_tokens: int | None
    estimated: int
    """Which tokens are the gateway's own estimate (`pricing.Estimated`): 0 none, 1 the completion's, 2 all."""
    cost_picodollars: int | None
    saved_picodollars: int
    duration_us: int
    ttft_us: int | None


_INSERT = f"INSERT INTO requests ({', '.join(Row._fields)}) VALUES ({', '.join('?' * len(Row._fields))})"  # noqa: S608


class NoLedgerError(Exception):
    """The file is something else, or of a version that this program does not know."""


class LedgerFile:
    """Open for writing. Belongs to the thread that made it. Every method may raise sqlite3.Error."""

    def __init__(self, path: str) -> None:
        """Makes the file and its folders where they are missing, for its owner's eyes only. Raises NoLedgerError,
        OSError, sqlite3.Error."""
        self._path = path
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            self._prepare_patiently()
        except BaseException:
            self._database.close()
            raise

    def _prepare_patiently(self) -> None:
        for _ in range(_OPEN_TRIES):
            try:
                return self._prepare()
            except sqlite3.OperationalError:
                # Where other workers make the same file, changing its mode fails at once instead of waiting for them.
                time.sleep(_OPEN_PAUSE_S)
        return self._prepare()

    def _prepare(self) -> None:
        check(self._database, new_is_fine=True)
        self._database.execute("PRAGMA auto_vacuum = INCREMENTAL")
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("PRAGMA journal_size_limit = 4194304")
        self._in_one_piece(lambda: [self._database.execute(statement) for statement in _SCHEMA])

    def write(self, rows: Iterable[Row]) -> None:
        """All of them, or none."""
        self._in_one_piece(lambda: self._database.executemany(_INSERT, rows))

    def trim(self, *, oldest_ms: int, max_bytes: int) -> None:
        """Deletes rows that ended before `oldest_ms`, then the oldest until the rest fits into `max_bytes`."""
        by_age = "SELECT id FROM requests WHERE ended_ms < ? ORDER BY ended_ms LIMIT ?"
        for _ in range(_MOST_PIECES):
            if self._delete(by_age, (oldest_ms, _PIECE)) < _PIECE:
                break
        if self._used_bytes() > max_bytes:
            by_order = "SELECT id FROM requests ORDER BY id LIMIT ?"
            for _ in range(_MOST_PIECES):
                if not self._delete(by_order, (_PIECE,)) or self._used_bytes() <= max_bytes * _SPARE:
                    break
        self._database.executescript("PRAGMA incremental_vacuum")  # execute() gives back one page only

    def size_bytes(self) -> int:
        """Of the file and its write-ahead log."""
        return sum(os.path.getsize(each) for each in (self._path, f"{self._path}-wal") if os.path.exists(each))

    def close(self) -> None:
        self._database.close()

    def _delete(self, chosen: str, parameters: tuple[int, ...]) -> int:
        statement = f"DELETE FROM requests WHERE id IN ({chosen})"  # noqa: S608  from above
        return self._database.execute(statement, parameters).rowcount

    def _used_bytes(self) -> int:
        pages, free, size = (
            self._database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _in_one_piece(self, work: Callable[[], object]) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            work()
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def open_to_read(path: str) -> sqlite3.Connection:
    """Raises NoLedgerError; sqlite3.Error or OSError where the file cannot be read."""
    os.stat(path)
    database = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
    try:
        check(database)
    except BaseException:
        database.close()
        raise
    return database


def check(database: sqlite3.Connection, *, new_is_fine: bool = False) -> None:
    """Raises NoLedgerError where the file is no ledger; an empty one may become one."""
    try:
        (application_id,) = database.execute("PRAGMA application_id").fetchone()
        (version,) = database.execute("PRAGMA user_version").fetchone()
        (tables,) = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        raise NoLedgerError("it is not a database") from error
    if new_is_fine and not tables and not application_id:
        return
    if application_id != APPLICATION_ID:
        raise NoLedgerError("it is not a ledger of this program")
    if version != VERSION:
        raise NoLedgerError(f"it is of version {version}; this program writes and reads version {VERSION}")
