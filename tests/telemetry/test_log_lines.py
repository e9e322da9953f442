import logging
import sys
import time
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent import __version__
from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import Estimated, TokenUsage
from llm_edge_agent.core.tracing import Trace
from llm_edge_agent.telemetry.log_lines import MAX_MESSAGE_CHARACTERS, JsonLines, TextLines
from llm_edge_agent.telemetry.redaction import Redactor, visible
from llm_edge_agent.telemetry.traced import Traced
from tests.telemetry.exchanges import ATTEMPT, Finished, Tried, as_protocol, failed, hit

NOW = 1_795_488_725.042  # 2026-11-24T02:52:05.042Z
CANARY = "sk-ant-api03-CanaryCanaryCanary42"
OWN_SECRET = "a-secret-of-no-known-shape"

STREAMED = Finished(
    request_id="5f0e9b2c00000007",
    stream=True,
    provider="anthropic",
    model="claude-opus-5-5",
    requested_model="claude-opus",
    duration_s=2.3456789,
    ttft_s=0.2101,
    usage=TokenUsage(prompt_tokens=1200, completion_tokens=345, cache_read_tokens=1000, reasoning_tokens=40),
    cost_picodollars=12_345_678_901,
    key_id="0a1b2c3d",
    warnings=("dropped:seed",),
)


@pytest.fixture
def json_lines() -> JsonLines:
    return JsonLines(Redactor([OWN_SECRET]), lambda: NOW)


@pytest.fixture
def text_lines(monkeypatch: pytest.MonkeyPatch) -> TextLines:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return TextLines(Redactor([OWN_SECRET]), lambda: NOW)


def record(message: str, *arguments: object, error: BaseException | None = None, **extra: object) -> logging.LogRecord:
    attributes = {"name": "llm_edge_agent.http", "levelname": "WARNING", "msg": message, "args": arguments, **extra}
    if error is not None:
        attributes["exc_info"] = (type(error), error, error.__traceback__)
    return logging.makeLogRecord(attributes)


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception:
        caught = sys.exc_info()[1]
        assert isinstance(caught, Exception)
        return caught


def test_the_access_record(json_lines: JsonLines) -> None:
    line = json_lines.access(as_protocol(STREAMED), "info")
    assert msgspec.json.decode(line) == {
        "timestamp": "2026-11-24T02:52:05.042Z",
        "level": "info",
        "logger": "llm_edge_agent.access",
        "message": "request finished",
        "event": "request",
        "service": "llm-edge-agent",
        "version": __version__,
        "request_id": "5f0e9b2c00000007",
        "method": "POST",
        "route": "/v1/chat/completions",
        "status": 200,
        "duration_ms": 2345.678,
        "ttft_ms": 210.1,
        "provider": "anthropic",
        "model": "claude-opus-5-5",
        "requested_model": "claude-opus",
        "stream": True,
        "cache": "miss",
        "cache_tier": None,
        "tokens": {"prompt": 1200, "completion": 345, "cached": 1000, "reasoning": 40, "estimated": "none"},
        "cost_usd": 0.012345678901,
        "attempts": 1,
        "key_id": "0a1b2c3d",
        "error_type": None,
        "warnings": ["dropped:seed"],
    }


@pytest.mark.parametrize("estimated", Estimated)
def test_which_counts_are_estimates(json_lines: JsonLines, estimated: Estimated) -> None:
    usage = TokenUsage(prompt_tokens=5, completion_tokens=2, estimated=estimated)
    line = msgspec.json.decode(json_lines.access(as_protocol(Finished(usage=usage)), "info"))
    assert line["tokens"]["estimated"] == {0: "none", 1: "completion", 2: "all"}[estimated]


def test_a_request_in_a_trace_says_which(json_lines: JsonLines) -> None:
    trace = Traced(Trace("ab" * 16, "cd" * 8, None, False))
    for exchange in (Finished(traced=trace), Finished(traced=trace, usage=STREAMED.usage, request_id="o'dd \"id")):
        line = msgspec.json.decode(json_lines.access(as_protocol(exchange), "info"))
        assert (line["request_id"], line["trace_id"], line["span_id"]) == (exchange.request_id, "ab" * 16, "cd" * 8)
    line = msgspec.json.decode(json_lines.attempt(as_protocol(Finished(traced=trace)), 1, ATTEMPT, "info"))
    assert (line["trace_id"], line["span_id"]) == ("ab" * 16, "cd" * 8)


