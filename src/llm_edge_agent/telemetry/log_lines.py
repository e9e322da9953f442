"""One finished request, or one record of the program, as a line: JSON for machines, text for a terminal.

Both forms stand here together, so that a fact that one of them tells is not forgotten in the other.
"""

import logging
import time
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from llm_edge_agent.core.pricing import Estimated, usd
from llm_edge_agent.telemetry import CacheStatus, FinishedAttempt, FinishedExchange
from llm_edge_agent.telemetry.redaction import Redactor, visible, visible_json
from llm_edge_agent.telemetry.traced import Traced
from llm_edge_agent.version import __version__

SERVICE = "llm-edge-agent"
ACCESS_LOGGER = "llm_edge_agent.access"
MAX_MESSAGE_CHARACTERS = 4096
"""Of a record's message, of an exception's, and of each extra field."""
_MAX_KEPT_NAMES = 1024


class _Tokens(msgspec.Struct):
    prompt: msgspec.Raw
    completion: msgspec.Raw
    cached: msgspec.Raw
    reasoning: msgspec.Raw
    estimated: str


class _Access(msgspec.Struct):
    """The access record; the names are public API. What is unknown is null. Raw: differs from record to record."""

    timestamp: msgspec.Raw
    level: str
    logger: str
    message: str
    event: str
    service: str
    version: str
    request_id: msgspec.Raw
    method: str
    route: str
    status: int
    duration_ms: msgspec.Raw
    ttft_ms: msgspec.Raw | None
    provider: str | None
    model: str | None
    requested_model: str | None
    stream: bool
    cache: CacheStatus
    cache_tier: str | None
    tokens: _Tokens | None
    cost_usd: msgspec.Raw | None
    attempts: int
    key_id: str | None
    error_type: str | None
    warnings: tuple[str, ...]


OWN_ID_CHARACTERS = 32
_MAX_MODEL_CHARACTERS = 128
_ESTIMATED = tuple(each.label for each in Estimated)
_MILLISECONDS = tuple(f".{ms:03d}" for ms in range(1000))
_THOUSANDTHS = tuple(b".%03d" % number for number in range(1000))
_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class _Names:
    """Client-written texts without keys, each worked out once."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._kept: dict[str, str] = {}

    def clean(self, text: str) -> str:
        kept = self._kept.get(text)
        if kept is None:
            if len(self._kept) >= _MAX_KEPT_NAMES:
                self._kept.clear()
            kept = self._kept[text] = self._redactor.clean(text).encode("utf-8", "backslashreplace").decode()
        return kept

    def id(self, request_id: str) -> str:
        """A request id is the client's to choose, and new every time."""
        return self._redactor.clean(request_id) if "sk-" in request_id or len(request_id) > 36 else request_id


def _in_trace(shown_id: bytes, traced: Traced) -> bytes:
    """A request's id and the two fields behind it, where it belongs to a trace; within the quotes of the id's slot."""
    trace = traced.trace
    return b'%b","trace_id":"%b","span_id":"%b' % (shown_id, trace.trace_id.encode(), trace.span_id.encode())


_SLOT = msgspec.Raw(b"\0")
"""Stands in a template where the value differs from one record to the next; no encoded JSON holds a NUL."""
_SLOTS = (b'"%b%bZ"', b'"%b"', b"%d%b", b"%b", b"%d", b"%d", b"%d", b"%d", b"%b")
"""Of a timestamp, the second and its thousandths; of a duration, the milliseconds and theirs."""


