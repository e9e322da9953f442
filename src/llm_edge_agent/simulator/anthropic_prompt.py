"""From a Messages request to a turn of the simulated model."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from llm_edge_agent.simulator.answers import ToolSpec, Turn
from llm_edge_agent.simulator.anthropic_conversation import blocks, merged
from llm_edge_agent.simulator.directives import Directives
from llm_edge_agent.simulator.documents import PAGE_TOKENS, pages
from llm_edge_agent.simulator.prompts import Segment, image_segment, json_segment, text_segment

Body = Mapping[str, Any]
Ttl = Literal["5m", "1h"]


def last_user_text(body: Body) -> str:
    """The text blocks of the last user turn that has any, joined."""
    for turn in reversed(merged(body["messages"])):
        text = "".join(block["text"] for block in turn.blocks if block["type"] == "text")
        if turn.role == "user" and text:
            return text
    return ""


def segments(body: Body) -> list[Segment]:
    """All that is counted, in the order of the cache: tools, system, messages; the output format last."""
    found = [json_segment(_unmarked(tool), _ttl(tool)) for tool in body.get("tools") or ()]
    system = body.get("system")
    if system:
        found += [text_segment(block["text"], _ttl(block)) for block in blocks(system)]
    for message in body["messages"]:
        for block in blocks(message["content"]):
            found += _block_segments(block)
    if found and body.get("cache_control"):
        last = found[-1]
        found[-1] = Segment(last.text, last.tokens, _ttl(body))
    wanted = (body.get("output_config") or {}).get("format")
    if wanted:
        found.append(json_segment(wanted))
    return found


def _unmarked(value: Body) -> dict[str, Any]:
    return {key: each for key, each in value.items() if key != "cache_control"}


def _ttl(block: Body) -> Ttl | None:
    marker = block.get("cache_control")
    if not marker:
        return None
    return "1h" if marker.get("ttl") == "1h" else "5m"


def _block_segments(block: Body) -> Iterator[Segment]:
    ttl = _ttl(block)
    match block["type"]:
        case "text":
            yield text_segment(block["text"], ttl)
        case "image":
            yield image_segment(block["source"], ttl)
        case "document" if block["source"]["type"] == "base64":
            yield Segment(block["source"]["data"], pages(block["source"]["data"]) * PAGE_TOKENS, ttl)
        case "tool_use":
            yield text_segment(block["name"])
            yield json_segment(block["input"], ttl)
        case "tool_result":
            inner = blocks(block.get("content") or [])
            for part in inner:
                yield from _block_segments(part)
            yield Segment(block["tool_use_id"], 0, ttl)  # a breakpoint is no part of the prefix that it ends
        case "thinking":
            yield text_segment(block["thinking"])
        case _:
            yield json_segment(_unmarked(block), ttl)


def turn(body: Body, directives: Directives, prompt: str, reasoning: str) -> Turn:
    choice = body.get("tool_choice") or {"type": "auto"}
    words = {"any": "required", "tool": f"={choice.get('name')}"}
    wanted = (body.get("output_config") or {}).get("format")
    return Turn(
        user_text=last_user_text(body),
        prompt=prompt,
        directives=directives,
        tools=tuple(
            ToolSpec(tool["name"], tool["input_schema"]) for tool in body.get("tools") or () if "input_schema" in tool
        ),
        choice=words.get(choice["type"], choice["type"]),
        parallel=not choice.get("disable_parallel_tool_use"),
        results=tuple(_results(body)),
        schema=wanted["schema"] if wanted else None,
        max_tokens=body["max_tokens"],
        stops=tuple(body.get("stop_sequences") or ()),
        reasoning=reasoning,
    )


def _results(body: Body) -> Iterator[tuple[str, str]]:
    """The tool results of the last turn, with the names of their tools."""
    turns = merged(body["messages"])
    names = {block["id"]: block["name"] for each in turns for block in each.blocks if block["type"] == "tool_use"}
    for block in turns[-1].blocks:
        if block["type"] == "tool_result":
            content = blocks(block.get("content") or [])
            text = "".join(part.get("text", f"[{part['type']}]") for part in content)
            yield names[block["tool_use_id"]], ("Error: " if block.get("is_error") else "") + text
