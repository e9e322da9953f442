"""The content blocks of a stream: each kind knows which chat deltas its own events become.

A block is opened by `open_block`, gets the deltas of its index, and is stopped once. `feed` and `stop` return the
`delta` objects of the chunks to send.
"""

from abc import ABC, abstractmethod
from typing import Any

import msgspec

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects.chat_to_messages.sent import Sent
from llm_edge_agent.dialects.chat_to_messages.wire import (
    WEB_CITATION,
    Block,
    Citation,
    annotation,
    unwrap_custom_input,
)
from llm_edge_agent.dialects.provider_json import decode, decoder, restore, upstream_invalid

ChatDelta = dict[str, Any]


_NO_CITATION = msgspec.Raw()


class BlockDelta(msgspec.Struct):
    """The `delta` of a content_block_delta of any type."""

    type: str
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: msgspec.Raw = _NO_CITATION


_citation_decoder = decoder(Citation)
_object_decoder = decoder(dict[str, Any])


class StreamBlock:
    """A block that shows nothing: hidden thinking, or a second call for a client that can take one."""

    __slots__ = ("shielded",)

    def __init__(self) -> None:
        self.shielded = False
        """Whether what it said holds shielded surrogates that came to light inside the block."""

    def feed(self, delta: BlockDelta) -> ChatDelta | None:
        return None

    def stop(self, length: int) -> ChatDelta | None:
        """`length` is the number of characters of content sent so far."""
        return None


class TextBlock(StreamBlock):
    """Text goes out as it comes, sent by the stream itself; citations when the text is complete."""

    __slots__ = ("_citations", "_start")

    def __init__(self, start: int) -> None:
        super().__init__()
        self._start = start
        self._citations: list[msgspec.Raw] = []

    def feed(self, delta: BlockDelta) -> ChatDelta | None:
        if delta.type == "citations_delta" and bytes(delta.citation):
            self._citations.append(delta.citation.copy())
        return None

    def stop(self, length: int) -> ChatDelta | None:
        answer: ChatDelta = {}
        for raw in self._citations:
            citation, _ = decode(_citation_decoder, bytes(raw))
            if citation.type == WEB_CITATION:
                answer.setdefault("annotations", []).append(annotation(citation, self._start, length))
            else:
                answer.setdefault("citations", []).append(raw)
        return answer or None


class ArgumentsBlock(StreamBlock, ABC):
    """A tool call whose arguments are relayed piece by piece. Subclasses say where the text goes."""

    __slots__ = ("_got_arguments", "_initial")

    def __init__(self, initial: dict[str, Any] | None) -> None:
        super().__init__()
        self._initial = initial or {}
        self._got_arguments = False

    def feed(self, delta: BlockDelta) -> ChatDelta | None:
        if not delta.partial_json:
            return None
        self._got_arguments = True
        return self._piece(delta.partial_json)

    def stop(self, length: int) -> ChatDelta | None:
        if self._got_arguments:
            return None
        return self._piece(restore(msgspec.json.encode(self._initial)).decode())

    @abstractmethod
    def _piece(self, text: str) -> ChatDelta:
        """A piece of the arguments, where the client looks for it."""


class FunctionBlock(ArgumentsBlock):
    __slots__ = ("_index",)

    def __init__(self, initial: dict[str, Any] | None, index: int) -> None:
        super().__init__(initial)
        self._index = index

    def _piece(self, text: str) -> ChatDelta:
        return {"tool_calls": [{"index": self._index, "function": {"arguments": text}}]}


class LegacyBlock(ArgumentsBlock):
    __slots__ = ()

    def _piece(self, text: str) -> ChatDelta:
        return {"function_call": {"arguments": text}}


class SchemaBlock(ArgumentsBlock):
    """Emulated structured output: the arguments are the content."""

    __slots__ = ()

    def _piece(self, text: str) -> ChatDelta:
        return {"content": text}


