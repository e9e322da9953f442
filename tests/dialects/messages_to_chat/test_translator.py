"""The pair as the pipeline sees it: one translation, or two where the model wants the Responses API."""

import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.endpoint import Prepared
from llm_edge_agent.dialects.gateway_signature import KeptReasoning, kept_reasoning
from llm_edge_agent.dialects.messages_to_chat.translator import MessagesToOpenAI
from llm_edge_agent.dialects.native import read_call
from tests.dialects.messages_to_chat import models
from tests.dialects.messages_to_chat.folding import fold
from tests.dialects.messages_to_chat.models import tool

Json = dict[str, Any]
PAIR = MessagesToOpenAI()
USAGE = {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 2}
OUTPUT: list[Json] = [
    {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Hm."}],
        "encrypted_content": "gAAA",
    },
    {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a":1}'},
]
RESPONSE = {"id": "resp_1", "model": "gpt-6-sol", "status": "completed", "output": OUTPUT, "usage": USAGE}


def prepare(name: str, **members: Any) -> tuple[Any, Prepared]:
    body = {"model": name, "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}], "tools": [tool()]}
    call = read_call(json.dumps(body | members).encode(), max_depth=64)
    options = TranslationOptions()
    return call, PAIR.request(call, models.model(name), f"{name}-upstream", options, ask_usage=True)


def test_a_model_that_takes_tools_in_chat() -> None:
    call, prepared = prepare(models.PLAIN, top_k=1)
    assert prepared.path == b"/chat/completions"
    assert prepared.warnings == ("dropped:top_k",)
    assert json.loads(prepared.body)["model"] == "gpt-4.1-upstream"
    body = b'{"id":"1","choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3}}'
    answer = PAIR.answer(body, prepared, created=7)
    assert (answer.usage, answer.finish_reasons) == (TokenUsage(prompt_tokens=3), ("stop",))
    stream = PAIR.stream(call, prepared, created=7, keep_limit_bytes=0)
    out = stream.feed(b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n')
    assert stream.complete
    assert fold(out + stream.close(None))["content"] == [{"type": "text", "text": "a"}]


@pytest.mark.parametrize(
    ("thinking", "summary", "shown"),
    [
        ({}, None, "Hm."),
        ({"thinking": {"type": "adaptive"}}, None, "Hm."),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, "auto", "Hm."),
        ({"thinking": {"type": "adaptive", "display": "omitted"}}, None, ""),
    ],
)
def test_a_model_that_takes_them_only_in_responses(thinking: Json, summary: str | None, shown: str) -> None:
    call, prepared = prepare(models.NEWEST, stream=True, stop_sequences=["END"], **thinking)
    assert prepared.path == b"/responses"
    sent = json.loads(prepared.body)
    assert sent["model"] == "gpt-6-sol-upstream"
    assert sent.get("reasoning", {}).get("summary") == summary
    assert "stop" not in sent

    answer = PAIR.answer(json.dumps(RESPONSE).encode(), prepared, created=7)
    whole = json.loads(answer.body)
    thought, used = whole["content"]
    assert kept_reasoning(thought.pop("signature")) == KeptReasoning("rs_1", "gAAA", 0)
    assert thought == {"type": "thinking", "thinking": shown}
    assert used == {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}}
    assert whole["stop_reason"] == "tool_use"
    assert answer.usage == TokenUsage(prompt_tokens=9, completion_tokens=2, cache_read_tokens=4)
    assert answer.finish_reasons == ("tool_calls",)

    stream = PAIR.stream(call, prepared, created=7, keep_limit_bytes=1 << 20)
    out = b"".join([stream.feed(event(name, members)) for name, members in EVENTS]) + stream.close(None)
    assert fold(out) == json.loads(answer.body)
    assert stream.usage == answer.usage
    told = stream.answer()
    assert told is not None
    assert json.loads(told.body) == json.loads(answer.body)


EVENTS: list[tuple[str, Json]] = [
    ("response.created", {"response": RESPONSE | {"output": [], "usage": None}}),
    ("response.output_item.added", {"output_index": 0, "item": {"id": "rs_1", "type": "reasoning"}}),
    ("response.reasoning_summary_text.delta", {"output_index": 0, "delta": "Hm."}),
    ("response.output_item.done", {"output_index": 0, "item": OUTPUT[0]}),
    ("response.output_item.added", {"output_index": 1, "item": OUTPUT[1] | {"arguments": ""}}),
    ("response.function_call_arguments.delta", {"output_index": 1, "delta": '{"a":1}'}),
    ("response.output_item.done", {"output_index": 1, "item": OUTPUT[1]}),
    ("response.completed", {"response": RESPONSE}),
]


def event(name: str, members: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps({"type": name} | members).encode())


def test_errors_are_those_of_either_api() -> None:
    body = json.dumps({"error": {"message": "Bad effort.", "param": "reasoning.effort"}}).encode()
    error = PAIR.error(400, {}, body, provider="openai", now_unix_s=0)
    assert (error.kind, error.param) == (ErrorKind.UPSTREAM_REJECTED, "thinking")


def test_what_it_did_not_prepare() -> None:
    with pytest.raises(TypeError, match="not prepared"):
        PAIR.answer(b"", Prepared(path=b"", body=b""), created=1)