class JsonLines:
    """Lines of JSON. `now` tells Unix seconds."""

    def __init__(self, redactor: Redactor, now: Callable[[], float] = time.time) -> None:
        self._redactor = redactor
        self._now = now
        self._names = _Names(redactor)
        self._encode = msgspec.json.Encoder().encode
        self._templates: dict[tuple[object, ...], bytes] = {}
        self._began = -1.0, b""
        """The second that it was lately, and its date and time. Together: another thread may write another."""

    def access(self, exchange: FinishedExchange, level: str) -> bytes:
        """The access record of one request. Most of it is the same as in many others, and encoded once."""
        memo = exchange.memo
        template: bytes | None = memo.get("log") if memo is not None else None
        if template is None:
            template = self._template(exchange, level)
            if memo is not None:
                memo["log"] = template
        # As in `_timestamp`, but for a call and two pieces that need not be put together first.
        now = self._now()
        second, date = self._began
        if not second <= now < second + 1.0:
            second, date = self._begin_second(now)
        request_id = exchange.request_id
        shown_id = request_id.encode() if request_id.isascii() else b""
        if not shown_id.isalnum() or len(shown_id) > OWN_ID_CHARACTERS:
            # There may be something to escape, or it is long enough for a key.
            shown_id = visible_json(self._encode(self._names.id(request_id)))[1:-1]
        if exchange.traced is not None:
            shown_id = _in_trace(shown_id, exchange.traced)
        within = _THOUSANDTHS[int((now - second) * 1000)]
        us = int(exchange.duration_s * 1e6)
        ms = us // 1000
        usage, ttft_s = exchange.usage, exchange.ttft_s
        if usage is None:
            if ttft_s is None:
                return template % (date, within, shown_id, ms, _THOUSANDTHS[us - ms * 1000])
            shown_ttft = self._encode(int(ttft_s * 1e6) / 1000)
            return template % (date, within, shown_id, ms, _THOUSANDTHS[us - ms * 1000], shown_ttft)
        cost = exchange.cost_picodollars
        return template % (
            date,
            within,
            shown_id,
            ms,
            _THOUSANDTHS[us - ms * 1000],
            b"null" if ttft_s is None else b"%.3f" % (int(ttft_s * 1e6) / 1000),
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cache_read_tokens,
            usage.reasoning_tokens,
            b"null" if cost is None else usd(cost).encode(),
        )

    def _template(self, exchange: FinishedExchange, level: str) -> bytes:
        """The record as a format of what differs: timestamp, id and duration; the time to the first token where there
        was one or tokens were used, then their counts and cost too."""
        usage = exchange.usage
        used = None if usage is None else _ESTIMATED[usage.estimated]
        waited = exchange.ttft_s is not None or usage is not None
        cost = exchange.cost_picodollars
        facts = (
            level,
            exchange.method,
            exchange.route,
            exchange.status,
            exchange.provider,
            exchange.model,
            exchange.requested_model,
            exchange.stream,
            exchange.cache,
            exchange.cache_tier,
            len(exchange.attempts),
            exchange.key_id,
            exchange.error,
            exchange.warnings,
            waited,
            used or cost,
        )
        template = self._templates.get(facts)
        if template is not None:
            return template
        model = exchange.requested_model
        error = exchange.error
        line = self._encode(
            _Access(
                _SLOT,
                level,
                ACCESS_LOGGER,
                "request finished",
                "request",
                SERVICE,
                __version__,
                _SLOT,
                exchange.method,
                exchange.route,
                exchange.status,
                _SLOT,
                _SLOT if waited else None,
                exchange.provider,
                exchange.model,
                None if model is None else self._names.clean(model),
                exchange.stream,
                exchange.cache,
                exchange.cache_tier,
                _Tokens(_SLOT, _SLOT, _SLOT, _SLOT, used) if used else None,
                _SLOT if used else None if cost is None else msgspec.Raw(usd(cost).encode()),
                len(exchange.attempts),
                exchange.key_id,
                None if error is None else error.value.label,
                tuple(map(self._names.clean, exchange.warnings)),
            )
        )
        before, *between = (visible_json(text) for text in line.replace(b"%", b"%%").split(b"\0"))
        pairs = zip(_SLOTS, between, strict=False)
        template = before + b"".join(slot + text for slot, text in pairs)
        if len(self._templates) >= _MAX_KEPT_NAMES:
            self._templates.clear()
        self._templates[facts] = template
        return template

    def attempt(self, exchange: FinishedExchange, number: int, attempt: FinishedAttempt, level: str) -> bytes:
        """An attempt at a provider that failed, the first being number 1."""
        took_s = attempt.ended_s - attempt.started_s if attempt.ended_s is not None else None
        fields: dict[str, Any] = {
            "timestamp": self._timestamp(),
            "level": level,
            "logger": ACCESS_LOGGER,
            "message": "attempt failed",
            "event": "attempt",
            "service": SERVICE,
            "version": __version__,
            "request_id": self._names.id(exchange.request_id),
        }
        if exchange.traced is not None:
            trace = exchange.traced.trace
            fields |= {"trace_id": trace.trace_id, "span_id": trace.span_id}
        fields |= {
            "attempt": number,
            "provider": attempt.provider,
            "upstream_model": self._names.clean(attempt.upstream_model[:_MAX_MODEL_CHARACTERS]),
            "status": attempt.status,
            "error_type": attempt.error.value.label if attempt.error is not None else None,
            "duration_ms": None if took_s is None else int(took_s * 1e6) / 1000,
        }
        return visible_json(self._encode(fields))

    def record(self, record: logging.LogRecord) -> bytes:
        """A record of the program, with its extra fields and its exception."""
        fields: dict[str, Any] = {
            "timestamp": self._timestamp(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record, self._redactor),
            "event": "log",
            "service": SERVICE,
            "version": __version__,
        }
        fields.update(_extra_fields(record, self._redactor))
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            fields["exception.type"] = type(error).__qualname__
            fields["exception.message"] = _limited(str(error), self._redactor)
            fields["exception.stacktrace"] = _encodable(self._redactor.clean(_stacktrace(error)))
        return visible_json(self._encode(fields))

    def lost(self, lines: int) -> bytes:
        """The notice that stands for lost lines."""
        notice = logging.makeLogRecord(
            {
                "name": ACCESS_LOGGER,
                "levelname": "WARNING",
                "msg": "log lines were lost",
                "event": "log_lines_lost",
                "lines": lines,
            }
        )
        return self.record(notice)

    def _timestamp(self) -> str:
        now = self._now()
        second, date = self._begin_second(now)
        return (b"%b%bZ" % (date, _THOUSANDTHS[int((now - second) * 1000)])).decode()

    def _begin_second(self, now: float) -> tuple[float, bytes]:
        second = now // 1
        began = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        self._began = began
        return began


