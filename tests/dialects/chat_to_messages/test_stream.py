"""The stream's state machine: order, ends, errors, and the whole answer in pieces."""

import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat_to_messages.sent import Sent
from llm_edge_agent.dialects.chat_to_messages.stream import MessagesStream
from tests.dialects.chat_to_messages.folding import fold

Json = dict[str, Any]
Event = tuple[str, Json]


def started(**members: Any) -> Event:
    message = {"id": "msg_1", "model": "m", "usage": {"input_tokens": 5, "output_tokens": 1}} | members
    return "message_start", {"type": "message_start", "message": message}


def block(content: Json, index: int = 0) -> Event:
    return "content_block_start", {"type": "content_block_start", "index": index, "content_block": content}


def delta(kind: str, index: int = 0, **members: Any) -> Event:
    return "content_block_delta", {"type": "content_block_delta", "index": index, "delta": {"type": kind} | members}


def ended(index: int = 0) -> Event:
    return "content_block_stop", {"type": "content_block_stop", "index": index}


def stopped(reason: str | None = "end_turn", usage: Json | None = None, **members: Any) -> Event:
    return "message_delta", {"type": "message_delta", "delta": {"stop_reason": reason} | members, "usage": usage}


STOP: Event = ("message_stop", {"type": "message_stop"})
TEXT: Event = block({"type": "text", "text": ""})
TOOL: Json = {"type": "tool_use", "id": "t", "name": "f", "input": {}}


def stream(**sent: Any) -> MessagesStream:
    return MessagesStream(Sent(requested_model="m", **sent), created=7)


def run(*events: Event, of: MessagesStream | None = None, **sent: Any) -> list[bytes]:
    machine = of if of is not None else stream(**sent)
    return [chunk for name, data in events for chunk in machine.feed(name, json.dumps(data).encode())]


def choice(*events: Event, **sent: Any) -> Any:
    return fold(run(started(), *events, STOP, **sent))["choices"][0]


def test_events_are_known_by_their_data_where_they_have_no_name() -> None:
    events = [started(), TEXT, delta("text_delta", text="a"), ended(), stopped(), STOP]
    named = run(*events)
    machine = stream()
    assert [chunk for _, data in events for chunk in machine.feed("", json.dumps(data).encode())] == named


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        pytest.param([TEXT], ErrorKind.UPSTREAM_INVALID, id="no message_start"),
        pytest.param([started(), started()], ErrorKind.UPSTREAM_INVALID, id="two of them"),
        pytest.param([started(), TEXT, TEXT], ErrorKind.UPSTREAM_INVALID, id="block twice"),
        pytest.param([started(), delta("text_delta", text="a")], ErrorKind.UPSTREAM_INVALID, id="delta of no block"),
        pytest.param([started(), ended()], ErrorKind.UPSTREAM_INVALID, id="stop of no block"),
        pytest.param([started(), TEXT, delta("text_delta", text=1)], ErrorKind.UPSTREAM_INVALID, id="wrong type"),
        pytest.param([("", {"no": "type"})], ErrorKind.UPSTREAM_INVALID, id="no type at all"),
        pytest.param([started(), block({"type": "tool_use"})], ErrorKind.UPSTREAM_INVALID, id="tool without name"),
        pytest.param([started(), STOP], ErrorKind.STREAM_INTERRUPTED, id="stop without reason"),
        pytest.param([started(), stopped(None), STOP], ErrorKind.STREAM_INTERRUPTED, id="null reason"),
        pytest.param(
            [("error", {"error": {"type": "api_error", "message": "x"}})], ErrorKind.UPSTREAM_ERROR, id="error at once"
        ),
        pytest.param([started(), ("error", {})], ErrorKind.UPSTREAM_ERROR, id="error without words"),
    ],
)
def test_refused(events: list[Event], kind: ErrorKind) -> None:
    with pytest.raises(GatewayError) as caught:
        run(*events)
    assert caught.value.kind is kind


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"index": 0, "delta": {"type": "text_delta", "text": "\xff"}}'])
def test_data_that_is_no_event(data: bytes) -> None:
    machine = stream()
    run(started(), TEXT, of=machine)
    with pytest.raises(GatewayError) as caught:
        machine.feed("content_block_delta", data)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID


