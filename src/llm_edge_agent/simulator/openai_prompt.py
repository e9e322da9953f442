"""From a chat completion request to turns of the simulated model."""

from collections.abc import Iterator, Mapping
from typing import Any

from llm_edge_agent.simulator.answers import ToolSpec, Turn
from llm_edge_agent.simulator.catalog import OpenAIModel
from llm_edge_agent.simulator.directives import Directives
from llm_edge_agent.simulator.openai_rules import allowed_name, effective_effort
from llm_edge_agent.simulator.prompts import Segment, image_segment, json_segment, text_segment

Body = Mapping[str, Any]

REASONING_TOKENS = {"none": 0, "minimal": 8, "low": 16, "medium": 32, "high": 64, "xhigh": 128, "max": 256}
"""Tokens that a reasoning model spends before it answers, by effort."""
REFUSAL = "I'm sorry, I can't help with that."
"""What a model says that will not answer."""


def last_user_text(body: Body) -> str:
    """The text parts of the last user message, joined; empty where there is none."""
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            return content_text(message["content"])
    return ""


def content_text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text") or part.get("refusal") or "" for part in content)
    return content or ""


def segments(body: Body) -> list[Segment]:
    """All that is counted: tools, formats, then the messages in order."""
    found = [json_segment(tool) for tool in body.get("tools") or ()]
    found += [json_segment(function) for function in body.get("functions") or ()]
    if (body.get("response_format") or {}).get("type") == "json_schema":
        found.append(json_segment(body["response_format"]))
    for message in body["messages"]:
        found += _message_segments(message)
    return found


def _message_segments(message: Body) -> Iterator[Segment]:
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        if part["type"] in ("text", "refusal"):
            yield text_segment(part[part["type"]])
        elif part["type"] == "image_url":
            yield image_segment(part["image_url"])
        else:
            yield json_segment(part[part["type"]])
    if isinstance(content, str):
        yield text_segment(content)
    for call in message.get("tool_calls") or ():
        inner = call[call["type"]]
        yield text_segment(inner["name"])
        yield text_segment(inner.get("arguments") or inner.get("input") or "")
    if message.get("function_call"):
        yield text_segment(message["function_call"]["name"])
        yield text_segment(message["function_call"]["arguments"])


def turns(body: Body, model: OpenAIModel, directives: Directives, prompt: str) -> list[Turn]:
    """One turn for each of the `n` choices."""
    wanted = body.get("response_format") or {}
    stop = body.get("stop")
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    reasoning = REASONING_TOKENS[effective_effort(body, model)] if model.efforts else 0
    choice, tools = _tools(body)
    return [
        Turn(
            user_text=last_user_text(body),
            prompt=prompt,
            directives=directives,
            tools=tools,
            choice=choice,
            parallel=body.get("parallel_tool_calls") is not False and "functions" not in body,
            results=tuple(_results(body)),
            schema=wanted["json_schema"].get("schema") if wanted.get("type") == "json_schema" else None,
            json_object=wanted.get("type") == "json_object",
            max_tokens=limit,
            stops=(stop,) if isinstance(stop, str) else tuple(stop or ()),
            hidden_reasoning=reasoning,
            variant=variant,
        )
        for variant in range(body.get("n") or 1)
    ]


def _tools(body: Body) -> tuple[str, tuple[ToolSpec, ...]]:
    tools = [_spec(tool) for tool in body.get("tools") or ()]
    tools += [ToolSpec(each["name"], each.get("parameters") or {}) for each in body.get("functions") or ()]
    choice = body.get("tool_choice", body.get("function_call", "auto"))
    if isinstance(choice, str):
        return choice, tuple(tools)
    if choice.get("type") == "allowed_tools":
        allowed = choice["allowed_tools"]
        names = {allowed_name(tool) for tool in allowed["tools"]}
        return allowed["mode"], tuple(tool for tool in tools if tool.name in names)
    named = choice[choice["type"]] if "type" in choice else choice
    return f"={named['name']}", tuple(tools)


def _spec(tool: Body) -> ToolSpec:
    inner = tool[tool["type"]]
    return ToolSpec(inner["name"], inner.get("parameters") or {}, tool["type"])


def _results(body: Body) -> Iterator[tuple[str, str]]:
    """The tool results at the end of the conversation, with the names of their tools."""
    messages = body["messages"]
    names = {call["id"]: call[call["type"]]["name"] for message in messages for call in message.get("tool_calls") or ()}
    last = len(messages)
    while last and messages[last - 1]["role"] in ("tool", "function"):
        last -= 1
    for message in messages[last:]:
        name = names.get(message.get("tool_call_id", ""), message.get("name", "tool"))
        yield name, content_text(message["content"])
