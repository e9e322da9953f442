"""Which chat requests go to the Responses API: one row per rule of the model table."""

from typing import Any

import pytest

from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_to_responses.rule import needs_responses
from llm_edge_agent.dialects.gateway_signature import KeptReasoning, sign
from tests.dialects.chat_to_responses.models import call, function, model

Json = dict[str, Any]

TOOLS = {"tools": [function()]}
CUSTOM = {"tools": [{"type": "custom", "custom": {"name": "c"}}]}
SIGNATURE = sign(KeptReasoning("r", "e"))
KEPT = {
    "messages": [
        {"role": "user", "content": "Hi"},
        {
            "role": "assistant",
            "tool_calls": [call()],
            "thinking_blocks": [{"signature": sign(KeptReasoning("r", "e"))}],
        },
    ]
}


@pytest.mark.parametrize(
    ("name", "request_", "expected"),
    [
        pytest.param("gpt-4.1", TOOLS, False, id="a model that takes tools"),
        pytest.param("gpt-6-sol", {}, False, id="no tools"),
        pytest.param("gpt-6-sol", CUSTOM, False, id="custom tools only"),
        pytest.param("gpt-6-sol", TOOLS, True, id="tools, its default effort"),
        pytest.param("gpt-6-sol", TOOLS | {"reasoning_effort": None}, True, id="tools, no effort named"),
        pytest.param("gpt-6-sol", TOOLS | {"reasoning_effort": "low"}, True, id="tools and an effort"),
        pytest.param("gpt-6-sol", TOOLS | {"reasoning_effort": "none"}, False, id="tools without effort"),
        pytest.param("gpt-6-sol", {"functions": [{"name": "f"}]}, True, id="the old form of tools"),
        pytest.param("gpt-6-astra", TOOLS | {"reasoning_effort": "none"}, True, id="a model without `none`"),
        pytest.param("gpt-6-astra", {}, False, id="a model without `none`, no tools"),
        pytest.param("gpt-5.5", TOOLS, False, id="refused with a named effort only: none"),
        pytest.param("gpt-5.5", TOOLS | {"reasoning_effort": "high"}, True, id="refused with a named effort only: one"),
        pytest.param("gpt-5.5", TOOLS | {"reasoning_effort": "none"}, False, id="refused with a named effort only: no"),
        pytest.param("gpt-5.4-pro", {}, True, id="a model of the Responses API only"),
        pytest.param("gpt-6-sol", KEPT, True, id="a conversation that began there"),
        pytest.param("gpt-6-sol", KEPT | TOOLS | {"reasoning_effort": "none"}, True, id="also without effort"),
        pytest.param("gpt-4.1", KEPT, False, id="but not with another model"),
        pytest.param(
            "gpt-6-sol", {"messages": [{"thinking_blocks": [{"signature": "EqRk"}, 7]}, 7]}, False, id="other"
        ),
        pytest.param("gpt-6-sol", {"messages": 7, "tools": 7}, False, id="nonsense"),
        pytest.param("gpt-6-sol", {"messages": [{"thinking_blocks": 7}], "tools": [7]}, False, id="more nonsense"),
    ],
)
def test_where_a_request_goes(name: str, request_: Json, expected: bool) -> None:
    assert needs_responses(request_, model(name)) is expected


def test_an_unknown_model_is_asked_in_chat() -> None:
    assert not needs_responses(TOOLS, Model.unknown("gpt-7", "openai", "openai"))
