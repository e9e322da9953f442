"""From a Responses request to a turn of the simulated model."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llm_edge_agent.simulator.answers import ToolSpec, Turn
from llm_edge_agent.simulator.catalog import OpenAIModel
from llm_edge_agent.simulator.directives import Directives
from llm_edge_agent.simulator.openai_prompt import REASONING_TOKENS
from llm_edge_agent.simulator.openai_responses_rules import effective_effort, kind
from llm_edge_agent.simulator.openai_sealed_reasoning import opened
from llm_edge_agent.simulator.prompts import Segment, image_segment, json_segment, text_segment

Body = Mapping[str, Any]
Item = Mapping[str, Any]

_OUTPUTS = ("function_call_output", "custom_tool_call_output")


def items_of(value: Any) -> list[Item]:
    """Input as items: a string is one user message."""
    return [{"type": "message", "role": "user", "content": value}] if isinstance(value, str) else list(value or ())


def text_of(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text") or part.get("refusal") or "" for part in content)
    return content or ""


def last_user_text(items: Sequence[Item]) -> str:
    for item in reversed(items):
        if kind(item) == "message" and item["role"] == "user":
            return text_of(item["content"])
    return ""


def segments(body: Body, items: Sequence[Item]) -> list[Segment]:
    """All that is counted: tools, format, instructions, then the items in order."""
    found = [json_segment(tool) for tool in body.get("tools") or ()]
    wanted = (body.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        found.append(json_segment(wanted))
    if body.get("instructions"):
        found.append(text_segment(body["instructions"]))
    for item in items:
        found += _item_segments(item)
    return found


def _item_segments(item: Item) -> Iterator[Segment]:
    match kind(item):
        case "message":
            yield from _content_segments(item["content"])
        case "function_call" | "custom_tool_call":
            yield text_segment(item["name"])
            yield text_segment(item["arguments"] if "arguments" in item else item["input"])
        case "function_call_output" | "custom_tool_call_output":
            yield from _content_segments(item["output"])
        case "reasoning":
            sealed = item.get("encrypted_content") or ""
            yield Segment(sealed, opened(sealed) or 0)
        case _:
            yield json_segment({key: each for key, each in item.items() if key != "id"})


def _content_segments(content: Any) -> Iterator[Segment]:
    if isinstance(content, str):
        yield text_segment(content)
        return
    for part in content:
        if part["type"] == "input_image":
            yield image_segment({"url": part["image_url"]})
        elif part["type"] == "input_file":
            yield json_segment({key: each for key, each in part.items() if key.startswith("file")})
        else:
            yield text_segment(part.get("text") or part.get("refusal") or "")


def reasoning_tokens(body: Body, model: OpenAIModel) -> int:
    return REASONING_TOKENS[effective_effort(body, model)] if model.efforts else 0


def turn(body: Body, items: Sequence[Item], model: OpenAIModel, directives: Directives, prompt: str) -> Turn:
    wanted = (body.get("text") or {}).get("format") or {}
    choice, tools = _tools(body)
    return Turn(
        user_text=last_user_text(items),
        prompt=prompt,
        directives=directives,
        tools=tools,
        choice=choice,
        parallel=body.get("parallel_tool_calls") is not False,
        results=tuple(_results(items)),
        schema=wanted["schema"] if wanted.get("type") == "json_schema" else None,
        json_object=wanted.get("type") == "json_object",
        max_tokens=body.get("max_output_tokens"),
        hidden_reasoning=reasoning_tokens(body, model),
    )


def _tools(body: Body) -> tuple[str, tuple[ToolSpec, ...]]:
    tools = tuple(
        ToolSpec(tool["name"], tool.get("parameters") or {}, tool["type"])
        for tool in body.get("tools") or ()
        if tool["type"] in ("function", "custom")
    )
    choice = body.get("tool_choice") or "auto"
    if isinstance(choice, str):
        return choice, tools
    if choice["type"] == "allowed_tools":
        names = {tool.get("name") for tool in choice["tools"]}
        return choice["mode"], tuple(tool for tool in tools if tool.name in names)
    return (f"={choice['name']}" if "name" in choice else "auto"), tools


def _results(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    """The tool results at the end of the conversation, with the names of their tools."""
    names = {item["call_id"]: item["name"] for item in items if kind(item) in ("function_call", "custom_tool_call")}
    last = len(items)
    while last and kind(items[last - 1]) in _OUTPUTS:
        last -= 1
    for item in items[last:]:
        yield names[item["call_id"]], text_of(item["output"])
