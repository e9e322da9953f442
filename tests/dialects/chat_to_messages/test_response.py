"""Whole answers: what is no answer, and the corners that the golden files leave out."""

import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.chat_to_messages.response import translate_response
from llm_edge_agent.dialects.chat_to_messages.sent import Sent

Json = dict[str, Any]


def message(*content: Json, **members: Any) -> Json:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": list(content),
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 2},
    } | members


def choice(answer: Json, **sent: Any) -> Any:
    body, _ = translate_response(json.dumps(answer).encode(), Sent(requested_model="m", **sent), created=7)
    return json.loads(body)["choices"][0]


TOOL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}',
        json.dumps(message(type="error")).encode(),
        json.dumps(message(role="user")).encode(),
        json.dumps(message(stop_reason=None)).encode(),
        json.dumps(message(usage=None)).encode(),
        json.dumps(message(content="x")).encode(),
        json.dumps(message({"type": "text"})).encode(),
        json.dumps(message({"text": "x"})).encode(),
        json.dumps(message({"type": "tool_use", "id": "t"})).encode(),
        json.dumps(message({"type": "tool_use", "name": "t"})).encode(),
        json.dumps(message(TOOL | {"input": [1]})).encode(),
        json.dumps(message({"type": "text", "text": "x", "citations": [{}]})).encode(),
        json.dumps(message({"type": "text", "text": "x"})).encode().replace(b'"x"', b'"\xff"'),
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        translate_response(body, Sent(requested_model="m"), created=7)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID


@pytest.mark.parametrize(
    ("stop_reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
        ("something_new", "stop"),
    ],
)
def test_stop_reasons(stop_reason: str, finish: str) -> None:
    assert choice(message(TOOL, stop_reason=stop_reason))["finish_reason"] == finish


def test_ids_come_back_as_the_client_knows_them() -> None:
    found = choice(message(TOOL, stop_reason="tool_use"), tool_ids={"t": "my.id"})
    assert found["message"]["tool_calls"][0]["id"] == "my.id"


def test_container_and_diagnostics_are_extensions() -> None:
    found = choice(message(container={"id": "c", "n": 1.10}, diagnostics={"cache_miss_reason": None}))
    assert found["message"]["provider_specific_fields"] == {
        "container": {"id": "c", "n": 1.1},
        "diagnostics": {"cache_miss_reason": None},
    }


def test_an_emulated_schema_beside_real_calls() -> None:
    answer = message(TOOL | {"name": "schema", "input": {"a": 1}}, TOOL, stop_reason="tool_use")
    found = choice(answer, schema_tool="schema")
    assert found["finish_reason"] == "tool_calls"
    assert found["message"]["content"] == '{"a":1}'


def test_an_empty_answer_is_empty_text() -> None:
    assert choice(message())["message"]["content"] == ""


def test_refusal_without_details_member() -> None:
    assert choice(message(stop_reason="refusal"))["message"]["refusal"]


def test_half_pairs_inside_thinking_and_custom_input() -> None:
    blocks: list[Json] = [
        {"type": "thinking", "thinking": "\ud83d", "signature": "s"},
        {"type": "tool_use", "id": "t", "name": "c", "input": {"input": "\ude42"}},
    ]
    found = choice(message(*blocks), expose_thinking=True, custom_tools=frozenset({"c"}))["message"]
    assert found["reasoning_content"] == found["thinking_blocks"][0]["thinking"] == "\ud83d"
    assert found["tool_calls"][0]["custom"]["input"] == "\ude42"


def test_thinking_stays_hidden() -> None:
    found = choice(message({"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "text", "text": "x"}))
    assert found["message"] == {"role": "assistant", "content": "x", "refusal": None}


def test_nothing_to_expose() -> None:
    found = choice(message({"type": "text", "text": "x"}), expose_thinking=True)
    assert found["message"] == {"role": "assistant", "content": "x", "refusal": None}
