"""What the simulator remembers, bills, and says beside the answer."""

import asyncio
import gc
import json
import math
from typing import Any

import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from llm_edge_agent.http.messages import Complete, Request
from llm_edge_agent.simulator import Simulator, SimulatorSettings
from tests.simulator.direct import (
    ANTHROPIC_KEY,
    CHAT,
    MESSAGES,
    Collected,
    ask,
    chat,
    message,
    request,
    simulator,
    started,
)


async def test_requests_are_recorded() -> None:
    sim = simulator(kept_requests=2)
    for word in ("one", "two", "three"):
        await ask(sim, CHAT, chat(word), {"authorization": "Bearer k", "x-own": word})
    assert sim.calls == 3
    assert [record.headers["x-own"] for record in sim.requests] == ["two", "three"]
    last = sim.requests[-1]
    assert (last.method, last.path, last.completed, last.aborted, last.status) == ("POST", CHAT, True, False, 200)
    assert b"three" in last.body
    assert last.ended_s is not None
    assert last.ended_s >= last.started_s


async def test_headers_that_a_gateway_must_drop_and_those_it_may_pass() -> None:
    sim = simulator()
    for stream in (False, True):
        openai = (await ask(sim, CHAT, chat(stream=stream))).headers
        assert {"set-cookie", "openai-organization", "openai-processing-ms", "x-ratelimit-remaining-tokens"} <= set(
            openai
        )
        claude = (await ask(sim, MESSAGES, message(stream=stream))).headers
        assert {"set-cookie", "anthropic-organization-id", "anthropic-ratelimit-requests-reset"} <= set(claude)
        assert claude["request-id"] != openai["x-request-id"]
    assert openai["content-type"] == "text/event-stream; charset=utf-8"


async def test_answers_depend_on_the_request_alone() -> None:
    first = (await ask(simulator(seed=1), CHAT, chat("tell me about llamas"))).json
    second = (await ask(simulator(seed=2), CHAT, chat("tell me about llamas"))).json
    other = (await ask(simulator(), CHAT, chat("tell me about alpacas"))).json
    assert first["choices"] == second["choices"] != other["choices"]
    assert first["id"] != second["id"]
    assert "llamas" in first["choices"][0]["message"]["content"]


@pytest.mark.parametrize("stream", [False, True])
async def test_whole_and_streamed_agree(stream: bool) -> None:
    sim = simulator()
    options = {"stream_options": {"include_usage": True}} if stream else {}
    await ask(sim, CHAT, chat("tell me", "gpt-5.6", stream=stream, n=3, **options))
    await ask(sim, MESSAGES, message("tell me", "claude-opus-5", stream=stream))
    openai, claude = sim.billed
    assert (openai.input_tokens, openai.reasoning_tokens) == (2, 96)
    whole = simulator()
    await ask(whole, CHAT, chat("tell me", "gpt-5.6", n=3))
    await ask(whole, MESSAGES, message("tell me", "claude-opus-5"))
    assert [openai, claude] == list(whole.billed)


async def test_the_bill_is_what_usage_says() -> None:
    sim = simulator()
    usage = (await ask(sim, CHAT, chat("x" * 8000, "gpt-5.6"))).json["usage"]
    bill = sim.billed[-1]
    assert usage["prompt_tokens"] == 2000 == bill.input_tokens + bill.cache_write_5m_tokens
    assert usage["prompt_tokens_details"]["cache_write_tokens"] == bill.cache_write_5m_tokens == 1920
    assert usage["completion_tokens"] == bill.output_tokens
    streamed = await ask(sim, CHAT, chat("x" * 8000, "gpt-5.6", stream=True, stream_options={"include_usage": True}))
    usage = streamed.events[-1]["usage"]
    bill = sim.billed[-1]
    assert usage["prompt_tokens_details"]["cached_tokens"] == bill.cache_read_tokens == 1920
    assert usage["completion_tokens"] == bill.output_tokens
    claude = (
        await ask(sim, MESSAGES, message("x", "claude-opus-4-6", stream=True, thinking={"type": "adaptive"}))
    ).events
    (last,) = [event["usage"] for event in claude if event["type"] == "message_delta"]
    assert (last["input_tokens"], last["output_tokens"]) == (1, sim.billed[-1].output_tokens)
    assert last["output_tokens_details"]["thinking_tokens"] == sim.billed[-1].reasoning_tokens > 0


