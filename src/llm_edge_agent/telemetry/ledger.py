"""Keeps one row for every request to a model, without the request waiting for it or failing by it.

`observe` notes what the row needs; a thread of its own writes what was noted a few times a second. What cannot be
written is kept and tried again, up to a bound; beyond it rows are lost, and counted. A failure is said once, until
writing succeeds again.
"""

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.telemetry import FinishedExchange
from llm_edge_agent.telemetry.families import COMPLETION_ENDPOINTS, US_PER_S, ended_as
from llm_edge_agent.telemetry.ledger_file import LARGEST, LedgerFile, NoLedgerError, Row
from llm_edge_agent.telemetry.log_lines import OWN_ID_CHARACTERS
from llm_edge_agent.telemetry.spending import tokens_of

FLUSH_S = 0.25
MAX_WAITING = 20_000
"""Requests that may wait to be written; about 10 MB."""
ROWS_IN_A_ROW = 32
TRIM_EVERY_S = 60.0
TRIM_EVERY_ROWS = 5_000
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
DAY_MS = 86_400_000

LEDGER_ENDPOINTS = COMPLETION_ENDPOINTS | {"count_tokens"}

Noted = tuple[Any, ...]

_log = logging.getLogger("llm_edge_agent.ledger")


class Ledger:
    """Writes to the file at `path` until `close`. `observe` belongs to one thread, the event loop's."""

    def __init__(
        self,
        path: str,
        *,
        max_bytes: int,
        max_days: int,
        clean: Callable[[str], str],
        now: Callable[[], float] = time.time,
    ) -> None:
        """`clean` takes keys out of a text. `now` tells Unix seconds."""
        self._path = path
        self._max_bytes = max_bytes
        self._max_days = max_days
        self._clean = clean
        self._now = now
        self._waiting: deque[Noted] = deque()
        self._batch: list[Row] = []
        """What the thread took and has not written yet."""
        self._file: LedgerFile | None = None
        self._failing = False
        self._pause_s = FIRST_PAUSE_S
        self._next_try_s = 0.0
        self._trim_at_s = 0.0
        self._untrimmed = 0
        self._closing = threading.Event()
        self.written = 0
        """Rows in the file by this process."""
        self.lost = 0
        """Requests without a row."""
        self.errors = 0
        """Times that writing failed."""
        self.size_bytes = 0
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def observe(self, exchange: FinishedExchange) -> None:
        """Notes a request to a model. Whoever was not let in has no row, so that no stranger can fill the file."""
        error = exchange.error
        if exchange.endpoint not in LEDGER_ENDPOINTS or error is ErrorKind.UNAUTHENTICATED:
            return
        if len(self._waiting) + len(self._batch) >= MAX_WAITING:
            self.lost += 1
            return
        traced = exchange.traced
        self._waiting.append(
            (
                self._now(),
                exchange.request_id,
                traced.trace.trace_id if traced is not None else None,
                exchange.key_id,
                exchange.tenant,
                exchange.endpoint,
                exchange.model,
                exchange.requested_model,
                exchange.provider,
                exchange.status,
                error,
                exchange.cache,
                exchange.cache_tier,
                exchange.stream,
                len(exchange.attempts),
                exchange.usage,
                exchange.cost_picodollars,
                exchange.saved_picodollars,
                exchange.duration_s,
                exchange.ttft_s,
            )
        )

    def close(self, timeout_s: float = 3.0) -> None:
        """Writes what was noted, for at most so long; the rest is lost. Safe to call twice."""
        self._closing.set()
        self._thread.join(timeout_s)
        left = len(self._waiting) + len(self._batch)
        if left:
            self.lost += left
            self._waiting.clear()
            self._batch = []
            _log.error("requests are missing in the ledger", extra={"event": "ledger_lost", "rows": left})

    # In the thread.

    def _run(self) -> None:
        while not self._closing.wait(FLUSH_S):
            if time.monotonic() >= self._next_try_s:
                self._flush()
        self._flush()
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        while self._waiting:
            self._batch.append(self._row(*self._waiting.popleft()))
            if len(self._batch) % ROWS_IN_A_ROW == 0:
                time.sleep(0)  # lets the event loop have the interpreter, which this thread could keep for 5 ms
        try:
            if self._file is None:
                self._file = LedgerFile(self._path)
            if self._batch:
                self._file.write(self._batch)
                self.written += len(self._batch)
                self._untrimmed += len(self._batch)
                self._batch = []
            self._trim_if_due(self._file)
        except (sqlite3.Error, OSError, NoLedgerError) as error:
            self._failed(error)
            return
        if self._failing:
            self._failing = False
            self._pause_s = FIRST_PAUSE_S
            _log.warning("the ledger is written again", extra={"event": "ledger_recovered", "rows_lost": self.lost})

    def _trim_if_due(self, file: LedgerFile) -> None:
        now_s = time.monotonic()
        if now_s < self._trim_at_s and self._untrimmed < TRIM_EVERY_ROWS:
            return
        oldest_ms = int(self._now() * 1000) - self._max_days * DAY_MS
        file.trim(oldest_ms=oldest_ms, max_bytes=self._max_bytes)
        self.size_bytes = file.size_bytes()
        self._trim_at_s, self._untrimmed = now_s + TRIM_EVERY_S, 0

    def _failed(self, error: Exception) -> None:
        self.errors += 1
        if self._file is not None:
            self._file.close()
            self._file = None
        self._next_try_s = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        if not self._failing:
            self._failing = True
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            _log.error("the ledger cannot be written: %s", reason, extra={"event": "ledger_failed", "path": self._path})

    def _row(
        self,
        now: float,
        request_id: str,
        trace_id: str | None,
        key_id: str | None,
        tenant: str | None,
        endpoint: str,
        model: str | None,
        requested_model: str | None,
        provider: str | None,
        status: int,
        error: ErrorKind | None,
        cache: str,
        tier: str | None,
        stream: bool,
        attempts: int,
        usage: TokenUsage | None,
        cost: int | None,
        saved: int,
        duration_s: float,
        ttft_s: float | None,
    ) -> Row:
        outcome = ended_as(status, error)
        if model is None and outcome == "ok" and requested_model is not None:
            model = self._clean(requested_model)  # it answered, so it is the name of a model, if not of a known one
        tokens = tokens_of(usage) if usage is not None else (None,) * 5
        prompt, read, written, completion, reasoning = tokens
        return Row(
            int(now * 1000),
            # An id of the gateway's own form is too short for a key, and looking for one is half the cost of a row.
            request_id if request_id.isalnum() and len(request_id) <= OWN_ID_CHARACTERS else self._clean(request_id),
            trace_id,
            key_id,
            tenant,
            endpoint,
            _text(model),
            provider,
            outcome,
            status,
            error.value.label if error is not None else None,
            cache,
            tier,
            stream,
            attempts,
            prompt,
            read,
            written,
            completion,
            reasoning,
            usage.estimated if usage is not None else 0,
            min(max(0, cost), LARGEST) if cost is not None else None,
            min(max(0, saved), LARGEST),
            int(duration_s * US_PER_S),
            int(ttft_s * US_PER_S) if ttft_s is not None else None,
        )


def _text(text: str | None) -> str | None:
    """SQLite takes no lone surrogates."""
    return text if text is None else text.encode("utf-8", "backslashreplace").decode()
