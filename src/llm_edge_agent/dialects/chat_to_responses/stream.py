"""A streamed Responses answer as chat completion chunks (mapping section 9).

Theory of operation. One event in, the payloads of no, one or several chunks out:

    new --response.created--> open --response.completed | .incomplete--> complete

Items come one after the other, each from `output_item.added` to `output_item.done`; deltas name the item they belong
to by its index. Reasoning is shown as it comes where the client sees it; a block that carries it back follows at the
item's end or, where only a tool loop needs it, before the finish chunk. `response.failed`, an `error` event, or the end
of the stream in any other place, raise. Events that are not known say nothing.
"""

from typing import Any

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat_to_responses.sent import Sent
from llm_edge_agent.dialects.chat_to_responses.wire import (
    Failure,
    Item,
    Response,
    annotation,
    call_of,
    chat_id,
    chat_usage,
    failed,
    finish_reason,
    summary_of,
    thinking_block,
)
from llm_edge_agent.dialects.fields import Json
from llm_edge_agent.dialects.provider_json import decode, decoder, restore, upstream_invalid
from llm_edge_agent.dialects.stop_sequences import StopCutter


class _Event(msgspec.Struct):
    """The members of all events that are read."""

    type: str = ""
    output_index: int = 0
    delta: str | None = None
    item: Item | None = None
    response: Response | None = None
    summary_index: int = 0
    annotation: dict[str, Any] | None = None
    arguments: str | None = None
    input: str | None = None
    code: str | None = None
    message: str | None = None
    error: Failure | None = None


_decoder = decoder(_Event)
_encode = msgspec.json.Encoder().encode


