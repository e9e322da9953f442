"""Anthropic's tools and the choice among them as OpenAI's functions (mapping section 4, reverse)."""

import hashlib
from typing import Any

from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.fields import (
    Json,
    Losses,
    flag,
    invalid,
    items,
    members,
    missing,
    present,
    required_text,
    text,
    unsupported,
)

MAX_NAME = 64
"""OpenAI's bound; Anthropic takes 128, and tools of MCP servers use them."""

_DIGEST = 8
_LOST = ("input_examples", "defer_loading", "allowed_callers")
"""Members of a tool that change what the model sees and have no counterpart."""


class ToolNames:
    """Names as OpenAI takes them, and the way back. The same name is always shortened the same way."""

    def __init__(self) -> None:
        self.own: dict[str, str] = {}
        """Shortened name -> the client's own."""

    def sent(self, name: str) -> str:
        if len(name) <= MAX_NAME:
            return name
        digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
        short = f"{name[: MAX_NAME - _DIGEST - 1]}_{digest}"
        self.own[short] = name
        return short


def read_tools(request: Json, model: Model, names: ToolNames, losses: Losses) -> Json:
    """`tools`, `tool_choice` and `parallel_tool_calls` of the chat request. Raises GatewayError (400)."""
    functions = [
        _function(present(members(entry, f"tools.{index}")), f"tools.{index}", names, losses)
        for index, entry in enumerate(items(request.get("tools", []), "tools"))
    ]
    if functions and not model.tools:
        raise unsupported("Tools are not supported by this model.", "tools")
    out: Json = {"tools": functions} if functions else {}
    if "tool_choice" not in request:
        return out
    choice = present(members(request["tool_choice"], "tool_choice"))
    kind = required_text(choice, "type", "tool_choice")
    if kind not in ("auto", "any", "tool", "none"):
        raise invalid(f"Invalid value: '{kind[:64]}'. Supported values are: auto, any, tool, none.", "tool_choice.type")
    one_at_a_time = flag(choice.get("disable_parallel_tool_use", False), "tool_choice.disable_parallel_tool_use")
    if not functions:
        if kind in ("any", "tool"):
            raise invalid("'tool_choice' is only allowed when tools are given.", "tool_choice")
        return out
    out["tool_choice"] = _choice(kind, choice, {entry["function"]["name"] for entry in functions}, names)
    if one_at_a_time and kind != "none":
        out["parallel_tool_calls"] = False
    return out


def _choice(kind: str, choice: Json, known: set[str], names: ToolNames) -> Any:
    if kind != "tool":
        return "required" if kind == "any" else kind
    name = names.sent(required_text(choice, "name", "tool_choice"))
    if name not in known:
        raise invalid(f"Tool '{name[:64]}' not found among the tools of the request.", "tool_choice.name")
    return {"type": "function", "function": {"name": name}}


def _function(tool: Json, param: str, names: ToolNames, losses: Losses) -> Json:
    kind = text(tool.get("type", "custom"), f"{param}.type")
    if kind != "custom":
        raise unsupported(f"Tools of type '{kind[:64]}' are not supported with this model.", f"{param}.type")
    function: Json = {"name": names.sent(required_text(tool, "name", param))}
    if "description" in tool:
        function["description"] = text(tool["description"], f"{param}.description")
    if "input_schema" not in tool:
        raise missing(f"{param}.input_schema")
    schema = members(tool["input_schema"], f"{param}.input_schema")
    function["parameters"] = schema
    if flag(tool.get("strict", False), f"{param}.strict"):
        if fits_strict(schema):
            function["strict"] = True
        else:
            losses.dropped("tools.strict", param=f"{param}.strict")
    for key in _LOST:
        if tool.get(key):
            losses.dropped(f"tools.{key}", param=f"{param}.{key}")
    return {"type": "function", "function": function}


def fits_strict(schema: Json) -> bool:
    """Whether OpenAI's strict mode takes the schema: an object at the root, every object closed, every member of it
    required."""
    return schema.get("type") == "object" and "anyOf" not in schema and _closed(schema)


def _closed(schema: object) -> bool:
    if isinstance(schema, list):
        return all(_closed(each) for each in schema)
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if schema.get("type") == "object" or properties is not None:
        required = schema.get("required")
        if (
            schema.get("additionalProperties") is not False
            or not isinstance(properties, dict)
            or not isinstance(required, list)
            or any(name not in required for name in properties)
        ):
            return False
    within: list[object] = [schema.get(key) for key in ("items", "anyOf", "allOf", "oneOf")]
    for key in ("properties", "$defs", "definitions"):
        named = schema.get(key)
        within += named.values() if isinstance(named, dict) else ()
    return all(_closed(each) for each in within)