async def test_an_aborted_stream_is_noticed_and_billed_for_what_was_said() -> None:
    sim = simulator(tokens_per_s=200.0)
    reply, sink = await started(sim, CHAT, chat("[[sim: tokens=1000]]", stream=True))
    while len(sink.writes) < 5:
        await asyncio.sleep(0.005)
    assert sim.open_exchanges == 1
    reply.abort("client_gone")
    said = len(sink.writes)
    bill = sim.billed[-1]
    assert bill.aborted
    assert 4 <= bill.output_tokens < 1000
    assert (sim.open_exchanges, sim.requests[-1].aborted, sim.requests[-1].completed) == (0, True, False)
    await asyncio.sleep(0.02)
    assert len(sink.writes) == said
    reply.abort("shutdown")
    assert len(sim.billed) == 1


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        (CHAT, chat(), "everything"),
        (CHAT, chat(stream=True), "nothing"),
        (CHAT, chat(stream=True, stream_options={"include_usage": True}), "everything"),
        (CHAT, chat("[[sim: body=html]]"), "nothing"),
        (CHAT, chat("[[sim: tokens=9, fail_after=3, mode=fin]]"), "nothing"),
        (CHAT, chat("[[sim: tokens=9, fail_after=0, mode=fin]]"), "unanswered"),
        (CHAT, chat("[[sim: tokens=9, fail_after=3, mode=fin]]", stream=True), "nothing"),
        (CHAT, chat("[[sim: tokens=9, fail_after=0, mode=fin]]", stream=True), "unanswered"),
        (MESSAGES, message(), "everything"),
        (MESSAGES, message(stream=True), "everything"),
        (MESSAGES, message("[[sim: tokens=9, fail_after=3, mode=rst]]", stream=True), "prompt"),
        ("/v1/responses", {"model": "gpt-5.6", "input": "tell me", "stream": True}, "everything"),
        ("/v1/responses", {"model": "gpt-5.6", "input": "[[sim: fail_after=3, mode=rst]]", "stream": True}, "nothing"),
        ("/v1/completions", {"model": "instruct", "prompt": "tell me", "stream": True}, "nothing"),
        (
            "/v1/completions",
            {
                "model": "instruct",
                "prompt": "tell me",
                "stream": True,
                "stream_options": {"include_usage": True},
            },
            "everything",
        ),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "tell me"}, "everything"),
    ],
)
async def test_the_ledger_tells_what_of_a_bill_the_reply_has_told(path: str, body: dict[str, Any], told: str) -> None:
    sim = simulator(extra_models=("instruct",))
    await ask(sim, path, body)
    bill = sim.billed[-1]
    assert (bill.told, bill.request_id) == (told, sim.requests[-1].request_id)


async def test_a_waiting_whole_answer_is_aborted_by_cancellation() -> None:
    sim = simulator(latency_s=10.0)
    waiting = asyncio.ensure_future(ask(sim, MESSAGES, message()))
    await asyncio.sleep(0.01)
    assert sim.open_exchanges == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert sim.open_exchanges == 0
    assert (sim.billed[-1].output_tokens, sim.billed[-1].told) == (0, "unanswered")
    assert sim.requests[-1].aborted


@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_that_nobody_awaits_ends_too(stream: bool) -> None:
    sim = simulator(latency_s=10.0)
    dropped = sim.handle(request(CHAT, chat(stream=stream), {"authorization": "Bearer k"}))
    assert sim.open_exchanges == 1
    del dropped
    gc.collect()
    assert sim.open_exchanges == 0
    assert sim.requests[-1].aborted


async def test_error_rate() -> None:
    sim = simulator(error_rate=0.5, seed=3)
    statuses = [(await ask(sim, CHAT, chat())).status for _ in range(100)]
    assert {200, 429, 500, 503} == set(statuses)
    assert 30 <= statuses.count(200) <= 70
    again = simulator(error_rate=0.5, seed=3)
    assert statuses == [(await ask(again, CHAT, chat())).status for _ in range(100)]
    never = simulator(error_rate=1.0)
    assert (await ask(never, MESSAGES, message())).status in (429, 500, 529)
    assert (await ask(never, "/v1/models", b"", method="GET")).status == 200


async def test_a_paused_stream_holds_back() -> None:
    sim = simulator(extra_models=("extra",))
    reply, sink = await started(sim, CHAT, chat("[[sim: tokens=100000]]", "extra", stream=True))
    assert 1 <= len(sink.writes) < 100
    reply.pause()
    await asyncio.sleep(0.01)
    held = len(sink.writes)
    await asyncio.sleep(0.01)
    assert len(sink.writes) == held
    assert not sink.ended()
    reply.resume()
    while not sink.ended():
        await asyncio.sleep(0.005)
    assert b"".join(sink.writes).endswith(b"data: [DONE]\n\n")
    assert sim.billed[-1].output_tokens == 100_000


async def test_writes_joined_or_one_by_one() -> None:
    joined = await ask(simulator(), CHAT, chat("[[sim: tokens=20]]", stream=True))
    single = await ask(simulator(one_write_per_event=True), CHAT, chat("[[sim: tokens=20]]", stream=True))
    assert len(joined.writes) == 1
    assert len(single.writes) == 23
    assert all(write.count(b"\n\n") == 1 for write in single.writes)


