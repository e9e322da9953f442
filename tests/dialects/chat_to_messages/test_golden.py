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
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects.chat_to_messages.errors import translate_error
from llm_edge_agent.dialects.chat_to_messages.request import translate_request
from llm_edge_agent.dialects.chat_to_messages.response import translate_response
from llm_edge_agent.dialects.chat_to_messages.sent import Translated, TranslationOptions
from llm_edge_agent.dialects.chat_to_messages.stream import MessagesStream
from llm_edge_agent.dialects.sse import SSEDecoder
from tests.dialects.chat_to_messages.folding import canonical, fold
from tests.dialects.chat_to_messages.models import model

GOLDEN = Path(__file__).parents[2] / "golden" / "chat_to_messages"
CASES = sorted(path for path in GOLDEN.iterdir() if path.is_dir())
CREATED = 1764000000

Json = dict[str, Any]
_whole_params: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsNonStreaming)
_stream_params: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsStreaming)


def having(name: str) -> pytest.MarkDecorator:
    cases = [pytest.param(case, id=case.name) for case in CASES if (case / name).exists()]
    assert cases
    return pytest.mark.parametrize("case", cases)


def load(path: Path) -> Json:
    document: Json = json.loads(path.read_bytes())
    return document


def translated(case: Path) -> Translated:
    options = load(case / "options.json") if (case / "options.json").exists() else {}
    body = (case / "request.in.json").read_bytes()
    return translate_request(body, model(json.loads(body)["model"]), TranslationOptions(**options))


def consume(value: Any) -> None:
    """Pydantic checks an iterable only when it is read."""
    if isinstance(value, dict):
        for item in value.values():
            consume(item)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for item in value:
            consume(item)


def whole_characters(payload: bytes) -> Json:
    """The object with half surrogate pairs made whole characters: the vendors' types take no half ones."""
    text = json.dumps(json.loads(payload), ensure_ascii=False)
    document: Json = json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    return document


def summary(error: GatewayError) -> Json:
    return {
        "kind": error.kind.name,
        "status": error.status,
        "type": error.type,
        "code": error.code,
        "param": error.param,
        "message": error.message,
    }


def test_every_case_says_where_it_comes_from_and_shows_something() -> None:
    for case in CASES:
        assert (case / "note.md").read_text().strip(), case
        assert any(case.glob("*.out.*")) or (case / "request.error.json").exists(), case


@having("request.out.json")
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


@having("request.error.json")
def test_refused_request(case: Path) -> None:
    with pytest.raises(GatewayError) as caught:
        translated(case)
    assert summary(caught.value) == load(case / "request.error.json")


def test_numbers_keep_their_text() -> None:
    case = GOLDEN / "tool_loop_with_exact_numbers"
    assert translated(case).body + b"\n" == (case / "request.out.json").read_bytes()
    answer, _ = translate_response((case / "response.in.json").read_bytes(), translated(case).sent, created=CREATED)
    assert answer + b"\n" == (case / "response.out.json").read_bytes()


def test_a_half_pair_is_relayed_as_the_same_escape() -> None:
    case = GOLDEN / "unicode_split_over_chunks"
    answer, _ = translate_response((case / "response.in.json").read_bytes(), translated(case).sent, created=CREATED)
    assert answer + b"\n" == (case / "response.out.json").read_bytes()
    assert rb"half: \ud83d \\ud800" in answer


@having("response.out.json")
def test_response(case: Path) -> None:
    answer, _ = translate_response((case / "response.in.json").read_bytes(), translated(case).sent, created=CREATED)
    assert json.loads(answer) == load(case / "response.out.json")
    checked = ChatCompletion.model_validate(whole_characters(answer))
    assert checked.choices[0].finish_reason


def chunk_is_valid(payload: bytes) -> None:
    chunk = whole_characters(payload)
    for choice in chunk["choices"]:
        for call in choice["delta"].get("tool_calls", []):
            if call.get("type") == "custom":  # the vendor's chunk type lists function only, its answer type both
                call["type"] = "function"
    ChatCompletionChunk.model_validate(chunk)


def run_stream(case: Path, pieces: Iterable[bytes]) -> tuple[bytes, GatewayError | None, MessagesStream]:
    stream, decoder = MessagesStream(translated(case).sent, created=CREATED), SSEDecoder()
    payloads: list[bytes] = []
    error = None
    try:
        for piece in pieces:
            for event, data in decoder.feed(piece):
                payloads += stream.feed(event, data)
        for event, data in decoder.finish():
            payloads += stream.feed(event, data)
        payloads += stream.finish()
    except GatewayError as raised:
        error = raised
    for payload in payloads:
        chunk_is_valid(payload)
    return b"".join(b"data: " + payload + b"\n\n" for payload in payloads), error, stream


def check_stream(case: Path, pieces: Callable[[bytes], Iterable[bytes]]) -> None:
    out, error, stream = run_stream(case, pieces((case / "stream.in.sse").read_bytes()))
    assert out == (case / "stream.out.sse").read_bytes()
    broken = case / "stream.error.json"
    assert (None if error is None else summary(error)) == (load(broken) if broken.exists() else None)
    assert stream.complete == (error is None)


@having("stream.in.sse")
def test_stream_whole_and_byte_by_byte(case: Path) -> None:
    check_stream(case, lambda data: [data])
    check_stream(case, lambda data: (data[at : at + 1] for at in range(len(data))))


@settings(deadline=None)
@given(case=st.sampled_from([case for case in CASES if (case / "stream.in.sse").exists()]), data=st.data())
def test_stream_cut_anywhere(case: Path, data: st.DataObject) -> None:
    length = (case / "stream.in.sse").stat().st_size
    cuts = sorted(data.draw(st.sets(st.integers(0, length), max_size=8)) | {0, length})
    check_stream(case, lambda whole: (whole[a:b] for a, b in pairwise(cuts)))


@having("response.out.json")
def test_the_folded_stream_is_the_whole_answer(case: Path) -> None:
    out, _, _ = run_stream(case, [(case / "stream.in.sse").read_bytes()])
    structured = translated(case).sent.schema_tool is not None
    folded = canonical(fold(line[6:] for line in out.split(b"\n\n") if line), structured=structured)
    whole = canonical(load(case / "response.out.json"), structured=structured)
    assert folded["choices"] == whole["choices"]
    assert folded.get("usage", whole["usage"]) == whole["usage"]


@having("error.in.json")
def test_provider_error(case: Path) -> None:
    given_ = load(case / "error.in.json")
    body = given_["body"] if isinstance(given_["body"], str) else json.dumps(given_["body"])
    headers = {name.encode(): value.encode() for name, value in given_["headers"].items()}
    error = translate_error(given_["status"], headers, body.encode(), provider="anthropic", now_unix_s=CREATED)
    assert summary(error) | {"retry_after_s": error.retry_after_s, "extra": error.extra} == load(
        case / "error.out.json"
    )
    assert error.should_retry is None
