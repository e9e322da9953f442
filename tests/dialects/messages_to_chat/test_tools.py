"""Tools: what is refused, what strict mode takes."""

from typing import Any

import msgspec
import pytest

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects.fields import Losses
from llm_edge_agent.dialects.messages_to_chat.tools import ToolNames, fits_strict, read_tools
from tests.dialects.messages_to_chat import models
from tests.dialects.messages_to_chat.models import out, refused, tool, translate

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"tools": [{"input_schema": {}}]}, "tools.0.name"),
        ({"tools": [{"name": "f"}]}, "tools.0.input_schema"),
        ({"tools": [tool(type="bash_20250124")]}, "tools.0.type"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tools": [tool()], "tool_choice": {"type": "tool", "name": "g"}}, "tool_choice.name"),
        ({"tools": [tool()], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
    ],
)
def test_what_is_refused(request_: Json, param: str) -> None:
    assert refused(request_, name=models.PLAIN).param == param


def test_a_model_without_tools() -> None:
    deaf = msgspec.structs.replace(models.model(models.PLAIN), tools=False)
    with pytest.raises(GatewayError) as caught:
        read_tools({"tools": [tool()]}, deaf, ToolNames(), Losses(strict=False))
    assert caught.value.param == "tools"


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "none", "disable_parallel_tool_use": True}, {"tool_choice": "none"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"tool_choice": "auto", "parallel_tool_calls": False}),
    ],
)
def test_choices(choice: Json, sent: Json) -> None:
    got = out({"tools": [tool()], "tool_choice": choice}, name=models.PLAIN)
    assert {key: got[key] for key in ("tool_choice", "parallel_tool_calls") if key in got} == sent


def test_a_choice_without_tools_says_nothing() -> None:
    assert "tool_choice" not in out({"tool_choice": {"type": "auto"}})


CLOSED: Json = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
OPEN: Json = {"type": "object"}


@pytest.mark.parametrize(
    ("schema", "fits"),
    [
        (CLOSED, True),
        (OPEN, False),
        ({"type": "string"}, False),
        (CLOSED | {"anyOf": []}, False),
        (CLOSED | {"properties": {"a": {"type": "string"}}}, False),
        (CLOSED | {"properties": {"a": {"type": "string"}}, "required": ["a"]}, True),
        (CLOSED | {"properties": {"a": OPEN}, "required": ["a"]}, False),
        (CLOSED | {"properties": {"a": {"items": OPEN}}, "required": ["a"]}, False),
        (CLOSED | {"properties": {"a": {"anyOf": [{"type": "null"}, OPEN]}}, "required": ["a"]}, False),
        (CLOSED | {"properties": {"a": {"anyOf": [{"type": "null"}, CLOSED]}}, "required": ["a"]}, True),
        (CLOSED | {"$defs": {"a": OPEN}}, False),
        (CLOSED | {"properties": []}, False),
        (CLOSED | {"required": None}, False),
        (CLOSED | {"properties": {"a": True}, "required": ["a"]}, True),
    ],
)
def test_what_strict_mode_takes(schema: Json, fits: bool) -> None:
    assert fits_strict(schema) is fits


def test_strict_is_kept_or_lost_with_a_warning() -> None:
    kept = translate({"tools": [tool(strict=True, input_schema=CLOSED)]}, name=models.PLAIN)
    assert b'"strict":true' in kept.body
    lost = translate({"tools": [tool(strict=True)]}, name=models.PLAIN)
    assert lost.warnings == ("dropped:tools.strict",)
    assert refused({"tools": [tool(strict=True)]}, name=models.PLAIN, strict=True).param == "tools.0.strict"
