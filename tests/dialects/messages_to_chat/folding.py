"""Puts a stream of the Messages API together again, as a client does, in the form of the whole answer."""

import json
from collections.abc import Iterator
from typing import Any

from llm_edge_agent.dialects.sse import SSEDecoder

Json = dict[str, Any]
_MEMBERS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}


def events_of(stream: bytes) -> Iterator[Json]:
    decoder = SSEDecoder()
    for name, data in [*decoder.feed(stream), *decoder.finish()]:
        event = json.loads(data)
        assert event["type"] == name
        yield event


def fold(stream: bytes) -> Json:
    """The `message` that the events amount to. Asserts what must hold between them: the order of the API."""
    answer: Json = {}
    current: Json | None = None
    arguments = ""
    ended = False
    for event in events_of(stream):
        kind = event.pop("type")
        assert not ended, "nothing follows message_stop"
        if kind == "ping":
            continue
        if kind == "message_start":
            assert not answer
            answer = event["message"]
            continue
        assert answer, "nothing comes before message_start"
        if kind == "content_block_start":
            assert current is None, "blocks come one after the other"
            assert event["index"] == len(answer["content"])
            current, arguments = event["content_block"], ""
            answer["content"].append(current)
        elif kind == "content_block_delta":
            assert current is not None
            assert event["index"] == len(answer["content"]) - 1
            delta = event["delta"]
            if delta["type"] == "input_json_delta":
                arguments += delta["partial_json"]
            else:
                current[_MEMBERS[delta["type"]]] += delta[_MEMBERS[delta["type"]]]
        elif kind == "content_block_stop":
            assert current is not None
            if current["type"] == "tool_use":
                current["input"] = parsed(arguments)
            current = None
        elif kind == "message_delta":
            assert current is None
            answer |= event["delta"]
            answer["usage"] |= event["usage"]
        else:
            assert kind == "message_stop"
            ended = True
    assert ended
    return answer


def parsed(arguments: str) -> Json:
    """A client's reading of a call's arguments; what is no object is told as the whole answer tells it."""
    if not arguments.strip():
        return {}
    try:
        value = json.loads(arguments)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"_raw": arguments}