def test_a_failed_attempt(json_lines: JsonLines, text_lines: TextLines) -> None:
    tried = Tried("openai", f"gpt-5 {OWN_SECRET}\n", 1.0, 1.25, 503, ErrorKind.UPSTREAM_OVERLOADED)
    exchange = as_protocol(Finished(request_id="5f0e9b2c00000007"))
    assert msgspec.json.decode(json_lines.attempt(exchange, 2, tried, "warning")) == {
        "timestamp": "2026-11-24T02:52:05.042Z",
        "level": "warning",
        "logger": "llm_edge_agent.access",
        "message": "attempt failed",
        "event": "attempt",
        "service": "llm-edge-agent",
        "version": __version__,
        "request_id": "5f0e9b2c00000007",
        "attempt": 2,
        "provider": "openai",
        "upstream_model": "gpt-5 [redacted]\n",
        "status": 503,
        "error_type": "overloaded",
        "duration_ms": 250.0,
    }
    line = "02:52:05.042 attempt 2 failed gpt-5 [redacted]\\n (openai) | overloaded 503 | 250 ms | 5f0e9b2c00000007"
    assert text_lines.attempt(exchange, 2, tried, "warning").decode() == line
    unknown = Tried("openai", "gpt-5", 1.0, None, None, ErrorKind.UPSTREAM_CONNECTION)
    assert msgspec.json.decode(json_lines.attempt(exchange, 1, unknown, "info"))["duration_ms"] is None
    assert b"| connect |" in text_lines.attempt(exchange, 1, unknown, "info")


def test_what_is_unknown_is_null(json_lines: JsonLines) -> None:
    refused = failed(ErrorKind.UNAUTHENTICATED, provider=None, model=None, requested_model=None, cache="none")
    fields = msgspec.json.decode(json_lines.access(as_protocol(refused), "info"))
    unknown = ("ttft_ms", "provider", "model", "requested_model", "tokens", "cost_usd", "key_id")
    assert [fields[name] for name in unknown] == [None] * len(unknown)
    assert (fields["status"], fields["error_type"]) == (401, "auth")


@pytest.mark.parametrize("picodollars", [0, 1, 10**12, 123_456_789_012_345_678_901])
def test_cost_is_exact(json_lines: JsonLines, picodollars: int) -> None:
    line = json_lines.access(as_protocol(Finished(cost_picodollars=picodollars)), "info").decode()
    printed = line.partition('"cost_usd":')[2].partition(",")[0]
    assert Decimal(printed) * 10**12 == picodollars


def test_the_clock_goes_on() -> None:
    times = iter([NOW, NOW + 0.0005, NOW + 1, NOW + 1.957])
    lines = JsonLines(Redactor(), lambda: next(times))
    stamps = [msgspec.json.decode(lines.access(as_protocol(hit()), "info"))["timestamp"][17:] for _ in range(4)]
    assert stamps == ["05.042Z", "05.042Z", "06.042Z", "06.999Z"]


@pytest.mark.parametrize(
    ("exchange", "level", "line"),
    [
        (
            STREAMED,
            "info",
            "02:52:05.042 200 claude-opus (anthropic) | not cached | 2.35 s | first token 210 ms | 1200+345 tokens"
            " | $0.012345678901 | dropped:seed | 5f0e9b2c00000007",
        ),
        (
            hit(duration_s=0.00042, saved_picodollars=2_500_000_000),
            "info",
            "02:52:05.042 200 gpt-5 (openai) | cached l1 | 0.42 ms | $0.0 | saved $0.0025 | req-1",
        ),
        (
            failed(ErrorKind.UPSTREAM_RATE_LIMIT, cache="bypass", attempts=(ATTEMPT, ATTEMPT)),
            "warning",
            "02:52:05.042 429 gpt-5 (openai) | cache bypassed | 250 ms | 2 attempts | rate_limit_upstream | req-1",
        ),
        (
            Finished(method="GET", route="/v1/models", provider=None, requested_model=None, cache="none"),
            "info",
            "02:52:05.042 200 GET /v1/models | 250 ms | req-1",
        ),
        (
            failed(
                ErrorKind.CLIENT_GONE, usage=TokenUsage(prompt_tokens=5, completion_tokens=2, estimated=Estimated.ALL)
            ),
            "info",
            "02:52:05.042 499 gpt-5 (openai) | not cached | 250 ms | ~5+2 tokens | cancelled | req-1",
        ),
    ],
)
def test_the_line_for_a_terminal(text_lines: TextLines, exchange: Finished, level: str, line: str) -> None:
    assert text_lines.access(as_protocol(exchange), level).decode() == line


def test_colour_only_where_it_is_wanted(text_lines: TextLines) -> None:
    coloured = TextLines(Redactor(), lambda: NOW, colour=True).access(as_protocol(hit()), "info")
    assert b"\x1b[32m200\x1b[0m" in coloured
    assert b"\x1b[36mcached l1\x1b[0m" in coloured
    assert b"\x1b" not in text_lines.access(as_protocol(hit()), "info")


