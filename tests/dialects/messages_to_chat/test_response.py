"""Whole answers that are none, and what servers leave out."""

import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.gateway_signature import KeptReasoning, sign
from llm_edge_agent.dialects.messages_to_chat.response import translate_response
from llm_edge_agent.dialects.messages_to_chat.sent import Sent

Json = dict[str, Any]
SENT = Sent(requested_model="asked")


def answer(message: Json, finish: str | None = "stop", sent: Sent = SENT, **members: Any) -> Json:
    body = {"id": "chatcmpl-1", "choices": [{"message": message, "finish_reason": finish}]} | members
    told: Json = json.loads(translate_response(json.dumps(body).encode(), sent)[0])
    return told


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        b'{"choices":[]}',
        b'{"error":{"message":"x"},"choices":[{"message":{},"finish_reason":"stop"}]}',
        b'{"choices":[{"message":{}}]}',
        b'{"choices":[{"message":{"tool_calls":[{"id":"a"}]},"finish_reason":"stop"}]}',
        b'{"choices":[{"message":{"tool_calls":[{"function":{}}]},"finish_reason":"stop"}]}',
    ],
)
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        translate_response(body, SENT)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID


def test_what_servers_leave_out() -> None:
    told = answer({"content": [{"type": "text", "text": "a"}, {"type": "other"}, "x"]}, "unheard_of")
    assert told["content"] == [{"type": "text", "text": "a"}]
    assert (told["model"], told["stop_reason"], told["id"]) == ("asked", "end_turn", "msg_1")
    assert told["usage"]["output_tokens"] == 0
    assert answer({"content": 7})["content"] == []


def test_ids_are_made_where_there_are_none() -> None:
    calls = [{"function": {"name": "f"}}, {"id": "own", "function": {"name": "g", "arguments": "[1]"}}]
    told = answer({"tool_calls": calls}, "stop")
    assert told["stop_reason"] == "tool_use"
    assert told["content"] == [
        {"type": "tool_use", "id": "toolu_1_0", "name": "f", "input": {}},
        {"type": "tool_use", "id": "own", "name": "g", "input": {"_raw": "[1]"}},
    ]
    assert answer({"function_call": {"name": "f", "arguments": "{}"}})["content"][0]["id"] == "toolu_1_0"


def test_thinking_that_the_gateway_signed_and_what_others_send() -> None:
    own, other = sign(KeptReasoning("rs_1", "x")), "EqRk"
    blocks = [{"thinking": "a", "signature": own}, {"thinking": "b", "signature": other}, {"signature": sign()}, {}]
    told = answer({"content": "c", "thinking_blocks": blocks, "reasoning_content": "a"})
    assert [block.get("signature") for block in told["content"]] == [own, sign(), None]
    assert answer({"reasoning": "why"})["content"] == [{"type": "thinking", "thinking": "why", "signature": sign()}]
    assert answer({"reasoning": {"x": 1}})["content"] == []


def test_usage_is_told_to_the_gateway_too() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    body = {"id": "1", "choices": [{"message": {"content": "a"}, "finish_reason": "length"}], "usage": usage}
    _, used, finish = translate_response(json.dumps(body | {"service_tier": "flex"}).encode(), SENT)
    assert used == TokenUsage(prompt_tokens=3, completion_tokens=2, off_list=True)
    assert finish == "length"
