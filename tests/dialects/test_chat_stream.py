import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat_stream import ChatStream, error_event


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return json.dumps({"id": "c", "choices": [choice], **more}, separators=(",", ":")).encode()


ROLE = chunk({"role": "assistant", "content": ""})
TEXT = chunk({"content": "hi"})
FINISH = chunk({}, "stop")
USAGE = b'{"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}'
EXTRA = b'{"id":"c","choices":[],"citations":["a"]}'
META = b'{"cost_usd":1.0}'


def event(payload: bytes) -> bytes:
    return b"data: " + payload + b"\n\n"


def spliced(payload: bytes) -> bytes:
    return event(payload[:-1] + b',"metadata":' + META + b"}")


DONE = event(b"[DONE]")


def run(payloads: list[bytes], *, show_usage: bool = False, choices: int = 1) -> tuple[list[bytes], bytes, ChatStream]:
    stream = ChatStream(show_usage=show_usage, choices=choices)
    sent = [stream.feed(payload) for payload in payloads]
    stream.end()
    return sent, stream.close(META), stream


@pytest.mark.parametrize(
    ("payloads", "show_usage", "sent", "tail"),
    [
        ([ROLE, TEXT, FINISH], False, [event(ROLE), event(TEXT), b""], spliced(FINISH) + DONE),
        ([ROLE, TEXT, FINISH, USAGE], False, [event(ROLE), event(TEXT), b"", b""], spliced(FINISH) + DONE),
        ([ROLE, FINISH, USAGE], True, [event(ROLE), b"", b""], event(FINISH) + spliced(USAGE) + DONE),
        ([ROLE, FINISH], True, [event(ROLE), b""], spliced(FINISH) + DONE),
        ([FINISH], False, [b""], spliced(FINISH) + DONE),
        ([ROLE, FINISH, TEXT], False, [event(ROLE), b"", event(FINISH)], spliced(TEXT) + DONE),
        ([ROLE, FINISH, EXTRA], False, [event(ROLE), b"", event(FINISH)], spliced(EXTRA) + DONE),
        (
            [ROLE, FINISH, EXTRA, USAGE],
            True,
            [event(ROLE), b"", event(FINISH), b""],
            event(EXTRA) + spliced(USAGE) + DONE,
        ),
        ([ROLE, USAGE, FINISH], False, [event(ROLE), b"", b""], spliced(FINISH) + DONE),
    ],
)
def test_what_is_held_and_where_metadata_goes(
    payloads: list[bytes], show_usage: bool, sent: list[bytes], tail: bytes
) -> None:
    got_sent, got_tail, _ = run(payloads, show_usage=show_usage)
    assert got_sent == sent
    assert got_tail == tail


def test_usage_is_read_and_the_answer_known_complete() -> None:
    _, _, stream = run([ROLE, FINISH])
    assert stream.usage is None
    stream = ChatStream(show_usage=False)
    seen = []
    for payload in (ROLE, FINISH, USAGE):
        stream.feed(payload)
        seen.append(stream.complete)
    assert seen == [False, False, True]
    assert stream.usage == TokenUsage(prompt_tokens=3, completion_tokens=2)


def test_the_service_tier_may_be_told_before_the_usage() -> None:
    stream = run([chunk({"content": "hi"}, service_tier="priority"), FINISH, USAGE])[2]
    assert stream.usage == TokenUsage(prompt_tokens=3, completion_tokens=2, off_list=True)


def test_usage_inside_the_finish_chunk_is_read_too() -> None:
    finish = chunk({}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 1})
    sent, tail, stream = run([ROLE, finish])
    assert stream.usage == TokenUsage(prompt_tokens=1, completion_tokens=1)
    assert sent[1] == b""
    assert tail == spliced(finish) + DONE


def test_without_metadata_the_tail_is_as_it_came() -> None:
    stream = ChatStream(show_usage=True)
    for payload in (ROLE, FINISH, USAGE):
        stream.feed(payload)
    assert stream.close(None) == event(FINISH) + event(USAGE) + DONE


def test_an_early_chunk_without_choices_passes() -> None:
    early = b'{"id":"","choices":[],"prompt_filter_results":[{"prompt_index":0}]}'
    sent, _, _ = run([early, ROLE, FINISH])
    assert sent[0] == event(early)


@pytest.mark.parametrize("payloads", [[], [ROLE], [ROLE, TEXT], [ROLE, USAGE]])
def test_an_answer_without_finish_reason_was_cut_short(payloads: list[bytes]) -> None:
    stream = ChatStream(show_usage=False)
    for payload in payloads:
        stream.feed(payload)
    with pytest.raises(GatewayError) as caught:
        stream.end()
    assert caught.value.kind is ErrorKind.STREAM_INTERRUPTED


