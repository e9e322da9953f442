"""What Anthropic refuses about the messages: their order, their blocks, and how tool uses and results pair up."""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llm_edge_agent.simulator.anthropic_errors import invalid
from llm_edge_agent.simulator.catalog import AnthropicModel
from llm_edge_agent.simulator.documents import MAX_PAGES, MAX_PAGES_LARGE, pages
from llm_edge_agent.simulator.refusals import Refused

Block = Mapping[str, Any]
NEWEST_VERSION = "2026-10-21"


@dataclass(slots=True)
class Turn:
    """Neighbouring messages of one role, merged. `index` is that of the first of them."""

    role: str
    blocks: list[Block]
    index: int


def merged(messages: Sequence[Mapping[str, Any]]) -> list[Turn]:
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        found = blocks(message["content"])
        if turns and turns[-1].role == message["role"]:
            turns[-1].blocks.extend(found)
        else:
            turns.append(Turn(message["role"], list(found), index))
    return turns


def blocks(content: Any) -> Sequence[Block]:
    """Content as blocks: a string is one text block."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def check(messages: Sequence[Mapping[str, Any]], model: AnthropicModel, version: str) -> Iterator[Refused]:
    """What is wrong, the first thing first."""
    if not messages:
        yield invalid("messages: at least one message is required")
    for index, message in enumerate(messages):
        yield from _message(index, message, model, version, last=index == len(messages) - 1)
    yield from _pages(messages, model)
    turns = merged(messages)
    if turns and turns[0].role != "user":
        yield invalid('messages: first message must use the "user" role')
    yield from _tool_pairs(turns)
    if turns[-1].role == "assistant":
        yield from _prefill(turns[-1], model)


def _message(
    index: int, message: Mapping[str, Any], model: AnthropicModel, version: str, *, last: bool
) -> Iterator[Refused]:
    role, found = message["role"], blocks(message["content"])
    if role == "system" and not model.mid_conversation_system:
        yield invalid(
            'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not "system" '
            "as an input message role, for this model."
        )
    if not found and role != "assistant":
        yield invalid(f"messages.{index}: {role} messages must have non-empty content")
    if not found and not last:
        yield invalid(
            f"messages.{index}: all messages must have non-empty content except for the optional final assistant "
            "message"
        )
    for position, block in enumerate(found):
        where = f"messages.{index}.content.{position}"
        kind = block["type"]
        if kind == "text":
            if not block["text"]:
                yield invalid("messages: text content blocks must be non-empty")
            if not block["text"].strip():
                yield invalid("messages: text content blocks must contain non-whitespace text")
            if role == "user" and block.get("citations") and version == NEWEST_VERSION:
                yield invalid(f"{where}.text.citations: Extra inputs are not permitted")
        allowed = _ALLOWED[role]
        if allowed is not None and kind not in allowed:
            yield invalid(f"{where}: `{kind}` blocks are not permitted within {role} messages")
        if kind == "document" and role == "assistant" and version == NEWEST_VERSION:
            yield invalid(f"{where}: `document` blocks are not permitted within assistant messages")
        if kind in ("image", "document"):
            yield from _source(block["source"], f"{where}.{kind}.source")
        if kind == "search_result" and version == NEWEST_VERSION:
            for number, part in enumerate(block["content"]):
                if part.get("citations"):
                    yield invalid(f"{where}.search_result.content.{number}.citations: Extra inputs are not permitted")


_ALLOWED: Mapping[str, frozenset[str] | None] = {
    "system": frozenset({"text"}),
    "user": frozenset({"text", "image", "document", "search_result", "tool_result", "container_upload"}),
    "assistant": frozenset(
        {
            "text",
            "thinking",
            "redacted_thinking",
            "tool_use",
            "document",
            "server_tool_use",
            "web_search_tool_result",
            "web_fetch_tool_result",
            "code_execution_tool_result",
            "bash_code_execution_tool_result",
            "text_editor_code_execution_tool_result",
            "tool_search_tool_result",
        }
    ),
}


def _source(source: Block, where: str) -> Iterator[Refused]:
    if source["type"] == "base64":
        try:
            decoded = base64.b64decode(source["data"], validate=True)
        except (binascii.Error, ValueError):
            decoded = b""
        if not decoded:
            yield invalid(f"{where}.base64.data: invalid base64 data")
        elif source["media_type"] == "application/pdf" and not decoded.startswith(b"%PDF"):
            yield invalid(f"{where}.base64.data: The PDF specified was not valid.")
    elif source["type"] == "url" and not source["url"].startswith("https://"):
        yield invalid(f"{where}.url: Only HTTPS URLs are supported.")


def _pages(messages: Sequence[Mapping[str, Any]], model: AnthropicModel) -> Iterator[Refused]:
    most = MAX_PAGES_LARGE if model.context_window >= 1_000_000 else MAX_PAGES
    sources = [
        block["source"] for message in messages for block in blocks(message["content"]) if block["type"] == "document"
    ]
    if sum(pages(source["data"]) for source in sources if source["type"] == "base64") > most:
        yield invalid(f"A maximum of {most} PDF pages may be provided.")


def _tool_pairs(turns: Sequence[Turn]) -> Iterator[Refused]:
    """Results come at once after their uses, first in their message, all of them, and no others."""
    waiting: list[str] = []
    used: set[str] = set()
    for turn in turns:
        results = [block for block in turn.blocks if block["type"] == "tool_result"]
        answered: list[str] = []
        for position, block in enumerate(turn.blocks):
            if block["type"] != "tool_result":
                break
            answered.append(block["tool_use_id"])
            if block["tool_use_id"] not in waiting:
                yield _unexpected(turn.index, position, block["tool_use_id"])
        if missing := [each for each in waiting if each not in answered]:
            yield invalid(
                f"messages.{turn.index - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )
        for position, block in enumerate(turn.blocks):
            if block["type"] == "tool_result" and block["tool_use_id"] not in waiting:
                yield _unexpected(turn.index, position, block["tool_use_id"])
        ids = [block["tool_use_id"] for block in results]
        if len(set(ids)) != len(ids):
            yield invalid(
                f"messages.{turn.index}.content: each tool_use must have a single result. Found multiple `tool_result` "
                f"blocks with id: {next(each for each in ids if ids.count(each) > 1)}"
            )
        waiting = [block["id"] for block in turn.blocks if block["type"] == "tool_use"]
        if len(set(waiting)) != len(waiting) or used & set(waiting):
            yield invalid("messages: `tool_use` ids must be unique")
        used |= set(waiting)
    if waiting:
        yield invalid(
            f"messages.{turns[-1].index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(waiting)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message."
        )


def _unexpected(index: int, position: int, tool_use_id: str) -> Refused:
    return invalid(
        f"messages.{index}.content.{position}: unexpected `tool_use_id` found in `tool_result` blocks: {tool_use_id}. "
        "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
    )


def _prefill(turn: Turn, model: AnthropicModel) -> Iterator[Refused]:
    if not model.prefill:
        yield invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    last = turn.blocks[-1] if turn.blocks else {"type": "text", "text": ""}
    if last["type"] == "text" and last["text"] != last["text"].rstrip():
        yield invalid("messages: final assistant content cannot end with trailing whitespace")