_RESET, _DIM, _RED, _GREEN, _YELLOW, _CYAN = (f"\x1b[{code}m" for code in (0, 2, 31, 32, 33, 36))
_LEVEL_COLOURS = {"info": _GREEN, "warning": _YELLOW, "error": _RED}


_UNCACHED = {"miss": "not cached", "join": "joined", "stale": "expired answer", "bypass": "cache bypassed"}


class TextLines:
    """Lines for people, in local time."""

    def __init__(self, redactor: Redactor, now: Callable[[], float] = time.time, *, colour: bool = False) -> None:
        self._redactor = redactor
        self._now = now
        self._colour = colour
        self._names = _Names(redactor)

    def access(self, exchange: FinishedExchange, level: str) -> bytes:
        """Time, status, model, provider, cache, times, tokens, dollars, what went wrong, request id."""
        model = exchange.requested_model
        what = self._names.clean(model) if model is not None else f"{exchange.method} {exchange.route}"
        status_colour = _YELLOW if exchange.error is not None and level == "info" else _LEVEL_COLOURS[level]
        parts = [
            f"{self._paint(_DIM, self._clock())} {self._paint(status_colour, str(exchange.status))} "
            + (visible(what) if exchange.provider is None else f"{visible(what)} ({exchange.provider})")
        ]
        if exchange.cache == "hit":
            parts.append(self._paint(_CYAN, f"cached {exchange.cache_tier or ''}".rstrip()))
        elif exchange.cache != "none":
            parts.append(_UNCACHED[exchange.cache])
        parts.append(_duration(exchange.duration_s))
        if exchange.ttft_s is not None:
            parts.append(f"first token {_duration(exchange.ttft_s)}")
        usage = exchange.usage
        if usage is not None:
            about = "~" if usage.estimated else ""
            parts.append(f"{about}{usage.prompt_tokens}+{usage.completion_tokens} tokens")
        if exchange.cost_picodollars is not None:
            parts.append(f"${usd(exchange.cost_picodollars)}")
        if exchange.saved_picodollars:
            parts.append(f"saved ${usd(exchange.saved_picodollars)}")
        if len(exchange.attempts) > 1:
            parts.append(f"{len(exchange.attempts)} attempts")
        if exchange.error is not None:
            parts.append(self._paint(status_colour, exchange.error.value.label))
        parts.extend(visible(self._names.clean(warning)) for warning in exchange.warnings)
        parts.append(self._paint(_DIM, visible(self._names.id(exchange.request_id))))
        return " | ".join(parts).encode("utf-8", "backslashreplace")

    def attempt(self, exchange: FinishedExchange, number: int, attempt: FinishedAttempt, level: str) -> bytes:
        """An attempt at a provider that failed, the first being number 1."""
        parts = [
            f"{self._paint(_DIM, self._clock())} {self._paint(_LEVEL_COLOURS[level], f'attempt {number} failed')} "
            f"{visible(self._names.clean(attempt.upstream_model[:_MAX_MODEL_CHARACTERS]))} ({attempt.provider})"
        ]
        if attempt.error is not None:
            parts.append(
                attempt.error.value.label if attempt.status is None else f"{attempt.error.value.label} {attempt.status}"
            )
        if attempt.ended_s is not None:
            parts.append(_duration(attempt.ended_s - attempt.started_s))
        parts.append(self._paint(_DIM, visible(self._names.id(exchange.request_id))))
        return " | ".join(parts).encode("utf-8", "backslashreplace")

    def record(self, record: logging.LogRecord) -> bytes:
        """One line; a stack trace follows it, indented, so that nothing in it can pass for a line of the log."""
        level = record.levelname.lower()
        name = self._paint(_LEVEL_COLOURS.get(level, _DIM), f"{record.levelname:<7}")
        text = f"{self._paint(_DIM, self._clock())} {name} {visible(_message(record, self._redactor))}"
        extra = _extra_fields(record, self._redactor)
        for key, value in extra.items():
            text += f" {visible(key)}={visible(str(value))}"
        if record.exc_info and record.exc_info[1] is not None:
            trace = self._redactor.clean(_stacktrace(record.exc_info[1]))
            text += "".join(f"\n    {visible(line)}" for line in trace.rstrip("\n").split("\n"))
        return text.encode("utf-8", "backslashreplace")

    def lost(self, lines: int) -> bytes:
        return f"{self._clock()} WARNING {lines} log lines were lost".encode()

    def _clock(self) -> str:
        now = self._now()
        return time.strftime("%H:%M:%S", time.localtime(now)) + _MILLISECONDS[int((now - int(now)) * 1000)]

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colour else text


def _duration(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.2f} ms"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _limited(text: str, redactor: Redactor) -> str:
    """Cleaned before it is cut: half a key would not be known as one."""
    return _encodable(redactor.clean(text)[:MAX_MESSAGE_CHARACTERS])


def _message(record: logging.LogRecord, redactor: Redactor) -> str:
    return _limited(record.getMessage(), redactor)


def _extra_fields(record: logging.LogRecord, redactor: Redactor) -> dict[str, Any]:
    """What the caller passed as `extra`: scalars as they are, the rest as text."""
    fields: dict[str, Any] = {}
    for key, value in vars(record).items():
        if key not in _STANDARD_ATTRIBUTES:
            scalar = value is None or type(value) in (int, float, bool)
            fields[_encodable(key)] = value if scalar else _limited(str(value), redactor)
    return fields


def _stacktrace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
