import json
from typing import Any

from llm_edge_agent.dialects.chat import read_request
from llm_edge_agent.dialects.chat_to_responses.leaving import without_own_thinking
from llm_edge_agent.dialects.endpoint import Call
from llm_edge_agent.dialects.gateway_signature import KeptReasoning, sign

OWN = {"type": "thinking", "thinking": "", "signature": sign(KeptReasoning("rs_1", "gAAA"))}
OTHER = {"type": "thinking", "thinking": "t", "signature": "EqRk"}
HI = {"role": "user", "content": "Hi"}


def call(*messages: Any) -> Call:
    told = json.dumps(messages, separators=(",", ":"))
    raw = f'{{ "temperature" : 0.50, "messages": {told} , "model":"m"}}\n'
    return read_request(raw.encode(), max_depth=64)


def test_blocks_of_our_own_making_stay_behind() -> None:
    said = {"role": "assistant", "content": "x", "reasoning_content": "r"}
    cleaned = without_own_thinking(call(HI, said | {"thinking_blocks": [OWN]}, HI))
    expected = call(HI, {"role": "assistant", "content": "x"}, HI)
    assert cleaned.body.raw == expected.body.raw
    assert cleaned.body.value["messages"] == expected.body.value["messages"]
    assert (cleaned.model, cleaned.stream) == ("m", False)
    both = without_own_thinking(call(said | {"thinking_blocks": [OWN, OTHER, 7]}))
    assert both.body.value["messages"] == [{"role": "assistant", "content": "x", "thinking_blocks": [OTHER, 7]}]


def test_everything_else_is_left_as_it_is() -> None:
    for asked in (
        call(HI),
        call({"role": "user", "content": "What does lea1. mean?"}),
        call({"role": "assistant", "content": "lea1.", "thinking_blocks": [OTHER], "reasoning_content": "r"}),
        call({"role": "assistant", "content": "lea1.", "thinking_blocks": "lea1."}),
    ):
        assert without_own_thinking(asked) is asked