async def test_writes_that_cut_anywhere() -> None:
    usual = await ask(simulator(), MESSAGES, message("[[sim: tokens=9]]", stream=True))
    cut = await ask(simulator(), MESSAGES, message("[[sim: tokens=9, split=7]]", stream=True))
    assert {len(write) for write in cut.writes[:-1]} == {7}
    assert [event["type"] for event in cut.events] == [event["type"] for event in usual.events]


@pytest.mark.parametrize("pace", [0.0, math.inf])
async def test_no_pace_at_all(pace: float) -> None:
    got = await ask(simulator(tokens_per_s=pace), CHAT, chat("[[sim: tokens=5000]]", stream=True))
    assert got.ending == "end"


async def test_the_provider_follows_from_path_and_headers() -> None:
    sim = simulator()
    openai = await ask(sim, "/v1/models", b"", method="GET")
    assert openai.json["object"] == "list"
    claude = await ask(sim, "/v1/models", b"", ANTHROPIC_KEY, "GET")
    assert claude.json["data"][0]["type"] == "model"
    assert (await ask(sim, "/", b"", method="HEAD")).status == 200


async def test_models_by_pages() -> None:
    sim = simulator()

    async def page(query: str) -> Any:
        asked = Request("GET", "/v1/models", query, {name.encode(): v.encode() for name, v in ANTHROPIC_KEY.items()})
        reply = sim.handle(asked)
        assert isinstance(reply, Complete)
        return json.loads(reply.body)

    everything = await page("limit=1000")
    ids = [item["id"] for item in everything["data"]]
    assert (everything["has_more"], everything["first_id"], everything["last_id"]) == (False, ids[0], ids[-1])
    middle = await page(f"limit=2&after_id={ids[0]}")
    assert ([item["id"] for item in middle["data"]], middle["has_more"]) == (ids[1:3], True)
    before = await page(f"limit=2&before_id={ids[1]}")
    assert ([item["id"] for item in before["data"]], before["has_more"]) == (ids[:1], False)
    assert (await page(f"after_id={ids[-1]}"))["data"] == []
    for wrong in ("limit=0", "limit=x", "after_id=nothing"):
        assert (await page(wrong))["error"]["type"] == "invalid_request_error"


async def test_refusals_of_the_server_are_in_the_dialect() -> None:
    sim = simulator()
    unknown = sim.refuse("bad_request", "bare LF", None)
    assert unknown.status == 400
    assert b"bare LF" in unknown.body
    claude = sim.refuse("body_too_large", "", request(MESSAGES, b"", {}))
    assert claude.status == 413
    assert b'"type":"error"' in claude.body


async def test_no_key_required() -> None:
    sim = simulator(require_key=False)
    assert (await ask(sim, CHAT, chat(), {"x": "y"})).status == 200
    assert (await ask(sim, MESSAGES, message(), {"anthropic-version": "2023-06-01"})).status == 200


@pytest.mark.parametrize("path", [CHAT, MESSAGES])
@pytest.mark.parametrize("tokens_per_s", [0, 10_000])
async def test_canned(path: str, tokens_per_s: float) -> None:
    sim = Simulator(SimulatorSettings(canned=True, tokens_per_s=tokens_per_s))
    model: Any = ChatCompletion if path == CHAT else Message
    whole = await ask(sim, path, b"{}")
    model.model_validate_json(whole.body)
    assert len(whole.body) == 860
    for _ in range(2):
        stream = await ask(sim, path, b'{"stream":true}')
        assert len(stream.writes) == (53 if path == CHAT else 56)
        if path == CHAT:
            assert "".join(_content(event) for event in stream.events) == "token " * 50
            assert stream.body.endswith(b"data: [DONE]\n\n")
        else:
            assert [event["type"] for event in stream.events].count("content_block_delta") == 50
    assert sim.calls == 3
    assert not sim.requests
    assert sim.open_exchanges == 0


async def test_a_canned_stream_stops_when_its_client_leaves() -> None:
    sim = Simulator(SimulatorSettings(canned=True, tokens_per_s=1000))
    handled = sim.handle(request(CHAT, b'{"stream":true}', {}))
    assert not isinstance(handled, Complete)
    stream = await handled
    assert not isinstance(stream, Complete)
    sink = Collected()
    stream.start(sink)
    stream.abort("client_gone")
    await asyncio.sleep(0.05)
    assert len(sink.writes) == 1


def _content(event: Any) -> str:
    return ChatCompletionChunk.model_validate(event).choices[0].delta.content or ""


async def test_a_stream_never_started_is_ended_by_abort() -> None:
    sim = simulator()
    handled = sim.handle(request(MESSAGES, message(stream=True), ANTHROPIC_KEY))
    assert not isinstance(handled, Complete)
    stream = await handled
    assert not isinstance(stream, Complete)
    stream.abort("client_gone")
    assert (sim.open_exchanges, sim.billed[-1].output_tokens) == (0, 0)
    sink = Collected()
    stream.start(sink)
    await asyncio.sleep(0)
    assert sink.writes == []