class ResponsesStream:
    """Feed it every event of the stream in order, then call `finish`; send what they return as `data:` payloads. An
    `answer_stream.StreamTranslator`."""

    def __init__(self, sent: Sent, *, created: int) -> None:
        self.complete = False
        self.usage: TokenUsage | None = None
        self._sent = sent
        self._created = created
        self._head = b""
        self._tail = b"]" + (b',"usage":null}' if sent.include_usage else b"}")
        self._cutter = StopCutter(sent.stop)
        self._calls: dict[int, int] = {}
        """Output index of a call -> its index among the calls."""
        self._told: set[int] = set()
        """Output indexes of calls of whose arguments a part has come."""
        self._place = 0
        self._summarised = False
        self._kept: list[Json] = []
        self._shielded = False

    @property
    def settled(self) -> bool:
        """Usage comes with the last event alone."""
        return self.usage is not None

    def feed(self, event: str, data: bytes) -> list[bytes]:
        """Raises GatewayError: UPSTREAM_INVALID for data or an order that no Responses stream has, and what an error
        event stands for."""
        if self.complete:
            return []
        parsed, shielded = decode(_decoder, data)
        self._shielded = self._shielded or shielded
        name = event or parsed.type
        if name == "error":
            raise failed(parsed.error or Failure(parsed.code, parsed.message))
        handle = _HANDLERS.get(name)
        if handle is None:
            return []
        if not self._head and handle is not ResponsesStream._begin:
            raise upstream_invalid("The provider's stream does not begin with response.created.")
        return handle(self, parsed)

    def finish(self) -> list[bytes]:
        """The upstream closed the stream. Raises GatewayError (STREAM_INTERRUPTED) where the answer is not complete."""
        if not self.complete:
            raise GatewayError(ErrorKind.STREAM_INTERRUPTED, "The provider's stream ended before the answer did.")
        return []

    def _begin(self, event: _Event) -> list[bytes]:
        response = event.response
        if response is None:
            raise upstream_invalid("The provider's stream begins without a response.")
        if self._head:
            return []
        self._head = b'{"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"system_fingerprint":null,' % (
            _encode(chat_id(response.id)),
            self._created,
            _encode(response.model),
        )
        return [self._chunk({"role": "assistant", "content": ""})]

    def _item_added(self, event: _Event) -> list[bytes]:
        item = event.item
        if item is None or self._cutter.sequence is not None:
            return []
        if item.type == "message":
            self._place += 1
        call = call_of(item)
        if call is None:
            return []
        self._place += 1
        index = self._calls[event.output_index] = len(self._calls)
        if item.arguments or item.input:
            self._told.add(event.output_index)
        return [self._chunk({"tool_calls": [{"index": index, **call}]})]

    def _text(self, event: _Event) -> list[bytes]:
        return self._content(self._cutter.feed(event.delta or ""))

    def _content(self, text: str) -> list[bytes]:
        return [self._chunk({"content": text})] if text else []

    def _refusal(self, event: _Event) -> list[bytes]:
        return [self._chunk({"refusal": event.delta})] if event.delta and self._cutter.sequence is None else []

    def _annotation(self, event: _Event) -> list[bytes]:
        found = annotation(event.annotation) if event.annotation is not None else None
        shown = found is not None and self._cutter.sequence is None
        return [self._chunk({"annotations": [found]})] if shown else []

    def _arguments(self, event: _Event) -> list[bytes]:
        if event.delta:
            self._told.add(event.output_index)
        return self._call_piece(event.output_index, event.delta, "function", "arguments")

    def _arguments_done(self, event: _Event) -> list[bytes]:
        told = event.output_index in self._told
        return [] if told else self._call_piece(event.output_index, event.arguments, "function", "arguments")

    def _custom_input(self, event: _Event) -> list[bytes]:
        if event.delta:
            self._told.add(event.output_index)
        return self._call_piece(event.output_index, event.delta, "custom", "input")

    def _custom_input_done(self, event: _Event) -> list[bytes]:
        told = event.output_index in self._told
        return [] if told else self._call_piece(event.output_index, event.input, "custom", "input")

    def _call_piece(self, output_index: int, text: str | None, kind: str, member: str) -> list[bytes]:
        if not text or self._cutter.sequence is not None:
            return []
        index = self._calls.get(output_index)
        if index is None:
            raise upstream_invalid("The provider continues a tool call that it did not begin.")
        return [self._chunk({"tool_calls": [{"index": index, kind: {member: text}}]})]

    def _summary_part(self, event: _Event) -> list[bytes]:
        """Parts of a summary, and summaries, are paragraphs."""
        return self._summary("\n\n") if self._summarised else []

    def _summary_text(self, event: _Event) -> list[bytes]:
        self._summarised = self._summarised or bool(event.delta)
        return self._summary(event.delta)

    def _summary(self, text: str | None) -> list[bytes]:
        if not text or not self._sent.expose_thinking or self._cutter.sequence is not None:
            return []
        return [self._chunk({"reasoning_content": text})]

    def _item_done(self, event: _Event) -> list[bytes]:
        item = event.item
        if item is None or item.type != "reasoning" or self._cutter.sequence is not None:
            return []
        shown = self._sent.expose_thinking
        block = thinking_block(item, self._place, summary_of(item) if shown else "")
        if shown:
            return [self._chunk({"thinking_blocks": [block]})]
        self._kept.append(block)
        return []

    def _end(self, event: _Event) -> list[bytes]:
        response = event.response
        if response is None:
            raise upstream_invalid("The provider's stream ends without a response.")
        self.usage = response.tokens()
        finish = finish_reason(response, calls=bool(self._calls))
        chunks = self._content(self._cutter.finish())
        if self._kept and self._calls:
            chunks.append(self._chunk({"thinking_blocks": self._kept}))
        if self._cutter.sequence is not None:
            finish = "stop"
        if response.service_tier is not None:
            self._head += b'"service_tier":%b,' % _encode(response.service_tier)
        choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish}
        chunks.append(self._head + b'"choices":[' + _encode(choice) + self._tail)
        if self._sent.include_usage and self.usage is not None:
            chunks.append(self._head + b'"choices":[],"usage":' + _encode(chat_usage(self.usage)) + b"}")
        self.complete = True
        return chunks

    def _chunk(self, delta: Json) -> bytes:
        payload = (
            self._head
            + b'"choices":[{"index":0,"delta":'
            + _encode(delta)
            + b',"logprobs":null,"finish_reason":null}'
            + self._tail
        )
        return restore(payload) if self._shielded else payload


_HANDLERS = {
    "response.created": ResponsesStream._begin,
    "response.in_progress": ResponsesStream._begin,
    "response.output_item.added": ResponsesStream._item_added,
    "response.output_item.done": ResponsesStream._item_done,
    "response.output_text.delta": ResponsesStream._text,
    "response.output_text.annotation.added": ResponsesStream._annotation,
    "response.refusal.delta": ResponsesStream._refusal,
    "response.function_call_arguments.delta": ResponsesStream._arguments,
    "response.function_call_arguments.done": ResponsesStream._arguments_done,
    "response.custom_tool_call_input.delta": ResponsesStream._custom_input,
    "response.custom_tool_call_input.done": ResponsesStream._custom_input_done,
    "response.reasoning_summary_part.added": ResponsesStream._summary_part,
    "response.reasoning_summary_text.delta": ResponsesStream._summary_text,
    "response.completed": ResponsesStream._end,
    "response.incomplete": ResponsesStream._end,
    "response.failed": ResponsesStream._end,
}
