import pytest

from llm_edge_agent.http.messages import Complete, header_block, header_pairs


def test_blocks_and_pairs_are_inverse() -> None:
    pairs = [("content-type", "application/json"), ("x-empty", "")]
    block = header_block(pairs)
    assert block == b"content-type: application/json\r\nx-empty: \r\n"
    assert header_pairs(block) == [(name.encode(), value.encode()) for name, value in pairs]
    assert header_pairs(b"") == []


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "a\0b", "a\rb"])
def test_a_value_cannot_bring_a_line_of_its_own(value: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        header_block([("x", value)])


def test_a_reply_stays_open_and_is_not_repeated_unless_said() -> None:
    reply = Complete(200, b"", b"")
    assert (reply.close, reply.again) == (False, None)
