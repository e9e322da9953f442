"""Usage, service tiers, custom tools."""

import json
from typing import Any

import msgspec
import pytest

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat_to_messages.wire import (
    MessageUsage,
    chat_service_tier,
    chat_usage,
    unwrap_custom_input,
    usage_of,
)
from llm_edge_agent.dialects.provider_json import decode, decoder

_usage_decoder = decoder(MessageUsage)


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        pytest.param({}, TokenUsage(), id="nothing"),
        pytest.param(
            {"service_tier": "standard", "inference_geo": "global", "speed": "standard"}, TokenUsage(), id="list price"
        ),
        pytest.param({"inference_geo": "not_available"}, TokenUsage(), id="no choice of region"),
        pytest.param({"service_tier": "priority"}, TokenUsage(off_list=True), id="priority capacity"),
        pytest.param({"inference_geo": "us"}, TokenUsage(off_list=True), id="guaranteed region"),
        pytest.param({"speed": "fast"}, TokenUsage(off_list=True), id="fast mode"),
        pytest.param(
            {"input_tokens": 3, "output_tokens": 4}, TokenUsage(prompt_tokens=3, completion_tokens=4), id="plain"
        ),
        pytest.param(
            {"input_tokens": 1, "cache_creation_input_tokens": 10, "cache_read_input_tokens": 100},
            TokenUsage(prompt_tokens=111, cache_read_tokens=100, cache_write_tokens=10),
            id="writes without lifetimes",
        ),
        pytest.param(
            {
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            },
            TokenUsage(prompt_tokens=30, cache_write_tokens=10, cache_write_1h_tokens=20),
            id="writes of both lifetimes",
        ),
        pytest.param(
            {"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 20}},
            TokenUsage(prompt_tokens=5, cache_write_1h_tokens=5),
            id="parts above their sum",
        ),
        pytest.param(
            {
                "output_tokens": 9,
                "output_tokens_details": {"thinking_tokens": 7},
                "server_tool_use": {"web_search_requests": 2},
            },
            TokenUsage(completion_tokens=9, reasoning_tokens=7, web_searches=2),
            id="thinking and searches",
        ),
        pytest.param(
            {"output_tokens_details": {}, "server_tool_use": {}, "cache_creation": {}}, TokenUsage(), id="empty details"
        ),
    ],
)
def test_usage(reported: dict[str, Any], expected: TokenUsage) -> None:
    assert usage_of(_usage_decoder.decode(json.dumps(reported))) == expected


def test_no_count_is_negative() -> None:
    with pytest.raises(GatewayError):
        decode(_usage_decoder, b'{"input_tokens":-1}')


def test_usage_for_clients_keeps_what_openai_has_no_word_for() -> None:
    reported = {
        "output_tokens_details": {},
        "cache_creation": {"ephemeral_1h_input_tokens": 1},
        "server_tool_use": {"web_fetch_requests": 3},
    }
    shown = json.loads(msgspec.json.encode(chat_usage(_usage_decoder.decode(json.dumps(reported)))))
    assert shown["completion_tokens_details"] == {"reasoning_tokens": 0}
    assert shown["cache_creation"] == {"ephemeral_5m_input_tokens": None, "ephemeral_1h_input_tokens": 1}
    assert shown["server_tool_use"] == {"web_fetch_requests": 3}


@pytest.mark.parametrize(("tier", "word"), [("standard", "default"), ("batch", "default"), ("priority", "priority")])
def test_service_tiers(tier: str, word: str) -> None:
    assert chat_service_tier(tier) == word


@pytest.mark.parametrize(
    ("value", "text"),
    [({"input": "x"}, "x"), ({"input": 1}, '{"input":1}'), ({}, "{}"), ("x", '"x"')],
)
def test_unwrapping(value: Any, text: str) -> None:
    assert unwrap_custom_input(value) == text
