"""Identical requests at the same time: one call to the provider, and everybody's own right answer."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llm_edge_agent.gateway import flight, relay
from llm_edge_agent.http.tasks import running_tasks
from tests.canaries import ALICE_KEY, BOB_KEY
from tests.e2e.raw_client import Answer, request_bytes, streamed_text
from tests.e2e.running_gateway import (
    CLAUDE,
    MODEL,
    TENANTS,
    RunningGateway,
    ask,
    bearer,
    eventually,
    gateway_config,
    running,
)
from tests.e2e.scripted_upstream import (
    DONE,
    LAST_CHUNK,
    SSE_HEAD,
    Line,
    Script,
    ScriptedUpstream,
    chunked,
    completion,
    event,
    failure,
    hang,
    pieces,
    reply,
    scripted,
    usage_event,
)

TEXT = "one two three"
BEGUN = pieces(["one", " two"])
REST = [event({"content": " three"}), event({}, "stop"), usage_event(), DONE]


class Held:
    """A provider that begins an answer at once and goes on when it is told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, line: Line) -> None:
        if line.request.json.get("stream"):
            await line.send(SSE_HEAD + b"".join(map(chunked, BEGUN)))
            await self.go.wait()
            await line.send(b"".join(map(chunked, REST)) + LAST_CHUNK)
        else:
            await self.go.wait()
            await line.send(reply(completion(TEXT)))


class Stage:
    """A gateway before a held provider."""

    def __init__(self, gateway: RunningGateway, upstream: ScriptedUpstream, held: Held) -> None:
        self.gateway = gateway
        self.upstream = upstream
        self.held = held

    def asks(self, stream: bool, *, key: str | None = None, **members: Any) -> "asyncio.Task[Answer]":
        headers = bearer(key) if key else None
        return asyncio.create_task(self.gateway.chat(ask(stream=stream, **members), headers))

    async def in_flight(self, count: int) -> None:
        await eventually(lambda: self.gateway.server.in_flight == count)
        await asyncio.sleep(0.02)

    @property
    def joined(self) -> float:
        return self.gateway.metric("llm_edge_cache_lookups_total", result="join")


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    held = Held()
    async with scripted(held) as upstream, running(gateway_config(upstream.url)) as gateway:
        yield Stage(gateway, upstream, held)


def text_of(answer: Answer) -> str:
    """What an answer says, however it was framed, once it is known to be complete."""
    assert answer.status == 200
    assert answer.whole
    if answer.headers["content-type"].startswith("text/event-stream"):
        assert answer.events[-1] == "[DONE]"
        return streamed_text(answer.events)
    return answer.text


def metadata_of(answer: Answer) -> dict[str, Any]:
    last = answer.events[-2] if answer.headers["content-type"].startswith("text/event-stream") else answer.json
    found: dict[str, Any] = last["metadata"]
    return found


@pytest.mark.parametrize("leader_streams", [False, True])
@pytest.mark.parametrize("leader_leaves", [False, True])
async def test_a_thousand_at_once(stage: Stage, leader_streams: bool, leader_leaves: bool) -> None:
    gateway = stage.gateway
    async with gateway.connect() as leader:
        await leader.send(request_bytes(ask(stream=leader_streams)))
        await eventually(lambda: stage.upstream.calls == 1)
        if leader_streams:
            await leader.until(b" two")
        followers = [stage.asks(number % 2 == 0) for number in range(999)]
        await stage.in_flight(1000)
        if leader_leaves:
            leader.reset()
            await stage.in_flight(999)
        stage.held.go.set()
        answers = await asyncio.gather(*followers)
        if not leader_leaves and not leader_streams:
            assert (await leader.answer()).text == TEXT
    assert [text_of(answer) for answer in answers] == [TEXT] * 999
    assert {answer.headers["x-llm-edge-cache"] for answer in answers} == {"join"}
    assert len({answer.headers["x-request-id"] for answer in answers}) == 999
    assert stage.upstream.calls == 1
    assert stage.joined == 999
    cost = gateway.metric("llm_edge_cost_usd_total")
    assert cost > 0
    assert gateway.metric("llm_edge_cost_saved_usd_total") == pytest.approx(999 * cost)
    assert gateway.metric("llm_edge_tokens_used_total") == 15
    await eventually(lambda: gateway.metric("llm_edge_requests_total") == 1000)
    cancelled = gateway.metric("llm_edge_requests_total", status="cancelled")
    assert cancelled == (1 if leader_leaves else 0)
    again = await gateway.chat(ask(stream=True))
    assert again.headers["x-llm-edge-cache"] == "hit-l1"


