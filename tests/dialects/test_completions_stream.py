import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.completions_stream import CompletionsReader
from llm_edge_agent.dialects.event_relay import RelayedStream
from tests.dialects.native_samples import (
    COMPLETION,
    completion_chunk,
    completion_events,
    completion_usage,
    nameless,
    run,
)


def stream(*, show_usage: bool = False, choices: int = 2) -> RelayedStream:
    return RelayedStream(CompletionsReader(show_usage=show_usage, choices=choices), keep_limit_bytes=100_000)


@pytest.mark.parametrize("show_usage", [False, True])
def test_the_usage_chunk_goes_only_to_who_asked(show_usage: bool) -> None:
    machine = stream(show_usage=show_usage)
    out = run(machine, completion_events())
    assert (completion_usage() in out) is show_usage
    assert out.replace(completion_usage(), b"") == b"".join(completion_events()).replace(completion_usage(), b"")
    assert machine.usage == TokenUsage(prompt_tokens=3, completion_tokens=4)


def test_a_folded_stream_is_the_completion() -> None:
    machine = stream()
    run(machine, completion_events())
    answer = machine.answer()
    assert answer is not None
    assert json.loads(answer.body) == COMPLETION
    assert answer.finish_reasons == ("stop", "stop")


def test_some_servers_end_without_done_or_usage() -> None:
    machine = stream(choices=1)
    run(machine, [completion_chunk("a"), completion_chunk("b", finish="length")])
    assert machine.complete
    answer = machine.answer()
    assert answer is not None
    assert (json.loads(answer.body)["choices"][0]["text"], answer.finish_reasons) == ("ab", ("length",))
    assert "usage" not in json.loads(answer.body)


@pytest.mark.parametrize("chunk", [b"data: nonsense\n\n", b"data: {}\n\n"])
def test_what_is_no_chunk_is_refused(chunk: bytes) -> None:
    machine = stream()
    machine.feed(completion_chunk("a"))
    assert machine.feed(chunk) == b""
    assert machine.failure is not None
    assert machine.failure.kind is ErrorKind.UPSTREAM_INVALID


def test_an_error_object_keeps_its_bytes() -> None:
    reader = CompletionsReader(show_usage=False, choices=1)
    data = b'{"error": {"message": "no"}}'
    assert reader.read("", data) == "failed"
    assert reader.failure is not None
    assert (reader.failure.message, reader.failure.verbatim) == ("no", data)


def with_choice(**members: Any) -> bytes:
    return nameless({"choices": [{"text": "x", "index": 0, "finish_reason": None, **members}]})


@pytest.mark.parametrize(
    ("members", "kept"),
    [
        ([{"extra": 1}, {"extra": 1}], True),
        ([{"extra": [1]}, {"extra": [2]}], True),
        ([{"extra": {"a": [1]}}, {"extra": {"b": 2}}], True),
        ([{"extra": "a"}, {"extra": "b"}], False),
        ([{"extra": "a"}, {"text": None}], False),
    ],
)
def test_what_would_be_lost_is_not_told_again(members: list[dict[str, Any]], kept: bool) -> None:
    machine = stream(choices=1)
    run(machine, [*(with_choice(**each) for each in members), with_choice(finish_reason="stop"), b"data: [DONE]\n\n"])
    assert machine.complete
    assert (machine.answer() is not None) is kept


def test_a_chunk_may_lack_what_it_need_not_say() -> None:
    reader = CompletionsReader(show_usage=True, choices=1)
    assert reader.read("", b'{"usage":{"prompt_tokens":1}}') == "pass"
    assert (reader.may_end(), reader.settled) == (False, True)
    with pytest.raises(GatewayError):
        reader.read("", b'{"choices":7}')