class CustomBlock(StreamBlock):
    """A custom tool call: its text stands inside a JSON object and is unwrapped when that is complete."""

    __slots__ = ("_index", "_initial", "_pieces")

    def __init__(self, initial: dict[str, Any] | None, index: int) -> None:
        super().__init__()
        self._initial = initial or {}
        self._index = index
        self._pieces: list[str] = []

    def feed(self, delta: BlockDelta) -> ChatDelta | None:
        self._pieces.append(delta.partial_json or "")
        return None

    def stop(self, length: int) -> ChatDelta | None:
        arguments = "".join(self._pieces)
        text = arguments
        try:
            value, self.shielded = decode(_object_decoder, arguments.encode()) if arguments else (self._initial, False)
            text = unwrap_custom_input(value)
        except GatewayError:  # cut short by max_tokens: what there is
            pass
        return {"tool_calls": [{"index": self._index, "custom": {"input": text}}]}


class ThinkingBlock(StreamBlock):
    """Thinking that the client may see, and gets once more as a whole block to send back."""

    __slots__ = ("_signature", "_thinking")

    def __init__(self, thinking: str) -> None:
        super().__init__()
        self._thinking = [thinking]
        self._signature = ""

    def feed(self, delta: BlockDelta) -> ChatDelta | None:
        if delta.signature is not None:
            self._signature += delta.signature
        if not delta.thinking:
            return None
        self._thinking.append(delta.thinking)
        return {"reasoning_content": delta.thinking}

    def stop(self, length: int) -> ChatDelta | None:
        block = {"type": "thinking", "thinking": "".join(self._thinking), "signature": self._signature}
        return {"thinking_blocks": [block]}


class OtherBlock(StreamBlock):
    """A block that chat has no word for (server tools and their results): an extension, whole."""

    __slots__ = ("_pieces", "_raw")

    def __init__(self, raw: msgspec.Raw) -> None:
        super().__init__()
        self._raw = raw
        self._pieces: list[str] = []

    def feed(self, delta: BlockDelta) -> ChatDelta | None:
        self._pieces.append(delta.partial_json or "")
        return None

    def stop(self, length: int) -> ChatDelta | None:
        block: Any = self._raw
        arguments = "".join(self._pieces).encode()
        if arguments:
            decode(_object_decoder, arguments)
            members, _ = decode(_object_decoder, bytes(self._raw))
            block = {**members, "input": msgspec.Raw(arguments)}
        return {"provider_specific_fields": {"content_blocks": [block]}}


def open_block(
    block: Block, raw: msgspec.Raw, sent: Sent, *, tool_index: int, length: int, legacy_open: bool
) -> tuple[StreamBlock, ChatDelta | None]:
    """The state of a block that begins, and its first delta. `tool_index` is the index its call would get."""
    if block.type == "text":
        return TextBlock(length), {"content": block.text} if block.text else None
    if block.type == "tool_use":
        return _open_tool(block, sent, tool_index, legacy_open)
    if block.type == "thinking":
        if not sent.expose_thinking:
            return StreamBlock(), None
        thinking = block.thinking or ""
        return ThinkingBlock(thinking), {"reasoning_content": thinking} if thinking else None
    if block.type == "redacted_thinking":
        return StreamBlock(), {"thinking_blocks": [raw]} if sent.expose_thinking else None
    return OtherBlock(raw), None


def _open_tool(block: Block, sent: Sent, tool_index: int, legacy_open: bool) -> tuple[StreamBlock, ChatDelta | None]:
    if block.id is None or block.name is None:
        raise upstream_invalid("The provider began a tool call without id or name.")
    if block.name == sent.schema_tool:
        return SchemaBlock(block.input), None
    if sent.legacy_function_call:
        if legacy_open:
            return StreamBlock(), None
        return LegacyBlock(block.input), {"function_call": {"name": block.name, "arguments": ""}}
    call: dict[str, Any] = {"index": tool_index, "id": sent.tool_ids.get(block.id, block.id)}
    if block.name in sent.custom_tools:
        call |= {"type": "custom", "custom": {"name": block.name, "input": ""}}
        return CustomBlock(block.input, tool_index), {"tool_calls": [call]}
    call |= {"type": "function", "function": {"name": block.name, "arguments": ""}}
    return FunctionBlock(block.input, tool_index), {"tool_calls": [call]}