async def test_a_follower_reads_along_from_the_first_chunk_on(stage: Stage) -> None:
    gateway = stage.gateway
    async with gateway.connect() as leader, gateway.connect() as follower:
        await leader.send(request_bytes(ask(stream=True)))
        await leader.until(b" two")
        await follower.send(request_bytes(ask(stream=True, stream_options={"include_usage": True})))
        status, headers = await follower.head()
        assert (status, headers["x-llm-edge-cache"]) == (200, "join")
        begun = b""
        while b" two" not in begun:  # long before the provider goes on
            begun += await follower.chunk() or b""
        stage.held.go.set()
        rest = await follower.until(b"[DONE]\n\n")
        # Only this client asked for the usage; `metadata` is in its last chunk, and in the leader's too.
        assert b'"prompt_tokens":10' in rest
        assert b'"cached":true,"cache_tier":null' in rest
        assert b'"cost_usd":0.0}' in rest
        led = await leader.until(b"[DONE]\n\n")
        assert b"prompt_tokens" not in led
        assert b'"cached":false' in led


async def test_a_claude_stream_is_translated_for_each_with_its_own_options() -> None:
    go = asyncio.Event()

    def named(name: str, **members: Any) -> bytes:
        return chunked(f"event: {name}\ndata: {json.dumps({'type': name, **members})}\n\n".encode())

    async def claude(line: Line) -> None:
        usage = {"input_tokens": 9, "output_tokens": 1}
        message: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": CLAUDE}
        message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        await line.send(SSE_HEAD + named("message_start", message=message))
        await line.send(named("content_block_start", index=0, content_block={"type": "text", "text": ""}))
        await line.send(named("content_block_delta", index=0, delta={"type": "text_delta", "text": TEXT}))
        await go.wait()
        await line.send(named("content_block_stop", index=0))
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        await line.send(named("message_delta", delta=delta, usage={"output_tokens": 7}))
        await line.send(named("message_stop") + LAST_CHUNK)

    async with scripted(claude) as upstream, running(gateway_config(upstream.url)) as gateway:
        stage = Stage(gateway, upstream, Held())
        leader = stage.asks(True, model=CLAUDE)
        await eventually(lambda: upstream.calls == 1)
        followers = [
            stage.asks(True, model=CLAUDE, stream_options={"include_usage": True}),
            stage.asks(False, model=CLAUDE),
        ]
        await stage.in_flight(3)
        go.set()
        led, streamed, whole = await asyncio.gather(leader, *followers)
        assert text_of(led) == text_of(streamed) == text_of(whole) == TEXT
        assert streamed.events[-2]["usage"]["completion_tokens"] == 7
        assert not any(each.get("usage") for each in led.events[:-1])
        assert upstream.calls == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_never_across_tenants_and_never_with_other_words(stream: bool) -> None:
    held = Held()
    async with (
        scripted(held) as upstream,
        running(gateway_config(upstream.url, auth_enabled=True, keys=TENANTS)) as gateway,
    ):
        stage = Stage(gateway, upstream, held)
        asked = [stage.asks(stream, key=ALICE_KEY), stage.asks(stream, key=BOB_KEY)]
        asked.append(stage.asks(stream, key=ALICE_KEY, temperature=0.5))
        await eventually(lambda: upstream.calls == 3)
        held.go.set()
        assert {answer.headers["x-llm-edge-cache"] for answer in await asyncio.gather(*asked)} == {"miss"}


@pytest.mark.parametrize("directive", ["no-cache", "no-store"])
async def test_who_wants_a_fresh_answer_does_not_join(stage: Stage, directive: str) -> None:
    leader = stage.asks(False)
    await eventually(lambda: stage.upstream.calls == 1)
    fresh = asyncio.create_task(stage.gateway.chat(ask(stream=False), {"cache-control": directive}))
    await eventually(lambda: stage.upstream.calls == 2)
    stage.held.go.set()
    await asyncio.gather(leader, fresh)
    assert fresh.result().headers["x-llm-edge-cache"] == "bypass"


