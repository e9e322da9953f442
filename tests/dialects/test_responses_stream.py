import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.event_relay import parsed
from llm_edge_agent.dialects.responses_stream import ResponsesReader
from tests.dialects.native_samples import OUTPUT, RESPONSE, named, response_events


def read(*events: bytes) -> tuple[ResponsesReader, Any]:
    """A reader that has seen the events, and the answer it makes of them."""
    reader = ResponsesReader()
    text = b"".join(events)
    for event, data in parsed(text):
        if event != ":":
            reader.read(event, data)
    return reader, reader.answer(text)


def test_the_last_event_carries_the_answer() -> None:
    reader, answer = read(*response_events())
    assert json.loads(answer.body) == RESPONSE
    assert answer.body in response_events()[-1]
    assert answer.finish_reasons == ("stop",)
    assert answer.usage == reader.usage == TokenUsage(
        prompt_tokens=50, completion_tokens=7, cache_read_tokens=20, cache_write_tokens=3, reasoning_tokens=4
    )  # fmt: skip


@pytest.mark.parametrize("status", ["incomplete", "failed"])
def test_another_end_is_an_end_but_no_whole_answer(status: str) -> None:
    reader, answer = read(*response_events({**RESPONSE, "status": status}))
    assert answer.finish_reasons == (status,)
    assert reader.settled


def test_an_output_that_was_told_item_by_item_only() -> None:
    events = response_events({**RESPONSE, "output": None, "temperature": 0.25})
    answer = read(*events)[1]
    assert json.loads(answer.body) == {**RESPONSE, "output": [OUTPUT[1]], "temperature": 0.25}


@pytest.mark.parametrize(
    "last", [b'{"response":{"status":"completed"}}', b'{"response":{"status":"completed","output":[]}}']
)
def test_what_cannot_be_read_is_not_told_again(last: bytes) -> None:
    reader = ResponsesReader()
    assert reader.answer(b"") is None
    reader.read("response.completed", last)
    assert reader.answer(named("response.output_item.done")) is None


@pytest.mark.parametrize(
    ("change", "off_list"),
    [({}, False), ({"service_tier": "flex"}, True), ({"service_tier": "default"}, False),
     ({"output": [{"type": "web_search_call"}]}, True), ({"output": None}, False)],
)  # fmt: skip
def test_what_the_price_list_does_not_rule_has_no_known_price(change: dict[str, Any], off_list: bool) -> None:
    usage = read(named("response.completed", response={**RESPONSE, **change}))[0].usage
    assert usage is not None
    assert usage.off_list is off_list


def test_usage_may_be_missing_in_part_or_altogether() -> None:
    assert read(named("response.completed", response={**RESPONSE, "usage": None}))[0].usage is None
    usage = read(named("response.completed", response={**RESPONSE, "usage": {}}))[0].usage
    assert usage == TokenUsage()


def test_an_event_without_a_name_is_taken_by_its_type() -> None:
    reader = ResponsesReader()
    assert reader.read("", b'{"type":"response.created"}') == "pass"
    assert reader.read("", b'{"delta":"x","error":null}') == "pass"
    assert reader.read("", b'{"type":"response.completed","response":{"status":"completed"}}') == "last"
    assert reader.read("", b"[DONE]") == "last"
    assert reader.read("", b'{"error":{"message":"no"}}') == "failed"
    assert not reader.may_end()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"type":"error","code":"x","message":"no","param":"p"}', ("no", "x", "server_error", "p")),
        (b'{"error":{"message":"no","code":7,"type":"t"}}', ("no", "7", "t", None)),
        (b"nonsense", ("The provider reported an error in the stream.", "upstream_stream_interrupted", "server_error",
                       None)),
    ],
)  # fmt: skip
def test_the_words_of_an_error_event(data: bytes, words: tuple[str, ...]) -> None:
    reader = ResponsesReader()
    assert reader.read("error", data) == "failed"
    error = reader.failure
    assert error is not None
    assert (error.message, error.code, error.type, error.param) == words
    assert (error.kind, error.verbatim) == (ErrorKind.STREAM_INTERRUPTED, None)


def test_a_last_event_that_is_none_is_refused() -> None:
    with pytest.raises(GatewayError) as caught:
        ResponsesReader().read("response.completed", b"{}")
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID
