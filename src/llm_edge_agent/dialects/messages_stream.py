"""Anthropic's event stream read on the side: what it cost, how it ended, and the message that it amounts to."""

from typing import Any

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat_to_messages.errors import error_event, event_status
from llm_edge_agent.dialects.chat_to_messages.wire import FINISH_REASONS, MessageUsage, usage_of
from llm_edge_agent.dialects.endpoint import Answer
from llm_edge_agent.dialects.event_relay import Verdict, payloads
from llm_edge_agent.dialects.provider_json import decode, raw_number


class _Message(msgspec.Struct):
    usage: MessageUsage | None = None


class _Start(msgspec.Struct):
    message: _Message


class _Delta(msgspec.Struct):
    stop_reason: str | None = None


class _MessageDelta(msgspec.Struct):
    delta: _Delta | None = None
    usage: MessageUsage | None = None


class _Typed(msgspec.Struct):
    type: str = ""


_start_decoder = msgspec.json.Decoder(_Start)
_delta_decoder = msgspec.json.Decoder(_MessageDelta)
_type_decoder = msgspec.json.Decoder(_Typed)
_encode = msgspec.json.encode


class MessagesReader:
    """An `EventReader`. Anthropic names its events; one without a name is taken by its `type`."""

    __slots__ = ("_stop_reason", "_usage", "failure", "settled")

    piece_mark = b'"content_block_delta"'

    def __init__(self) -> None:
        self._usage: MessageUsage | None = None
        self._stop_reason: str | None = None
        self.settled = False
        self.failure: GatewayError | None = None

    def plain(self, text: bytes) -> bool:
        return b"message_" not in text and b"error" not in text

    @property
    def usage(self) -> TokenUsage | None:
        return usage_of(self._usage) if self._usage is not None else None

    def read(self, event: str, data: bytes) -> Verdict:
        if not event:
            event = decode(_type_decoder, data)[0].type
        if event == "message_start":
            self._merge(decode(_start_decoder, data)[0].message.usage)
        elif event == "message_delta":
            delta = decode(_delta_decoder, data)[0]
            self._merge(delta.usage)
            if delta.delta is not None and delta.delta.stop_reason is not None:
                self._stop_reason = delta.delta.stop_reason
                self.settled = True
        elif event == "message_stop":
            return "last"
        elif event == "error":
            return self._failed(data)
        return "pass"

    def _merge(self, usage: MessageUsage | None) -> None:
        if usage is not None:
            if self._usage is None:
                self._usage = MessageUsage()
            self._usage.merge(usage)

    def _failed(self, data: bytes) -> Verdict:
        error = error_event(data)
        if error.kind is ErrorKind.UPSTREAM_AUTH:
            raise error
        error.verbatim = data
        error.status = event_status(data)
        self.failure = error
        return "failed"

    def may_end(self) -> bool:
        return False

    def answer(self, text: bytes) -> Answer | None:
        body = fold(text)
        if body is None:
            return None
        return Answer(body, self.usage, (finish_reason(self._stop_reason),))


def finish_reason(stop_reason: str | None) -> str | None:
    """Anthropic's stop reason in OpenAI's words, where it says that the answer is whole; else as it is."""
    if stop_reason in ("end_turn", "stop_sequence", "tool_use"):
        return FINISH_REASONS[stop_reason]
    return stop_reason


# The fold. Every event and delta is typed to the last member: what is not understood must not be told again.


class _Text(msgspec.Struct, tag_field="type", tag="text_delta", forbid_unknown_fields=True):
    text: str


class _Thinking(msgspec.Struct, tag_field="type", tag="thinking_delta", forbid_unknown_fields=True):
    thinking: str


class _Input(msgspec.Struct, tag_field="type", tag="input_json_delta", forbid_unknown_fields=True):
    partial_json: str


class _Signature(msgspec.Struct, tag_field="type", tag="signature_delta", forbid_unknown_fields=True):
    signature: Any


class _Citation(msgspec.Struct, tag_field="type", tag="citations_delta", forbid_unknown_fields=True):
    citation: Any


