"""Tools and the choice among them (mapping section 4): functions, custom tools, the old `functions`, and the forced
tool that stands in for structured output."""

import re
from collections.abc import Collection, Iterable

import msgspec

from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_to_messages.content import PartReader
from llm_edge_agent.dialects.chat_to_messages.schema import (
    MAX_STRICT_OPTIONAL,
    MAX_STRICT_TOOLS,
    MAX_STRICT_UNIONS,
    strict_complexity,
)
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

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_EXTRAS = ("input_examples", "defer_loading", "allowed_callers", "eager_input_streaming")
"""Members of an Anthropic tool that pass from the client's tool, or from its `function`, as they are."""

CUSTOM_INPUT_SCHEMA: Json = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}


class ToolPlan(msgspec.Struct):
    """The tools of one request as Anthropic gets them. `choice` is None where the client said nothing."""

    tools: list[Json] = []
    choice: Json | None = None
    custom: frozenset[str] = frozenset()
    legacy: bool = False
    choice_param: str = "tool_choice"

    @property
    def forced(self) -> bool:
        return self.choice is not None and self.choice["type"] in ("any", "tool")


def checked_name(name: str, param: str) -> str:
    if TOOL_NAME.fullmatch(name) is None:
        raise invalid(
            f"Invalid '{param}': expected 1 to 128 letters, digits, underscores or hyphens, but got '{name[:64]}'.",
            param,
        )
    return name


class _StrictBudget:
    """Bounds on strict tools hold for the whole request: the first that fit stay strict."""

    def __init__(self, *, supported: bool) -> None:
        self._supported = supported
        self._tools = self._optional = self._unions = 0

    def takes(self, schema: Json) -> bool:
        if not self._supported:
            return False
        complexity = strict_complexity(schema)
        if (
            complexity is None
            or self._tools == MAX_STRICT_TOOLS
            or self._optional + complexity.optional > MAX_STRICT_OPTIONAL
            or self._unions + complexity.unions > MAX_STRICT_UNIONS
        ):
            return False
        self._tools += 1
        self._optional += complexity.optional
        self._unions += complexity.unions
        return True


def read_tools(request: Json, model: Model, parts: PartReader, losses: Losses) -> ToolPlan:
    """`tools`, `tool_choice`, `parallel_tool_calls`, `functions` and `function_call`. Raises GatewayError (400)."""
    plan = ToolPlan()
    strict = _StrictBudget(supported=model.rules.structured_outputs)
    custom: list[str] = []
    if "functions" in request:
        if "tools" in request:
            raise invalid("'functions' and 'tools' cannot be used together.", "functions")
        plan.legacy = True
        plan.choice_param = "function_call"
        for index, function in enumerate(items(request["functions"], "functions")):
            place = f"functions[{index}]"
            plan.tools.append(_function(present(members(function, place)), {}, place, parts, strict, losses))
    for index, entry in enumerate(items(request.get("tools", []), "tools")):
        place = f"tools[{index}]"
        tool = present(members(entry, place))
        kind = required_text(tool, "type", place)
        if kind not in ("function", "custom"):
            raise invalid(f"Tools of type '{kind[:64]}' are not supported by this model.", f"{place}.type")
        if kind not in tool:
            raise missing(f"{place}.{kind}")
        inner = present(members(tool[kind], f"{place}.{kind}"))
        if kind == "function":
            plan.tools.append(_function(inner, tool, f"{place}.function", parts, strict, losses))
        else:
            plan.tools.append(_custom(inner, tool, f"{place}.custom", parts))
            custom.append(inner["name"])
    plan.custom = frozenset(custom)
    if plan.tools and not model.tools:
        raise unsupported("Tools are not supported by this model.", "functions" if plan.legacy else "tools")
    choice = request.get("function_call" if plan.legacy else "tool_choice")
    if choice is not None:
        _choose(plan, choice, losses)
    _parallel(plan, request)
    return plan


def _extras(target: Json, tool: Json, inner: Json, parts: PartReader, param: str) -> Json:
    for key in _EXTRAS:
        value = tool.get(key, inner.get(key))
        if value is not None:
            target[key] = value
    marker = parts.marker(tool, param) or parts.marker(inner, param)
    if marker is not None:
        target["cache_control"] = marker
    return target


def _function(function: Json, tool: Json, param: str, parts: PartReader, strict: _StrictBudget, losses: Losses) -> Json:
    name = checked_name(required_text(function, "name", param), f"{param}.name")
    answer: Json = {"name": name}
    if "description" in function:
        answer["description"] = text(function["description"], f"{param}.description")
    schema = members(function.get("parameters", {}), f"{param}.parameters")
    kind = schema.get("type", "object")
    if kind != "object":
        raise invalid("The parameters of a function must be a schema of type 'object'.", f"{param}.parameters")
    cleaned: Json = {"type": "object"}
    cleaned |= {key: value for key, value in schema.items() if key != "$schema"}
    if not schema:
        cleaned["properties"] = {}
    answer["input_schema"] = cleaned
    if flag(function.get("strict", False), f"{param}.strict"):
        if strict.takes(cleaned):
            answer["strict"] = True
        else:
            losses.dropped("tools.strict", param=f"{param}.strict")
    return _extras(answer, tool, function, parts, param)