async def begins_and_hangs(line: Line) -> None:
    await line.send(SSE_HEAD + b"".join(map(chunked, BEGUN)))
    await hang(line)


@pytest.mark.parametrize(("script", "stream"), [(hang, False), (hang, True), (begins_and_hangs, True)])
async def test_the_last_one_leaving_ends_the_call(script: Script, stream: bool) -> None:
    async with scripted(script) as upstream, running(gateway_config(upstream.url)) as gateway:
        async with gateway.connect() as one, gateway.connect() as two:
            for wire in (one, two):
                await wire.send(request_bytes(ask(stream=stream)))
                await eventually(lambda: upstream.calls == 1)
                if script is begins_and_hangs:
                    await wire.until(b" two")
            await eventually(lambda: gateway.server.in_flight == 2)
            one.reset()
            await eventually(lambda: gateway.server.in_flight == 1)
            await asyncio.sleep(0.05)
            assert upstream.exchanges_open == 1
            two.reset()
            await eventually(lambda: upstream.exchanges_open == 0)
        assert upstream.calls == 1
        await eventually(lambda: gateway.metric("llm_edge_requests_total", status="cancelled") == 2)
        await eventually(lambda: running_tasks() == 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_first_byte_is_told_to_all_and_counted_once(stream: bool) -> None:
    go = asyncio.Event()

    async def fails(line: Line) -> None:
        await go.wait()
        await line.send(failure(503, "try later"))

    async with scripted(fails) as upstream, running(gateway_config(upstream.url)) as gateway:
        stage = Stage(gateway, upstream, Held())
        asked = [stage.asks(stream) for _ in range(20)]
        await stage.in_flight(20)
        calls = upstream.calls
        go.set()
        answers = await asyncio.gather(*asked)
        assert [answer.status for answer in answers] == [503] * 20
        assert {answer.error["code"] for answer in answers} == {"overloaded"}
        assert len({answer.headers["x-request-id"] for answer in answers}) == 20
        assert calls == 1
        assert gateway.metric("llm_edge_provider_errors_total") == upstream.calls
        assert gateway.metric("llm_edge_request_errors_total") == 20


async def test_a_stream_that_breaks_breaks_for_all() -> None:
    go = asyncio.Event()

    async def breaks(line: Line) -> None:
        await line.send(SSE_HEAD + b"".join(map(chunked, BEGUN)))
        await go.wait()
        line.finish()

    async with scripted(breaks) as upstream, running(gateway_config(upstream.url)) as gateway:
        stage = Stage(gateway, upstream, Held())
        leader = stage.asks(True)
        await eventually(lambda: upstream.calls == 1)
        followers = [stage.asks(True), stage.asks(True), stage.asks(False)]
        await stage.in_flight(4)
        go.set()
        led, one, two, whole = await asyncio.gather(leader, *followers)
        for answer in (led, one, two):
            assert streamed_text(answer.events[:-1]) == "one two"
            assert answer.events[-1]["error"]["code"] == "upstream_stream_interrupted"
        assert (whole.status, whole.error["code"]) == (502, "upstream_stream_interrupted")
        assert upstream.calls == 1


async def test_a_stream_that_breaks_before_any_content_breaks_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "HOLD_S", 0.1)
    go = asyncio.Event()

    async def announces(line: Line) -> None:
        await line.send(SSE_HEAD + chunked(event({"role": "assistant", "content": ""})))
        await go.wait()
        line.reset()

    async with scripted(announces) as upstream, running(gateway_config(upstream.url)) as gateway:
        stage = Stage(gateway, upstream, Held())
        async with gateway.connect() as leader:
            await leader.send(request_bytes(ask(stream=True)))
            await leader.until(b"assistant")
            followers = [stage.asks(True), stage.asks(True)]
            await stage.in_flight(3)
            go.set()
            async with asyncio.timeout(10):
                for answer in await asyncio.gather(*followers):
                    assert answer.events[-1]["error"]["code"] == "upstream_stream_interrupted"
        assert upstream.calls == 1
        await eventually(lambda: running_tasks() == 0)


