"""Anthropic's event stream read on the side: what it cost, how it ended, and the message that it amounts to."""

from typing import Any

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat_to_messages.errors import error_event, event_status
from llm_edge_agent.dialects.chat_to_messages.wire import FINISH_REASONS, MessageUsage, usage_of
from llm_edge_agent.dialects.endpoint import Answer
from llm_edge_agent.dialects.event_relay import Verdict
from llm_edge_agent.dialects.provider_json import decode, raw_number
from llm_edge_agent.dialects.sse import Event

_GROWING = {"text_delta": "text", "thinking_delta": "thinking"}
"""Delta type -> the member that it carries, which continues the block's member of the same name."""


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
_events_decoder = msgspec.json.Decoder(list[dict[str, Any]], float_hook=raw_number)
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

    def answer(self, events: list[Event]) -> Answer | None:
        body = fold(events)
        if body is None:
            return None
        return Answer(body, self.usage, (finish_reason(self._stop_reason),))


def finish_reason(stop_reason: str | None) -> str | None:
    """Anthropic's stop reason in OpenAI's words, where it says that the answer is whole; else as it is."""
    if stop_reason in ("end_turn", "stop_sequence", "tool_use"):
        return FINISH_REASONS[stop_reason]
    return stop_reason


def fold(events: list[Event]) -> bytes | None:
    """The events of a complete stream as the message that Anthropic would have sent whole. None where one of them is
    not understood to the last member: what would be lost must not be told again."""
    try:
        return _fold(_events_decoder.decode(b"[%b]" % b",".join([event.data for event in events])))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError, TypeError, AttributeError):
        return None


class _NotUnderstoodError(TypeError):
    """An event holds something that the fold would lose."""


def _fold(events: list[dict[str, Any]]) -> bytes:
    message: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    texts: dict[int, list[str]] = {}
    """Growing members in pieces: an answer's text comes in hundreds."""
    for event in events:
        kind = event["type"]
        if kind == "content_block_delta":
            _only(event, 3)
            index = event["index"]
            _grow(blocks[index], texts[index], event["delta"])
        elif kind == "content_block_start":
            _only(event, 3)
            blocks[event["index"]] = event["content_block"]
            texts[event["index"]] = []
        elif kind == "content_block_stop":
            _only(event, 2)
            _settle(blocks[event["index"]], texts.pop(event["index"]))
        elif kind == "message_start":
            _only(event, 2)
            message = event["message"]
        elif kind == "message_delta":
            _end(message, event)
        elif kind not in ("message_stop", "ping"):
            raise _NotUnderstoodError
    if texts or [*blocks] != [*range(len(blocks))]:
        raise _NotUnderstoodError
    message["content"] = [*message["content"], *blocks.values()]
    return _encode(message)


def _only(event: dict[str, Any], members: int) -> None:
    if len(event) != members:
        raise _NotUnderstoodError


def _grow(block: dict[str, Any], texts: list[str], delta: dict[str, Any]) -> None:
    _only(delta, 2)
    kind = delta["type"]
    if kind in _GROWING:
        member = _GROWING[kind]
        if type(block[member]) is not str:
            raise _NotUnderstoodError
        texts.append(delta[member])
    elif kind == "input_json_delta":
        texts.append(delta["partial_json"])
    elif kind == "signature_delta":
        block["signature"] = delta["signature"]
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
    else:
        raise _NotUnderstoodError


def _settle(block: dict[str, Any], texts: list[str]) -> None:
    """The block is over: its pieces are put together."""
    whole = "".join(texts)
    if not whole:
        return
    for member in _GROWING.values():
        if member in block:
            block[member] += whole
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
