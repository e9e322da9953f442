"""A whole Messages answer as a chat completion (mapping section 7)."""

from typing import Any

import msgspec

from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat_to_messages.sent import Sent
from llm_edge_agent.dialects.chat_to_messages.wire import (
    FINISH_REASONS,
    REFUSAL_TEXT,
    WEB_CITATION,
    Block,
    Citation,
    Message,
    annotation,
    chat_id,
    chat_service_tier,
    chat_usage,
    unwrap_custom_input,
    usage_of,
)
from llm_edge_agent.dialects.provider_json import decode, decoder, restore, upstream_invalid

__all__ = ["translate_response", "usage_of"]

_message_decoder = decoder(Message)
_block_decoder = decoder(Block)
_citation_decoder = decoder(Citation)


def translate_response(body: bytes, sent: Sent, *, created: int) -> tuple[bytes, TokenUsage]:
    """The `chat.completion` object, without the gateway's own members, and what the answer used.

    `created` is in Unix seconds. Raises GatewayError (UPSTREAM_INVALID) for anything that is no finished Messages
    answer, an error object included.
    """
    message, shielded = decode(_message_decoder, body)
    if message.type != "message" or message.role != "assistant":
        raise upstream_invalid("The provider's answer is not a Messages answer.")
    if message.stop_reason is None:
        raise upstream_invalid("The provider's answer has no stop reason.")
    content = _Content(sent, shielded)
    for raw in message.content:
        content.add(raw)
    answer = {
        "id": chat_id(message.id),
        "object": "chat.completion",
        "created": created,
        "model": message.model,
        "system_fingerprint": None,
        "choices": [_choice(message, content)],
        "usage": chat_usage(message.usage),
    }
    if message.usage.service_tier is not None:
        answer["service_tier"] = chat_service_tier(message.usage.service_tier)
    encoded = msgspec.json.encode(answer)
    return (restore(encoded) if shielded else encoded), usage_of(message.usage)


def _choice(message: Message, content: "_Content") -> dict[str, Any]:
    stop_reason = message.stop_reason or ""
    finish = FINISH_REASONS.get(stop_reason, "stop")
    if finish == "tool_calls":
        finish = content.tool_finish()
    refusal = None
    if stop_reason == "refusal":
        details = message.stop_details
        refusal = (details.explanation if details is not None else None) or REFUSAL_TEXT
    choice: dict[str, Any] = {
        "index": 0,
        "message": content.message(message, refusal),
        "logprobs": None,
        "finish_reason": finish,
    }
    if message.stop_sequence is not None:
        choice["stop_sequence"] = message.stop_sequence
    if stop_reason == "pause_turn":
        choice["warnings"] = ["pause_turn"]
    return choice


class _Content:
    """The content blocks of one answer, sorted into the members of one chat message."""

    def __init__(self, sent: Sent, shielded: bool) -> None:
        self._sent = sent
        self._shielded = shielded
        self._texts: list[str] = []
        self._length = 0
        self._calls: list[dict[str, Any]] = []
        self._function_call: dict[str, str] | None = None
        self._schema_used = False
        self._thinking: list[msgspec.Raw] = []
        self._reasoning: list[str] = []
        self._annotations: list[dict[str, Any]] = []
        self._citations: list[msgspec.Raw] = []
        self._other: list[msgspec.Raw] = []

    def add(self, raw: msgspec.Raw) -> None:
        block, _ = decode(_block_decoder, bytes(raw))
        if block.type == "text":
            self._text(block)
        elif block.type == "tool_use":
            self._tool_use(block)
        elif block.type == "thinking":
            self._thinking.append(raw)
            self._reasoning.append(block.thinking or "")
        elif block.type == "redacted_thinking":
            self._thinking.append(raw)
        else:
            self._other.append(raw)

    def _append(self, text: str) -> None:
        self._texts.append(text)
        self._length += len(text)

    def _text(self, block: Block) -> None:
        if block.text is None:
            raise upstream_invalid("The provider's answer has a text block without text.")
        start = self._length
        self._append(block.text)
        for raw in block.citations or ():
            citation, _ = decode(_citation_decoder, bytes(raw))
            if citation.type == WEB_CITATION:
                self._annotations.append(annotation(citation, start, self._length))
            else:
                self._citations.append(raw)

    def _tool_use(self, block: Block) -> None:
        if block.id is None or block.name is None:
            raise upstream_invalid("The provider's answer has a tool call without id or name.")
        encoded = msgspec.json.encode(block.input or {})
        arguments = (restore(encoded) if self._shielded else encoded).decode()
        sent = self._sent
        if block.name == sent.schema_tool:
            self._schema_used = True
            self._append(arguments)
            return
        if sent.legacy_function_call:
            if self._function_call is None:
                self._function_call = {"name": block.name, "arguments": arguments}
            return
        call: dict[str, Any] = {"id": sent.tool_ids.get(block.id, block.id)}
        if block.name in sent.custom_tools:
            call["type"] = "custom"
            call["custom"] = {"name": block.name, "input": unwrap_custom_input(block.input or {})}
        else:
            call["type"] = "function"
            call["function"] = {"name": block.name, "arguments": arguments}
        self._calls.append(call)

    def tool_finish(self) -> str:
        """The finish reason of an answer that ended with `tool_use`."""
        if self._function_call is not None:
            return "function_call"
        return "stop" if self._schema_used and not self._calls else "tool_calls"

    def message(self, message: Message, refusal: str | None) -> dict[str, Any]:
        content: str | None = "".join(self._texts)
        if not content and (self._calls or self._function_call or refusal is not None):
            content = None
        answer: dict[str, Any] = {"role": "assistant", "content": content, "refusal": refusal}
        if self._sent.expose_thinking:
            reasoning = "".join(self._reasoning)
            if reasoning:
                answer["reasoning_content"] = reasoning
            if self._thinking:
                answer["thinking_blocks"] = self._thinking
        if self._annotations:
            answer["annotations"] = self._annotations
        if self._citations:
            answer["citations"] = self._citations
        if self._calls:
            answer["tool_calls"] = self._calls
        if self._function_call is not None:
            answer["function_call"] = self._function_call
        extension: dict[str, Any] = {}
        if self._other:
            extension["content_blocks"] = self._other
        if message.container is not None:
            extension["container"] = message.container
        if message.diagnostics is not None:
            extension["diagnostics"] = message.diagnostics
        if extension:
            answer["provider_specific_fields"] = extension
        return answer