_Growth = _Text | _Thinking | _Input | _Signature | _Citation


class _MessageStart(msgspec.Struct, tag_field="type", tag="message_start", forbid_unknown_fields=True):
    message: dict[str, Any]


class _BlockStart(msgspec.Struct, tag_field="type", tag="content_block_start", forbid_unknown_fields=True):
    index: int
    content_block: dict[str, Any]


class _BlockDelta(msgspec.Struct, tag_field="type", tag="content_block_delta", forbid_unknown_fields=True):
    index: int
    delta: _Growth


class _BlockStop(msgspec.Struct, tag_field="type", tag="content_block_stop", forbid_unknown_fields=True):
    index: int


class _MessageEnd(msgspec.Struct, tag_field="type", tag="message_delta"):
    """Read once more as it is: its members of any name belong to the message."""


class _MessageStop(msgspec.Struct, tag_field="type", tag="message_stop"):
    pass


class _Ping(msgspec.Struct, tag_field="type", tag="ping"):
    pass


_Event = _MessageStart | _BlockStart | _BlockDelta | _BlockStop | _MessageEnd | _MessageStop | _Ping

_events_decoder = msgspec.json.Decoder(list[_Event], float_hook=raw_number)
_object_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=raw_number)


def fold(text: bytes) -> bytes | None:
    """The events of a complete stream as the message that Anthropic would have sent whole, or None."""
    data = payloads(text)
    try:
        return _fold(_events_decoder.decode(b"[%b]" % b",".join(data)), data)
    except (msgspec.MsgspecError, RecursionError, ValueError, KeyError, TypeError, AttributeError):
        return None


_SAID = ("text", "thinking")
"""Types of block that grow in the member of the same name; any other grows in its `input`."""


class _NotUnderstoodError(TypeError):
    """The events do not make a message."""


def _fold(events: list[_Event], data: list[bytes]) -> bytes:
    message: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    texts: dict[int, list[str]] = {}
    """Growing members in pieces: an answer's text comes in hundreds."""
    for event, payload in zip(events, data, strict=True):
        if isinstance(event, _BlockDelta):
            _grow(blocks[event.index], texts[event.index], event.delta)
        elif isinstance(event, _BlockStart):
            blocks[event.index] = event.content_block
            texts[event.index] = []
        elif isinstance(event, _BlockStop):
            _settle(blocks[event.index], texts.pop(event.index))
        elif isinstance(event, _MessageStart):
            message = event.message
        elif isinstance(event, _MessageEnd):
            _end(message, _object_decoder.decode(payload))
    if texts or [*blocks] != [*range(len(blocks))]:
        raise _NotUnderstoodError
    message["content"] = [*message["content"], *blocks.values()]
    return _encode(message)


def _grow(block: dict[str, Any], texts: list[str], delta: _Growth) -> None:
    kind = block["type"]
    if isinstance(delta, _Text) and kind == "text":
        texts.append(delta.text)
    elif isinstance(delta, _Thinking) and kind == "thinking":
        texts.append(delta.thinking)
    elif isinstance(delta, _Input) and kind not in _SAID:
        texts.append(delta.partial_json)
    elif isinstance(delta, _Signature):
        block["signature"] = delta.signature
    elif isinstance(delta, _Citation):
        block["citations"] = [*(block.get("citations") or ()), delta.citation]
    else:
        raise _NotUnderstoodError


def _settle(block: dict[str, Any], texts: list[str]) -> None:
    """The block is over: its pieces are put together."""
    whole = "".join(texts)
    if not whole:
        return
    if block["type"] in _SAID:
        block[block["type"]] += whole
        return
    msgspec.json.decode(whole, type=dict[str, msgspec.Raw])  # input that is no object is nothing to tell again
    block["input"] = msgspec.Raw(whole.encode())


def _end(message: dict[str, Any], event: dict[str, Any]) -> None:
    for key, value in event.items():
        if key == "usage":
            usage = message.setdefault("usage", {})
            usage.update({name: count for name, count in value.items() if count is not None})
        elif key == "delta":
            message.update(value)
        elif key != "type":
            message[key] = value
