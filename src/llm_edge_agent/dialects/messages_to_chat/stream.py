"""A streamed chat completion as the events of the Messages API (mapping section 8.3).

Theory of operation. One chunk in, the bytes of no, one or several events out:

    new --first chunk--> open --finish chunk--> ended --usage chunk | [DONE] | end of stream--> `close`

The first chunk becomes `message_start`, content becomes blocks (blocks.py), the finish chunk ends the last block.
`message_delta` with the stop reason and the final usage, and `message_stop`, are the tail that `close` writes: nothing
looks finished that is not. Where the gateway applies stop sequences itself, text after one and everything behind it is
read and not shown, so that the provider's own count of tokens still comes.
"""

from typing import Any

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat import is_error
from llm_edge_agent.dialects.chat_stream import provider_error
from llm_edge_agent.dialects.fields import Json
from llm_edge_agent.dialects.messages_to_chat.blocks import Blocks, event
from llm_edge_agent.dialects.messages_to_chat.errors import in_caller_words
from llm_edge_agent.dialects.messages_to_chat.sent import Sent
from llm_edge_agent.dialects.messages_to_chat.wire import (
    FINISH_REASONS,
    CallPiece,
    Head,
    MessagePiece,
    message,
    message_id,
    messages_usage,
    stop_reason,
)
from llm_edge_agent.dialects.provider_json import decode, decoder, restore, upstream_invalid
from llm_edge_agent.dialects.stop_sequences import StopCutter

PING = event(b"ping", b"")


class _Choice(msgspec.Struct):
    delta: MessagePiece | None = None
    finish_reason: str | None = None
    index: int = 0


class _Chunk(Head):
    choices: list[_Choice] | None = None


class _TextDelta(msgspec.Struct, forbid_unknown_fields=True):
    content: str
    role: str | None = None
    refusal: None = None


class _TextChoice(msgspec.Struct):
    delta: _TextDelta
    index: int = 0
    finish_reason: None = None


class _TextChunk(msgspec.Struct):
    """The common case, typed: a piece of text and nothing else. Whatever is more fails to decode and is read with
    care."""

    choices: tuple[_TextChoice]
    usage: None = None
    service_tier: str | None = None
    error: None = None


_decoder = decoder(_Chunk)
_text_decoder = msgspec.json.Decoder(_TextChunk)
_encode = msgspec.json.Encoder().encode


class MessagesEvents:
    """Feed it every payload of the stream in order (not `[DONE]`), then `end`, then `close`; send what they return."""

    def __init__(self, sent: Sent) -> None:
        self._sent = sent
        self._head: Head | None = None
        self._blocks = Blocks(sent)
        self._cutter = StopCutter(sent.stop_sequences)
        self._finish: str | None = None
        self._refused = False
        self._service_tier: Any = None
        self._shielded = False
        self._plain = False
        """Whether text can go straight on: the stream is under way, and nothing has to be looked for in it."""
        self.usage: TokenUsage | None = None

    def feed(self, payload: bytes) -> bytes:
        """Raises GatewayError: an error object of the provider, or data that is no chunk."""
        if self._plain and not self._shielded:
            try:
                chunk_of_text = _text_decoder.decode(payload)
                said = chunk_of_text.choices[0]
                if said.delta.content and said.index == 0:
                    if chunk_of_text.service_tier is not None:
                        self._service_tier = chunk_of_text.service_tier
                    return self._blocks.text(said.delta.content)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pass  # whatever it is, the careful way tells
        chunk, shielded = decode(_decoder, payload)
        self._shielded = self._shielded or shielded
        if is_error(chunk.error):
            raise in_caller_words(provider_error(bytes(chunk.error)))
        if chunk.choices is None and chunk.usage is None:
            raise upstream_invalid("The provider's stream carries something that is no chunk.")
        out = self._start(chunk) if chunk.choices and self._head is None else b""
        if chunk.service_tier is not None:
            self._service_tier = chunk.service_tier
        if chunk.usage is not None:
            self.usage = chunk.usage.tokens(self._service_tier)
        for choice in chunk.choices or ():
            if choice.index == 0 and self._finish is None:
                out += self._choice(choice)
        return restore(out) if self._shielded else out

    def _start(self, chunk: _Chunk) -> bytes:
        self._head = Head(id=chunk.id, model=chunk.model)
        self._plain = not self._sent.stop_sequences
        self._blocks.answer_id = message_id(chunk.id)
        head: Json = {
            "id": self._blocks.answer_id,
            "type": "message",
            "role": "assistant",
            "model": chunk.model or self._sent.requested_model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": messages_usage(None),
        }
        return event(b"message_start", b',"message":%b' % _encode(head)) + PING

    def _choice(self, choice: _Choice) -> bytes:
        out = b""
        if choice.delta is not None and self._cutter.sequence is None:
            out = self._delta(choice.delta)
        if choice.finish_reason is not None:
            self._finish = choice.finish_reason
            self._plain = False
            out += self._text(self._cutter.finish()) + self._blocks.end()
        return out

    def _delta(self, delta: MessagePiece) -> bytes:
        out, blocks = b"", self._blocks
        if not self._sent.hide_thinking:
            if delta.thinking:
                out += blocks.thinking(delta.thinking)
            for _, signature in delta.signed:
                out += blocks.signature(signature)
        if text := delta.text:
            out += self._text(self._cutter.feed(text))
        if self._cutter.sequence is not None:
            return out
        calls = list(delta.tool_calls or ())
        if delta.function_call is not None:
            calls.append(CallPiece(index=0, function=delta.function_call))
        if delta.refusal or calls:
            out += self._text(self._cutter.finish())  # what follows the text shows that it has ended
        if delta.refusal:
            self._refused = True
            out += self._text(delta.refusal)
        for piece in calls:
            out += blocks.call(piece)
        return out

    def _text(self, text: str) -> bytes:
        return self._blocks.text(text) if text else b""

    def end(self) -> None:
        """The stream is over. Raises GatewayError (STREAM_INTERRUPTED) where the answer has no finish reason."""
        if self._finish is None:
            raise GatewayError(
                ErrorKind.STREAM_INTERRUPTED, "The provider's stream ended before the answer was complete."
            )

    @property
    def _stop(self) -> str:
        cut = self._cutter.sequence is not None
        return stop_reason(self._finish, self._blocks.all, refused=self._refused, cut=cut)

    def close(self) -> bytes:
        """The tail: stop reason, usage as it finally is, and the end."""
        ending = b',"delta":{"stop_reason":"%b","stop_sequence":%b},"usage":%b' % (
            self._stop.encode(),
            _encode(self._cutter.sequence),
            _encode(messages_usage(self.usage)),
        )
        return event(b"message_delta", ending) + event(b"message_stop", b"")

    def whole(self) -> tuple[bytes, str]:
        """The complete answer as it would have come whole, and its finish reason in OpenAI's words."""
        stop = self._stop
        answer = message(
            self._head or Head(),
            self._blocks.all,
            self._sent,
            stop=stop,
            stop_sequence=self._cutter.sequence,
            usage=self.usage,
        )
        return (restore(answer) if self._shielded else answer), FINISH_REASONS[stop]
