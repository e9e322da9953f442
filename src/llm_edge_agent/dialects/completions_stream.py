"""A stream of legacy completions read on the side: what it cost, how it ended, and the completion it amounts to."""

from typing import Any

import msgspec

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat import ABSENT, WireUsage, is_error
from llm_edge_agent.dialects.chat_stream import provider_error
from llm_edge_agent.dialects.endpoint import Answer
from llm_edge_agent.dialects.event_relay import Verdict, payloads
from llm_edge_agent.dialects.provider_json import decode, raw_number, upstream_invalid

_MARKS = (b"[DONE]", b'"usage":{', b'"error"')
_UNFINISHED = b'"finish_reason":null'


class Choice(msgspec.Struct):
    index: int = 0
    finish_reason: str | None = None


class WireCompletion(msgspec.Struct):
    """What is read of a completion."""

    choices: list[Choice]
    usage: WireUsage | None = None
    service_tier: Any = None

    def tokens(self) -> TokenUsage | None:
        return self.usage.tokens(self.service_tier) if self.usage is not None else None


class _Chunk(msgspec.Struct):
    choices: list[Choice] | None = None
    usage: WireUsage | None = None
    service_tier: Any = None
    error: msgspec.Raw = ABSENT


_chunk_decoder = msgspec.json.Decoder(_Chunk)
_chunks_decoder = msgspec.json.Decoder(list[dict[str, Any]], float_hook=raw_number)


class CompletionsReader:
    """An `EventReader`. Its events have no names; `[DONE]` ends them."""

    __slots__ = ("_choices", "_finished", "_show_usage", "failure", "usage")

    piece_mark = b'"text":"'

    def __init__(self, *, show_usage: bool, choices: int) -> None:
        """`show_usage`: the client asked for the usage chunk. `choices`: how many completions were asked for."""
        self._show_usage = show_usage
        self._choices = choices
        self._finished: dict[int, str] = {}
        self.usage: TokenUsage | None = None
        self.failure: GatewayError | None = None

    def plain(self, text: bytes) -> bool:
        """Chunks of which none ends a choice. JSON escapes the quotes inside strings: the marks cannot be content."""
        if any(mark in text for mark in _MARKS):
            return False
        return text.count(_UNFINISHED) == text.count(b"data: ")

    @property
    def settled(self) -> bool:
        return self.usage is not None

    def read(self, event: str, data: bytes) -> Verdict:
        if data == b"[DONE]":
            return "last"
        chunk, _ = decode(_chunk_decoder, data)
        if is_error(chunk.error):
            self.failure = provider_error(bytes(chunk.error))
            self.failure.verbatim = data
            return "failed"
        if chunk.choices is None and chunk.usage is None:
            raise upstream_invalid("The provider's stream carries something that is no chunk.")
        for choice in chunk.choices or ():
            if choice.finish_reason is not None:
                self._finished[choice.index] = choice.finish_reason
        if chunk.usage is not None:
            self.usage = chunk.usage.tokens(chunk.service_tier)
            if not chunk.choices and not self._show_usage:
                return "drop"
        return "pass"

    def may_end(self) -> bool:
        """Some servers end without `[DONE]`; nothing is missing once every completion has its finish reason."""
        return len(self._finished) >= self._choices

    def answer(self, text: bytes) -> Answer | None:
        chunks = [data for data in payloads(text) if data != b"[DONE]"]
        try:
            body = _fold(_chunks_decoder.decode(b"[%b]" % b",".join(chunks)))
        except (msgspec.MsgspecError, RecursionError, KeyError, TypeError, AttributeError):
            return None
        return Answer(body, self.usage, tuple(self._finished.values()))


def _fold(chunks: list[dict[str, Any]]) -> bytes:
    """The chunks as one completion. Raises TypeError where something would be lost."""
    head: dict[str, Any] = {}
    folded: dict[int, dict[str, Any]] = {}
    texts: dict[int, list[str]] = {}
    for chunk in chunks:
        for choice in chunk.pop("choices", None) or ():
            index = choice.get("index", 0)
            into = folded.setdefault(index, {"text": "", "index": index, "logprobs": None, "finish_reason": None})
            texts.setdefault(index, []).append(choice.pop("text"))
            for key, value in choice.items():
                if value is not None:
                    into[key] = _continued(into.get(key), value)
        for key, value in chunk.items():
            if value is not None or key not in head:
                head[key] = value
    for index, pieces in texts.items():
        folded[index]["text"] = "".join(pieces)
    usage = head.pop("usage", None)
    answer = {**head, "choices": [folded[index] for index in sorted(folded)]}
    if usage is not None:
        answer["usage"] = usage
    return msgspec.json.encode(answer)


def _continued(before: Any, value: Any) -> Any:
    """A member of a choice that a later chunk brings again: lists (of log probabilities) grow, inside objects too."""
    if before is None or before == value:
        return value
    if type(before) is list and type(value) is list:
        return before + value
    if type(before) is dict and type(value) is dict:
        return {key: _continued(before.get(key), value.get(key, before.get(key))) for key in {**before, **value}}
    raise TypeError("what a chunk says replaces what was said before")
