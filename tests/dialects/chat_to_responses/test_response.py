"""Whole answers that are none, and what they may lack."""

import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.chat_to_responses.response import translate_response
from llm_edge_agent.dialects.chat_to_responses.sent import Sent

Json = dict[str, Any]
SENT = Sent(requested_model="m")


def body(**members: Any) -> bytes:
    return json.dumps({"id": "resp_1", "model": "m", "status": "completed", "output": []} | members).encode()


def answer(sent: Sent = SENT, **members: Any) -> Json:
    told: Json = json.loads(translate_response(body(**members), sent, created=7)[0])
    return told


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (b"<html>", ErrorKind.UPSTREAM_INVALID),
        (b"{}", ErrorKind.UPSTREAM_INVALID),
        (body(status="in_progress"), ErrorKind.UPSTREAM_INVALID),
        (body(output=[{"type": "function_call", "name": "f"}]), ErrorKind.UPSTREAM_INVALID),
        (body(status="failed"), ErrorKind.UPSTREAM_ERROR),
        (body(status="failed", error={"code": "rate_limit_exceeded"}), ErrorKind.UPSTREAM_RATE_LIMIT),
    ],
)
def test_what_is_no_answer(broken: bytes, kind: ErrorKind) -> None:
    with pytest.raises(GatewayError) as caught:
        translate_response(broken, SENT, created=7)
    assert caught.value.kind is kind


def test_what_an_answer_may_lack() -> None:
    told = answer()
    assert told["choices"][0]["message"] == {"role": "assistant", "content": "", "refusal": None}
    assert "usage" not in told
    assert "service_tier" not in told
    assert answer(usage={})["usage"]["total_tokens"] == 0
    assert answer(status="incomplete")["choices"][0]["finish_reason"] == "length"
    assert answer(output=[{"type": "web_search_call", "id": "ws_1"}])["choices"][0]["message"]["content"] == ""


def test_reasoning_without_its_encrypted_form_cannot_be_sent_back() -> None:
    output = [{"type": "reasoning", "id": "rs_1", "summary": []}, {"type": "message", "content": []}]
    (block,) = answer(Sent(requested_model="m", expose_thinking=True), output=output)["choices"][0]["message"][
        "thinking_blocks"
    ]
    assert block == {"type": "thinking", "thinking": "", "signature": "lea1."}


def test_half_a_surrogate_pair_is_relayed() -> None:
    raw = body(output=[{"type": "message", "content": [{"type": "output_text", "text": "X"}]}])
    told, _ = translate_response(raw.replace(b'"X"', b'"\\ud83d"'), SENT, created=7)
    assert rb'"\ud83d"' in told
