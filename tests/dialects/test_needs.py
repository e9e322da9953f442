from typing import Any

import msgspec
import pytest

from llm_edge_agent.core import needs
from llm_edge_agent.core.strict_json import Body
from llm_edge_agent.dialects.endpoint import Call
from llm_edge_agent.dialects.needs import MAX_PARTS, TOKENS_PER_ATTACHMENT, needs_of

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}}
TEXT = {"type": "text", "text": "what is this?"}
SCHEMA = {"type": "json_schema", "json_schema": {}}
TOOL = {"type": "function", "function": {"name": "f"}}


def call(body: dict[str, Any], *, stream: bool = False) -> Call:
    return Call(Body(msgspec.json.encode(body), body), "m", stream)


def said(*content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [*content]}]}


@pytest.mark.parametrize(
    ("body", "features"),
    [
        ({"messages": [{"role": "user", "content": "hi"}]}, 0),
        (said(TEXT), 0),
        (said(TEXT, IMAGE), needs.VISION),
        (said({"type": "image", "source": {"data": "AAAA"}}), needs.VISION),
        (said({"type": "document", "source": {"data": "AAAA"}}), needs.PDF),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, needs.VISION),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]}, needs.PDF),
        ({"input": "hi"}, 0),
        ({"input": ["hi", {"content": ["x", None, {"type": "image", "detail": 1}]}]}, needs.VISION),
        (said({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}), needs.AUDIO),
        (said({"type": "tool_result", "content": [TEXT, 7, {"type": "image", "source": {}}]}), needs.VISION),
        (said({"type": "tool_result", "content": "an image"}), 0),
        ({"input": [{"type": "function_call_output", "output": [{"type": "input_image"}]}]}, needs.VISION),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, 0),
        (said({"type": {}}, {"type": ["image"]}, {"type": msgspec.Raw(b"1.5")}, IMAGE), needs.VISION),
        ({"tools": [TOOL]}, needs.TOOLS),
        ({"tools": []}, 0),
        ({"functions": [{"name": "f"}]}, needs.TOOLS),
        ({"tools": [TOOL], "tool_choice": "auto"}, needs.TOOLS),
        ({"tools": [TOOL], "tool_choice": "required"}, needs.TOOLS | needs.FORCED_TOOL),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "f"}}, needs.TOOLS | needs.FORCED_TOOL),
        ({"tools": [TOOL], "tool_choice": {"type": "auto"}}, needs.TOOLS),
        ({"response_format": SCHEMA}, needs.JSON_SCHEMA),
        ({"response_format": {"type": "json_object"}}, 0),
        ({"text": {"format": SCHEMA}}, needs.JSON_SCHEMA),
        ({"output_config": {"format": SCHEMA}}, needs.JSON_SCHEMA),
        ({"text": "x", "output_config": {"format": "x"}}, 0),
        ({"temperature": 0}, needs.SAMPLING),
        ({"temperature": None}, 0),
        ({"stop": ["x"]}, needs.STOP),
    ],
)
def test_what_a_request_needs(body: dict[str, Any], features: int) -> None:
    assert needs_of(call(body)).features == features
    assert needs_of(call(body, stream=True)).features == features | needs.STREAMING


@pytest.mark.parametrize(
    "part",
    [
        IMAGE,
        {"type": "input_audio", "input_audio": {"data": "A" * 40_000, "format": "wav"}},
        {"type": "tool_result", "content": [{"type": "image", "source": {"type": "base64", "data": "A" * 40_000}}]},
    ],
    ids=["image", "sound", "screenshot"],
)
def test_an_attachment_is_not_counted_by_its_bytes(part: dict[str, Any]) -> None:
    plain, pictured = needs_of(call(said(TEXT))), needs_of(call(said(TEXT, part)))
    assert TOKENS_PER_ATTACHMENT <= pictured.prompt_tokens - plain.prompt_tokens < TOKENS_PER_ATTACHMENT + 50


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({}, 0),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 7, "max_tokens": 5}, 7),
        ({"max_output_tokens": 9}, 9),
        ({"max_tokens": -5}, 0),
        ({"max_tokens": "x"}, 0),
    ],
)
def test_the_bound_that_the_client_set(body: dict[str, Any], tokens: int) -> None:
    assert needs_of(call(body)).max_output_tokens == tokens


def test_a_huge_conversation_is_not_looked_through() -> None:
    assert needs_of(call(said(*[TEXT] * MAX_PARTS, IMAGE))).features == 0
    assert needs_of(call(said({"type": "tool_result", "content": [*[TEXT] * MAX_PARTS, IMAGE]}))).features == 0
