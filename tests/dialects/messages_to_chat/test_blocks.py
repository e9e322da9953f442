"""Blocks in order, whatever order the deltas come in."""

from llm_edge_agent.dialects.gateway_signature import KeptReasoning, sign
from llm_edge_agent.dialects.messages_to_chat.blocks import Blocks
from llm_edge_agent.dialects.messages_to_chat.sent import Sent
from llm_edge_agent.dialects.messages_to_chat.wire import Block, CallPiece, Function


def told(blocks: Blocks) -> list[tuple[str, str]]:
    return [(block.kind, block.text) for block in blocks.all]


def test_signed_thinking_is_followed_by_a_block_of_its_own() -> None:
    blocks = Blocks(Sent(requested_model="m"))
    first, second = (sign(KeptReasoning(each, "x")) for each in ("rs_1", "rs_2"))
    out = blocks.thinking("a") + blocks.signature(first)
    assert blocks.thinking("\n\n") == b""
    out += blocks.thinking("\nb") + blocks.signature(second) + blocks.signature(sign()) + blocks.end()
    assert told(blocks) == [("thinking", "a"), ("thinking", "b"), ("thinking", "")]
    assert out.count(b"signature_delta") == out.count(b"content_block_start") // 2 == 3


def test_a_call_waits_until_the_open_one_is_complete() -> None:
    blocks = Blocks(Sent(requested_model="m"))
    blocks.call(CallPiece(index=0, id="a", function=Function("f", "{")))
    assert blocks.call(CallPiece(index=1, id="b", function=Function("g", "{}"))) == b""
    assert blocks.text("later") == b""
    assert b"partial_json" in blocks.call(CallPiece(index=0, function=Function(arguments="}")))
    out = blocks.text("!")
    assert out.count(b"event: content_block_stop") == 2
    assert b'"text":"later!"' in out


def test_an_id_that_comes_late_or_alone_changes_nothing() -> None:
    blocks = Blocks(Sent(requested_model="m"))
    blocks.call(CallPiece(index=0, function=Function("f", '{"a":')))
    blocks.call(CallPiece(index=0, id="late", function=Function(arguments="1")))
    blocks.call(CallPiece(index=0))
    blocks.call(CallPiece(function=Function("f", "}")))
    assert told(blocks) == [("tool_use", '{"a":1}')]


def test_blocks_start_empty() -> None:
    assert Block("text").text == ""
