"""What `[[sim: ...]]` in a prompt does."""

import asyncio
import json
import time

import pytest

from llm_edge_agent.simulator.answers import SURROGATE_TEXT
from llm_edge_agent.simulator.directives import BadDirective, parse
from tests.simulator.direct import CHAT, MESSAGES, ask, chat, function, message, simulator, started, tool

BOTH = pytest.mark.parametrize(("path", "make"), [(CHAT, chat), (MESSAGES, message)], ids=["openai", "anthropic"])


def test_parsing() -> None:
    found, rest = parse("Hi [[sim: status=429, retry_after=2, echo]] there")
    assert (found.status, found.retry_after, found.echo, rest) == (429, 2.0, True, "Hi  there")
    plain, text = parse("no directive [sim: x]")
    assert (plain.status, text) == (None, "no directive [sim: x]")
    assert parse("[[sim: mode=fin]]")[0].fail_after == 0


@pytest.mark.parametrize("text", ["[[sim: status=high]]", "[[sim: wat]]", "[[sim: mode=slow]]", "[[sim: body=pdf]]"])
def test_a_wrong_directive_is_told(text: str) -> None:
    with pytest.raises(BadDirective, match="sim directive"):
        parse(text)


@BOTH
@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 418, 429, 500, 502, 503, 504, 529])
async def test_status(path: str, make: type, status: int) -> None:
    sim = simulator()
    got = await ask(sim, path, make(f"[[sim: status={status}, retry_after=1.5]]", stream=True))
    assert got.status == status
    assert got.headers["retry-after"] == "1.5"
    assert got.error["message"]
    assert sim.requests[-1].status == status
    assert not sim.billed


@BOTH
async def test_tokens_and_echo(path: str, make: type) -> None:
    sim = simulator()
    await ask(sim, path, make("[[sim: tokens=50]]"))
    assert sim.billed[-1].output_tokens == 50
    text = "[[sim: echo]] \u202e\u2028 e\u0301 \u0000 👩‍👩‍👧 \\ud800 \U0001f600 ünï"
    got = await ask(sim, path, make(text))
    said = got.json["choices"][0]["message"]["content"] if path == CHAT else got.json["content"][0]["text"]
    assert said == text


@BOTH
async def test_surrogate_pair_cut_between_two_events(path: str, make: type) -> None:
    whole = await ask(simulator(), path, make("[[sim: surrogate=1]]"))
    assert b"\\ud83d\\ude00" in whole.body
    streamed = await ask(simulator(), path, make("[[sim: surrogate=1]]", stream=True))
    assert b"\\ud83d\\ude00" not in streamed.body
    if path == CHAT:
        parts = [event["choices"][0]["delta"].get("content") or "" for event in streamed.events]
    else:
        parts = [event["delta"].get("text", "") for event in streamed.events if event["type"] == "content_block_delta"]
    assert "".join(parts) == SURROGATE_TEXT


@BOTH
@pytest.mark.parametrize("mode", ["rst", "fin", "error", "eof_tidy"])
@pytest.mark.parametrize("after", [0, 4])
async def test_failing_streams(path: str, make: type, mode: str, after: int) -> None:
    sim = simulator()
    got = await ask(sim, path, make(f"[[sim: fail_after={after}, mode={mode}, tokens=10]]", stream=True))
    assert got.status == 200
    assert got.ending == ("cut" if mode in ("rst", "fin") else "end")
    assert b"[DONE]" not in got.body
    assert b"message_stop" not in got.body
    assert (b'"error"' in got.body) is (mode == "error")
    assert sim.billed[-1].output_tokens == after
    assert not sim.billed[-1].aborted
    assert sim.open_exchanges == 0
    if after == 0 and mode != "error":
        assert got.body == b""


@BOTH
async def test_a_stalled_stream_ends_when_the_client_leaves(path: str, make: type) -> None:
    sim = simulator()
    reply, sink = await started(sim, path, make("[[sim: fail_after=4, mode=stall, tokens=10]]", stream=True))
    await asyncio.sleep(0.02)
    assert not sink.ended()
    assert sink.writes
    assert sim.open_exchanges == 1
    reply.abort("client_gone")
    assert sim.open_exchanges == 0
    assert sim.billed[-1].aborted
    assert sim.billed[-1].output_tokens == 4


