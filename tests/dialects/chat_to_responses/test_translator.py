"""The pair as the pipeline sees it: bytes through, but for requests that the model takes only in Responses."""

import json

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat import read_request
from llm_edge_agent.dialects.chat_endpoint import ChatToChat
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.chat_to_responses.translator import ChatToOpenAI
from llm_edge_agent.dialects.endpoint import Call, Prepared
from llm_edge_agent.dialects.gateway_signature import KeptReasoning, sign
from tests.dialects.chat_to_responses import models

PAIR = ChatToOpenAI(ChatToChat())
RESPONSE = {
    "id": "resp_1",
    "model": "gpt-6-sol",
    "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}],
    "usage": {"input_tokens": 3, "output_tokens": 1},
}


def prepare(**members: object) -> tuple[Call, Prepared]:
    body = {"model": "gpt-6-sol", "messages": [{"role": "user", "content": "Hi"}], "stream": True} | members
    call = read_request(json.dumps(body).encode(), max_depth=64)
    return call, PAIR.request(call, models.model(models.NEWEST), "gpt-6-sol", TranslationOptions(), ask_usage=False)


def test_bytes_go_through_where_chat_serves() -> None:
    call, prepared = prepare()
    assert prepared == Prepared(path=b"/chat/completions", body=call.body.raw)
    whole = b'{"choices":[{"finish_reason":"stop"}]}'
    assert PAIR.answer(whole, prepared, created=1).body == whole
    stream = PAIR.stream(call, prepared, created=1, keep_limit_bytes=0)
    chunk = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":null}]}\n\n'
    assert stream.feed(chunk) == chunk


def test_function_tools_go_to_responses() -> None:
    call, prepared = prepare(tools=[models.function()], seed=1)
    assert prepared.path == b"/responses"
    assert prepared.warnings == ("dropped:seed",)
    answer = PAIR.answer(json.dumps(RESPONSE).encode(), prepared, created=1)
    assert answer.usage == TokenUsage(prompt_tokens=3, completion_tokens=1)
    assert answer.finish_reasons == ("stop",)
    stream = PAIR.stream(call, prepared, created=1, keep_limit_bytes=1 << 20)
    events = [
        {"type": "response.created", "response": RESPONSE},
        {"type": "response.output_text.delta", "delta": "Hello"},
        {"type": "response.completed", "response": RESPONSE},
    ]
    out = b"".join([stream.feed(b"data: %b\n\n" % json.dumps(event).encode()) for event in events])
    out += stream.close(b'{"cached":false}')
    assert out.endswith(b'"metadata":{"cached":false}}\n\ndata: [DONE]\n\n')
    assert (stream.complete, stream.usage) == (True, answer.usage)
    told = stream.answer()
    assert told is not None
    assert json.loads(told.body)["choices"][0]["message"] == json.loads(answer.body)["choices"][0]["message"]


def test_errors_have_the_clients_names() -> None:
    body = json.dumps({"error": {"message": "Too small.", "param": "max_output_tokens"}}).encode()
    error = PAIR.error(400, {}, body, provider="openai", now_unix_s=0)
    assert (error.kind, error.param) == (ErrorKind.UPSTREAM_REJECTED, "max_completion_tokens")


def test_a_model_that_has_no_use_for_it_gets_no_thinking_of_our_own() -> None:
    blocks = [{"type": "thinking", "thinking": "", "signature": sign(KeptReasoning("rs_1", "e"))}]
    said = {"role": "assistant", "content": "x", "thinking_blocks": blocks}
    body = {"model": models.PLAIN, "messages": [{"role": "user", "content": "Hi"}, said]}
    call = read_request(json.dumps(body).encode(), max_depth=64)
    options = TranslationOptions()
    prepared = PAIR.request(call, models.model(models.PLAIN), models.PLAIN, options, ask_usage=False)
    assert prepared.path == b"/chat/completions"
    assert json.loads(prepared.body)["messages"][1] == {"role": "assistant", "content": "x"}
