"""A streamed Messages answer as chat completion chunks (mapping section 8.2).

Theory of operation. One event in, the payloads of no, one or several chunks out:

    new --message_start--> open --message_stop--> complete
                            | ^
      content_block_start / | | content_block_stop        (blocks by index: stream_blocks.py)
      _delta                v |
                           block

`message_delta` brings the stop reason and usage, both cumulative; the finish chunk waits for `message_stop`, so that it
is sent once and the usage after it is final. `ping` and events that are not known say nothing. An `error` event, or
the end of the stream in any other place, raises.
"""

from typing import Any, TypeVar

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat_to_messages.errors import error_event
from llm_edge_agent.dialects.chat_to_messages.sent import Sent
from llm_edge_agent.dialects.chat_to_messages.stream_blocks import (
    BlockDelta,
    ChatDelta,
    LegacyBlock,
    SchemaBlock,
    StreamBlock,
    TextBlock,
    open_block,
)
from llm_edge_agent.dialects.chat_to_messages.wire import (
    FINISH_REASONS,
    REFUSAL_TEXT,
    Block,
    MessageUsage,
    StopDetails,
    chat_id,
    chat_service_tier,
    chat_usage,
    usage_of,
)
from llm_edge_agent.dialects.provider_json import decode, decoder, restore, upstream_invalid


class _Typed(msgspec.Struct):
    type: str


class _StartedMessage(msgspec.Struct):
    id: str
    model: str
    usage: MessageUsage
    diagnostics: Any = None


class _MessageStart(msgspec.Struct):
    message: _StartedMessage


class _BlockStart(msgspec.Struct):
    index: int
    content_block: msgspec.Raw


class _BlockDelta(msgspec.Struct):
    index: int
    delta: BlockDelta


class _BlockStop(msgspec.Struct):
    index: int


class _Stop(msgspec.Struct):
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    container: Any = None


class _MessageDelta(msgspec.Struct):
    delta: _Stop
    usage: MessageUsage | None = None


T = TypeVar("T")

_typed_decoder = decoder(_Typed)
_message_start_decoder = decoder(_MessageStart)
_block_start_decoder = decoder(_BlockStart)
_block_decoder = decoder(Block)
_block_delta_decoder = msgspec.json.Decoder(_BlockDelta)
_block_stop_decoder = decoder(_BlockStop)
_message_delta_decoder = decoder(_MessageDelta)
_encode = msgspec.json.Encoder().encode


