from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.dialects.sse import COMMENT, Event, EventTooLargeError, SSEDecoder, begins_content

CASES = [
    (b"data: a\n\n", [Event("", b"a")]),
    (b"data:a\n\n", [Event("", b"a")]),
    (b"data:  a\n\n", [Event("", b" a")]),
    (b"data: a\r\n\r\n", [Event("", b"a")]),
    (b"data: a\r\r", [Event("", b"a")]),
    (b"data: a\r\n\n", [Event("", b"a")]),
    (b"data: a\ndata: b\n\n", [Event("", b"a\nb")]),
    (b"data\n\n", []),
    (b"data: a\n\ndata: b\n\n", [Event("", b"a"), Event("", b"b")]),
    (b"event: ping\ndata: {}\n\n", [Event("ping", b"{}")]),
    (b"data: {}\nevent: late\nid: 7\nretry: 5\n\n", [Event("late", b"{}")]),
    (b": hello\n\n", [Event(COMMENT, b"hello")]),
    (b":\n\ndata: x\n\n", [Event(COMMENT, b""), Event("", b"x")]),
    (b": note\ndata: x\n\n", [Event(COMMENT, b"note"), Event("", b"x")]),
    (b"\n\n\n\ndata: x\n\n\n\n", [Event("", b"x")]),
    (b"event: nothing\n\ndata: x\n\n", [Event("", b"x")]),
    (b"\xef\xbb\xbfdata: x\n\n", [Event("", b"x")]),
    (b"data: x\n\ndata: tail", [Event("", b"x"), Event("", b"tail")]),
    (b"data: x\n", [Event("", b"x")]),
    (b"data:\n\ndata: x\n\n", [Event("", b"x")]),
    (b"data: \n\nevent: e\ndata\n\ndata: x\n\n", [Event("", b"x")]),
    (b"data:\ndata:\n\n", [Event("", b"\n")]),
    ("data: żółć 🦊\n\n".encode(), [Event("", "żółć 🦊".encode())]),
    (b"data: \xff\xfe\n\n", [Event("", b"\xff\xfe")]),
    (b"event: \xff\ndata: x\n\n", [Event("\ufffd", b"x")]),
    (b"", []),
    (b"da", []),
]


def decode(pieces: list[bytes]) -> list[Event]:
    decoder = SSEDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.finish()


@pytest.mark.parametrize(("stream", "expected"), CASES)
def test_whole_and_byte_by_byte(stream: bytes, expected: list[Event]) -> None:
    assert decode([stream]) == expected
    assert decode([stream[i : i + 1] for i in range(len(stream))]) == expected
    assert decode([b"", stream, b""]) == expected


@given(st.sampled_from(CASES), st.lists(st.integers(0, 40)))
def test_any_cut_gives_the_same_events(case: tuple[bytes, list[Event]], cuts: list[int]) -> None:
    stream, expected = case
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    assert decode([stream[a:b] for a, b in pairwise(places)]) == expected


@given(st.lists(st.sampled_from([b"data: x", b"\r", b"\n", b"\r\n", b": c", b"event: e", b"\xef\xbb\xbf"])), st.data())
def test_cuts_never_matter_whatever_the_line_ends(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    cut = data.draw(st.integers(0, len(stream)))
    assert decode([stream[:cut], stream[cut:]]) == decode([stream])


def test_finish_leaves_nothing_behind() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"data: x")
    assert decoder.finish() == [Event("", b"x")]
    assert decoder.finish() == []


def feed_all(decoder: SSEDecoder, pieces: list[bytes]) -> None:
    for piece in pieces:
        decoder.feed(piece)


@pytest.mark.parametrize(
    "pieces", [[b"data: " + b"x" * 100], [b"data: " + b"x" * 60, b"y" * 60], [b"data: a\n\n" + b"z" * 101]]
)
def test_an_event_without_end_is_bounded(pieces: list[bytes]) -> None:
    decoder = SSEDecoder(max_event_bytes=100)
    with pytest.raises(EventTooLargeError):
        feed_all(decoder, pieces)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (b'{"choices":[{"delta":{"role":"assistant","content":""}}]}', False),
        (b'{"choices":[{"delta":{"content":"Hi"}}]}', True),
        (b'{"choices": [{"delta": {"content": "\\n"}}]}', True),
        (b'{"choices":[{"delta":{"tool_calls":[{"function":{"name":"f","arguments":""}}]}}]}', True),
        (b'{"choices":[{"delta":{},"finish_reason":null}]}', False),
        (b'{"choices":[{"delta":{},"finish_reason":"stop"}]}', True),
        (b'{"type":"message_start","message":{"content":[],"stop_reason":null}}', False),
        (b'{"type":"content_block_start","content_block":{"type":"text","text":""}}', False),
        (b'{"type":"content_block_start","content_block":{"type":"tool_use","name":"f","input":{}}}', True),
        (b'{"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"Hm"}}', True),
        (b'{"type":"response.created","response":{"output":[],"text":{"format":{"type":"text"}}}}', False),
        (b'{"type":"response.output_text.delta","delta":"Hi"}', True),
        (b": keep-alive", False),
        (b"", False),
    ],
)
def test_where_an_answer_begins(event: bytes, expected: bool) -> None:
    assert begins_content(b"data: %b\n\n" % event) is expected


@pytest.mark.parametrize(
    ("pieces", "between"),
    [
        ([], False),
        ([b"data: 1\n\n"], True),
        ([b"data: 1\n\ndata"], False),
        ([b"data: 1\n\n", b"data: 2"], False),
        ([b"data: 1\n\ndata: 2", b"\n\n"], True),
        ([b"data: 1\r\n\r\n"], True),
        ([b"data: 1\r\r"], False),  # an LF that comes next belongs to it
    ],
)
def test_between_events(pieces: list[bytes], between: bool) -> None:
    decoder = SSEDecoder()
    for piece in pieces:
        decoder.feed(piece)
    assert decoder.between is between
    taking = SSEDecoder()
    for piece in pieces:
        taking.feed(piece, lambda text: text.rfind(b"\n\n") + 2 if b"\n\n" in text else 0)
    assert taking.between is between
