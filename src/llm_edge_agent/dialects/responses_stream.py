"""The Responses API read on the side: what a response cost and how it ended, told whole or as events.

The last event of a stream carries the whole response, so that little is left to fold. What a provider sends behind that
event reaches nobody.
"""

from typing import Any

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat import ABSENT, LIST_PRICE_TIERS, is_error
from llm_edge_agent.dialects.endpoint import Answer
from llm_edge_agent.dialects.event_relay import Verdict, parsed
from llm_edge_agent.dialects.provider_errors import safe_message
from llm_edge_agent.dialects.provider_json import decode, raw_number
from llm_edge_agent.dialects.sse import Event

_LAST = ("response.completed", "response.incomplete", "response.failed")
_MARKS = (*(name.encode() for name in _LAST), b"error")

_BILLED_APART = frozenset({"web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"})
"""Work of the provider's own tools: billed by the piece, beside the tokens."""


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class _Item(msgspec.Struct):
    type: str = ""


class WireResponse(msgspec.Struct):
    """What is read of a response."""

    output: list[_Item] | None = None
    status: str | None = None
    usage: _Usage | None = None
    service_tier: Any = None

    def tokens(self) -> TokenUsage | None:
        usage = self.usage
        if usage is None:
            return None
        read, written = usage.input_tokens_details, usage.output_tokens_details
        return TokenUsage(
            prompt_tokens=usage.input_tokens or 0,
            completion_tokens=usage.output_tokens or 0,
            cache_read_tokens=(read.cached_tokens if read is not None else None) or 0,
            cache_write_tokens=(read.cache_write_tokens if read is not None else None) or 0,
            reasoning_tokens=(written.reasoning_tokens if written is not None else None) or 0,
            off_list=self.service_tier not in LIST_PRICE_TIERS
            or any(item.type in _BILLED_APART for item in self.output or ()),
        )

    @property
    def ending(self) -> str | None:
        """In the words of `Answer.finish_reasons`: a completed response is whole, whatever it holds."""
        return "stop" if self.status == "completed" else self.status


class _Lifecycle(msgspec.Struct):
    response: WireResponse


class _Typed(msgspec.Struct):
    type: str | None = None
    error: msgspec.Raw = ABSENT

    @property
    def name(self) -> str:
        """An error object alone is how servers of other origin report a failure."""
        return self.type or ("error" if is_error(self.error) else "")


class _ErrorObject(msgspec.Struct):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


class _ErrorEvent(_ErrorObject):
    error: _ErrorObject | None = None


_lifecycle_decoder = msgspec.json.Decoder(_Lifecycle)
_type_decoder = msgspec.json.Decoder(_Typed)
_error_decoder = msgspec.json.Decoder(_ErrorEvent)
_object_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_item_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=raw_number)


class ResponsesReader:
    """An `EventReader`. OpenAI names these events; one without a name is taken by its `type`."""

    __slots__ = ("_last", "_response", "failure")

    piece_mark = b'.delta"'

    def __init__(self) -> None:
        self._response: WireResponse | None = None
        self._last = b""
        self.failure: GatewayError | None = None

    def plain(self, text: bytes) -> bool:
        return not any(mark in text for mark in _MARKS)

    @property
    def usage(self) -> TokenUsage | None:
        return self._response.tokens() if self._response is not None else None

    @property
    def settled(self) -> bool:
        return self._response is not None

    def read(self, event: str, data: bytes) -> Verdict:
        if not event:
            if data == b"[DONE]":
                return "last"
            event = decode(_type_decoder, data)[0].name
        if event in _LAST:
            self._response = decode(_lifecycle_decoder, data)[0].response
            self._last = data
            return "last"
        if event == "error":
            self.failure = _failure(data)
            return "failed"
        return "pass"

    def may_end(self) -> bool:
        return False

    def answer(self, text: bytes) -> Answer | None:
        if self._response is None:
            return None
        try:
            body = bytes(_object_decoder.decode(self._last)["response"])
            if not self._response.output:
                body = _with_items(body, parsed(text))
        except (msgspec.MsgspecError, RecursionError, KeyError, TypeError):
            return None
        return Answer(body, self.usage, (self._response.ending,))


def _with_items(body: bytes, events: list[Event]) -> bytes:
    """Some servers leave the output out of the last event: it was told item by item."""
    items: dict[int, Any] = {}
    for _, data in events:
        if b"output_item.done" in data:
            value = _item_decoder.decode(data)
            items[value["output_index"]] = value["item"]
    response: dict[str, Any] = dict(_object_decoder.decode(body))
    response["output"] = [items[index] for index in sorted(items)]
    return msgspec.json.encode(response)


def _failure(data: bytes) -> GatewayError:
    """The error event, in the provider's own words where it has some that may be shown."""
    try:
        event = decode(_error_decoder, data)[0]
    except GatewayError:
        event = _ErrorEvent()
    error = event.error if event.error is not None else event
    return GatewayError(
        ErrorKind.STREAM_INTERRUPTED,
        safe_message(error.message or "The provider reported an error in the stream."),
        code=safe_message(str(error.code)) if error.code is not None else None,
        type=safe_message(error.type) if error.type not in (None, "error") else None,
        param=safe_message(error.param) if error.param is not None else None,
    )
