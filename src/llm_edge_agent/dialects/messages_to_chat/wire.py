"""What of a chat completion the gateway reads for a client of the Messages API, and how it is written there: content
blocks, stop reasons, usage."""

from collections.abc import Sequence
from typing import Any

import msgspec

from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat import ABSENT, WireUsage
from llm_edge_agent.dialects.fields import Json, decode_object
from llm_edge_agent.dialects.gateway_signature import is_own
from llm_edge_agent.dialects.messages_to_chat.sent import Sent
from llm_edge_agent.dialects.provider_json import shield


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class CallPiece(msgspec.Struct):
    """A tool call, or a piece of one in a stream."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class ThinkingPiece(msgspec.Struct):
    """The gateway's own extension: thinking as a block, with the signature that plain text lacks."""

    thinking: str | None = None
    signature: str | None = None


class MessagePiece(msgspec.Struct):
    """An assistant message, or a delta of one. `content` is a list of parts with some servers."""

    content: Any = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    """OpenRouter's name for it."""
    tool_calls: list[CallPiece] | None = None
    function_call: Function | None = None
    thinking_blocks: list[ThinkingPiece] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(
                part["text"]
                for part in self.content
                if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
            )
        return self.content if isinstance(self.content, str) else ""

    @property
    def thinking(self) -> str:
        return self.reasoning_content or (self.reasoning if isinstance(self.reasoning, str) else "")

    @property
    def signed(self) -> list[tuple[str, str]]:
        """Thinking and signature of the blocks that the gateway made: others' mean nothing here."""
        return [
            (each.thinking or "", each.signature)
            for each in self.thinking_blocks or ()
            if each.signature is not None and is_own(each.signature)
        ]


class Head(msgspec.Struct):
    """The members around the choices, of an answer and of a chunk."""

    id: str | None = None
    model: str | None = None
    usage: WireUsage | None = None
    service_tier: Any = None
    error: msgspec.Raw = ABSENT

    def tokens(self) -> TokenUsage | None:
        return None if self.usage is None else self.usage.tokens(self.service_tier)


class Block(msgspec.Struct):
    """One content block of the answer while it grows."""

    kind: str
    """`text`, `thinking` or `tool_use`."""
    id: str | None = None
    name: str | None = None
    pieces: list[str] = []
    """Its text, thinking or arguments."""
    signature: str = ""

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def message_id(chat_id: str | None) -> str:
    return "msg_" + (chat_id or "").removeprefix("chatcmpl-")


def call_id(own: str | None, answer_id: str, position: int) -> str:
    """The id of a tool call: some servers give none, and the client needs one to answer."""
    return own or f"toolu_{answer_id.removeprefix('msg_')}_{position}"


STOP_REASONS = {"length": "max_tokens", "content_filter": "refusal"}
"""OpenAI's finish reason -> Anthropic's stop reason, where no other fact decides."""


def stop_reason(finish: str | None, blocks: Sequence[Block], *, refused: bool, cut: bool) -> str:
    """`cut`: the gateway itself ended the text at a stop sequence. A server that ends a call with `stop` means the
    call."""
    if cut:
        return "stop_sequence"
    if refused:
        return "refusal"
    if finish in STOP_REASONS:
        return STOP_REASONS[finish]
    return "tool_use" if any(block.kind == "tool_use" for block in blocks) else "end_turn"


FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "refusal": "content_filter",
}
"""How each of them ended in OpenAI's words, which the cache decides by."""


def messages_usage(usage: TokenUsage | None) -> Json:
    """Anthropic's `usage`: its input tokens leave out what was read from or written to the cache."""
    usage = usage if usage is not None else TokenUsage()
    counts: Json = {
        "input_tokens": usage.uncached_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": usage.completion_tokens,
    }
    if usage.reasoning_tokens:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return counts


def tool_input(arguments: str) -> Json | msgspec.Raw:
    """The arguments as they were written: numbers keep their text. What is no JSON object (a call cut short) is told
    as it is under `_raw`."""
    if not arguments.strip():
        return {}
    raw = arguments.encode()
    if decode_object(raw) is None and decode_object(shield(raw)) is None:
        return {"_raw": arguments}
    return msgspec.Raw(raw)


def _content(block: Block, sent: Sent) -> Json:
    if block.kind == "text":
        return {"type": "text", "text": block.text}
    if block.kind == "thinking":
        return {"type": "thinking", "thinking": block.text, "signature": block.signature}
    name = block.name or ""
    return {
        "type": "tool_use",
        "id": block.id,
        "name": sent.tool_names.get(name, name),
        "input": tool_input(block.text),
    }


def message(
    head: Head, blocks: Sequence[Block], sent: Sent, *, stop: str, stop_sequence: str | None, usage: TokenUsage | None
) -> bytes:
    """The whole answer as the Messages API tells it."""
    return msgspec.json.encode(
        {
            "id": message_id(head.id),
            "type": "message",
            "role": "assistant",
            "model": head.model or sent.requested_model,
            "content": [_content(block, sent) for block in blocks],
            "stop_reason": stop,
            "stop_sequence": stop_sequence,
            "usage": messages_usage(usage),
        }
    )
