"""Every folder of tests/golden/messages_to_chat: what comes in, and byte for byte what must go out.

`request.in.json` -> `request.out.json` and `sent.out.json`, or `request.error.json`; `response.in.json` ->
`response.out.json`; `stream.in.sse` -> `stream.out.sse` and, where it breaks, `stream.error.json`; `error.in.json` ->
`error.out.json`. `options.json` holds settings other than the default. What goes out is also read by the vendors' own
types.
"""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)
from pydantic import TypeAdapter

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.messages_to_chat.answer_stream import MessagesAnswerStream
from llm_edge_agent.dialects.messages_to_chat.errors import translate_error
from llm_edge_agent.dialects.messages_to_chat.request import translate_request
from llm_edge_agent.dialects.messages_to_chat.response import translate_response
from llm_edge_agent.dialects.messages_to_chat.sent import Translated
from llm_edge_agent.dialects.messages_to_chat.stream import MessagesEvents
from tests.dialects.golden import (
    CREATED,
    Cases,
    consume,
    error_input,
    load,
    options_of,
    summary,
    whole_characters,
)
from tests.dialects.messages_to_chat.folding import events_of, fold
from tests.dialects.messages_to_chat.models import model

CASES = Cases("messages_to_chat")
_whole_params: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsNonStreaming)
_stream_params: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsStreaming)
_event: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def translated(case: Path) -> Translated:
    body = (case / "request.in.json").read_bytes()
    return translate_request(body, model(json.loads(body)["model"]), TranslationOptions(**options_of(case)))


def test_every_case_says_where_it_comes_from_and_shows_something() -> None:
    CASES.check_notes()


@CASES.having("request.out.json")
def test_request(case: Path) -> None:
    result = translated(case)
    expected = load(case / "request.out.json")
    assert json.loads(result.body) == expected
    assert list(json.loads(result.body)) == list(expected)
    facts = load(case / "sent.out.json")
    assert list(result.warnings) == facts["warnings"]
    assert result.to_responses == facts["to_responses"]
    assert json.loads(msgspec.json.encode(result.sent)) == facts["sent"]
    consume((_stream_params if expected.get("stream") else _whole_params).validate_python(expected))


@CASES.having("request.error.json")
def test_refused_request(case: Path) -> None:
    with pytest.raises(GatewayError) as caught:
        translated(case)
    assert summary(caught.value) == load(case / "request.error.json")


def test_numbers_keep_their_text() -> None:
    case = CASES.root / "tool_loop_with_exact_numbers"
    assert translated(case).body + b"\n" == (case / "request.out.json").read_bytes()
    answer, _, _ = translate_response((case / "response.in.json").read_bytes(), translated(case).sent)
    assert answer + b"\n" == (case / "response.out.json").read_bytes()


@CASES.having("response.out.json")
def test_response(case: Path) -> None:
    answer, _, _ = translate_response((case / "response.in.json").read_bytes(), translated(case).sent)
    assert json.loads(answer) == load(case / "response.out.json")
    assert Message.model_validate(whole_characters(answer)).stop_reason


def run_stream(case: Path, pieces: Iterable[bytes]) -> tuple[bytes, MessagesAnswerStream]:
    stream = MessagesAnswerStream(MessagesEvents(translated(case).sent), None, 1 << 20)
    out = b""
    for piece in pieces:
        if not (stream.complete or stream.failure):
            out += stream.feed(piece)
    if not (stream.complete or stream.failure):
        out += stream.finish()
    if stream.complete:
        out += stream.close(None)
    for event in events_of(out):
        if event["type"] != "ping":
            _event.validate_python(whole_characters(json.dumps(event).encode()))
    return out, stream


def check_stream(case: Path, pieces: Callable[[bytes], Iterable[bytes]]) -> None:
    out, stream = run_stream(case, pieces((case / "stream.in.sse").read_bytes()))
    assert out == (case / "stream.out.sse").read_bytes()
    broken = case / "stream.error.json"
    assert (None if stream.failure is None else summary(stream.failure)) == (load(broken) if broken.exists() else None)
    assert stream.complete == (stream.failure is None)


@CASES.having("stream.in.sse")
def test_stream_whole_and_byte_by_byte(case: Path) -> None:
    check_stream(case, lambda data: [data])
    check_stream(case, lambda data: (data[at : at + 1] for at in range(len(data))))


@settings(deadline=None)
@given(case=st.sampled_from(CASES.with_file("stream.in.sse")), data=st.data())
def test_stream_cut_anywhere(case: Path, data: st.DataObject) -> None:
    length = (case / "stream.in.sse").stat().st_size
    cuts = sorted(data.draw(st.sets(st.integers(0, length), max_size=8)) | {0, length})
    check_stream(case, lambda whole: (whole[a:b] for a, b in pairwise(cuts)))


@CASES.having("response.out.json")
def test_the_folded_stream_is_the_whole_answer(case: Path) -> None:
    out, stream = run_stream(case, [(case / "stream.in.sse").read_bytes()])
    whole = load(case / "response.out.json")
    assert fold(out) == whole
    told = stream.answer()
    assert told is not None
    assert json.loads(told.body) == whole


@CASES.having("error.in.json")
def test_provider_error(case: Path) -> None:
    status, headers, body = error_input(case)
    error = translate_error(status, headers, body, provider="openai", now_unix_s=CREATED)
    told = summary(error) | {"retry_after_s": error.retry_after_s, "extra": error.extra}
    assert told == load(case / "error.out.json")
