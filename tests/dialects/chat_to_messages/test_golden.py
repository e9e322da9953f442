"""Every folder of tests/golden/chat_to_messages: what comes in, and byte for byte what must go out.

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

import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from pydantic import TypeAdapter

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects.chat_to_messages.errors import translate_error
from llm_edge_agent.dialects.chat_to_messages.request import translate_request
from llm_edge_agent.dialects.chat_to_messages.response import translate_response
from llm_edge_agent.dialects.chat_to_messages.sent import Translated, TranslationOptions
from llm_edge_agent.dialects.chat_to_messages.stream import MessagesStream
from tests.dialects.chat_to_messages.folding import canonical, fold
from tests.dialects.chat_to_messages.models import model
from tests.dialects.golden import (
    CREATED,
    Cases,
    consume,
    error_input,
    load,
    options_of,
    summary,
    told_chunks,
    whole_characters,
)

CASES = Cases("chat_to_messages")
_whole_params: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsNonStreaming)
_stream_params: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsStreaming)


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
    assert list(result.betas) == facts["betas"]
    for name, value in facts["sent"].items():
        got = getattr(result.sent, name)
        assert (sorted(got) if isinstance(got, frozenset) else got) == value, name
    consume((_stream_params if expected.get("stream") else _whole_params).validate_python(expected))


@CASES.having("request.error.json")
def test_refused_request(case: Path) -> None:
    with pytest.raises(GatewayError) as caught:
        translated(case)
    assert summary(caught.value) == load(case / "request.error.json")


def test_numbers_keep_their_text() -> None:
    case = CASES.root / "tool_loop_with_exact_numbers"
    assert translated(case).body + b"\n" == (case / "request.out.json").read_bytes()
    answer, _ = translate_response((case / "response.in.json").read_bytes(), translated(case).sent, created=CREATED)
    assert answer + b"\n" == (case / "response.out.json").read_bytes()


def test_a_half_pair_is_relayed_as_the_same_escape() -> None:
    case = CASES.root / "unicode_split_over_chunks"
    answer, _ = translate_response((case / "response.in.json").read_bytes(), translated(case).sent, created=CREATED)
    assert answer + b"\n" == (case / "response.out.json").read_bytes()
    assert rb"half: \ud83d \\ud800" in answer


@CASES.having("response.out.json")
def test_response(case: Path) -> None:
    answer, _ = translate_response((case / "response.in.json").read_bytes(), translated(case).sent, created=CREATED)
    assert json.loads(answer) == load(case / "response.out.json")
    checked = ChatCompletion.model_validate(whole_characters(answer))
    assert checked.choices[0].finish_reason


def run_stream(case: Path, pieces: Iterable[bytes]) -> tuple[bytes, GatewayError | None, MessagesStream]:
    stream = MessagesStream(translated(case).sent, created=CREATED)
    return *told_chunks(stream, pieces), stream


def check_stream(case: Path, pieces: Callable[[bytes], Iterable[bytes]]) -> None:
    out, error, stream = run_stream(case, pieces((case / "stream.in.sse").read_bytes()))
    assert out == (case / "stream.out.sse").read_bytes()
    broken = case / "stream.error.json"
    assert (None if error is None else summary(error)) == (load(broken) if broken.exists() else None)
    assert stream.complete == (error is None)


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
    out, _, _ = run_stream(case, [(case / "stream.in.sse").read_bytes()])
    structured = translated(case).sent.schema_tool is not None
    folded = canonical(fold(line[6:] for line in out.split(b"\n\n") if line), structured=structured)
    whole = canonical(load(case / "response.out.json"), structured=structured)
    assert folded["choices"] == whole["choices"]
    assert folded.get("usage", whole["usage"]) == whole["usage"]


@CASES.having("error.in.json")
def test_provider_error(case: Path) -> None:
    status, headers, body = error_input(case)
    error = translate_error(status, headers, body, provider="anthropic", now_unix_s=CREATED)
    assert summary(error) | {"retry_after_s": error.retry_after_s, "extra": error.extra} == load(
        case / "error.out.json"
    )
    assert error.should_retry is None