@pytest.mark.parametrize("kilobytes", [100, 200, 300, 400])
async def test_a_stream_over_before_who_waited_for_its_beginning_has_stirred_is_told_whole(kilobytes: int) -> None:
    """It is there in two reads, of which the second comes on the turn of the loop after the first."""
    go = asyncio.Event()
    long = "x" * 1024 * kilobytes

    async def at_once(line: Line) -> None:
        await line.send(SSE_HEAD)
        await go.wait()
        await line.send(b"".join(map(chunked, [*BEGUN, event({"content": long}), *REST])) + LAST_CHUNK)

    async with scripted(at_once) as upstream, running(gateway_config(upstream.url)) as gateway:
        stage = Stage(gateway, upstream, Held())
        leader = stage.asks(True)
        await eventually(lambda: upstream.calls == 1)
        followers = [stage.asks(True) for _ in range(3)]
        await stage.in_flight(4)
        go.set()
        async with asyncio.timeout(10):
            answers = await asyncio.gather(leader, *followers)
        assert [text_of(answer) for answer in answers] == [f"one two{long} three"] * 4
        assert upstream.calls == 1


async def test_an_answer_cut_behind_its_finish_reason_ends_the_flight() -> None:
    go = asyncio.Event()

    async def cut(line: Line) -> None:
        if not line.request.json.get("stream"):
            await line.send(reply(completion(TEXT)))
            return
        await line.send(SSE_HEAD + b"".join(map(chunked, [*BEGUN, event({"content": " three"}), event({}, "stop")])))
        await go.wait()
        line.reset()

    async with scripted(cut) as upstream, running(gateway_config(upstream.url)) as gateway:
        stage = Stage(gateway, upstream, Held())
        leader = stage.asks(True)
        await eventually(lambda: upstream.calls == 1)
        followers = [stage.asks(True), stage.asks(False), stage.asks(False)]
        await stage.in_flight(4)
        go.set()
        async with asyncio.timeout(10):
            assert [text_of(answer) for answer in await asyncio.gather(leader, *followers)] == [TEXT] * 4
            assert upstream.calls == 2  # it is not stored: those who wait for it whole ask again, and once
            assert text_of(await gateway.chat(ask(stream=False))) == TEXT
        await eventually(lambda: running_tasks() == 0)


async def test_a_slow_follower_holds_nobody_and_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight, "MAX_LAG_BYTES", 256 * 1024)
    go = asyncio.Event()
    more = [event({"content": "x" * 20_000}) for _ in range(400)]

    async def long(line: Line) -> None:
        await line.send(SSE_HEAD + b"".join(map(chunked, BEGUN)))
        await go.wait()
        for each in (*more, *REST):
            await line.send(chunked(each))
        await line.send(LAST_CHUNK)

    async with scripted(long) as upstream, running(gateway_config(upstream.url)) as gateway:
        stage = Stage(gateway, upstream, Held())
        async with gateway.connect() as slow:
            leader = stage.asks(True)
            await eventually(lambda: upstream.calls == 1)
            await slow.send(request_bytes(ask(stream=True)))
            await slow.until(b" two")
            slow.pause_reading()
            go.set()
            assert len(text_of(await leader)) > 8_000_000
            await eventually(lambda: gateway.metric("llm_edge_request_errors_total", error_type="timeout") == 1)


