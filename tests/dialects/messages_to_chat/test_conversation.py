"""Messages that are refused, and those that are put in another place."""

from typing import Any

import pytest

from llm_edge_agent.dialects.gateway_signature import KeptReasoning, sign
from tests.dialects.messages_to_chat import models
from tests.dialects.messages_to_chat.models import loop, out, refused, tool, translate

Json = dict[str, Any]
HI = {"role": "user", "content": "Hi"}
CALL = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
RESULT_A, RESULT_B = ({"type": "tool_result", "tool_use_id": each, "content": each.upper()} for each in ("a", "b"))


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ([7], "messages.0"),
        ([{}], "messages.0.role"),
        ([{"role": "user"}], "messages.0.content"),
        ([{"role": "tool", "content": ""}], "messages.0.role"),
        ([{"role": "user", "content": []}], "messages.0.content"),
        ([{"role": "user", "content": 7}], "messages.0.content"),
        ([HI, {"role": "system", "content": [{"type": "image", "source": {"type": "url", "url": "u"}}]}], None),
        ([HI, {"role": "assistant", "content": [{"type": "server_tool_use"}]}], "messages.1.content.0.type"),
        ([HI, {"role": "assistant", "content": [CALL, CALL]}], "messages.1.content.1.id"),
        ([{"role": "user", "content": [RESULT_A]}], "messages.0.content.0.tool_use_id"),
        ([HI, {"role": "assistant", "content": [CALL]}, {"role": "assistant", "content": "x"}], "messages"),
    ],
)
def test_what_is_refused(messages: list[Json], param: str | None) -> None:
    error = refused({"messages": messages})
    assert error.param == (param or "messages.1.content")


def test_results_stand_behind_their_calls_wherever_they_came() -> None:
    request = loop(RESULT_A, {"type": "text", "text": "and"})
    request["messages"].append({"role": "user", "content": [RESULT_B]})
    roles = [(message["role"], message.get("content")) for message in out(request, name=models.PLAIN)["messages"]]
    assert roles[2:] == [("tool", "A"), ("tool", "B"), ("user", "and")]


def test_a_result_that_says_nothing() -> None:
    empty: list[Json] = [{"type": "tool_result", "tool_use_id": each} for each in ("a", "b")]
    tools = [message for message in out(loop(*empty), name=models.PLAIN)["messages"] if message["role"] == "tool"]
    assert [message["content"] for message in tools] == ["", ""]


def test_an_assistant_message_of_which_nothing_is_left() -> None:
    thinking = {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "d"}]}
    translated = translate({"messages": [HI, thinking, HI]})
    assert translated.warnings == ("changed:messages",)
    assert out({"messages": [HI, thinking, HI]})["messages"] == [HI, HI]


def test_reasoning_of_the_responses_api_goes_back_there_and_nowhere_else() -> None:
    signature = sign(KeptReasoning("rs_1", "gAAA"))
    request = loop(RESULT_A, RESULT_B)
    request["messages"][1]["content"].insert(0, {"type": "thinking", "thinking": "t", "signature": signature})
    kept = [{"type": "thinking", "thinking": "", "signature": signature}]
    assert out(request, name=models.NEWEST)["messages"][1]["thinking_blocks"] == kept
    assert "thinking_blocks" not in out(request, name=models.PLAIN)["messages"][1]
    # also where this request alone would not have gone there
    off = {"thinking": {"type": "disabled"}}
    assert translate(request | off, name=models.NEWEST).to_responses


def test_the_instructions_have_the_role_the_model_knows() -> None:
    assert out({"system": "s"}, name=models.PLAIN)["messages"][0]["role"] == "system"
    assert out({"system": "s"}, name=models.NEWEST)["messages"][0]["role"] == "developer"
    assert out({"system": []})["messages"] == [HI]
    assert refused({"system": [{"type": "text", "text": "x"}, 7]}).param == "system.1"


def test_names_of_calls_are_shortened_like_the_tools() -> None:
    name = "n" * 100
    call = {"type": "tool_use", "id": "a", "name": name, "input": {}}
    request = {
        "messages": [HI, {"role": "assistant", "content": [call]}, {"role": "user", "content": [RESULT_A]}],
        "tools": [tool(name)],
    }
    sent = out(request, name=models.PLAIN)
    (called,) = sent["messages"][1]["tool_calls"]
    assert called["function"]["name"] == sent["tools"][0]["function"]["name"]
    assert len(called["function"]["name"]) == 64