@BOTH
async def test_failing_whole_answers(path: str, make: type) -> None:
    sim = simulator()
    cut = await ask(sim, path, make("[[sim: fail_after=1, mode=fin]]"))
    assert (cut.ending, cut.headers["content-type"]) == ("cut", "application/json")
    with pytest.raises(json.JSONDecodeError):
        json.loads(cut.body)
    assert (await ask(sim, path, make("[[sim: mode=eof_tidy]]"))).body == b""
    failed = await ask(sim, path, make("[[sim: mode=error]]"))
    assert failed.status == 500
    assert sim.open_exchanges == 0
    assert sim.billed[0].output_tokens == 0


@BOTH
async def test_no_answer_at_all(path: str, make: type) -> None:
    sim = simulator()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(sim, path, make("[[sim: mode=stall]]")), 0.05)
    assert sim.open_exchanges == 0
    assert sim.requests[-1].aborted


@BOTH
@pytest.mark.parametrize("stream", [False, True])
async def test_bodies_that_are_no_answers(path: str, make: type, stream: bool) -> None:
    sim = simulator()

    async def body(kind: str) -> tuple[str, bytes]:
        got = await ask(sim, path, make(f"[[sim: body={kind}]]", stream=stream))
        assert got.status == 200
        return got.headers["content-type"], got.body

    assert (await body("html"))[0] == "text/html; charset=utf-8"
    assert b"<html>" in (await body("html"))[1]
    assert (await body("empty"))[1] == b""
    with pytest.raises(json.JSONDecodeError):
        json.loads((await body("broken_json"))[1])
    assert "choices" in json.loads((await body("wrong_shape"))[1])
    assert "error" in json.loads((await body("error_object"))[1])


async def test_finish() -> None:
    sim = simulator()

    async def openai(finish: str) -> tuple[str, str | None]:
        choice = (await ask(sim, CHAT, chat(f"hi [[sim: finish={finish}]]"))).json["choices"][0]
        return choice["finish_reason"], choice["message"]["refusal"]

    async def anthropic(finish: str) -> tuple[str, bool]:
        got = (await ask(sim, MESSAGES, message(f"hi [[sim: finish={finish}]]"))).json
        return got["stop_reason"], got["stop_details"] is not None

    assert await openai("length") == ("length", None)
    assert await openai("content_filter") == ("content_filter", None)
    assert await openai("refusal") == ("stop", "I'm sorry, I can't help with that.")
    assert await anthropic("length") == ("max_tokens", False)
    assert await anthropic("content_filter") == ("refusal", True)
    assert await anthropic("refusal") == ("refusal", True)
    assert await anthropic("pause_turn") == ("pause_turn", False)
    assert await anthropic("model_context_window_exceeded") == ("model_context_window_exceeded", False)
    streamed = await ask(sim, CHAT, chat("[[sim: finish=refusal]]", stream=True))
    said = "".join(event["choices"][0]["delta"].get("refusal") or "" for event in streamed.events)
    assert said == "I'm sorry, I can't help with that."


async def test_tool_and_redacted_thinking() -> None:
    sim = simulator()
    tools = [function(), function("get_time")]
    called = (await ask(sim, CHAT, chat("[[sim: tool=get_time+get_weather]]", tools=tools))).json["choices"][0]
    assert [call["function"]["name"] for call in called["message"]["tool_calls"]] == ["get_time", "get_weather"]
    used = (await ask(sim, MESSAGES, message("[[sim: tool=get_weather]]", tools=[tool()]))).json
    assert (used["stop_reason"], used["content"][-1]["name"]) == ("tool_use", "get_weather")
    body = message("[[sim: think=redacted]]", "claude-opus-5")
    first = (await ask(sim, MESSAGES, body)).json
    assert [block["type"] for block in first["content"]] == ["redacted_thinking", "text"]
    body["messages"] += [{"role": "assistant", "content": first["content"]}, {"role": "user", "content": "on"}]
    assert (await ask(sim, MESSAGES, body)).status == 200


@BOTH
async def test_latency_and_chunk_delay(path: str, make: type) -> None:
    sim = simulator()
    begun = time.monotonic()
    got = await ask(sim, path, make("[[sim: latency=0.05, chunk_delay=0.02, tokens=4]]", stream=True))
    assert time.monotonic() - begun >= 0.05 + 3 * 0.02 - 0.005
    assert len(got.writes) >= 4
    begun = time.monotonic()
    await ask(sim, path, make("[[sim: latency=0.05]]"))
    assert time.monotonic() - begun >= 0.045