def test_of_several_choices_every_one_must_end() -> None:
    stream = ChatStream(show_usage=False, choices=2)
    for payload in (chunk({"content": "a"}), chunk({"content": "b"}, index=1), chunk({}, "stop")):
        assert stream.feed(payload) == event(payload)
    with pytest.raises(GatewayError):
        stream.end()
    last = chunk({}, "length", index=1)
    assert stream.feed(last) == b""
    stream.end()
    stream.end(done=False)
    assert stream.finish_reasons == {0: "stop", 1: "length"}
    assert stream.close(META) == spliced(last) + DONE


def test_a_choice_that_never_began_is_missing_unless_the_provider_says_that_this_was_all() -> None:
    stream = ChatStream(show_usage=False, choices=2)
    stream.feed(chunk({"content": "a"}, "stop"))
    with pytest.raises(GatewayError) as caught:
        stream.end(done=False)
    assert caught.value.kind is ErrorKind.STREAM_INTERRUPTED
    stream.end()


@pytest.mark.parametrize(
    ("payload", "message", "code"),
    [
        (b'{"error":{"message":"boom","type":"server_error","code":"oops"}}', "boom", "oops"),
        (b'{"error":{"message":"boom","code":502},"choices":[]}', "boom", "502"),
        (b'{"error":"boom"}', "The provider reported an error in the stream.", "upstream_stream_interrupted"),
        (b'{"error":{"message":5}}', "The provider reported an error in the stream.", "upstream_stream_interrupted"),
    ],
)
def test_an_error_of_the_provider_is_raised(payload: bytes, message: str, code: str) -> None:
    stream = ChatStream(show_usage=False)
    stream.feed(ROLE)
    with pytest.raises(GatewayError) as caught:
        stream.feed(payload)
    assert (caught.value.message, caught.value.code) == (message, code)


@pytest.mark.parametrize("payload", [b"", b"busy", b"{}", b"[]", b'{"choices":5}', b'{"id":"\xff","choices":[]}'])
def test_what_is_no_chunk(payload: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        ChatStream(show_usage=False).feed(payload)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID


@pytest.mark.parametrize("value", [None, {}, False])
def test_an_empty_error_member_is_no_error(value: object) -> None:
    payload = chunk({"content": "x"}, error=value)
    assert ChatStream(show_usage=False).feed(payload) == event(payload)


def test_content_that_speaks_of_finish_reasons_is_content() -> None:
    tricky = chunk({"content": '"finish_reason":"stop","usage":{,"error"'})
    sent, _, stream = run([ROLE, tricky, chunk({"content": "error"}), FINISH])
    assert sent[1] == event(tricky)
    assert stream.finish_reasons == {0: "stop"}


def test_half_a_surrogate_pair_is_relayed() -> None:
    half = ROLE.replace(b'""', rb'"\ud83d"')
    assert ChatStream(show_usage=False).feed(half) == event(half)


def test_pretty_printed_chunks_become_one_line() -> None:
    pretty = json.dumps(json.loads(TEXT), indent=1).encode()
    out = ChatStream(show_usage=False).feed(pretty)
    assert out.count(b"\n") == 2
    assert json.loads(out[6:]) == json.loads(TEXT)


def test_metadata_of_the_provider_gives_way_to_ours() -> None:
    finish = chunk({}, "stop", metadata={"theirs": 1})
    _, tail, _ = run([ROLE, chunk({"content": "x"}, metadata={"t": 1}), finish])
    assert tail == spliced(FINISH) + DONE


def test_payloads_are_kept_up_to_a_bound() -> None:
    stream = ChatStream(show_usage=False, keep_limit_bytes=len(ROLE) + len(TEXT))
    seen = []
    for payload in (ROLE, TEXT, TEXT, FINISH):
        stream.feed(payload)
        seen.append(None if stream.kept is None else list(stream.kept))
    assert seen == [[ROLE], [ROLE, TEXT], None, None]
    assert ChatStream(show_usage=False).kept is None


def test_the_in_band_error_is_one_event() -> None:
    assert error_event(b'{"error":{}}') == b'data: {"error":{}}\n\n'


@pytest.mark.parametrize(
    ("text", "plain"), [(event(TEXT) * 3, True), (b"data: " + TEXT + b"\nid: 1\n\n" + event(TEXT), False)]
)
def test_only_events_that_are_nothing_but_data_are_taken_many_at_a_time(text: bytes, plain: bool) -> None:
    stream = ChatStream(show_usage=False)
    stream.feed(ROLE)
    assert (stream.feed_plain(text) != (0, 0)) is plain
