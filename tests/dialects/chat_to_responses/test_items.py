"""Messages that are refused, and reasoning that comes back damaged."""

from typing import Any

import pytest

from llm_edge_agent.dialects.gateway_signature import KeptReasoning, sign
from tests.dialects.chat_to_responses.models import call, out, refused

Json = dict[str, Any]
HI = {"role": "user", "content": "Hi"}


def user(part: Json) -> list[Json]:
    return [{"role": "user", "content": [part]}]


def assistant(**members: Any) -> list[Json]:
    return [HI, {"role": "assistant"} | members]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([7], "messages[0]"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "function", "name": "f", "content": "x"}], "messages[0].role"),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id"),
        (user({"type": "text"}), "messages[0].content[0].text"),
        (user({"type": "image_url"}), "messages[0].content[0].image_url"),
        (user({"type": "image_url", "image_url": {}}), "messages[0].content[0].image_url.url"),
        (user({"type": "file"}), "messages[0].content[0].file"),
        (assistant(audio={"id": "a"}), "messages[1].audio"),
        (assistant(function_call={"name": "f"}), "messages[1].function_call"),
        (assistant(content=[{"type": "image_url"}]), "messages[1].content[0].type"),
        (assistant(tool_calls=[{}]), "messages[1].tool_calls[0].id"),
        (assistant(tool_calls=[{"id": "a"}]), "messages[1].tool_calls[0].function"),
        (assistant(tool_calls=[{"id": "a", "type": "new"}]), "messages[1].tool_calls[0].type"),
        (assistant(thinking_blocks=[7]), "messages[1].thinking_blocks[0]"),
    ],
)
def test_what_is_refused(messages: list[Json], param: str) -> None:
    assert refused({"messages": messages}).param == param


def test_what_an_assistant_said() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": ""}, {"type": "refusal", "refusal": "b"}]
    said = out({"messages": assistant(content=parts, refusal="c")})["input"][1]
    assert said["content"] == [
        {"type": "output_text", "text": "a"},
        {"type": "refusal", "refusal": "b"},
        {"type": "refusal", "refusal": "c"},
    ]
    assert out({"messages": assistant(content="")})["input"] == [{"type": "message", **HI}]


def test_an_image_in_the_short_form() -> None:
    (item,) = out({"messages": user({"type": "image_url", "image_url": "https://example.com/a.png"})})["input"]
    assert item["content"] == [{"type": "input_image", "image_url": "https://example.com/a.png", "detail": "auto"}]


def test_reasoning_leads_to_something_wherever_it_says_it_stood() -> None:
    blocks = [{"signature": sign(KeptReasoning(f"rs_{place}", "e", place))} for place in (-3, 1, 99)]
    items = out({"messages": assistant(content="x", tool_calls=[call()], thinking_blocks=blocks)})["input"][1:]
    assert [item.get("id", item["type"]) for item in items] == ["rs_-3", "message", "rs_1", "rs_99", "function_call"]
    assert out({"messages": assistant(thinking_blocks=blocks)})["input"] == [{"type": "message", **HI}]
