"""Chunks that are none, and those that say nothing."""

import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.messages_to_chat.sent import Sent
from llm_edge_agent.dialects.messages_to_chat.stream import MessagesEvents

Json = dict[str, Any]


def machine() -> MessagesEvents:
    return MessagesEvents(Sent(requested_model="asked"))


def chunk(delta: Json | None = None, finish: str | None = None, index: int = 0, **members: Any) -> bytes:
    return json.dumps({"choices": [{"index": index, "delta": delta, "finish_reason": finish}]} | members).encode()


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"choices":[{"delta":7}]}', b'{"choices":null,"usage":null}'])
def test_what_is_no_chunk(payload: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        machine().feed(payload)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID


def test_another_choice_is_not_shown() -> None:
    stream = machine()
    stream.feed(chunk({"content": "a"}))
    assert stream.feed(chunk({"content": "b"}, index=1)) == b""
    assert b"block_stop" in stream.feed(chunk(None, "stop"))
    assert stream.feed(chunk({"content": "after the end"})) == b""
    assert json.loads(stream.whole()[0])["content"] == [{"type": "text", "text": "a"}]


def test_a_refusal_in_pieces() -> None:
    stream = machine()
    for piece in ("I ", "cannot."):
        stream.feed(chunk({"refusal": piece}))
    stream.feed(chunk({}, "stop"))
    assert b'"stop_reason":"refusal"' in stream.close()
    assert stream.whole()[1] == "content_filter"


def test_the_service_tier_decides_what_the_price_list_says() -> None:
    stream = machine()
    stream.feed(chunk({}, service_tier="auto"))
    stream.feed(chunk({"content": "a"}, service_tier="priority"))
    stream.feed(b'{"choices":[],"usage":{"prompt_tokens":1}}')
    assert stream.usage is not None
    assert stream.usage.off_list
