"""Streams that break, stall or come in pieces: the client sees what happened, and never a finish that was none."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from llm_edge_agent.config import ServerLimits
from tests.canaries import ANSWER_CANARY, ANTHROPIC_KEY, OPENAI_KEY, prompt
from tests.e2e.raw_client import Answer, request_bytes, streamed_text
from tests.e2e.running_gateway import CLAUDE, ask, eventually, rss_bytes
from tests.e2e.scripted_upstream import (
    DONE,
    SSE_HEAD,
    Line,
    Script,
    chunked,
    event,
    pieces,
    reply,
    says,
    streams,
    usage_event,
    whole_stream,
)
from tests.faults.conftest import Bench

BEGUN = pieces([ANSWER_CANARY, "two", "three", "four"])
FINISH = event({}, "stop")


def claude_event(name: str, **members: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **members})}\n\n".encode()


CLAUDE_BEGUN = [
    claude_event(
        "message_start",
        message={
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": CLAUDE,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 9, "output_tokens": 1},
        },
    ),
    claude_event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    claude_event("ping"),
    claude_event("content_block_delta", index=0, delta={"type": "text_delta", "text": ANSWER_CANARY}),
]
CLAUDE_END = [
    claude_event("content_block_stop", index=0),
    claude_event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 7}),
    claude_event("message_stop"),
]
CLAUDE_OVERLOADED = claude_event("error", error={"type": "overloaded_error", "message": "Overloaded"})
OPENAI_ERROR = b'data: {"error":{"message":"The server had an error","type":"server_error","code":"oops"}}\n\n'


def breaks_off(events: list[bytes], *, reset: bool) -> Script:
    async def script(line: Line) -> None:
        await line.send(SSE_HEAD)
        for each in events:
            await line.send(chunked(each))
        await asyncio.sleep(0.05)
        if reset:
            line.reset()
        else:
            line.finish()

    return script


def stalls(events: list[bytes]) -> Script:
    async def script(line: Line) -> None:
        await line.send(SSE_HEAD)
        for each in events:
            await line.send(chunked(each))
        await line.left()
        line.finish()

    return script


@dataclass(frozen=True)
class Break:
    name: str
    script: Script
    code: str | None
    error_type: str
    model: str = "gpt-4o-mini"


INTERRUPTED = ("upstream_stream_interrupted", "stream_interrupted")

BREAKS = [
    Break("resets", breaks_off(BEGUN, reset=True), *INTERRUPTED),
    Break("closes", breaks_off(BEGUN, reset=False), *INTERRUPTED),
    Break("ends tidily without a finish reason", streams(BEGUN), *INTERRUPTED),
    Break("says it is done without a finish reason", streams([*BEGUN, DONE]), *INTERRUPTED),
    Break("ends inside an event", streams([*BEGUN, FINISH[:40]]), *INTERRUPTED),
    Break("sends an error", streams([*BEGUN, OPENAI_ERROR]), "oops", "stream_interrupted"),
    Break("sends an error and says it is done", streams([*BEGUN, OPENAI_ERROR, DONE]), "oops", "stream_interrupted"),
    Break("sends a page", streams([*BEGUN, b"data: <html>\n\n"]), "upstream_invalid", "upstream_5xx"),
    Break(
        "sends invalid UTF-8",
        streams([*BEGUN, event({"content": "~"}).replace(b"~", b"\xff")]),
        "upstream_invalid",
        "upstream_5xx",
    ),
    Break(
        "sends a metadata member twice",
        streams([*BEGUN, b'data: {"choices":[],"usage":{},"metadata":1,"metadata":2}\n\n']),
        "upstream_invalid",
        "upstream_5xx",
    ),
    Break("stalls", stalls(BEGUN), "upstream_timeout", "timeout"),
    Break("breaks its framing", breaks_off([*BEGUN[:2]], reset=False), *INTERRUPTED),
    Break("claude resets", breaks_off(CLAUDE_BEGUN, reset=True), *INTERRUPTED, model=CLAUDE),
    Break("claude ends without message_stop", streams(CLAUDE_BEGUN), *INTERRUPTED, model=CLAUDE),
    Break(
        "claude is overloaded", streams([*CLAUDE_BEGUN, CLAUDE_OVERLOADED]), "overloaded", "overloaded", model=CLAUDE
    ),
    Break("claude stalls", stalls(CLAUDE_BEGUN), "upstream_timeout", "timeout", model=CLAUDE),
]


def assert_cut_short(answer: Answer, code: str | None) -> None:
    """One error event at the end, in a body that is framed well, and nothing that looks like a finish."""
    assert (answer.status, answer.whole) == (200, True)
    *before, last = answer.events
    assert streamed_text(before).startswith(ANSWER_CANARY)
    assert set(last) == {"error"}
    assert {"message", "type", "param", "code"} <= set(last["error"])
    assert last["error"]["code"] == code
    assert b"[DONE]" not in answer.body
    assert not any(choice["finish_reason"] for each in before for choice in each.get("choices", ()))
    assert sum("error" in each for each in before) == 0


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in BREAKS])
async def test_a_stream_that(fault: Break, bench: Bench) -> None:
    upstream, gateway = await bench.pair(fault.script, stream_idle_timeout_s=0.4)
    assert_cut_short(await gateway.chat(ask(stream=True, model=fault.model)), fault.code)
    await eventually(lambda: upstream.exchanges_open == 0)
    assert gateway.metric("llm_edge_request_errors_total", error_type=fault.error_type) == 1
    assert gateway.metric("llm_edge_stream_interruptions_total", by="upstream") == 1
    line = (await gateway.logged('"event":"request"'))[0]
    assert line["error_type"] == fault.error_type
    assert line["tokens"]["completion"] >= 1
    assert_cut_short(await gateway.chat(ask(stream=True, model=fault.model)), fault.code)
    assert upstream.calls == 2


async def test_a_claude_stream_whose_stop_reason_came_is_whole(bench: Bench) -> None:
    for end in (CLAUDE_END, CLAUDE_END[:2]):
        _, gateway = await bench.pair(streams([*CLAUDE_BEGUN, *end]))
        answer = await gateway.chat(ask(stream=True, model=CLAUDE))
        assert streamed_text(answer.events) == ANSWER_CANARY
        assert answer.events[-1] == "[DONE]"


@pytest.mark.parametrize("model", ["gpt-4o-mini", CLAUDE])
@pytest.mark.parametrize("begun", [False, True])
async def test_an_error_event_that_quotes_our_keys(model: str, begun: bool, bench: Bench) -> None:
    """The bench searches log and answers for them."""
    quoting = {"message": f"{OPENAI_KEY} {ANTHROPIC_KEY}", "type": OPENAI_KEY, "code": ANTHROPIC_KEY}
    if model == CLAUDE:
        events = [*CLAUDE_BEGUN] * begun + [claude_event("error", error=quoting)]
    else:
        events = [*BEGUN] * begun + [f"data: {json.dumps({'error': quoting})}\n\n".encode()]
    _, gateway = await bench.pair(streams(events))
    answer = await gateway.chat(ask(stream=True, model=model))
    assert answer.status == (200 if begun else 502)


async def test_an_error_before_the_first_token_has_its_own_status(bench: Bench) -> None:
    for model, events in (("gpt-4o-mini", [OPENAI_ERROR]), (CLAUDE, [CLAUDE_OVERLOADED])):
        _, gateway = await bench.pair(streams(events))
        answer = await gateway.chat(ask(stream=True, model=model))
        assert answer.status in (502, 503)
        assert answer.headers["content-type"] == "application/json"


async def test_what_follows_the_end_is_not_relayed(bench: Bench) -> None:
    """Whatever an upstream sends behind its terminal event, the answer was whole before it."""
    for tail in (b"data: {}\n\n", OPENAI_ERROR, b"garbage"):
        _, gateway = await bench.pair(streams([*whole_stream(), tail]))
        answer = await gateway.chat(ask(stream=True))
        assert answer.events[-1] == "[DONE]"
        assert answer.body.count(b"[DONE]") == 1
        assert b"garbage" not in answer.body


async def test_a_reset_after_the_terminal_event_is_no_fault(bench: Bench) -> None:
    upstream, gateway = await bench.pair(breaks_off(whole_stream(), reset=True))
    answer = await gateway.chat(ask(stream=True))
    assert (answer.whole, answer.events[-1]) == (True, "[DONE]")
    assert gateway.metric("llm_edge_stream_interruptions_total") == 0
    assert (await gateway.get("/health")).json["providers"]["openai"]["healthy"]
    assert upstream.calls == 1


TEXT = 'Grüße, 世界 \U0001f600 e\u0301\u2028 and "quotes" \\ slashes'


def _cut_events() -> bytes:
    middle = [event({"content": part}).replace(b"data: ", b"data:") for part in (TEXT[:7], TEXT[7:])]
    parts = [b": a comment\n\n", event({"role": "assistant", "content": ""}), *middle, b": ping\r\n\r\n"]
    parts += [FINISH, usage_event(), DONE]
    return b"".join(parts)


@pytest.mark.parametrize("ending", ["lf", "crlf", "cr"])
@pytest.mark.parametrize("size", [1, 3, 7])
async def test_text_survives_every_cut(ending: str, size: int, bench: Bench) -> None:
    marks = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}
    data = _cut_events().replace(b"\r\n", b"\n").replace(b"\n", marks[ending])

    async def script(line: Line) -> None:
        await line.send(SSE_HEAD)
        for start in range(0, len(data), size):
            await line.send(chunked(data[start : start + size]))
            if start % 15 == 0:
                await asyncio.sleep(0)
        await line.send(b"0\r\n\r\n")

    _, gateway = await bench.pair(script)
    for _ in range(2):
        answer = await gateway.chat(ask(stream=True))
        assert streamed_text(answer.events) == TEXT
        assert answer.events[-1] == "[DONE]"
    assert answer.headers["x-llm-edge-cache"] == "hit-l1"


async def test_an_event_of_2_mb_is_relayed_or_refused(bench: Bench) -> None:
    text = "x" * 2 * 2**20
    _, gateway = await bench.pair(streams(whole_stream([text])))
    answer = await gateway.chat(ask(stream=True))
    relayed = streamed_text(answer.events[:-1])
    assert relayed == text or answer.events[-1]["error"]["code"] == "upstream_too_large"


async def test_an_event_without_end_is_refused(bench: Bench) -> None:
    async def script(line: Line) -> None:
        await line.send(SSE_HEAD)
        await line.send(chunked(BEGUN[0]))
        await line.send(chunked(b"data: "))
        while True:
            await line.send(chunked(b"x" * 65536))

    upstream, gateway = await bench.pair(script)
    answer = await gateway.chat(ask(stream=True))
    assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_too_large")
    await eventually(lambda: upstream.exchanges_open == 0)
    assert upstream.sent_bytes < 32 * 2**20


async def test_the_first_token_is_out_as_soon_as_it_is_in(bench: Bench) -> None:
    """Nothing is buffered: each event arrives while the provider still rests before the next."""
    proceed = asyncio.Event()

    async def script(line: Line) -> None:
        await line.send(SSE_HEAD)
        for each in BEGUN:
            await line.send(chunked(each))
            await proceed.wait()
            proceed.clear()
        for each in (FINISH, usage_event(), DONE):
            await line.send(chunked(each))
        await line.send(b"0\r\n\r\n")

    _, gateway = await bench.pair(script)
    async with gateway.connect() as wire:
        await wire.send(request_bytes(ask(stream=True)))
        status, headers = await wire.head()
        assert (status, headers["x-accel-buffering"]) == (200, "no")
        seen: list[bytes] = []
        for _ in BEGUN:
            async with asyncio.timeout(10):
                piece = await wire.chunk()
            assert piece is not None
            seen.append(piece)
            proceed.set()
        assert b"".join(seen) == b"".join(BEGUN)
        while (piece := await wire.chunk()) is not None:
            seen.append(piece)
    assert seen[-1].endswith(b"data: [DONE]\n\n")


async def test_a_whole_answer_in_one_write(bench: Bench) -> None:
    _, gateway = await bench.pair(says(reply(b"".join(whole_stream()), content_type="text/event-stream")))
    answer = await gateway.chat(ask(stream=True))
    assert answer.events[-1] == "[DONE]"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_half_closed_client_is_taken_for_gone_or_answered(stream: bool, bench: Bench) -> None:
    """End of input counts as leaving: a prompt close, or the whole answer where it was ready; never a leak."""
    upstream, gateway = await bench.pair(streams(whole_stream(), pause_s=0.05))
    async with gateway.connect() as wire:
        await wire.send(request_bytes(ask(stream=True)))
        wire.half_close()
        async with asyncio.timeout(5):
            await wire.to_end()
    await eventually(lambda: upstream.exchanges_open == 0)
    assert gateway.state.pool.in_use == 0


@pytest.mark.parametrize("leave", ["fin", "reset"])
@pytest.mark.parametrize("when", ["mid-stream", "before the first token", "waiting for a whole answer"])
async def test_a_client_that_leaves_stops_generation(leave: str, when: str, bench: Bench) -> None:
    script = stalls(BEGUN if when == "mid-stream" else [])
    upstream, gateway = await bench.pair(script)
    stream = when != "waiting for a whole answer"
    async with gateway.connect() as wire:
        await wire.send(request_bytes(ask(stream=stream)))
        if when == "mid-stream":
            await wire.until(b"four")
        else:
            await eventually(lambda: upstream.exchanges_open == 1)
            await asyncio.sleep(0.05)
        if leave == "fin":
            wire.close()
        else:
            wire.reset()
        # Promised within a second; the rest is a busy machine's. The provider itself would never end.
        await eventually(lambda: upstream.exchanges_open == 0, 5.0)
    assert gateway.state.pool.in_use == 0
    line = (await gateway.logged('"event":"request"'))[0]
    assert (line["status"], line["level"], line["error_type"]) == (499, "info", "cancelled")
    assert gateway.metric("llm_edge_requests_total", status="cancelled") == 1
    assert line["tokens"]["estimated"] == "all"
    assert gateway.metric("llm_edge_tokens_estimated_total", kind="uncached") == line["tokens"]["prompt"] > 0
    assert gateway.metric("llm_edge_cost_estimated_usd_total") == line["cost_usd"] > 0
    if when == "mid-stream":
        assert gateway.metric("llm_edge_stream_interruptions_total", by="client") == 1
        assert line["tokens"]["completion"] >= 1
        assert gateway.metric("llm_edge_tokens_completion_total") >= 1
    assert (await gateway.get("/health")).json["status"] == "healthy"
    upstream.script = streams(whole_stream())
    again = await gateway.chat(ask(stream=True))
    assert again.headers["x-llm-edge-cache"] == "miss"


async def test_a_slow_reader_holds_the_upstream_not_memory(bench: Bench) -> None:
    """200 MB offered, nothing read: little is taken, and the client is cut at the write timeout."""
    block = event({"content": "x" * 60_000})

    async def script(line: Line) -> None:
        await line.send(SSE_HEAD)
        for _ in range(200 * 2**20 // len(block)):
            await line.send(chunked(block))

    upstream, gateway = await bench.pair(script, server=ServerLimits(write_timeout_s=1.0), stream_idle_timeout_s=0.5)
    before = rss_bytes()
    async with gateway.connect(limit=1024) as wire:
        await wire.send(request_bytes(ask(stream=True)))
        await wire.head()
        wire.pause_reading()
        await eventually(lambda: upstream.sent_bytes > 0)
        await eventually(lambda: upstream.exchanges_open == 0, 5.0)
    assert upstream.sent_bytes < 32 * 2**20
    assert rss_bytes() - before < 32 * 2**20
    line = (await gateway.logged('"event":"request"'))[0]
    assert line["error_type"] == "cancelled"


async def test_a_reader_that_catches_up_gets_everything(bench: Bench) -> None:
    """Paused beyond the provider's idle timeout: waiting for the client is no silence of the provider."""
    texts = [f"<{number}>" + "x" * 30_000 for number in range(300)]
    _, gateway = await bench.pair(streams(whole_stream(texts)), stream_idle_timeout_s=0.4)
    async with gateway.connect(limit=1024) as wire:
        await wire.send(request_bytes(ask(stream=True)))
        await asyncio.sleep(1.0)
        answer = await wire.answer()
    assert answer.whole
    assert streamed_text(answer.events) == "".join(texts)
    assert answer.events[-1] == "[DONE]"