class MessagesStream:
    """Feed it every event of the stream in order, then call `finish`; send what they return as `data:` payloads.

    `complete` tells that the answer ended as it should; `[DONE]` and the gateway's own members are the caller's.
    """

    __slots__ = (
        "_blocks",
        "_content_head",
        "_content_tail",
        "_created",
        "_extension",
        "_head",
        "_legacy_open",
        "_length",
        "_schema_used",
        "_sent",
        "_shielded",
        "_started",
        "_stop",
        "_tail",
        "_tool_index",
        "_usage",
        "complete",
        "settled",
    )

    def __init__(self, sent: Sent, *, created: int) -> None:
        self.complete = False
        self.settled = False
        self._sent = sent
        self._created = created
        self._started = False
        self._head = self._tail = self._content_head = self._content_tail = b""
        self._blocks: dict[int, StreamBlock] = {}
        self._tool_index = -1
        self._legacy_open = False
        self._schema_used = False
        self._length = 0
        self._stop = _Stop()
        self._usage = MessageUsage()
        self._extension: dict[str, Any] = {}
        self._shielded = False

    @property
    def usage(self) -> TokenUsage | None:
        """What was used so far; None before the provider reported anything."""
        return usage_of(self._usage) if self._started else None

    def feed(self, event: str, data: bytes) -> list[bytes]:
        """One server-sent event in, chunk payloads out. An event without a name is known by the `type` in its data.

        Raises GatewayError: UPSTREAM_INVALID for data or an order that no Messages stream has, and what an `error`
        event stands for.
        """
        if event == "content_block_delta" and not self._shielded:
            try:
                parsed = _block_delta_decoder.decode(data)
                delta = parsed.delta
                if delta.type == "text_delta" and type(self._blocks[parsed.index]) is TextBlock and delta.text:
                    self._length += len(delta.text)
                    return [self._content_head + _encode(delta.text) + self._content_tail]
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
                pass  # whatever it is, the careful way tells
        if self.complete:
            return []
        if not event:
            event = self._decode(_typed_decoder, data).type
        if event == "error":
            raise error_event(data)
        handle = _HANDLERS.get(event)
        if handle is None:
            return []
        if not self._started and event != "message_start":
            raise upstream_invalid("The provider's stream does not begin with message_start.")
        return handle(self, data)

    def finish(self) -> list[bytes]:
        """The upstream closed the stream. Whatever is still to send.

        Raises GatewayError (STREAM_INTERRUPTED) where the answer is not complete: no `message_stop`, and either no
        stop reason yet or a block still open.
        """
        if self.complete:
            return []
        if self._stop.stop_reason is None or self._blocks:
            raise GatewayError(ErrorKind.STREAM_INTERRUPTED, "The provider's stream ended before the answer did.")
        return self._end()

    def _decode(self, decoder_: "msgspec.json.Decoder[T]", data: bytes) -> T:
        value, shielded = decode(decoder_, data)
        self._shielded = self._shielded or shielded
        return value

    def _message_start(self, data: bytes) -> list[bytes]:
        if self._started:
            raise upstream_invalid("The provider's stream begins twice.")
        message = self._decode(_message_start_decoder, data).message
        self._started = True
        self._usage = message.usage
        if message.diagnostics is not None:
            self._extension["diagnostics"] = message.diagnostics
        self._head = b'{"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"system_fingerprint":null,' % (
            _encode(chat_id(message.id)),
            self._created,
            _encode(message.model),
        )
        if message.usage.service_tier is not None:
            self._head += b'"service_tier":"%b",' % chat_service_tier(message.usage.service_tier).encode()
        usage = b',"usage":null}' if self._sent.include_usage else b"}"
        self._tail = b"]" + usage
        self._content_head = self._head + b'"choices":[{"index":0,"delta":{"content":'
        self._content_tail = b'},"logprobs":null,"finish_reason":null}' + self._tail
        return [self._delta_chunk({"role": "assistant", "content": ""})]

    def _block_start(self, data: bytes) -> list[bytes]:
        start = self._decode(_block_start_decoder, data)
        if start.index in self._blocks:
            raise upstream_invalid("The provider's stream begins a block twice.")
        raw = start.content_block.copy()
        block, first = open_block(
            self._decode(_block_decoder, bytes(raw)),
            raw,
            self._sent,
            tool_index=self._tool_index + 1,
            length=self._length,
            legacy_open=self._legacy_open,
        )
        self._blocks[start.index] = block
        if isinstance(block, LegacyBlock):
            self._legacy_open = True
        elif isinstance(block, SchemaBlock):
            self._schema_used = True
        elif first is not None and "tool_calls" in first:
            self._tool_index += 1
        return self._show(first)

    def _block_delta(self, data: bytes) -> list[bytes]:
        event = self._decode(_block_delta_decoder, data)
        block = self._blocks.get(event.index)
        if block is None:
            raise upstream_invalid("The provider's stream continues a block that is not open.")
        if isinstance(block, TextBlock) and event.delta.text:
            return self._show({"content": event.delta.text})
        return self._show(block.feed(event.delta))

    def _block_stop(self, data: bytes) -> list[bytes]:
        block = self._blocks.pop(self._decode(_block_stop_decoder, data).index, None)
        if block is None:
            raise upstream_invalid("The provider's stream ends a block that is not open.")
        return self._close(block)

    def _close(self, block: StreamBlock) -> list[bytes]:
        last = block.stop(self._length)
        self._shielded = self._shielded or block.shielded
        return self._show(last)

    def _message_delta(self, data: bytes) -> list[bytes]:
        event = self._decode(_message_delta_decoder, data)
        if event.usage is not None:
            self._usage.merge(event.usage)
        if event.delta.stop_reason is not None:
            self._stop = event.delta
            self.settled = True
        if event.delta.container is not None:
            self._extension["container"] = event.delta.container
        return []

    def _message_stop(self, data: bytes) -> list[bytes]:
        if self._stop.stop_reason is None:
            raise GatewayError(ErrorKind.STREAM_INTERRUPTED, "The provider's stream ended without a stop reason.")
        return self._end()

    def _end(self) -> list[bytes]:
        chunks: list[bytes] = []
        for index in list(self._blocks):  # a server that forgets content_block_stop
            chunks += self._close(self._blocks.pop(index))
        stop = self._stop
        last: ChatDelta = {}
        if stop.stop_reason == "refusal":
            last["refusal"] = (stop.stop_details.explanation if stop.stop_details else None) or REFUSAL_TEXT
        if self._extension:
            last["provider_specific_fields"] = self._extension
        if last:
            chunks.append(self._delta_chunk(last))
        choice: dict[str, Any] = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": self._finish_reason()}
        if stop.stop_sequence is not None:
            choice["stop_sequence"] = stop.stop_sequence
        if stop.stop_reason == "pause_turn":
            choice["warnings"] = ["pause_turn"]
        chunks.append(self._bytes(self._head + b'"choices":[' + _encode(choice) + self._tail))
        if self._sent.include_usage:
            chunks.append(self._bytes(self._head + b'"choices":[],"usage":' + _encode(chat_usage(self._usage)) + b"}"))
        self.complete = True
        return chunks

    def _finish_reason(self) -> str:
        finish = FINISH_REASONS.get(self._stop.stop_reason or "", "stop")
        if finish != "tool_calls":
            return finish
        if self._legacy_open:
            return "function_call"
        return "stop" if self._schema_used and self._tool_index < 0 else "tool_calls"

    def _show(self, delta: ChatDelta | None) -> list[bytes]:
        if delta is None:
            return []
        content = delta.get("content")
        if content is not None:
            self._length += len(content)
        return [self._delta_chunk(delta)]

    def _delta_chunk(self, delta: ChatDelta) -> bytes:
        return self._bytes(
            self._head
            + b'"choices":[{"index":0,"delta":'
            + _encode(delta)
            + b',"logprobs":null,"finish_reason":null}'
            + self._tail
        )

    def _bytes(self, payload: bytes) -> bytes:
        return restore(payload) if self._shielded else payload


_HANDLERS = {
    "message_start": MessagesStream._message_start,
    "content_block_start": MessagesStream._block_start,
    "content_block_delta": MessagesStream._block_delta,
    "content_block_stop": MessagesStream._block_stop,
    "message_delta": MessagesStream._message_delta,
    "message_stop": MessagesStream._message_stop,
}
