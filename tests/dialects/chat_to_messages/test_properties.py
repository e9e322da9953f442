"""What must hold for every request, every answer and every stream."""

import itertools
import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_to_messages.request import translate_request
from llm_edge_agent.dialects.chat_to_messages.response import translate_response
from llm_edge_agent.dialects.chat_to_messages.sent import Sent, Translated, TranslationOptions
from llm_edge_agent.dialects.chat_to_messages.stream import MessagesStream
from tests.dialects.chat_to_messages.folding import canonical, fold
from tests.dialects.chat_to_messages.models import CLAUDE, call, function
from tests.dialects.damage import ANYTHING, damaged, pieces

Json = dict[str, Any]

RICH: Json = {
    "model": "m",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "s", "prompt_cache_breakpoint": {"ttl": "30m"}}]},
        {
            "role": "user",
            "name": "Ann",
            "cache_control": {"type": "ephemeral"},
            "content": [
                {"type": "text", "text": "x"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                {"type": "file", "file": {"file_data": "data:text/plain;base64,YQ==", "filename": "a"}},
            ],
        },
        {
            "role": "assistant",
            "content": "y",
            "tool_calls": [call("a.1"), {"id": "b", "type": "custom", "custom": {"name": "c", "input": "z"}}],
            "thinking_blocks": [{"type": "thinking", "thinking": "t", "signature": "s"}],
        },
        {"role": "tool", "tool_call_id": "a.1", "content": [{"type": "text", "text": "r"}], "is_error": True},
        {"role": "tool", "tool_call_id": "b", "content": "Error: x"},
        {"role": "assistant", "function_call": {"name": "f", "arguments": '{"a": 1.0}'}},
        {"role": "function", "name": "f", "content": "x"},
        {"role": "developer", "content": "now"},
        {"role": "user", "content": "end"},
    ],
    "tools": [
        function(parameters={"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#"}]}}}, strict=True),
        {"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}},
    ],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function()]}},
    "parallel_tool_calls": False,
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "n", "description": "d", "schema": {"properties": {"a": {"minimum": 1}}}},
    },
    "reasoning_effort": "high",
    "max_tokens": 10,
    "temperature": 0.5,
    "top_p": 0.99,
    "top_k": 3,
    "stop": ["a", ""],
    "stream": True,
    "stream_options": {"include_usage": True},
    "user": "u",
    "service_tier": "auto",
    "prompt_cache_options": {"mode": "explicit", "ttl": "30m"},
    "output_config": {"effort": "low"},
    "system": "s",
    "n": 1,
    "modalities": ["text"],
    "logit_bias": {},
}


def test_the_request_that_uses_everything_is_translated() -> None:
    body = msgspec.json.encode(RICH)
    for model in (Model.unknown("m", "anthropic", "anthropic"), *(each for each in CLAUDE if each.json_schema)):
        check_translated(translate_request(body, model, TranslationOptions()))


REQUESTS = st.one_of(damaged(RICH), st.dictionaries(st.one_of(st.sampled_from(sorted(RICH)), st.text()), ANYTHING))


@settings(max_examples=400, deadline=None)
@given(REQUESTS, st.sampled_from(CLAUDE), st.booleans(), st.booleans())
def test_any_request_is_translated_or_refused(request: Json, model: Model, strict: bool, show: bool) -> None:
    body = msgspec.json.encode(request)
    options = TranslationOptions(strict=strict, expose_thinking=show)
    refusal: GatewayError | None = None
    try:
        translated = translate_request(body, model, options)
    except GatewayError as error:
        refusal = error
    else:
        check_translated(translated)
        assert translate_request(body, model, options) == translated
    assert refusal is None or (refusal.status == 400 and refusal.message)


def check_translated(translated: Translated) -> None:
    sent = json.loads(translated.body)
    assert sent["max_tokens"] >= 1
    assert sent["messages"][0]["role"] == "user"
    assert all(block for message in sent["messages"] for block in message["content"])
    neighbours = [message["role"] for message in sent["messages"]]
    assert all(a != b for a, b in itertools.pairwise(neighbours))
    assert all(warning.isascii() and "," not in warning for warning in translated.warnings)


