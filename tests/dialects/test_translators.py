import json

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects import TRANSLATORS, estimate
from llm_edge_agent.dialects.chat import read_request
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.endpoint import Prepared

RAW = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true}'
CALL = read_request(RAW, max_depth=16)
OPTIONS = TranslationOptions(anthropic_version="2026-10-21")
GPT = Model(id="m", dialect="openai", provider="openai")
CLAUDE = Model(id="m", dialect="anthropic", provider="anthropic")


def test_chat_to_chat_passes_bytes_through() -> None:
    translator = TRANSLATORS["chat", "openai"]
    prepared = translator.request(CALL, GPT, "m", OPTIONS, ask_usage=False)
    assert prepared == Prepared(path=b"/chat/completions", body=RAW)
    stream = translator.stream(CALL, prepared, created=1, keep_limit_bytes=0)
    assert stream.feed(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":null}]}\n\n').startswith(b"data: ")
    whole = b'{"choices":[{"finish_reason":"stop"}]}'
    assert translator.answer(whole, prepared, created=1).body == whole
    error = translator.error(500, {}, b"", provider="openai", now_unix_s=0)
    assert error.kind is ErrorKind.UPSTREAM_ERROR


def test_chat_to_messages_translates_each_way() -> None:
    translator = TRANSLATORS["chat", "anthropic"]
    prepared = translator.request(CALL, CLAUDE, "claude-x", OPTIONS, ask_usage=True)
    assert prepared.path == b"/v1/messages"
    assert b"anthropic-version: 2026-10-21\r\n" in prepared.headers
    assert json.loads(prepared.body)["model"] == "claude-x"
    message = {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "model": "claude-x",
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 2, "output_tokens": 1},
    }
    answer = translator.answer(json.dumps(message).encode(), prepared, created=7)
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "hello"
    assert answer.usage == TokenUsage(prompt_tokens=2, completion_tokens=1)
    assert answer.finish_reasons == ("stop",)
    stream = translator.stream(CALL, prepared, created=7, keep_limit_bytes=0)
    assert stream.feed(b'event: ping\ndata: {"type":"ping"}\n\n') == b""
    assert (stream.usage, stream.complete, stream.failure) == (None, False, None)
    error = translator.error(529, {}, b"", provider="anthropic", now_unix_s=0)
    assert error.kind is ErrorKind.UPSTREAM_OVERLOADED


TOLD = b"""data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",\
"model":"claude-x","content":[],"stop_reason":null,"usage":{"input_tokens":2,"output_tokens":1}}}

data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"hello"}}

data: {"type":"content_block_stop","index":0}

data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}

data: {"type":"message_stop"}

"""


@pytest.mark.parametrize("prepared_with", [False, True])
@pytest.mark.parametrize("told_with", [False, True])
def test_each_client_of_one_stream_sees_usage_where_it_asked(prepared_with: bool, told_with: bool) -> None:
    """A stream prepared for one client may be told to another, who asked the same but for usage."""
    translator = TRANSLATORS["chat", "anthropic"]
    with_usage = read_request(RAW[:-1] + b',"stream_options":{"include_usage":true}}', max_depth=16)
    calls = {False: CALL, True: with_usage}
    prepared = translator.request(calls[prepared_with], CLAUDE, "claude-x", OPTIONS, ask_usage=True)
    stream = translator.stream(calls[told_with], prepared, created=7, keep_limit_bytes=0)
    out = stream.feed(TOLD) + stream.finish() + stream.close(None)
    assert stream.complete
    assert (b'"completion_tokens"' in out) is told_with


def test_a_translator_refuses_what_it_did_not_prepare() -> None:
    with pytest.raises(TypeError, match="not prepared"):
        TRANSLATORS["chat", "anthropic"].answer(b"", Prepared(path=b"", body=b""), created=1)


def test_betas_that_a_translation_needs_are_sent() -> None:
    file = {"type": "file", "file": {"file_id": "file_011CNha8iCJcU1wXNR6q4V8w"}}
    raw = json.dumps({"model": "m", "messages": [{"role": "user", "content": [file]}]}).encode()
    prepared = TRANSLATORS["chat", "anthropic"].request(
        read_request(raw, max_depth=16), CLAUDE, "claude-x", OPTIONS, ask_usage=True
    )
    assert b"\r\nanthropic-beta: files-api-" in prepared.headers


def test_what_no_translator_joins_is_estimated_or_refused() -> None:
    assert json.loads(estimate("count_tokens", CALL)) == {"input_tokens": 5}
    with pytest.raises(GatewayError) as caught:
        estimate("embeddings", CALL)
    assert (caught.value.kind, caught.value.param) == (ErrorKind.UNSUPPORTED, "model")
