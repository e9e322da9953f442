import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.dialects.event_relay import RelayedStream, parsed
from llm_edge_agent.dialects.messages_replay import messages_replay
from llm_edge_agent.dialects.messages_stream import MessagesReader, fold
from tests.dialects.native_samples import MESSAGE, cut, run

BODY = b" " + json.dumps(MESSAGE, ensure_ascii=False, indent=1).encode()


def told(body: bytes) -> tuple[bytes, bytes]:
    replay = messages_replay(body)
    assert replay is not None
    for _ in range(2):
        whole = replay.whole(b"abc", b"7", None)
        stream = replay.stream(b"abc", b"7", None, show_usage=False)
    return whole, stream


def test_whole_it_is_the_providers_bytes_but_for_the_id() -> None:
    assert told(BODY)[0] == BODY.replace(b'"msg_1"', b'"msg_abc"')


def test_streamed_it_is_a_sequence_that_folds_into_itself() -> None:
    events = parsed(told(BODY)[1])
    body = fold(told(BODY)[1])
    assert body is not None
    assert json.loads(body) == {**MESSAGE, "id": "msg_abc"}
    kinds = [event.event for event in events]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    start = json.loads(events[0].data)["message"]
    assert (start["content"], start["stop_reason"], start["usage"]["output_tokens"]) == ([], None, 0)
    assert "context_management" not in start
    for event in events:
        assert json.loads(event.data)["type"] == event.event
    opened = [json.loads(e.data)["index"] for e in events if e.event == "content_block_start"]
    assert opened == [*range(len(MESSAGE["content"]))]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
BLOCKS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=600)),
    st.builds(
        lambda text, cited: {"type": "text", "text": text, "citations": cited},
        st.text(max_size=9),
        st.lists(st.builds(lambda value: {"type": "char_location", "value": value}, JSON), min_size=1, max_size=3),
    ),
    st.builds(lambda text, sign: {"type": "thinking", "thinking": text, "signature": sign}, st.text(), st.text()),
    st.builds(lambda value: {"type": "redacted_thinking", "data": value}, st.text()),
    st.builds(
        lambda kind, value: {"type": kind, "id": "t", "name": "n", "input": value},
        st.sampled_from(["tool_use", "server_tool_use", "mcp_tool_use"]),
        st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    ),
    st.builds(lambda value: {"type": "some_tool_result", "content": value}, JSON),
)


@given(st.lists(BLOCKS, max_size=4), st.lists(st.integers(0, 10_000), max_size=6))
def test_any_message_survives_being_streamed_cut_and_folded(content: list[dict[str, Any]], places: list[int]) -> None:
    message = {**MESSAGE, "content": content}
    stream = told(json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass"))[1]
    machine = RelayedStream(MessagesReader(), keep_limit_bytes=1 << 20)
    assert run(machine, cut(stream, places)) == stream
    answer = machine.answer()
    assert answer is not None
    assert json.loads(answer.body) == {**message, "id": "msg_abc"}


def test_long_texts_come_in_pieces_and_digits_stay() -> None:
    text = "żółć🦊" * 100
    message: dict[str, Any] = {
        **MESSAGE,
        "content": [{"type": "text", "text": text}, {"type": "thinking", "thinking": ""}],
    }
    body = json.dumps(message).replace('"input_tokens": 5', '"input_tokens": 5, "x": 0.10000000000000000555').encode()
    stream = told(body)[1]
    assert stream.count(b'"text_delta"') > 1
    assert stream.count(b"0.10000000000000000555") == 2
    again = fold(stream)
    assert again is not None
    assert json.loads(again)["content"][0]["text"] == text


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b"nonsense", b'{"id":"a","id":"b","content":[]}', b'{"content":["\\ud800"],"usage":{}}',
     b'{"content":[{"no":"type"}],"usage":{}}', b'{"content":[{"type":"text"}],"usage":{}}', b'{"content":[]}'],
)  # fmt: skip
def test_what_could_not_be_told_in_both_framings_is_not_stored(body: bytes) -> None:
    assert messages_replay(body) is None