def _custom(custom: Json, tool: Json, param: str, parts: PartReader) -> Json:
    name = checked_name(required_text(custom, "name", param), f"{param}.name")
    if "format" in custom:
        place = f"{param}.format"
        kind = required_text(members(custom["format"], place), "type", place)
        if kind != "text":
            raise unsupported(f"Custom tools with format '{kind[:64]}' are not supported by this model.", place)
    answer: Json = {"name": name}
    if "description" in custom:
        answer["description"] = text(custom["description"], f"{param}.description")
    answer["input_schema"] = CUSTOM_INPUT_SCHEMA
    return _extras(answer, tool, custom, parts, param)


def _choose(plan: ToolPlan, choice: object, losses: Losses) -> None:
    param = plan.choice_param
    if isinstance(choice, str):
        words = {"none": "none", "auto": "auto"} if plan.legacy else {"none": "none", "auto": "auto", "required": "any"}
        if choice not in words:
            raise invalid(f"Invalid value: '{choice[:64]}'. Supported values are: {', '.join(words)}.", param)
        kind = words[choice]
        if not plan.tools and kind == "any":
            raise invalid(f"'{param}' is only allowed when tools are given.", param)
        if plan.tools:
            plan.choice = {"type": kind}
        return
    wanted = present(members(choice, param))
    if plan.legacy:
        plan.choice = _named(plan, required_text(wanted, "name", param), f"{param}.name")
        return
    kind = required_text(wanted, "type", param)
    if kind in ("function", "custom"):
        inner = members(wanted.get(kind, {}), f"{param}.{kind}")
        plan.choice = _named(plan, required_text(inner, "name", f"{param}.{kind}"), f"{param}.{kind}.name")
    elif kind == "allowed_tools":
        _allow(plan, present(members(wanted.get("allowed_tools", {}), f"{param}.allowed_tools")), losses)
    else:
        raise invalid(f"Invalid value: '{kind[:64]}'.", f"{param}.type")


def _named(plan: ToolPlan, name: str, param: str) -> Json:
    return {"type": "tool", "name": _known({tool["name"] for tool in plan.tools}, name, param)}


def _known(names: Collection[str], name: str, param: str) -> str:
    if name not in names:
        raise invalid(f"Tool '{name[:64]}' not found among the tools of the request.", param)
    return name


def _allow(plan: ToolPlan, allowed: Json, losses: Losses) -> None:
    param = "tool_choice.allowed_tools"
    mode = required_text(allowed, "mode", param)
    if mode not in ("auto", "required"):
        raise invalid(f"Invalid value: '{mode[:64]}'. Supported values are: auto, required.", f"{param}.mode")
    known = {tool["name"] for tool in plan.tools}
    names: set[str] = set()
    for index, entry in enumerate(items(allowed.get("tools", []), f"{param}.tools")):
        place = f"{param}.tools[{index}]"
        tool = members(entry, place)
        kind = required_text(tool, "type", place)
        name = required_text(members(tool.get(kind, {}), f"{place}.{kind}"), "name", f"{place}.{kind}")
        names.add(_known(known, name, f"{place}.{kind}.name"))
    if not names:
        raise invalid("The list of allowed tools is empty.", f"{param}.tools")
    if any(tool["name"] not in names for tool in plan.tools):
        plan.tools = [tool for tool in plan.tools if tool["name"] in names]
        losses.changed("tool_choice")
    plan.choice = {"type": "any" if mode == "required" else "auto"}


def _parallel(plan: ToolPlan, request: Json) -> None:
    """One call at a time, where the client says so or can take no more."""
    parallel = flag(request.get("parallel_tool_calls", True), "parallel_tool_calls") and not plan.legacy
    if parallel or not plan.tools:
        return
    if plan.choice is None:
        plan.choice = {"type": "auto"}
    if plan.choice["type"] != "none":
        plan.choice["disable_parallel_tool_use"] = True


def soften(plan: ToolPlan, losses: Losses) -> str:
    """Replaces a forced choice, which this model refuses, and returns the line that asks for it instead."""
    choice = plan.choice or {}
    param = plan.choice_param
    losses.changed_or_refused(param, "Forced tool use is not supported by this model.", param=param)
    plan.choice = {"type": "auto"} | {key: choice[key] for key in choice if key == "disable_parallel_tool_use"}
    if choice.get("type") == "tool":
        return f"You must call the tool {choice['name']}."
    return "You must call one of the tools."


def stubs(names: Iterable[str]) -> ToolPlan:
    """Tools that only the history speaks of: Anthropic wants them declared; the model may not call them."""
    tools: list[Json] = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in names]
    return ToolPlan(tools=tools, choice={"type": "none"})


def add_schema_tool(plan: ToolPlan, name: str, description: str | None, schema: Json) -> str:
    """Adds the tool whose input is the structured answer and makes the model call it, or, with the client's own
    tools beside it, one of them. Returns its name."""
    taken = {tool["name"] for tool in plan.tools}
    while name in taken:
        name += "_"
    tool: Json = {"name": name}
    if description is not None:
        tool["description"] = description
    tool["input_schema"] = schema
    choice = plan.choice or {"type": "auto"}
    open_choice = bool(plan.tools) and choice["type"] in ("auto", "any")
    plan.tools = [*plan.tools, tool]
    if open_choice:
        plan.choice = {**choice, "type": "any"}
    else:
        plan.choice = {"type": "tool", "name": name, "disable_parallel_tool_use": True}
    return name