TEXTS = st.text(alphabet=st.characters(max_codepoint=0x10F7FF), max_size=12)
OBJECTS = st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers(), st.booleans()), max_size=3)
WEB = {"type": "web_search_result_location", "url": "u", "title": None, "cited_text": "c"}
CHAR = {"type": "char_location", "cited_text": "c"}
BLOCKS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, TEXTS),
    st.builds(lambda text, which: {"type": "text", "text": text, "citations": which}, TEXTS, st.just([WEB, CHAR])),
    st.builds(
        lambda name, value: {"type": "tool_use", "id": name, "name": name, "input": value},
        st.sampled_from("fg"),
        OBJECTS,
    ),
    st.builds(lambda text: {"type": "tool_use", "id": "c", "name": "custom", "input": {"input": text}}, TEXTS),
    st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "s"}, TEXTS),
    st.just({"type": "redacted_thinking", "data": "d"}),
    st.builds(lambda value: {"type": "server_tool_use", "id": "s", "name": "web_search", "input": value}, OBJECTS),
    st.just({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
)
PIECES = {"text": ("text", "text_delta"), "thinking": ("thinking", "thinking_delta")}


def events_of(draw: Any, message: Json) -> list[tuple[str, Json]]:
    """A stream that says what `message` says, cut as the draw wills."""
    head = message | {"content": [], "stop_reason": None, "stop_sequence": None}
    events: list[tuple[str, Json]] = [("message_start", {"message": head})]
    for index, block in enumerate(message["content"]):
        start, deltas = dict(block), []
        if block["type"] in PIECES:
            member, kind = PIECES[block["type"]]
            start[member] = ""
            deltas = [{"type": kind, member: piece} for piece in pieces(draw, block[member])]
        if "signature" in block:
            start["signature"] = ""
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        for citation in start.pop("citations", []):
            deltas.append({"type": "citations_delta", "citation": citation})
        if "input" in block:
            start["input"] = {}
            text = json.dumps(block["input"]) if block["input"] else ""
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *pieces(draw, text)]]
        events.append(("content_block_start", {"index": index, "content_block": start}))
        events += [("content_block_delta", {"index": index, "delta": delta}) for delta in deltas]
        events.append(("content_block_stop", {"index": index}))
        if draw(st.booleans()):
            events.append(("ping", {}))
    stop = {key: message[key] for key in ("stop_reason", "stop_sequence")}
    events += [("message_delta", {"delta": stop, "usage": message["usage"]}), ("message_stop", {})]
    return events


STOPS = st.sampled_from(["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal", "pause_turn"])
SENT = st.builds(
    Sent,
    requested_model=st.just("m"),
    include_usage=st.just(True),
    legacy_function_call=st.booleans(),
    custom_tools=st.sampled_from([frozenset(), frozenset({"custom"})]),
    schema_tool=st.sampled_from([None, None, "g"]),
    expose_thinking=st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(BLOCKS, max_size=5), STOPS, SENT, st.data())
def test_the_folded_stream_is_the_whole_answer(blocks: list[Json], stop: str, sent: Sent, data: st.DataObject) -> None:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": blocks,
        "stop_reason": stop,
        "stop_sequence": "x" if stop == "stop_sequence" else None,
        "usage": {"input_tokens": 3, "output_tokens": 4, "service_tier": "standard"},
    }
    whole, usage = translate_response(json.dumps(message).encode(), sent, created=7)
    stream = MessagesStream(sent, created=7)
    chunks: list[bytes] = []
    for name, event in events_of(data.draw, message):
        chunks += stream.feed(name, json.dumps({"type": name} | event).encode())
    assert stream.finish() == []
    assert stream.complete
    assert stream.usage == usage
    if sent.schema_tool is None or sum(block.get("name") == "g" for block in blocks) == 0:
        assert canonical(fold(chunks)) == canonical(json.loads(whole))
    else:  # content is then JSON in the provider's own spacing, joined with text
        assert fold(chunks)["choices"][0]["finish_reason"] == json.loads(whole)["choices"][0]["finish_reason"]


BLOCK_EVENTS = ["content_block_start", "content_block_delta", "content_block_stop"]
OTHER_EVENTS = ["message_start", "message_delta", "message_stop", "ping", "error", "", "new_event"]
NAMES = st.sampled_from(BLOCK_EVENTS + OTHER_EVENTS)
KINDS = st.sampled_from(
    ["text_delta", "input_json_delta", "thinking_delta", "signature_delta", "citations_delta", "new"]
)
DATA = st.one_of(
    st.builds(lambda index: {"index": index}, st.integers(0, 1)),
    st.builds(lambda index, block: {"index": index, "content_block": block}, st.integers(0, 1), BLOCKS),
    st.builds(
        lambda index, kind, text: {
            "index": index,
            "delta": {"type": kind, "text": text, "partial_json": text, "thinking": text, "citation": WEB},
        },
        st.integers(0, 1),
        KINDS,
        TEXTS,
    ),
    st.builds(lambda reason: {"delta": {"stop_reason": reason}, "usage": {"output_tokens": 2}}, st.none() | STOPS),
    st.just({"message": {"id": "msg_1", "model": "m", "usage": {}}}),
    ANYTHING,
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(NAMES, DATA, NAMES, st.booleans()), max_size=12), st.binary(max_size=40), SENT, st.booleans())
def test_any_events_give_chunks_or_gateway_errors(
    events: list[tuple[str, Any, str, bool]], garbage: bytes, sent: Sent, start: bool
) -> None:
    stream = MessagesStream(sent, created=7)
    chunks: list[bytes] = []
    failure: GatewayError | None = None
    try:
        if start:
            chunks += stream.feed("message_start", b'{"message":{"id":"msg_1","model":"m","usage":{}}}')
        for name, data, kind, broken in events:
            encoded = json.dumps(data | {"type": kind} if isinstance(data, dict) else data).encode()
            chunks += stream.feed(name, encoded[: len(encoded) // 2] + garbage if broken and garbage else encoded)
        chunks += stream.finish()
    except GatewayError as error:
        failure = error
    assert stream.complete or (failure is not None and failure.status >= 400)
    for chunk in chunks:
        assert json.loads(chunk)["object"] == "chat.completion.chunk"