def ways_of_the_world(line: Line) -> list[bytes]:
    """An answer that repeats the question's nonce in every piece."""
    nonce = line.request.json["messages"][0]["content"]
    return [*pieces([f"{nonce} "] * 20), FINISH, usage_event(), DONE]


async def _echoing(line: Line) -> None:
    await line.send(SSE_HEAD)
    for each in ways_of_the_world(line):
        await line.send(chunked(each))
        await asyncio.sleep(0.002)
    await line.send(b"0\r\n\r\n")


@pytest.mark.parametrize("count", [40, 500])
async def test_concurrent_streams_keep_apart_and_arrive_whole(count: int, bench: Bench) -> None:
    _, gateway = await bench.pair(_echoing)

    async def one(number: int) -> None:
        nonce = f"nonce-{number:04d}"
        answer = await gateway.chat(ask(nonce, stream=True, stream_options={"include_usage": True}))
        assert answer.whole
        assert streamed_text(answer.events) == f"{prompt(nonce)} " * 20
        assert answer.events[-1] == "[DONE]"
        assert answer.events[-2]["metadata"]["cached"] is False

    await asyncio.gather(*(one(number) for number in range(count)))
    assert gateway.metric("llm_edge_requests_total", status="ok") == count


async def test_100_abandoned_streams_leave_nothing(bench: Bench) -> None:
    upstream, gateway = await bench.pair(stalls(BEGUN))

    async def abandon(number: int) -> None:
        async with gateway.connect() as wire:
            await wire.send(request_bytes(ask(f"question {number}", stream=True)))
            await wire.until(b"four")
            if number % 2:
                wire.reset()

    await asyncio.gather(*(abandon(number) for number in range(100)))
    await eventually(lambda: upstream.exchanges_open == 0)
    assert upstream.calls == 100
    assert gateway.state.pool.in_use == 0
    assert gateway.server.in_flight == 0
    await eventually(lambda: upstream.connections_open == 0)
