"""What must hold for every request, every answer and every stream."""

import itertools
import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.chat_to_responses.request import translate_request
from llm_edge_agent.dialects.chat_to_responses.response import translate_response
from llm_edge_agent.dialects.chat_to_responses.sent import Sent
from llm_edge_agent.dialects.chat_to_responses.stream import ResponsesStream
from llm_edge_agent.dialects.gateway_signature import KeptReasoning, sign
from tests.dialects.chat_to_responses.folding import fold
from tests.dialects.chat_to_responses.models import GPT, call, function
from tests.dialects.damage import ANYTHING, damaged, pieces

Json = dict[str, Any]

RICH: Json = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "s"},
        {
            "role": "user",
            "name": "Ann",
            "content": [
                {"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "image_url", "image_url": {"url": "https://example.com", "detail": "low"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "a"}},
            ],
        },
        {
            "role": "assistant",
            "content": "y",
            "tool_calls": [call("a"), {"id": "b", "type": "custom", "custom": {"name": "c", "input": "z"}}],
            "thinking_blocks": [{"type": "thinking", "thinking": "", "signature": sign(KeptReasoning("rs_1", "e"))}],
        },
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "r"}]},
        {"role": "tool", "tool_call_id": "b", "content": "r"},
    ],
    "tools": [
        function(parameters={"type": "object"}, strict=False),
        {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar", "grammar": {"syntax": "lark"}}}},
    ],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [function()]}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "reasoning_effort": "high",
    "verbosity": "low",
    "max_tokens": 100,
    "temperature": 0.5,
    "stop": ["a", "b"],
    "stream": True,
    "stream_options": {"include_usage": True},
    "user": "u",
    "logit_bias": {},
    "modalities": ["text"],
}
REQUESTS = st.one_of(damaged(RICH), st.dictionaries(st.one_of(st.sampled_from(sorted(RICH)), st.text()), ANYTHING))


@settings(max_examples=400, deadline=None)
@given(REQUESTS, st.sampled_from(GPT), st.booleans(), st.booleans())
def test_any_request_is_translated_or_refused(request: Json, model: Model, strict: bool, show: bool) -> None:
    body = msgspec.json.encode(request)
    options = TranslationOptions(strict=strict, expose_thinking=show)
    refusal: GatewayError | None = None
    try:
        translated = translate_request(body, model, options)
    except GatewayError as error:
        refusal = error
    else:
        sent = json.loads(translated.body)
        assert sent["store"] is False
        for item, following in itertools.pairwise([*sent["input"], {"type": "end"}]):
            leads_on = following["type"] in ("reasoning", "function_call", "custom_tool_call")
            assert item["type"] != "reasoning" or leads_on or following.get("role") == "assistant"
        assert translate_request(body, model, options) == translated
    assert refusal is None or (refusal.status == 400 and refusal.message)


def test_the_request_that_uses_everything_is_translated() -> None:
    for model in GPT:
        translate_request(msgspec.json.encode(RICH), model, TranslationOptions())


TEXTS = st.text(alphabet=st.characters(max_codepoint=0x10F7FF), max_size=12)
STOPPING = st.text("abc ", max_size=8)


def message(text: str, refusal: str) -> Json:
    parts = [{"type": "output_text", "text": text, "annotations": []}, {"type": "refusal", "refusal": refusal}]
    return {"id": "msg_1", "type": "message", "content": parts}


ITEMS = st.one_of(
    st.builds(message, st.one_of(TEXTS, STOPPING), st.one_of(st.just(""), TEXTS)),
    st.builds(lambda text: {"id": "f", "type": "function_call", "call_id": "c", "name": "f", "arguments": text}, TEXTS),
    st.builds(lambda text: {"id": "t", "type": "custom_tool_call", "call_id": "c", "name": "g", "input": text}, TEXTS),
    st.builds(
        lambda texts: {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": text} for text in texts],
            "encrypted_content": "e",
        },
        st.lists(TEXTS.filter(bool), max_size=2),
    ),
    st.just({"id": "x", "type": "unheard_of"}),
)
SENT = st.builds(
    Sent,
    requested_model=st.just("m"),
    include_usage=st.booleans(),
    stop=st.sampled_from([(), ("b", "ab"), (" ",)]),
    expose_thinking=st.booleans(),
)