def test_usage_grows_with_the_stream() -> None:
    assert stream().usage is None
    machine = stream()
    run(started(), of=machine)
    assert machine.usage == TokenUsage(prompt_tokens=5, completion_tokens=1)
    run(stopped(None, {"output_tokens": 9, "input_tokens": None, "cache_read_input_tokens": 2}), of=machine)
    assert machine.usage == TokenUsage(prompt_tokens=7, completion_tokens=9, cache_read_tokens=2)


def test_the_last_of_several_message_deltas_holds() -> None:
    found = choice(stopped("max_tokens"), stopped(None, {"output_tokens": 3}), stopped("end_turn"))
    assert found["finish_reason"] == "stop"


def test_after_the_end_nothing_is_said() -> None:
    machine = stream()
    run(started(), stopped(), STOP, of=machine)
    assert machine.complete
    assert run(STOP, TEXT, delta("text_delta", text="a"), ("error", {}), of=machine) == []
    assert machine.finish() == []


def test_a_server_that_forgets_to_stop_blocks() -> None:
    found = choice(block(TOOL), stopped("tool_use"))
    assert found["message"]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_end_of_input() -> None:
    machine = stream(include_usage=True)
    chunks = run(started(), TEXT, ended(), stopped(), of=machine)
    chunks += machine.finish()
    assert machine.complete
    assert fold(chunks)["usage"]["total_tokens"] == 6
    open_block = stream()
    run(started(), TEXT, stopped(), of=open_block)
    for broken in (stream(), open_block):
        with pytest.raises(GatewayError) as caught:
            broken.finish()
        assert caught.value.kind is ErrorKind.STREAM_INTERRUPTED
        assert not broken.complete


def test_text_that_stands_in_the_start() -> None:
    found = choice(block({"type": "text", "text": "a"}), delta("text_delta", text="b"), ended(), stopped())
    assert found["message"]["content"] == "ab"


def test_empty_text_is_no_chunk() -> None:
    assert len(run(started(), TEXT, delta("text_delta", text=""), ended())) == 1


def test_arguments_that_stand_in_the_start() -> None:
    found = choice(block(TOOL | {"input": {"a": "\ud83d"}}), ended(), stopped("tool_use"))
    assert found["message"]["tool_calls"][0]["function"]["arguments"] == '{"a":"\\ud83d"}'


def test_thinking_that_stands_in_the_start() -> None:
    events = [block({"type": "thinking", "thinking": "a"}), delta("thinking_delta", thinking="b"), ended(), stopped()]
    shown = choice(*events, expose_thinking=True)["message"]
    assert shown["reasoning_content"] == "ab"
    assert shown["thinking_blocks"] == [{"type": "thinking", "thinking": "ab", "signature": ""}]
    assert "reasoning_content" not in choice(*events)["message"]
    hidden = choice(block({"type": "redacted_thinking", "data": "x"}), ended(), stopped())["message"]
    assert "thinking_blocks" not in hidden


def test_half_pairs_change_nothing_for_what_follows() -> None:
    found = choice(
        TEXT,
        delta("text_delta", text="\ud83d"),
        delta("text_delta", text="é"),
        ended(),
        block({"type": "tool_use", "id": "t", "name": "c", "input": {}}, 1),
        delta("input_json_delta", 1, partial_json=json.dumps({"input": "\ude42"})),
        ended(1),
        stopped(),
        custom_tools=frozenset({"c"}),
    )
    assert found["message"]["content"] == "\ud83dé"
    assert found["message"]["tool_calls"][0]["custom"]["input"] == "\ude42"


def test_diagnostics_and_container() -> None:
    machine = stream()
    chunks = run(started(diagnostics={"a": 1.5}), stopped("end_turn", container={"id": "c"}), STOP, of=machine)
    extension = fold(chunks)["choices"][0]["message"]["provider_specific_fields"]
    assert extension == {"diagnostics": {"a": 1.5}, "container": {"id": "c"}}


@pytest.mark.parametrize(("names", "finish"), [(["s"], "stop"), (["s", "f"], "tool_calls")])
def test_emulated_schema(names: list[str], finish: str) -> None:
    events: list[Event] = []
    for index, name in enumerate(names):
        events += [block(TOOL | {"name": name}, index), ended(index)]
    found = choice(*events, stopped("tool_use"), schema_tool="s")
    assert found["finish_reason"] == finish
    assert found["message"]["content"] == "{}"


def test_a_new_stop_reason_is_a_stop() -> None:
    assert choice(stopped("something_new"))["finish_reason"] == "stop"
