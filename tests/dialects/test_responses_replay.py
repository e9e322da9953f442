import json
from typing import Any

import pytest

from llm_edge_agent.dialects.event_relay import parsed
from llm_edge_agent.dialects.responses_replay import responses_replay
from tests.dialects.native_samples import OUTPUT, RESPONSE

BODY = json.dumps(RESPONSE, ensure_ascii=False, indent=1).encode() + b"\n"
AGAIN = {**RESPONSE, "id": "resp_abc", "created_at": 7, "completed_at": 7}


def told(response: Any) -> tuple[bytes, list[tuple[str, Any]]]:
    """The response whole, and its stream as event names and payloads."""
    replay = responses_replay(response if isinstance(response, bytes) else json.dumps(response).encode())
    assert replay is not None
    stream = replay.stream(b"abc", b"7", None, show_usage=False)
    return replay.whole(b"abc", b"7", None), [(event, json.loads(data)) for event, data in parsed(stream)]


def test_whole_it_is_the_providers_bytes_but_for_id_and_times() -> None:
    whole = told(BODY)[0]
    assert json.loads(whole) == AGAIN
    assert len(whole) == len(BODY) + 2


def test_streamed_it_is_numbered_and_ends_with_the_whole_response() -> None:
    events = told(BODY)[1]
    assert [value["sequence_number"] for _, value in events] == [*range(len(events))]
    assert all(value["type"] == kind for kind, value in events)
    kinds = [kind for kind, _ in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert (events[-1][0], events[-1][1]["response"]) == ("response.completed", AGAIN)
    for _, value in events[:2]:
        begun = value["response"]
        assert (begun["id"], begun["status"], begun["output"], begun["usage"]) == ("resp_abc", "in_progress", [], None)
        assert begun["completed_at"] is None


def test_what_grows_is_told_piece_by_piece() -> None:
    events = told(BODY)[1]
    deltas: dict[tuple[str, int], str] = {}
    for kind, value in events:
        if kind.endswith(".delta"):
            place = (kind, value["output_index"])
            deltas[place] = deltas.get(place, "") + value["delta"]
    assert deltas == {
        ("response.reasoning_summary_text.delta", 0): "First, 🦊.",
        ("response.reasoning_text.delta", 0): "hm",
        ("response.output_text.delta", 1): "response.completed żółć",
        ("response.refusal.delta", 1): "no",
        ("response.function_call_arguments.delta", 2): '{"a":1}',
        ("response.custom_tool_call_input.delta", 3): "free",
    }
    added = [value["item"] for kind, value in events if kind == "response.output_item.added"]
    done = [value["item"] for kind, value in events if kind == "response.output_item.done"]
    assert done == OUTPUT
    assert [item["type"] for item in added] == [item["type"] for item in OUTPUT]
    assert (added[0]["summary"], added[0]["content"], added[1]["content"]) == ([], [], [])
    assert (added[2]["arguments"], added[2]["status"], added[3]["input"]) == ("", "in_progress", "")
    parts = [value["part"] for kind, value in events if kind == "response.content_part.added"]
    assert parts[1] == {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    assert [kind for kind, _ in events].count("response.output_text.annotation.added") == 1
    texts = {kind: value for kind, value in events if kind.startswith("response.output_text.d")}
    assert texts["response.output_text.delta"]["logprobs"] == []
    assert texts["response.output_text.done"]["logprobs"] == OUTPUT[1]["content"][0]["logprobs"]
    assert texts["response.output_text.done"]["item_id"] == "msg_1"


def test_what_is_empty_does_not_grow() -> None:
    output = [{"type": "reasoning", "summary": []}, {"type": "message", "content": []}]
    events = told({**RESPONSE, "output": output})[1]
    assert [kind for kind, _ in events[2:-1]] == ["response.output_item.added", "response.output_item.done"] * 2


def test_digits_stay() -> None:
    body = json.dumps(RESPONSE).replace('"temperature": 1.0', '"temperature": 0.10000000000000000555').encode()
    replay = responses_replay(body)
    assert replay is not None
    assert replay.stream(b"a", b"1", None, show_usage=False).count(b"0.10000000000000000555") == 3


@pytest.mark.parametrize(
    "body",
    [b"{}", b"nonsense", b'{"id":1,"id":2,"output":[]}', b'{"output":[{}]}', b'{"output":[{"type":"function_call"}]}',
     b'{"output":["\\ud800"]}', b'{"output":7}'],
)  # fmt: skip
def test_what_could_not_be_told_in_both_framings_is_not_stored(body: bytes) -> None:
    assert responses_replay(body) is None