def events_of(draw: Any, response: Json) -> list[Json]:
    """A stream that says what `response` says, cut as the draw wills."""
    events: list[Json] = [{"type": "response.created", "response": response | {"status": "in_progress", "output": []}}]
    for index, item in enumerate(response["output"]):
        empty = {"summary": [], "content": [], "arguments": "", "input": ""}
        events.append(
            {
                "type": "response.output_item.added",
                "output_index": index,
                "item": item | {key: empty[key] for key in item.keys() & empty},
            }
        )
        said: list[tuple[str, str]] = []
        for part in item.get("summary", ()):
            events.append({"type": "response.reasoning_summary_part.added", "output_index": index})
            events += deltas(draw, index, "reasoning_summary_text", part["text"])
        for part in item.get("content", ()):
            kind = "refusal" if "refusal" in part else "output_text"
            said.append((kind, part.get("refusal", part.get("text"))))
        if "arguments" in item:
            said.append(("function_call_arguments", item["arguments"]))
        if "input" in item:
            said.append(("custom_tool_call_input", item["input"]))
        for kind, text in said:
            events += deltas(draw, index, kind, text)
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    return [*events, {"type": f"response.{response['status']}", "response": response}]


def deltas(draw: Any, index: int, kind: str, text: str) -> list[Json]:
    return [{"type": f"response.{kind}.delta", "output_index": index, "delta": piece} for piece in pieces(draw, text)]


@settings(max_examples=300, deadline=None)
@given(st.lists(ITEMS, max_size=5), st.sampled_from(["completed", "incomplete"]), SENT, st.data())
def test_the_folded_stream_is_the_whole_answer(
    output: list[Json], status: str, sent: Sent, data: st.DataObject
) -> None:
    usage = {"input_tokens": 3, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 1}}
    response = {"id": "resp_1", "model": "m", "status": status, "output": output, "usage": usage}
    body, used = translate_response(json.dumps(response).encode(), sent, created=7)
    whole = json.loads(body)
    stream = ResponsesStream(sent, created=7)
    chunks: list[bytes] = []
    for event in events_of(data.draw, response):
        chunks += stream.feed(event["type"], json.dumps(event).encode())
    assert stream.complete
    assert stream.usage == used
    told = whole["choices"][0]["message"]
    told["content"] = told["content"] or None
    folded = fold(chunks)
    assert folded["choices"] == whole["choices"]
    if sent.include_usage:
        assert folded["usage"] == whole["usage"]


NAMES = st.sampled_from(
    [
        *("response.created", "response.output_item.added", "response.output_item.done", "response.completed"),
        *("response.output_text.delta", "response.refusal.delta", "response.function_call_arguments.delta"),
        *("response.reasoning_summary_text.delta", "response.reasoning_summary_part.added", "error", "", "new"),
        *("response.custom_tool_call_input.done", "response.output_text.annotation.added", "response.failed"),
    ]
)
EVENTS = st.one_of(
    st.builds(lambda item, text: {"item": item, "delta": text, "annotation": {"type": "url_citation"}}, ITEMS, TEXTS),
    st.just({"response": {"id": "resp_1", "model": "m", "status": "completed"}}),
    ANYTHING,
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(NAMES, EVENTS, st.booleans()), max_size=10), st.booleans(), SENT)
def test_any_events_give_chunks_or_gateway_errors(events: list[tuple[str, Any, bool]], start: bool, sent: Sent) -> None:
    stream = ResponsesStream(sent, created=7)
    chunks: list[bytes] = []
    failure: GatewayError | None = None
    try:
        if start:
            chunks += stream.feed("response.created", b'{"response":{"id":"resp_1","model":"m"}}')
        for name, data, broken in events:
            encoded = json.dumps(data).encode()
            chunks += stream.feed(name, encoded[: len(encoded) // 2] if broken and start else encoded)
        chunks += stream.finish()
    except GatewayError as error:
        failure = error
    assert stream.complete or (failure is not None and failure.status >= 400)
    for chunk in chunks:
        assert json.loads(chunk)["object"] == "chat.completion.chunk"
