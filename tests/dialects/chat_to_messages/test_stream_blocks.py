"""Blocks of a stream, each kind by itself."""

import inspect
from typing import Any

import msgspec
import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.chat_to_messages.sent import Sent
from llm_edge_agent.dialects.chat_to_messages.stream_blocks import (
    ArgumentsBlock,
    BlockDelta,
    CustomBlock,
    OtherBlock,
    StreamBlock,
    TextBlock,
    open_block,
)
from llm_edge_agent.dialects.chat_to_messages.wire import Block

SERVER_TOOL = msgspec.Raw(b'{"type":"server_tool_use","id":"s","input":{"a": 1.50}}')


def json_piece(text: str) -> BlockDelta:
    return BlockDelta(type="input_json_delta", partial_json=text)


def encoded(delta: Any) -> bytes:
    return msgspec.json.encode(delta)


def test_custom_input_that_stands_in_the_start() -> None:
    assert CustomBlock({"input": "x"}, 0).stop(0) == {"tool_calls": [{"index": 0, "custom": {"input": "x"}}]}


def test_custom_input_cut_short_is_what_there_is() -> None:
    block = CustomBlock(None, 0)
    block.feed(json_piece('{"input": "pri'))
    block.feed(BlockDelta(type="new_delta"))
    assert block.stop(0) == {"tool_calls": [{"index": 0, "custom": {"input": '{"input": "pri'}}]}


def test_a_server_tool_keeps_the_text_of_its_input() -> None:
    whole = OtherBlock(SERVER_TOOL)
    assert encoded(whole.stop(0)) == b'{"provider_specific_fields":{"content_blocks":[%b]}}' % bytes(SERVER_TOOL)
    in_pieces = OtherBlock(SERVER_TOOL)
    in_pieces.feed(json_piece('{"a": 1.5'))
    in_pieces.feed(BlockDelta(type="new_delta"))
    in_pieces.feed(json_piece("00}"))
    assert b'"input":{"a": 1.500}}' in encoded(in_pieces.stop(0))


def test_a_server_tool_cut_short_is_no_answer() -> None:
    block = OtherBlock(SERVER_TOOL)
    block.feed(json_piece('{"a": '))
    with pytest.raises(GatewayError) as caught:
        block.stop(0)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID


def test_a_citation_of_unknown_form_is_no_answer() -> None:
    block = TextBlock(0)
    block.feed(BlockDelta(type="citations_delta", citation=msgspec.Raw(b"[]")))
    with pytest.raises(GatewayError):
        block.stop(0)


def test_a_web_citation_without_title() -> None:
    block = TextBlock(2)
    block.feed(BlockDelta(type="citations_delta"))
    block.feed(BlockDelta(type="citations_delta", citation=msgspec.Raw(b'{"type":"web_search_result_location"}')))
    located = {"url": "", "title": "", "start_index": 2, "end_index": 5}
    assert block.stop(5) == {"annotations": [{"type": "url_citation", "url_citation": located}]}


def test_a_hidden_block_says_nothing() -> None:
    block = StreamBlock()
    assert block.feed(json_piece("x")) is None
    assert block.stop(3) is None


def test_arguments_need_a_place() -> None:
    assert inspect.isabstract(ArgumentsBlock)


def test_a_client_of_the_old_kind_gets_one_call() -> None:
    tool = Block(type="tool_use", id="t", name="f", input={})
    sent = Sent(requested_model="m", legacy_function_call=True)
    raw = msgspec.Raw(b"{}")
    _, first = open_block(tool, raw, sent, tool_index=0, length=0, legacy_open=False)
    assert first == {"function_call": {"name": "f", "arguments": ""}}
    hidden, second = open_block(tool, raw, sent, tool_index=0, length=0, legacy_open=True)
    assert (type(hidden), second) == (StreamBlock, None)
