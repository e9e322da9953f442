"""Events that are none, come out of order, or say nothing."""

import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.chat_to_responses.sent import Sent
from llm_edge_agent.dialects.chat_to_responses.stream import ResponsesStream

Json = dict[str, Any]
RESPONSE = {"id": "resp_1", "model": "m", "status": "completed", "output": []}


def stream(**members: Any) -> ResponsesStream:
    return ResponsesStream(Sent(requested_model="m", **members), created=7)


def begun(**members: Any) -> ResponsesStream:
    started = stream(**members)
    feed(started, "response.created", response=RESPONSE)
    return started


def feed(machine: ResponsesStream, name: str, **members: Any) -> list[Json]:
    return [json.loads(payload) for payload in machine.feed("", json.dumps({"type": name} | members).encode())]


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("response.output_text.delta", {"delta": "x"}),
        ("response.created", {}),
        ("response.created", {"response": {}}),
    ],
)
def test_what_does_not_begin_a_stream(name: str, members: Json) -> None:
    with pytest.raises(GatewayError) as caught:
        feed(stream(), name, **members)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID


def test_what_does_not_go_on_or_end() -> None:
    with pytest.raises(GatewayError):
        feed(begun(), "response.function_call_arguments.delta", output_index=3, delta="x")
    with pytest.raises(GatewayError):
        feed(begun(), "response.completed")


def test_events_that_say_nothing() -> None:
    machine = begun(expose_thinking=True)
    silent: list[tuple[str, Json]] = [
        ("response.in_progress", {"response": RESPONSE}),
        ("response.output_item.added", {}),
        ("response.output_item.done", {"item": {"type": "message"}}),
        ("response.output_text.delta", {}),
        ("response.refusal.delta", {}),
        ("response.output_text.annotation.added", {}),
        ("response.reasoning_summary_text.delta", {}),
        ("response.function_call_arguments.delta", {}),
        ("response.custom_tool_call_input.delta", {}),
    ]
    for name, members in silent:
        assert feed(machine, name, **members) == []
    (finish,) = feed(machine, "response.completed", response=RESPONSE)
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert feed(machine, "response.completed", response=RESPONSE) == []
    assert machine.finish() == []


def test_nothing_is_shown_behind_a_stop_sequence() -> None:
    machine = begun(stop=("END",), expose_thinking=True)
    feed(machine, "response.output_text.delta", delta="a END")
    call = {"type": "function_call", "call_id": "c", "name": "f"}
    note = {"type": "url_citation", "url": "u"}
    unseen: list[tuple[str, Json]] = [
        ("response.output_item.added", {"item": call}),
        ("response.function_call_arguments.delta", {"delta": "{}"}),
        ("response.refusal.delta", {"delta": "x"}),
        ("response.output_text.annotation.added", {"annotation": note}),
        ("response.reasoning_summary_text.delta", {"delta": "x"}),
        ("response.output_item.done", {"item": {"type": "reasoning", "id": "rs_1"}}),
    ]
    for name, members in unseen:
        assert feed(machine, name, **members) == []


def test_usage_is_told_at_the_end_and_may_be_missing() -> None:
    machine = begun(include_usage=True)
    chunks = feed(machine, "response.completed", response=RESPONSE)
    assert [bool(chunk["choices"]) for chunk in chunks] == [True]
    assert machine.usage is None
    assert not machine.settled
    machine = begun()
    feed(machine, "response.completed", response=RESPONSE | {"usage": {"input_tokens": 5, "output_tokens": 2}})
    assert machine.settled