def test_a_record_with_its_extra_fields(json_lines: JsonLines, text_lines: TextLines) -> None:
    made = record("slow %s", "disk", event="disk_slow", waited_ms=12.5, path=["a", "b"])
    assert msgspec.json.decode(json_lines.record(made)) == {
        "timestamp": "2026-11-24T02:52:05.042Z",
        "level": "warning",
        "logger": "llm_edge_agent.http",
        "message": "slow disk",
        "event": "disk_slow",
        "service": "llm-edge-agent",
        "version": __version__,
        "waited_ms": 12.5,
        "path": "['a', 'b']",
    }
    assert text_lines.record(made).decode() == (
        "02:52:05.042 WARNING slow disk event=disk_slow waited_ms=12.5 path=['a', 'b']"
    )


def test_an_exception_with_its_stack(json_lines: JsonLines, text_lines: TextLines) -> None:
    made = record("failed", error=raised(ValueError("no\n2026 forged line")))
    fields = msgspec.json.decode(json_lines.record(made))
    assert fields["exception.type"] == "ValueError"
    assert fields["exception.message"] == "no\n2026 forged line"
    assert "in raised" in fields["exception.stacktrace"]
    first, *rest = text_lines.record(made).decode().split("\n")
    assert first == "02:52:05.042 WARNING failed"
    assert "    ValueError: no" in rest
    assert all(line.startswith("    ") for line in rest)


def test_a_long_message_is_cut_after_it_was_cleaned(json_lines: JsonLines) -> None:
    padding = "m" * (MAX_MESSAGE_CHARACTERS - 9)
    message = msgspec.json.decode(json_lines.record(record(f"{padding} {CANARY}")))["message"]
    assert len(message) == MAX_MESSAGE_CHARACTERS
    assert "sk-" not in message


@pytest.mark.parametrize("canary", [CANARY, OWN_SECRET])
def test_no_canary_gets_through(json_lines: JsonLines, text_lines: TextLines, canary: str) -> None:
    told = Finished(requested_model=f"gpt {canary}", warnings=(f"dropped:{canary}",), request_id="7" * 40 + canary)
    error = raised(RuntimeError(f"refused {canary}"))
    made = record("key %s", canary, error=error, header=f"authorization: Bearer {canary}", nested={"key": canary})
    for lines in (json_lines, text_lines):
        for line in (lines.access(as_protocol(told), "info"), lines.record(made)):
            assert canary.encode() not in line
            assert b"[redacted]" in line


texts = st.text(
    st.one_of(st.characters(), st.sampled_from("\n\r\x1b\x7f\x9b\u2028\u202e\ud800")), min_size=1, max_size=60
)


@given(texts)
def test_nothing_a_client_writes_can_forge_a_line_or_move_a_cursor(text: str) -> None:
    told = Finished(requested_model=text, warnings=(f"dropped:{text}",))
    made = record("%s", text, field=text)
    for lines in (JsonLines(Redactor(), lambda: NOW), TextLines(Redactor(), lambda: NOW)):
        for line in (lines.access(as_protocol(told), "info"), lines.record(made)):
            shown = line.decode()
            assert visible(shown) == shown
            if isinstance(lines, JsonLines):
                assert msgspec.json.decode(line)["service"] == "llm-edge-agent"


def test_the_notice_of_lost_lines(json_lines: JsonLines, text_lines: TextLines) -> None:
    fields = msgspec.json.decode(json_lines.lost(7))
    assert (fields["level"], fields["event"], fields["lines"]) == ("warning", "log_lines_lost", 7)
    assert text_lines.lost(7) == b"02:52:05.042 WARNING 7 log lines were lost"


def test_what_is_kept_of_clients_texts_is_bounded(json_lines: JsonLines) -> None:
    for i in range(3000):
        told = as_protocol(Finished(requested_model=f"model-{i}"))
        assert f'"requested_model":"model-{i}"'.encode() in json_lines.access(told, "info")
    assert len(json_lines._names._kept) <= 1024


def test_a_record_with_a_memo_reads_like_one_without(json_lines: JsonLines) -> None:
    memo: dict[str, Any] = {}
    for number in range(4):
        facts = {"request_id": f"id{number}", "duration_s": 0.001 * number}
        kept = msgspec.json.decode(json_lines.access(hit(**facts, memo=memo), "info"))
        assert kept == msgspec.json.decode(json_lines.access(hit(**facts), "info"))
        assert (kept["request_id"], kept["duration_ms"]) == (f"id{number}", float(number))
    assert memo