async def test_once_the_leader_has_left_the_slowest_of_those_left_is_waited_for() -> None:
    go = asyncio.Event()
    characters = 36_000_000

    async def long(line: Line) -> None:
        await line.send(SSE_HEAD + b"".join(map(chunked, BEGUN)))
        await go.wait()
        piece = chunked(event({"content": "x" * 60_000}))
        for _ in range(characters // 60_000):
            await line.send(piece)
        await line.send(b"".join(map(chunked, REST)) + LAST_CHUNK)

    async with (
        scripted(long) as upstream,
        running(gateway_config(upstream.url)) as gateway,
        gateway.connect(limit=2**20) as slow,
    ):
        async with gateway.connect() as leader:
            await leader.send(request_bytes(ask(stream=True)))
            await leader.until(b" two")
            await slow.send(request_bytes(ask(stream=True), {"connection": "close"}))
            await slow.until(b" two")
        await eventually(lambda: gateway.server.in_flight == 1)
        slow.pause_reading()
        go.set()
        sent = -1
        while sent != upstream.sent_bytes:
            sent = upstream.sent_bytes
            await asyncio.sleep(0.2)
        assert sent < characters - 4_000_000  # the rest is held back at its source
        slow.resume_reading()
        told, end = 0, b""
        while data := await slow.some():
            told += data.count(b"x")
            end = (end + data)[-400:]
        assert told >= characters
        assert b"[DONE]" in end


async def test_a_stream_too_long_to_be_told_again_takes_no_more_followers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flight, "MAX_RECORD_BYTES", 300)
    held = Held()
    async with scripted(held) as upstream, running(gateway_config(upstream.url)) as gateway:
        stage = Stage(gateway, upstream, held)
        leader = stage.asks(True)
        await eventually(lambda: upstream.calls == 1)
        await asyncio.sleep(0.05)
        late = stage.asks(True)
        await eventually(lambda: upstream.calls == 2)
        held.go.set()
        assert text_of(await leader) == text_of(await late) == TEXT


@pytest.mark.parametrize("stream", [False, True])
async def test_who_joins_is_told_which_model_it_was_in_the_end(stage: Stage, stream: bool) -> None:
    async def fails_first(line: Line) -> None:
        await (line.send(failure(500)) if line.request.json["model"] == MODEL else stage.held(line))

    config = gateway_config(stage.upstream.url, fallbacks={MODEL: ("gpt-4.1-mini",)})
    stage.upstream.script = fails_first
    async with running(config) as gateway:
        stage.gateway = gateway
        asked = [stage.asks(stream) for _ in range(2)]
        await stage.in_flight(2)
        stage.held.go.set()
        models = [answer.headers["x-llm-edge-model"] for answer in await asyncio.gather(*asked)]
        assert models[0] == models[1]
        assert models[0].startswith("gpt-4.1-mini")


async def test_an_answer_that_is_not_stored_is_shared_nevertheless(stage: Stage) -> None:
    body = json.loads(completion(TEXT))
    body["choices"][0]["finish_reason"] = "length"

    async def cut_short(line: Line) -> None:
        await stage.held.go.wait()
        await line.send(reply(json.dumps(body).encode()))

    stage.upstream.script = cut_short
    asked = [stage.asks(False), stage.asks(True), stage.asks(False)]
    await stage.in_flight(3)
    stage.held.go.set()
    assert {text_of(answer) for answer in await asyncio.gather(*asked)} == {TEXT}
    assert stage.upstream.calls == 1
    assert (await stage.gateway.chat(ask(stream=False))).headers["x-llm-edge-cache"] == "miss"


async def test_a_leader_that_leaves_before_its_call_began_takes_nothing_with_it(stage: Stage) -> None:
    async with stage.gateway.connect() as leader:
        await leader.send(request_bytes(ask(stream=False)))
        leader.reset()
    stage.held.go.set()
    assert text_of(await stage.gateway.chat(ask(stream=False))) == TEXT
    await eventually(lambda: running_tasks() == 0)


async def test_at_the_drains_end_all_are_told(stage: Stage) -> None:
    asked = [stage.asks(stream) for stream in (True, True, False)]
    await stage.in_flight(3)
    await stage.gateway.server.stop(0.05)
    for answer in await asyncio.gather(*asked):
        if answer.status == 200:
            assert answer.events[-1]["error"]["code"] == "shutting_down"
        else:
            assert (answer.status, answer.error["code"]) == (503, "shutting_down")
    await eventually(lambda: running_tasks() == 0)


@pytest.mark.parametrize("ends", ["answered", "left"])
async def test_nothing_of_a_flight_outlives_it(stage: Stage, ends: str) -> None:
    gc.collect()
    gc.disable()
    try:
        async with stage.gateway.connect() as one, stage.gateway.connect() as two:
            for wire in (one, two):
                await wire.send(request_bytes(ask(stream=True)))
                await wire.until(b" two")
            if ends == "answered":
                stage.held.go.set()
                for wire in (one, two):
                    await wire.until(b"[DONE]")
        kinds = (flight.Flight, flight.Tee, flight.Share)
        await eventually(lambda: not any(isinstance(each, kinds) for each in gc.get_objects()))
    finally:
        gc.enable()
