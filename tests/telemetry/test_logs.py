import asyncio
import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.telemetry.logs import SEVERITIES, LogSink, configure
from tests.telemetry.exchanges import Finished, Tried, as_protocol, failed, hit


class Captured:
    """A sink on a pipe. `lines` closes the sink and returns what it wrote."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        self.sink: LogSink | None = None

    def configure(self, level: str = "info", **settings: Any) -> LogSink:
        self.sink = configure(level, settings.pop("format", "json"), fd=self._writer, **settings)
        return self.sink

    def lines(self) -> list[bytes]:
        self.close_writer()
        with os.fdopen(self.reader, "rb") as file:
            self.reader = -1
            return file.read().splitlines()

    def records(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in self.lines()]

    def close_writer(self) -> None:
        if self.sink is not None:
            self.sink.close()
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def close(self) -> None:
        self.close_writer()
        if self.reader >= 0:
            os.close(self.reader)


@pytest.fixture
def captured() -> Iterator[Captured]:
    captured = Captured()
    yield captured
    captured.close()


def test_severities_tell_mistakes_from_failures_from_faults() -> None:
    assert set(SEVERITIES) == set(ErrorKind)
    assert {SEVERITIES[kind] for kind in ErrorKind if kind.value.fault == "client"} == {"info"}
    assert SEVERITIES[ErrorKind.UPSTREAM_REJECTED] == "info"
    assert SEVERITIES[ErrorKind.UPSTREAM_TIMEOUT] == SEVERITIES[ErrorKind.STREAM_INTERRUPTED] == "error"
    assert SEVERITIES[ErrorKind.UPSTREAM_RATE_LIMIT] == SEVERITIES[ErrorKind.CIRCUIT_OPEN] == "warning"
    assert SEVERITIES[ErrorKind.SHUTTING_DOWN] == "warning"
    assert SEVERITIES[ErrorKind.INTERNAL] == SEVERITIES[ErrorKind.UPSTREAM_AUTH] == "error"


ALL = [
    hit(request_id="ok"),
    failed(ErrorKind.INVALID_JSON, request_id="client"),
    failed(ErrorKind.UPSTREAM_RATE_LIMIT, request_id="upstream"),
    failed(ErrorKind.INTERNAL, request_id="gateway"),
]


@pytest.mark.parametrize(
    ("level", "logged"),
    [
        ("debug", [("ok", "info"), ("client", "info"), ("upstream", "warning"), ("gateway", "error")]),
        ("info", [("ok", "info"), ("client", "info"), ("upstream", "warning"), ("gateway", "error")]),
        ("warning", [("upstream", "warning"), ("gateway", "error")]),
        ("error", [("gateway", "error")]),
    ],
)
def test_the_level_decides_which_requests_are_logged(
    captured: Captured, level: str, logged: list[tuple[str, str]]
) -> None:
    sink = captured.configure(level)
    for exchange in ALL:
        sink.access(as_protocol(exchange))
    assert [(line["request_id"], line["level"]) for line in captured.records()] == logged
    assert sink.dropped == 0


OVERLOADED = Tried("openai", "gpt-5", 0.0, 0.1, 503, ErrorKind.UPSTREAM_OVERLOADED)
BAD_KEY = Tried("openai", "gpt-5", 0.0, 0.1, 401, ErrorKind.UPSTREAM_AUTH)
REFUSED = Tried("openai", "gpt-5", 0.0, 0.1, 400, ErrorKind.UPSTREAM_REJECTED)
ANSWERED = Tried("anthropic", "claude-opus-5-5", 0.2, 0.9, 200)
BY_ATTEMPTS: list[tuple[Finished, list[tuple[str, str]]]] = [
    (Finished(attempts=(OVERLOADED, ANSWERED)), [("attempt", "info"), ("request", "info")]),
    (Finished(attempts=(BAD_KEY, ANSWERED)), [("attempt", "error"), ("request", "info")]),
    (
        failed(ErrorKind.UPSTREAM_OVERLOADED, attempts=(OVERLOADED, OVERLOADED)),
        [("attempt", "warning"), ("attempt", "warning"), ("request", "error")],
    ),
    (failed(ErrorKind.UPSTREAM_REJECTED, attempts=(REFUSED,)), [("request", "info")]),
    (failed(ErrorKind.CLIENT_GONE, attempts=(Tried(ended_s=None, status=None),)), [("request", "info")]),
    (Finished(attempts=(ANSWERED,)), [("request", "info")]),
]


@pytest.mark.parametrize("threshold", ["info", "warning", "error"])
@pytest.mark.parametrize(("exchange", "lines"), BY_ATTEMPTS)
def test_failed_attempts_have_lines_of_their_own(
    captured: Captured, exchange: Finished, lines: list[tuple[str, str]], threshold: str
) -> None:
    ranks = ["info", "warning", "error"]
    captured.configure(threshold).access(as_protocol(exchange))
    expected = [line for line in lines if ranks.index(line[1]) >= ranks.index(threshold)]
    assert [(line["event"], line["level"]) for line in captured.records()] == expected


def test_the_packages_records_go_through_the_sink(captured: Captured) -> None:
    captured.configure("warning", secrets=["my-very-own-secret"])
    log = logging.getLogger("llm_edge_agent.somewhere")
    log.info("not said")
    log.warning("said %s with my-very-own-secret", 1, extra={"event": "spoke"})
    logging.getLogger("asyncio").error("Task exception was never retrieved")
    found = captured.records()
    assert [(line["logger"], line["message"], line["event"]) for line in found] == [
        ("llm_edge_agent.somewhere", "said 1 with [redacted]", "spoke"),
        ("asyncio", "Task exception was never retrieved", "log"),
    ]


def test_a_record_that_cannot_be_formatted_is_reported_without_what_it_held(captured: Captured) -> None:
    captured.configure()
    logging.getLogger("llm_edge_agent.x").warning("%d items", "a prompt")
    (line,) = captured.lines()
    assert b"could not be formatted: TypeError" in line
    assert b"a prompt" not in line


def test_a_request_that_cannot_be_logged_raises_nothing(captured: Captured) -> None:
    sink = captured.configure()
    sink.access(as_protocol(Finished(duration_s=float("inf"))))
    (line,) = captured.records()
    assert (line["message"], line["exception.type"]) == ("a request could not be logged", "OverflowError")


def test_the_last_sink_has_the_loggers_and_close_gives_them_back(captured: Captured) -> None:
    package = logging.getLogger("llm_edge_agent")
    first = captured.configure()
    second_pipe = Captured()
    second = second_pipe.configure()
    logging.getLogger("llm_edge_agent.x").warning("once")
    assert len(second_pipe.records()) == 1
    assert captured.records() == []
    first.close()
    second.close()
    assert package.propagate
    assert package.handlers == []


def test_close_gives_the_level_back_too(captured: Captured) -> None:
    package = logging.getLogger("llm_edge_agent")
    before = package.level
    package.setLevel(logging.DEBUG)
    try:
        first = captured.configure("error")
        second = configure("warning", "json", fd=2)
        assert package.level == logging.WARNING
        second.close()
        assert package.level == logging.DEBUG
        first.close()
        assert package.level == logging.DEBUG
    finally:
        package.setLevel(before)


async def test_lines_appear_while_the_program_runs(captured: Captured) -> None:
    sink = captured.configure()
    sink.access(as_protocol(hit()))
    line = await asyncio.wait_for(asyncio.to_thread(os.read, captured.reader, 65536), 10)
    assert msgspec.json.decode(line)["cache"] == "hit"


def test_auto_is_json_in_a_pipe(captured: Captured) -> None:
    captured.configure(format="auto").access(as_protocol(hit()))
    assert captured.records()[0]["event"] == "request"


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_auto_is_text_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], coloured: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    terminal, program = pty.openpty()
    sink = configure("info", "auto", fd=program)
    sink.access(as_protocol(hit()))
    line = os.read(terminal, 65536)
    sink.close()
    os.close(program)
    os.close(terminal)
    assert b"gpt-5 (openai)" in line
    assert (b"\x1b[" in line) is coloured


def test_an_unknown_level_is_refused_at_start() -> None:
    with pytest.raises(ValueError, match="must be levels"):
        configure("loud")


GATEWAY_WITHOUT_STDERR = """
import logging, os, signal, sys
from llm_edge_agent.telemetry.logs import configure
from tests.telemetry.exchanges import hit

signal.signal(signal.SIGPIPE, signal.SIG_DFL)
if sys.argv[1] == "closed":
    os.close(2)
sink = configure("info", "json")
for _ in range(10):
    sink.access(hit())
logging.getLogger("llm_edge_agent.x").error("still here")
sink.close()
print("dropped", sink.dropped)
"""


@pytest.mark.parametrize("stderr", ["closed", "broken"])
def test_a_program_without_stderr_lives(stderr: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", GATEWAY_WITHOUT_STDERR, stderr]
    found = subprocess.run(command, stdout=subprocess.PIPE, stderr=writer, text=True, timeout=60, check=True)
    os.close(writer)
    assert found.stdout == "dropped 11\n"
