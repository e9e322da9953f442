"""The log: one line per finished request and the records of the program, through one sink that never waits."""

import logging
import os
import select
import time
from collections.abc import Callable, Iterable
from typing import Literal

from llm_edge_agent.config.forms import Level, rust_log
from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.telemetry import FinishedExchange
from llm_edge_agent.telemetry.line_writer import MAX_BUFFERED_BYTES, LineWriter
from llm_edge_agent.telemetry.log_lines import JsonLines, TextLines
from llm_edge_agent.telemetry.redaction import Redactor

Format = Literal["json", "text", "auto"]

PACKAGE = "llm_edge_agent"
CAPTURED = (PACKAGE, "asyncio")
"""Loggers whose records go to the sink. asyncio reports there what nobody awaited, else straight to stderr."""
STDERR_FD = 2

_NUMBERS: dict[Level, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_log = logging.getLogger("llm_edge_agent.logs")


def _severities() -> dict[ErrorKind, Level]:
    """Clients' mistakes are ordinary; a request that failed for a provider's or the gateway's fault is an error; what
    was only too much, or the wrong moment, is a warning."""
    levels: dict[ErrorKind, Level] = {}
    for kind in ErrorKind:
        facets = kind.value
        refused_request = facets.label in ("invalid_request", "context_length")
        levels[kind] = "info" if facets.fault == "client" or refused_request else "error" if facets.blame else "warning"
    levels[ErrorKind.INTERNAL] = levels[ErrorKind.UPSTREAM_AUTH] = "error"
    return levels


SEVERITIES = _severities()
"""Of a request that ended so."""


def attempt_severity(error: ErrorKind, *, answered: bool) -> Level | None:
    """Of an attempt that failed so; `answered`: another one did not. None: not worth a line of its own."""
    if error is ErrorKind.UPSTREAM_AUTH:
        return "error"  # whoever answered instead: the key has to be mended
    if SEVERITIES[error] == "info":
        return None
    return "info" if answered else "warning"


class LogSink:
    """Where every line goes. Made by `configure`; `close` flushes and takes it off the loggers."""

    def __init__(
        self,
        level: Level,
        lines: JsonLines | TextLines,
        fd: int,
        *,
        max_buffered_bytes: int = MAX_BUFFERED_BYTES,
        shared: bool = False,
        redactor: Redactor | None = None,
    ) -> None:
        self.redactor = redactor or Redactor()
        """What keeps keys out of the lines; it may learn more of them."""
        self._lines = lines
        self._writer = LineWriter(fd, lines.lost, max_buffered_bytes=max_buffered_bytes, shared=shared)
        self._write = self._writer.write
        self._threshold = _NUMBERS[level]
        self._handler = _SinkHandler(self._writer, lines)
        self._handler.setLevel(self._threshold)
        self.access: Callable[[FinishedExchange], None]
        """Logs one finished request. Never raises, never waits. Decided at start: above `info`, a success costs one
        comparison."""
        self.access = self._access_all if self._threshold <= logging.INFO else self._access_failures

    @property
    def dropped(self) -> int:
        """Lines lost so far, because their reader was too slow, gone, or out of space."""
        return self._writer.dropped

    def attach(self) -> None:
        """Takes over the loggers in `CAPTURED` from whichever sink had them."""
        for name in CAPTURED:
            logger = logging.getLogger(name)
            for handler in list(logger.handlers):
                if isinstance(handler, _SinkHandler):
                    logger.removeHandler(handler)
                    self._handler.level_before = handler.level_before
            logger.addHandler(self._handler)
            logger.propagate = False
        package = logging.getLogger(PACKAGE)
        if self._handler.level_before is None:
            self._handler.level_before = package.level
        package.setLevel(self._threshold)

    def close(self, timeout_s: float = 1.0) -> None:
        """Writes what is buffered, for at most `timeout_s` seconds. Safe to call twice."""
        for name in CAPTURED:
            logger = logging.getLogger(name)
            if self._handler in logger.handlers:
                logger.removeHandler(self._handler)
                logger.propagate = True
                if name == PACKAGE:
                    logger.setLevel(self._handler.level_before or logging.NOTSET)
        self._writer.close(timeout_s)

    def _access_all(self, exchange: FinishedExchange) -> None:
        error = exchange.error
        try:
            if error is not None or len(exchange.attempts) > 1:
                self._attempts(exchange)
            self._write(self._lines.access(exchange, "info" if error is None else SEVERITIES[error]))
        except Exception:
            _log.exception("a request could not be logged")

    def _access_failures(self, exchange: FinishedExchange) -> None:
        error = exchange.error
        if error is None and len(exchange.attempts) < 2:
            return
        if error is not None and _NUMBERS[SEVERITIES[error]] >= self._threshold:
            self._access_all(exchange)
            return
        try:
            self._attempts(exchange)
        except Exception:
            _log.exception("an attempt could not be logged")

    def _attempts(self, exchange: FinishedExchange) -> None:
        """A line for each attempt that failed."""
        answered = exchange.error is None
        for number, attempt in enumerate(exchange.attempts, 1):
            level = attempt_severity(attempt.error, answered=answered) if attempt.error is not None else None
            if level is not None and _NUMBERS[level] >= self._threshold:
                self._write(self._lines.attempt(exchange, number, attempt, level))


class _SinkHandler(logging.Handler):
    """Brings records of the standard library's loggers to the sink."""

    def __init__(self, writer: LineWriter, lines: JsonLines | TextLines) -> None:
        super().__init__()
        self._writer = writer
        self._lines = lines
        self.level_before: int | None = None
        """What the package's loggers let pass before a sink had them."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._lines.record(record)
        except Exception as error:
            # A record that cannot be formatted is a bug of its author; say whose, without what it held.
            broken = logging.makeLogRecord(
                {
                    "name": record.name,
                    "levelname": record.levelname,
                    "msg": f"a log record could not be formatted: {type(error).__name__} at line {record.lineno}",
                }
            )
            line = self._lines.record(broken)
        self._writer.write(line)


def configure(
    level: str = "info",
    format: Format = "auto",
    *,
    fd: int = STDERR_FD,
    secrets: Iterable[str] = (),
    colour: bool | None = None,
    now: Callable[[], float] = time.time,
    max_buffered_bytes: int = MAX_BUFFERED_BYTES,
    shared: bool = False,
) -> LogSink:
    """Opens the log on `fd` and leads the package's loggers to it. The caller closes the sink.

    `level` may be a filter of the `RUST_LOG` kind. `auto` is text on a terminal, else JSON. `colour` None: on a
    terminal that wants it (`NO_COLOR`, `TERM=dumb`). `shared`: other processes write there too. Every occurrence of one
    of the `secrets` is redacted. Raises ValueError for a level that does not exist; a closed `fd` is no error, its
    lines are lost.
    """
    threshold = rust_log(level)
    redactor = Redactor(secrets)
    lines = _lines(format, fd, redactor, colour, now)
    sink = LogSink(threshold, lines, fd, max_buffered_bytes=max_buffered_bytes, shared=shared, redactor=redactor)
    sink.attach()
    return sink


def write_record(
    level: str, format: Format, logger: str, severity: Level, message: str, *, fd: int = STDERR_FD
) -> None:
    """One record of a process that may not start a thread, because it forks. Written at once, and lost where that
    would mean waiting. `level` and `format` as for `configure`; the message must hold no secret."""
    if _NUMBERS[severity] < _NUMBERS[rust_log(level)]:
        return
    lines = _lines(format, fd, Redactor(()), None, time.time)
    record = logging.makeLogRecord(
        {"name": logger, "levelno": _NUMBERS[severity], "levelname": severity.upper(), "msg": message}
    )
    try:
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        if poll.poll(0):
            os.write(fd, lines.record(record) + b"\n")
    except OSError:
        pass  # nobody reads the log: that is no reason to stop


def _lines(
    format: Format, fd: int, redactor: Redactor, colour: bool | None, now: Callable[[], float]
) -> JsonLines | TextLines:
    terminal = _is_terminal(fd)
    if format == "text" or (format == "auto" and terminal):
        return TextLines(redactor, now, colour=terminal and _wants_colour() if colour is None else colour)
    return JsonLines(redactor, now)


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _wants_colour() -> bool:
    """What the user's terminal conventions say; rich knows them, and configuration has no part in it."""
    from rich.console import Console

    console = Console(stderr=True, force_terminal=True)
    return not (console.no_color or console.is_dumb_terminal)
