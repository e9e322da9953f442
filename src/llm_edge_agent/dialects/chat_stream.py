"""One streamed chat answer on its way to the client: a state machine over `chat.completion.chunk` payloads.

Theory of operation. Chunks pass through as they come, untouched. Three things need holding:

- what may be the last chunk (every choice that began has its finish reason) is held back, because the gateway's
  `metadata` (latency, cost) belongs into the last chunk and is known only when the usage is;
- the usage chunk ends the answer: it goes to a client that asked for it, and is dropped where only the gateway did;
- `[DONE]` is written by `close`, so that nothing looks finished that is not.

    open --finish chunk--> held --usage chunk | [DONE] | end of stream--> complete
      |                     |--a chunk of another choice--> (held chunk goes out first) open again
      |                     |--any other chunk--> (held chunk goes out first) that one is held
      `--[DONE] | end of stream--> error: an answer without a finish reason was cut short

Chunks that carry no finish reason, usage or error are recognised by scanning, not decoding: JSON escapes quotes inside
strings, so `"finish_reason":null` with its bare quotes cannot be content. Whatever the scan does not recognise is
decoded.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat import (
    ABSENT,
    FinishedChoice,
    WireUsage,
    is_error,
    replace_surrogate_escapes,
    without_metadata,
)
from llm_edge_agent.dialects.provider_errors import safe_message

DONE = b"[DONE]"
_DONE_EVENT = b"data: [DONE]\n\n"
_MARKS = (b'"finish_reason":"', b'"usage":{', b'"error"', b'"metadata"')
"""A chunk with one of these has to be decoded."""


class _Chunk(msgspec.Struct):
    choices: list[FinishedChoice] | None = None
    usage: WireUsage | None = None
    service_tier: Any = None
    error: msgspec.Raw = ABSENT
    metadata: msgspec.Raw = ABSENT


class _Error(msgspec.Struct):
    message: str | None = None
    type: str | None = None
    code: str | int | None = None


_chunk_decoder = msgspec.json.Decoder(_Chunk)


class ChatStream:
    """Feed it every payload of the stream in order; send what it returns."""

    __slots__ = (
        "_choices",
        "_held",
        "_keep_limit",
        "_kept_bytes",
        "_scan",
        "_service_tier",
        "_show_usage",
        "_usage_chunk",
        "finish_reasons",
        "kept",
        "usage",
    )

    def __init__(self, *, show_usage: bool, choices: int = 1, keep_limit_bytes: int = 0) -> None:
        """`show_usage`: the client asked for the usage chunk. `choices`: how many answers were asked for; of several,
        each chunk is decoded, since any may be the first of another choice. `keep_limit_bytes`: keep the payloads, up
        to so many bytes, for the cache; 0 keeps nothing."""
        self._choices = choices
        self._scan = choices == 1
        self._show_usage = show_usage
        self._held: bytes | None = None
        self._usage_chunk: bytes | None = None
        self._service_tier: object = None
        self._keep_limit = keep_limit_bytes
        self._kept_bytes = 0
        self.kept: list[bytes] | None = [] if keep_limit_bytes else None
        """The payloads so far; None where nothing is kept, or the answer grew too large for the cache."""
        self.finish_reasons: dict[int, str | None] = {}
        """Finish reason by choice index; None for a choice that has begun and not ended."""
        self.usage: TokenUsage | None = None

    @property
    def complete(self) -> bool:
        """Whether every choice seen has ended and the usage chunk has come: nothing but `[DONE]` can follow."""
        return self._usage_chunk is not None and self._ended()

    def _ended(self) -> bool:
        return bool(self.finish_reasons) and None not in self.finish_reasons.values()

    def feed(self, payload: bytes) -> bytes:
        """One event's data (not `[DONE]`); returns the bytes to send now, often the same event.

        Raises GatewayError: an error object of the provider, or data that is no chunk.
        """
        if self.kept is not None:
            self._keep(self.kept, (payload,), len(payload))
        return self._decode(payload)

    def feed_plain(self, text: bytes) -> tuple[int, int]:
        """Takes what goes to the client as it is from the front of an event stream's text: chunks after the first that
        carry no finish reason, usage, error or metadata. Returns how many bytes and events these are.

        One look at a read instead of one at each event: a read often holds many.
        """
        if self._held is not None or not self._scan or not self.finish_reasons or not text.startswith(b"data: {"):
            return 0, 0
        end = len(text)
        for mark in _MARKS:
            at = text.find(mark, 0, end)
            if at >= 0:
                end = at
        end = text.rfind(b"\n\n", 0, end)
        if end < 0:
            return 0, 0
        plain = text[6:end]
        if not plain.isascii() and not _is_utf_8(plain):
            return 0, 0
        payloads = plain.split(b"\n\ndata: ")
        if plain.count(b"\n") != 2 * len(payloads) - 2:
            return 0, 0
        for payload in payloads:
            if b'"finish_reason":null' not in payload:
                return 0, 0
        if self.kept is not None:
            self._keep(self.kept, payloads, len(plain))
        return end + 2, len(payloads)

    def _keep(self, kept: list[bytes], payloads: Sequence[bytes], size: int) -> None:
        self._kept_bytes += size
        if self._kept_bytes > self._keep_limit:
            self.kept = None
        else:
            kept += payloads

    def _decode(self, payload: bytes) -> bytes:
        try:
            if not payload.isascii():
                str(payload, "utf-8")  # msgspec does not look into strings it skips
            chunk = _chunk_decoder.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            chunk = _decode_tolerantly(payload)
        if is_error(chunk.error):
            raise provider_error(bytes(chunk.error))
        if chunk.choices is None and chunk.usage is None:
            raise GatewayError(ErrorKind.UPSTREAM_INVALID, "The provider's stream carries something that is no chunk.")
        if b"\n" in payload:  # several `data` lines: JSON allows the line feeds only between tokens
            payload = payload.replace(b"\n", b" ")
        if chunk.metadata != ABSENT:
            payload = without_metadata(payload.strip())
        if chunk.service_tier is not None:
            self._service_tier = chunk.service_tier
        if chunk.usage is not None:
            self.usage = chunk.usage.tokens(self._service_tier)
        if not chunk.choices:
            if chunk.usage is None:
                return self._pass_or_hold(payload)
            self._usage_chunk = payload
            return b""
        for choice in chunk.choices:
            if choice.finish_reason is not None:
                self.finish_reasons[choice.index] = choice.ending
            else:
                self.finish_reasons.setdefault(choice.index, None)
        return self._pass_or_hold(payload)

    def _pass_or_hold(self, payload: bytes) -> bytes:
        out = self._release()
        if self._ended():
            self._held = payload
            return out
        return b"%bdata: %b\n\n" % (out, payload)

    def _release(self) -> bytes:
        held, self._held = self._held, None
        return b"" if held is None else b"data: %b\n\n" % held

    def end(self, *, done: bool = True) -> None:
        """The stream is over. Raises GatewayError STREAM_INTERRUPTED unless every choice that began has ended: an
        answer is whole only with its finish reason. `done` False: the input ended and the provider did not say that
        this was all; then a choice that was asked for and never began is missing, too."""
        if not self._ended() or (not done and len(self.finish_reasons) < self._choices):
            raise GatewayError(
                ErrorKind.STREAM_INTERRUPTED, "The provider's stream ended before the answer was complete."
            )

    def close(self, metadata: bytes | None) -> bytes:
        """The tail: what was held, with `metadata` (a JSON object, encoded) in the last chunk, and `[DONE]`."""
        usage_chunk = self._usage_chunk if self._show_usage else None
        chunks = [chunk for chunk in (self._held, usage_chunk) if chunk is not None]
        self._held = self._usage_chunk = None
        chunks[-1:] = [_spliced(chunk, metadata) for chunk in chunks[-1:]]
        return b"".join([b"data: %b\n\n" % chunk for chunk in chunks]) + _DONE_EVENT


def _is_utf_8(text: bytes) -> bool:
    try:
        str(text, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _spliced(payload: bytes, metadata: bytes | None) -> bytes:
    if metadata is None:
        return payload
    return b'%b,"metadata":%b}' % (payload.rstrip()[:-1], metadata)


def _decode_tolerantly(payload: bytes) -> _Chunk:
    """A chunk with half of a surrogate pair is relayed as it came; what is no chunk at all raises UPSTREAM_INVALID."""
    try:
        str(payload, "utf-8")
        return _chunk_decoder.decode(replace_surrogate_escapes(payload))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise GatewayError(
            ErrorKind.UPSTREAM_INVALID, "The provider's stream carries something that is no chunk."
        ) from None


def provider_error(raw: bytes) -> GatewayError:
    """An error object inside a stream, in the provider's own words where it has some that may be shown."""
    try:
        error = msgspec.json.decode(raw, type=_Error)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        error = _Error()
    return GatewayError(
        ErrorKind.STREAM_INTERRUPTED,
        safe_message(error.message or "The provider reported an error in the stream."),
        code=safe_message(str(error.code)) if error.code is not None else None,
        type=safe_message(error.type) if error.type is not None else None,
    )


def error_event(body: bytes) -> bytes:
    """An error object as the in-band event after which nothing follows; the SDKs raise on it."""
    return b"data: %b\n\n" % body
