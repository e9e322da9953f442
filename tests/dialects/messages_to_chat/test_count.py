"""The estimate of a request's tokens, kind by kind."""

import json
from typing import Any

import pytest
from hypothesis import given

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects.messages_to_chat.count import (
    BASE64_PER_PAGE,
    IMAGE_TOKENS,
    MESSAGE_TOKENS,
    PAGE_TOKENS,
    count_tokens,
    estimate_tokens,
)
from llm_edge_agent.dialects.native import read_call
from tests.dialects.damage import ANYTHING
from tests.dialects.messages_to_chat.models import tool, user

Json = dict[str, Any]


def document(**source: Any) -> Json:
    return {"type": "document", "source": source}


@pytest.mark.parametrize(
    ("block", "tokens"),
    [
        pytest.param({"type": "text", "text": "x" * 40}, 10, id="text"),
        pytest.param({"type": "text", "text": "x" * 41}, 11, id="a token begun"),
        pytest.param({"type": "text", "text": "語" * 4}, 3, id="bytes, not characters"),
        pytest.param({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}, 1, id="markers are free"),
        pytest.param({"type": "image", "source": {"type": "base64", "data": "A" * 99_999}}, IMAGE_TOKENS, id="image"),
        pytest.param(document(type="base64", data="A"), PAGE_TOKENS, id="a small document"),
        pytest.param(document(type="base64", data="A" * 2 * BASE64_PER_PAGE), 3 * PAGE_TOKENS, id="a larger one"),
        pytest.param(document(type="text", data="x" * 40), 10, id="a document of text"),
        pytest.param(document(type="content", content=[{"type": "text", "text": "x" * 40}]), 10, id="of pieces"),
        pytest.param({"type": "tool_use", "id": "a", "name": "f", "input": {"a": 1}}, 1 + 2, id="a call"),
        pytest.param({"type": "tool_result", "tool_use_id": "a", "content": "x" * 8, "is_error": True}, 3, id="result"),
        pytest.param({"type": "text", "text": None}, 0, id="null"),
    ],
)
def test_blocks(block: Json, tokens: int) -> None:
    assert estimate_tokens(user(block)) == MESSAGE_TOKENS + tokens


def test_a_whole_request() -> None:
    tools = [tool()]
    asked = user({"type": "text", "text": "x" * 40}) | {"system": "s" * 8, "tools": tools, "model": "m"}
    call = read_call(json.dumps(asked).encode(), max_depth=64)
    expected = MESSAGE_TOKENS + 10 + 2 + -(-len(json.dumps(tools, separators=(",", ":"))) // 4)
    assert json.loads(count_tokens(call)) == {"input_tokens": expected}


@pytest.mark.parametrize("request_", [{}, {"messages": None}, {"messages": "x"}])
def test_what_is_refused(request_: Json) -> None:
    with pytest.raises(GatewayError) as caught:
        estimate_tokens(request_)
    assert (caught.value.status, caught.value.param) == (400, "messages")


@given(ANYTHING)
def test_any_messages_are_counted(value: Any) -> None:
    assert estimate_tokens({"messages": [value], "system": value, "tools": value}) >= MESSAGE_TOKENS
