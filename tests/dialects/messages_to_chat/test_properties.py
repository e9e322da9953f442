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
from llm_edge_agent.dialects.messages_to_chat.answer_stream import MessagesAnswerStream
from llm_edge_agent.dialects.messages_to_chat.request import translate_request
from llm_edge_agent.dialects.messages_to_chat.response import translate_response
from llm_edge_agent.dialects.messages_to_chat.sent import Sent, Translated
from llm_edge_agent.dialects.messages_to_chat.stream import MessagesEvents
from tests.dialects.damage import ANYTHING, damaged, pieces
from tests.dialects.messages_to_chat.folding import fold
from tests.dialects.messages_to_chat.models import GPT, loop, tool

Json = dict[str, Any]

RICH: Json = loop(
    {"type": "tool_result", "tool_use_id": "a", "content": "r", "is_error": True},
    {
        "type": "tool_result",
        "tool_use_id": "b",
        "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}],
    },
    {"type": "document", "title": "t", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
    {"type": "search_result", "title": "t", "source": "s", "content": [{"type": "text", "text": "x"}]},
    {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    model="m",
    max_tokens=10,
    system=[{"type": "text", "text": "s"}],
    tools=[tool(strict=True), tool("n" * 90)],
    tool_choice={"type": "auto", "disable_parallel_tool_use": True},
    thinking={"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
    output_config={"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
    stop_sequences=["a", "b"],
    temperature=0.5,
    top_p=0.9,
    top_k=3,
    metadata={"user_id": "u"},
    service_tier="auto",
    stream=True,
    context_management={},
)
REQUESTS = st.one_of(damaged(RICH), st.dictionaries(st.one_of(st.sampled_from(sorted(RICH)), st.text()), ANYTHING))


@settings(max_examples=400, deadline=None)
@given(REQUESTS, st.sampled_from(GPT), st.booleans())
def test_any_request_is_translated_or_refused(request: Json, model: Model, strict: bool) -> None:
    body = msgspec.json.encode(request)
    options = TranslationOptions(strict=strict)
    refusal: GatewayError | None = None
    try:
        translated = translate_request(body, model, options)
    except GatewayError as error:
        refusal = error
    else:
        check_translated(translated)
        assert translate_request(body, model, options) == translated
    assert refusal is None or (refusal.status == 400 and refusal.message)


def able(model: Model) -> bool:
    return model.tools and model.vision and model.json_schema


def test_the_request_that_uses_everything_is_translated() -> None:
    for model in (Model.unknown("m", "vllm", "openai"), *(each for each in GPT if able(each))):
        check_translated(translate_request(msgspec.json.encode(RICH), model, TranslationOptions()))


def check_translated(translated: Translated) -> None:
    sent = json.loads(translated.body)
    awaited: list[str] = []
    for message in sent["messages"]:
        if message["role"] == "tool":
            awaited.remove(message["tool_call_id"])
            continue
        assert not awaited, "results stand right behind their calls"
        awaited = [call["id"] for call in message.get("tool_calls", [])]
        assert message["content"] is not None or awaited
    assert not awaited
    for entry in sent.get("tools", []):
        assert len(entry["function"]["name"]) <= 64
    assert all(warning.isascii() and "," not in warning for warning in translated.warnings)


TEXTS = st.text(alphabet=st.characters(max_codepoint=0x10F7FF), max_size=12)
CALLS = st.lists(
    st.builds(
        lambda name, value: {"name": name, "arguments": json.dumps(value)},
        st.sampled_from("fg"),
        st.dictionaries(TEXTS, st.one_of(TEXTS, st.integers()), max_size=2),
    ),
    max_size=3,
)
FINISHES = st.sampled_from(["stop", "length", "tool_calls", "content_filter", "new"])
SENT = st.builds(
    Sent,
    requested_model=st.just("m"),
    stop_sequences=st.sampled_from([(), ("b", "ab", "abc"), (" ",)]),
    hide_thinking=st.booleans(),
    omit_thinking=st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.one_of(TEXTS, st.text("abc ", max_size=8)), TEXTS, CALLS, FINISHES, SENT, st.data())
def test_the_folded_stream_is_the_whole_answer_however_it_was_cut(
    thinking: str, text: str, refusal: str, functions: list[Json], finish: str, sent: Sent, data: st.DataObject
) -> None:
    calls = [{"id": f"c{index}", "type": "function", "function": each} for index, each in enumerate(functions)]
    message = {"role": "assistant", "content": text, "reasoning_content": thinking, "refusal": refusal}
    head = {"id": "chatcmpl-1", "model": "m"}
    usage = {"prompt_tokens": 5, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}}
    body = head | {"choices": [{"message": message | {"tool_calls": calls}, "finish_reason": finish}], "usage": usage}
    whole, used, reason = translate_response(json.dumps(body).encode(), sent)

    deltas: list[Json] = [{"role": "assistant"}]
    for member in ("reasoning_content", "content", "refusal"):
        deltas += [{member: piece} for piece in pieces(data.draw, str(message[member]))]
    deltas += call_deltas(data.draw, functions)
    chunks: list[Json] = [head | {"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks += [
        head | {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
        {"choices": [], "usage": usage},
    ]
    wire = b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"

    stream = MessagesAnswerStream(MessagesEvents(sent), None, 1 << 20)
    out = b"".join([stream.feed(piece) for piece in cut(data.draw, wire)]) + stream.close(None)
    assert stream.complete
    assert fold(out) == json.loads(whole)
    told = stream.answer()
    assert told is not None
    assert (json.loads(told.body), told.usage, told.finish_reasons) == (json.loads(whole), used, (reason,))


def call_deltas(draw: Any, functions: list[Json]) -> list[Json]:
    """Each call in pieces; the pieces of several calls in any order that begins them in turn."""
    queues = []
    for index, function in enumerate(functions):
        begin = {"index": index, "id": f"c{index}", "function": {"name": function["name"], "arguments": ""}}
        rest = [{"index": index, "function": {"arguments": piece}} for piece in pieces(draw, function["arguments"])]
        queues.append([begin, *rest])
    mixed: list[Json] = []
    begun = 0
    while any(queues):
        open_ones = [at for at, queue in enumerate(queues) if queue and at <= begun]
        at = draw(st.sampled_from(open_ones))
        begun = max(begun, at + 1)
        mixed.append({"tool_calls": [queues[at].pop(0)]})
    return mixed


def cut(draw: Any, wire: bytes) -> list[bytes]:
    cuts = sorted(draw(st.sets(st.integers(0, len(wire)), max_size=6)) | {0, len(wire)})
    return [wire[a:b] for a, b in itertools.pairwise(cuts)]


DELTAS = st.one_of(
    st.builds(lambda text: {"content": text}, TEXTS),
    st.builds(
        lambda index, call_id, name, text: {
            "tool_calls": [{"index": index, "id": call_id, "function": {"name": name, "arguments": text}}]
        },
        st.sampled_from([None, 0, 1]),
        st.sampled_from([None, "", "a", "b"]),
        st.sampled_from([None, "f", "g"]),
        st.sampled_from(["", "{", "}", "{}", " ", '"a":1']),
    ),
    st.builds(lambda text: {"reasoning_content": text}, TEXTS),
    st.just({"thinking_blocks": [{"signature": "lea1."}]}),
    st.just({"function_call": {"name": "f", "arguments": "{}"}}),
    ANYTHING,
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(DELTAS, st.one_of(st.none(), FINISHES), st.booleans()), max_size=12), SENT, st.booleans())
def test_any_chunks_give_events_in_order_or_a_failure(
    chunks: list[tuple[Any, str | None, bool]], sent: Sent, done: bool
) -> None:
    stream = MessagesAnswerStream(MessagesEvents(sent), None, 1 << 20)
    out = b""
    for delta, finish, broken in chunks:
        data = json.dumps({"choices": [{"delta": delta, "finish_reason": finish}]}).encode()
        if not stream.failure:
            out += stream.feed(b"data: %b\n\n" % (data[: len(data) // 2] if broken and done else data))
    if done and not stream.failure:
        out += stream.feed(b"data: [DONE]\n\n")
    if not (stream.complete or stream.failure):
        out += stream.finish()
    assert stream.complete or (stream.failure is not None and stream.failure.status >= 400)
    if stream.complete:
        told = stream.answer()
        assert told is not None
        folded = fold(out + stream.close(None))
        assert [block["type"] for block in folded["content"]] == [
            block["type"] for block in json.loads(told.body)["content"]
        ]
