import json
from collections.abc import Callable
from typing import Any

import pytest

from llm_edge_agent.dialects.endpoint import Call
from llm_edge_agent.dialects.gateway_signature import KeptReasoning, sign
from llm_edge_agent.dialects.native import read_call
from llm_edge_agent.dialects.own_thinking import chat_without_own_thinking, messages_without_own_thinking

OWN = {"type": "thinking", "thinking": "", "signature": sign(KeptReasoning("rs_1", "gAAA"))}
OTHER = {"type": "thinking", "thinking": "t", "signature": "EqRk"}
CALLED = {"type": "tool_use", "id": "a", "name": "f", "input": {"n": 1}}
HI = {"role": "user", "content": "Hi"}
SAID = {"role": "assistant", "content": "x", "reasoning_content": "r"}


SIZES = pytest.mark.parametrize("padding", [0, 20_000])


def call(messages: Any, padding: int) -> Call:
    told = json.dumps(messages, separators=(",", ":"))
    raw = f'{{ "temperature" : 0.50, "messages": {told} , "model":"m"}}\n{" " * padding}'
    return read_call(raw.encode(), max_depth=64)


@SIZES
@pytest.mark.parametrize(
    ("clean", "before", "after"),
    [
        (
            chat_without_own_thinking,
            [HI, SAID | {"thinking_blocks": [OWN]}, HI],
            [HI, {"role": "assistant", "content": "x"}, HI],
        ),
        (
            chat_without_own_thinking,
            [SAID | {"thinking_blocks": [OWN, OTHER, 7]}],
            [{"role": "assistant", "content": "x", "thinking_blocks": [OTHER, 7]}],
        ),
        (
            messages_without_own_thinking,
            [HI, {"role": "assistant", "content": [OWN, CALLED]}, HI],
            [HI, {"role": "assistant", "content": [CALLED]}, HI],
        ),
        (messages_without_own_thinking, [HI, {"role": "assistant", "content": [OWN]}, HI, 7], [HI, HI, 7]),
    ],
)
def test_blocks_of_our_own_making_stay_behind(
    clean: Callable[[Call], Call], before: Any, after: Any, padding: int
) -> None:
    cleaned, expected = clean(call(before, padding)), call(after, padding)
    assert cleaned.body.raw == expected.body.raw
    assert cleaned.body.value["messages"] == expected.body.value["messages"]
    assert (cleaned.model, cleaned.stream) == ("m", False)


@SIZES
@pytest.mark.parametrize("clean", [chat_without_own_thinking, messages_without_own_thinking])
@pytest.mark.parametrize(
    "messages",
    [
        [HI],
        "lea1.",
        [{"role": "user", "content": "What does lea1. mean?"}, 7],
        [{"role": "assistant", "content": "lea1.", "thinking_blocks": [OTHER], "reasoning_content": "r"}],
        [{"role": "assistant", "content": [OTHER, {"type": "text", "text": "lea1."}], "thinking_blocks": "lea1."}],
        [{"role": "user", "content": [{"type": "other", "signature": "lea1."}]}],
    ],
)
def test_everything_else_is_left_as_it_is(clean: Callable[[Call], Call], messages: Any, padding: int) -> None:
    asked = call(messages, padding)
    assert clean(asked) is asked


def test_an_escape_does_not_hide_the_mark() -> None:
    plain = call([HI, {"role": "assistant", "content": [OWN, CALLED]}], 0)
    hidden = plain.body.raw.replace(b"lea1.", b"\\u006cea1.")
    assert hidden != plain.body.raw
    asked = read_call(hidden, max_depth=64)
    cleaned = messages_without_own_thinking(asked)
    assert cleaned.body.value["messages"] == [HI, {"role": "assistant", "content": [CALLED]}]
