"""One answer in both framings: streamed, whole, from the provider and from the cache; with tools, usage and choices."""

import json
from typing import Any

import pytest

from llm_edge_agent.simulator import RunningSimulator
from tests.e2e.raw_client import Answer, streamed_text
from tests.e2e.running_gateway import CLAUDE, MODEL, RunningGateway, ask, gateway_config, running
from tests.e2e.scripted_upstream import DONE, event, reply, says, scripted, usage_event

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks something up.",
        "parameters": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
    },
}
OTHER_TOOL: dict[str, Any] = {**TOOL, "function": {**TOOL["function"], "name": "write_down"}}


def told(answer: Answer, *, stream: bool) -> tuple[str, list[tuple[str, Any]], str | None]:
    """Text, tool calls and finish reason, however they were framed."""
    if not stream:
        choice = answer.json["choices"][0]
        calls = [call["function"] for call in choice["message"].get("tool_calls") or ()]
        named = [(call["name"], json.loads(call["arguments"])) for call in calls]
        return choice["message"]["content"] or "", named, choice["finish_reason"]
    names: dict[int, str] = {}
    arguments: dict[int, str] = {}
    finish = None
    for each in answer.events:
        for choice in each["choices"] if each != "[DONE]" else ():
            finish = choice["finish_reason"] or finish
            for call in choice["delta"].get("tool_calls") or ():
                index = call["index"]
                names[index] = names.get(index, "") + (call["function"].get("name") or "")
                arguments[index] = arguments.get(index, "") + (call["function"].get("arguments") or "")
    calls_in_order = [(names[index], json.loads(arguments[index])) for index in sorted(names)]
    return streamed_text(answer.events), calls_in_order, finish


QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    ("hello there", {}),
    ("[[sim: tool=look_up]] look", {"tools": [TOOL]}),
    ("[[sim: tool=look_up+write_down]] look", {"tools": [TOOL, OTHER_TOOL]}),
    ("[[sim: tokens=400]] long", {}),
]


@pytest.mark.parametrize("model", [MODEL, CLAUDE])
@pytest.mark.parametrize("first_streamed", [False, True])
@pytest.mark.parametrize(("text", "members"), QUESTIONS, ids=["text", "a tool", "two tools", "long"])
async def test_a_hit_tells_what_the_miss_told_in_either_framing(
    text: str, members: dict[str, Any], first_streamed: bool, model: str, gateway: RunningGateway
) -> None:
    answers = []
    for number, stream in enumerate((first_streamed, not first_streamed, first_streamed, not first_streamed)):
        answer = await gateway.chat(ask(text, model=model, stream=stream, **members))
        assert answer.headers["x-llm-edge-cache"] == ("miss" if number == 0 else "hit-l1")
        kind = "text/event-stream" if stream else "application/json"
        assert answer.headers["content-type"].startswith(kind)
        if stream:
            assert answer.events[-1] == "[DONE]"
            assert answer.events[0]["choices"][0]["delta"]["role"] == "assistant"
            assert {each["object"] for each in answer.events[:-1]} == {"chat.completion.chunk"}
            assert len({each["id"] for each in answer.events[:-1]}) == 1
        answers.append(told(answer, stream=stream))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0][2] == ("tool_calls" if members else "stop")
    assert len(answers[0][1]) == len(members.get("tools", ()))


@pytest.mark.parametrize("model", [MODEL, CLAUDE])
@pytest.mark.parametrize("tier", ["miss", "hit-l1"])
async def test_usage_comes_in_a_stream_where_asked_for_and_only_there(
    tier: str, model: str, gateway: RunningGateway
) -> None:
    whole = await gateway.chat(ask("how many?", model=model)) if tier == "hit-l1" else None
    asked = ask("how many?", model=model, stream=True, stream_options={"include_usage": True})
    answer = await gateway.chat(asked)
    assert answer.headers["x-llm-edge-cache"] == tier
    *chunks, usage_chunk, done = answer.events
    assert done == "[DONE]"
    assert usage_chunk["choices"] == []
    assert usage_chunk["usage"]["total_tokens"] > 0
    assert "metadata" in usage_chunk
    assert all(each.get("usage") is None for each in chunks)
    if whole is not None:
        assert usage_chunk["usage"] == whole.json["usage"]
    plain = await gateway.chat(ask("how many?", model=model, stream=True))
    assert all(each == "[DONE]" or (each["choices"] and not each.get("usage")) for each in plain.events)


@pytest.mark.parametrize("stream", [False, True])
async def test_several_choices(stream: bool, gateway: RunningGateway) -> None:
    for tier in ("miss", "hit-l1"):
        answer = await gateway.chat(ask("two of them", n=2, stream=stream))
        assert answer.headers["x-llm-edge-cache"] == tier
        if stream:
            texts = [streamed_text(answer.events, index) for index in (0, 1)]
            finishes = [c["finish_reason"] for e in answer.events[:-1] for c in e["choices"] if c["finish_reason"]]
            assert finishes == ["stop", "stop"]
            assert answer.events[-1] == "[DONE]"
        else:
            texts = [choice["message"]["content"] for choice in answer.json["choices"]]
        assert len(texts) == 2
        assert all(texts)


async def test_a_stream_that_lacks_one_of_its_choices_is_not_kept() -> None:
    events = [event({"role": "assistant", "content": "only one"}), event({}, "stop"), usage_event(), DONE]
    async with scripted(says(reply(b"".join(events), content_type="text/event-stream"))) as upstream:
        async with running(gateway_config(upstream.url)) as gateway:
            for _ in range(2):
                answer = await gateway.chat(ask("two of them", n=2, stream=True))
                assert answer.headers["x-llm-edge-cache"] == "miss"
        assert upstream.calls == 2


async def test_interleaved_choices_finish_apart() -> None:
    events = [
        event({"role": "assistant", "content": "a"}, index=0),
        event({"role": "assistant", "content": "b"}, index=1),
        event({}, "stop", index=1),
        event({"content": "A"}, index=0),
        event({}, "stop", index=0),
        usage_event(),
        DONE,
    ]
    async with scripted(says(reply(b"".join(events), content_type="text/event-stream"))) as upstream:
        async with running(gateway_config(upstream.url)) as gateway:
            for _ in range(2):
                answer = await gateway.chat(ask("two of them", n=2, stream=True))
                assert [streamed_text(answer.events, index) for index in (0, 1)] == ["aA", "b"]
                assert answer.events[-1] == "[DONE]"
        assert upstream.calls == 1


@pytest.mark.parametrize("model", [MODEL, CLAUDE])
async def test_an_answer_cut_by_its_length_is_told_and_not_kept(
    model: str, gateway: RunningGateway, simulator: RunningSimulator
) -> None:
    for stream in (False, True, False):
        body = ask("[[sim: finish=length]] long", model=model, stream=stream)
        answer = await gateway.chat(body)
        assert told(answer, stream=stream)[2] == "length"
        assert answer.headers["x-llm-edge-cache"] == "miss"
    assert len(simulator.simulator.requests) == 3
