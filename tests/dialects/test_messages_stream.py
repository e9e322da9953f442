import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.event_relay import parsed
from llm_edge_agent.dialects.messages_stream import MessagesReader, finish_reason, fold
from tests.dialects.native_samples import MESSAGE, message_events, named


def folded(*events: bytes) -> Any:
    body = fold(b"".join(events))
    return None if body is None else json.loads(body)


def test_a_folded_stream_is_the_message() -> None:
    assert folded(*message_events()) == MESSAGE


def test_numbers_keep_their_digits() -> None:
    arguments = '{"n":0.1000000000000000055,"big":12345678901234567890123}'
    events = message_events(pings=False)
    block = [
        named("content_block_start", index=7, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}}),
        named("content_block_delta", index=7, delta={"type": "input_json_delta", "partial_json": arguments}),
        named("content_block_stop", index=7),
    ]
    body = fold(b"".join([*events[:-2], *block, *events[-2:]]))
    assert body is not None
    assert arguments.encode() in body


START, END, STOP = message_events()[0], *message_events()[-2:]
TEXT = named("content_block_start", index=0, content_block={"type": "text", "text": ""})
CLOSE = named("content_block_stop", index=0)


def delta(**members: Any) -> bytes:
    return named("content_block_delta", index=0, delta=members)


@pytest.mark.parametrize(
    "events",
    [
        [START, TEXT, delta(type="new_delta", text="x"), CLOSE, END, STOP],
        [START, TEXT, delta(type="text_delta", text="x", more=1), CLOSE, END, STOP],
        [START, TEXT, delta(type="thinking_delta", thinking="x"), CLOSE, END, STOP],
        [START, TEXT, delta(type="text_delta"), CLOSE, END, STOP],
        [START, named("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"}), END, STOP],
        [START, named("content_block_start", index=0, content_block={"type": "text", "text": None}),
         delta(type="text_delta", text="x"), CLOSE, END, STOP],
        [START, TEXT, named("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"}, more=1), CLOSE,
         END, STOP],
        [START, TEXT, END, STOP],
        [START, named("content_block_start", index=1, content_block={"type": "text", "text": ""}),
         named("content_block_stop", index=1), END, STOP],
        [START, named("new_event"), END, STOP],
        [START, named("content_block_start", index=0, content_block={"type": "tool_use", "id": "t", "input": {}}),
         delta(type="input_json_delta", partial_json="[1]"), CLOSE, END, STOP],
        [END, STOP],
        [b'event: ping\ndata: {"type":"ping"},{"type":"ping"}\n\n', START, END, STOP],
        [b"event: message_start\ndata: nonsense\n\n"],
        [b"event: message_start\ndata: []\n\n"],
    ],
)  # fmt: skip
def test_what_is_not_understood_to_the_last_member_is_not_told_again(events: list[bytes]) -> None:
    assert folded(*events) is None
    reader = MessagesReader()
    assert reader.answer(b"".join(events)) is None


def test_a_text_and_its_citations_begin_from_nothing() -> None:
    citation = delta(type="citations_delta", citation={"type": "x"})
    message = folded(START, TEXT, citation, citation, CLOSE, END, STOP)
    assert message["content"] == [{"type": "text", "text": "", "citations": [{"type": "x"}, {"type": "x"}]}]
    assert folded(START.replace(b'"usage"', b'"no_usage"'), END, STOP)["usage"]["output_tokens"] == 40


def test_usage_is_cumulative_and_settled_with_the_stop_reason() -> None:
    assert MessagesReader().usage is None
    reader = MessagesReader()
    for event, data in parsed(START):
        assert reader.read(event, data) == "pass"
    settled = []
    for data in (
        b'{"usage":{"output_tokens":7}}',
        b'{"delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}',
        b'{"delta":{}}',
    ):
        settled.append(reader.settled)
        reader.read("message_delta", data)
    assert [*settled, reader.settled] == [False, False, True, True]
    assert reader.usage == TokenUsage(
        prompt_tokens=235, cache_read_tokens=200, cache_write_tokens=10, cache_write_1h_tokens=20, completion_tokens=9
    )
    assert not reader.may_end()


def test_an_event_without_a_name_is_taken_by_its_type() -> None:
    reader = MessagesReader()
    assert reader.read("", b'{"type":"message_stop"}') == "last"
    assert reader.read("", b'{"type":"ping"}') == "pass"
    assert reader.read("", b"{}") == "pass"


@pytest.mark.parametrize(
    ("kind", "status"),
    [("overloaded_error", 529), ("rate_limit_error", 429), ("api_error", 500), ("invalid_request_error", 400)],
)
def test_an_error_event_keeps_its_words_and_has_the_status_of_its_type(kind: str, status: int) -> None:
    reader = MessagesReader()
    data = json.dumps({"type": "error", "error": {"type": kind, "message": "so"}}).encode()
    assert reader.read("error", data) == "failed"
    assert reader.failure is not None
    assert (reader.failure.status, reader.failure.verbatim) == (status, data)


def test_an_error_about_the_gateways_own_key_is_not_handed_through() -> None:
    with pytest.raises(GatewayError) as caught:
        MessagesReader().read("error", b'{"type":"error","error":{"type":"authentication_error","message":"sk-1"}}')
    assert (caught.value.kind, caught.value.verbatim) == (ErrorKind.UPSTREAM_AUTH, None)


@pytest.mark.parametrize(
    ("stop_reason", "reason"),
    [("end_turn", "stop"), ("stop_sequence", "stop"), ("tool_use", "tool_calls"), ("max_tokens", "max_tokens"),
     ("pause_turn", "pause_turn"), ("refusal", "refusal"), (None, None)],
)  # fmt: skip
def test_only_what_ended_by_itself_counts_as_whole(stop_reason: str | None, reason: str | None) -> None:
    assert finish_reason(stop_reason) == reason
