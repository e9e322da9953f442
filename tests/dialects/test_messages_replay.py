import json
from typing import Any

import pytest

from llm_edge_agent.dialects.event_relay import parsed
from llm_edge_agent.dialects.messages_replay import messages_replay
from llm_edge_agent.dialects.messages_stream import fold
from tests.dialects.native_samples import MESSAGE

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
