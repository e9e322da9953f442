"""A streamed answer as a whole: upstream bytes in, client bytes out. Joins framing, translation and the chunk machine.

Pure and fed by hand. It never raises: what goes wrong is in `failure`, so that what came before it in the same read
still goes out.
"""

from typing import Protocol

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import Estimated, TokenUsage
from llm_edge_agent.dialects.chat_replay import fold
from llm_edge_agent.dialects.chat_stream import DONE, ChatStream
from llm_edge_agent.dialects.endpoint import Answer
from llm_edge_agent.dialects.sse import COMMENT, Event, EventTooLargeError, SSEDecoder

_PING = b": ping\n\n"


class StreamTranslator(Protocol):
    """Upstream events in, chat completion chunks out."""

    @property
    def usage(self) -> TokenUsage | None:
        """As told so far; cumulative."""
        ...

    @property
    def settled(self) -> bool:
        """Whether `usage` is the bill, whatever becomes of the rest of the stream."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the upstream's terminal event has come."""
        ...

    def feed(self, event: str, data: bytes) -> list[bytes]: ...

    def finish(self) -> list[bytes]:
        """At the end of input. Raises GatewayError where the stream was cut short."""
        ...


class ChatAnswerStream:
    """One streamed chat completion. Feed it every read; call `finish` at the end of input unless it is complete; then
    `close` once for the tail."""

    __slots__ = ("_chunks", "_decoder", "_deltas", "_out", "_translator", "complete", "events", "failure")

    def __init__(self, chunks: ChatStream, translator: StreamTranslator | None) -> None:
        self._decoder = SSEDecoder()
        self._chunks = chunks
        self._translator = translator
        self._out: list[bytes] = []
        self._deltas = 0
        """Events that bring a piece of a translated answer: their names say so, whichever the dialect."""
        self.events = 0
        """Upstream events so far, comments not counted. The first one is the commit point."""
        self.complete = False
        """Whether the terminal event has come and the answer is whole."""
        self.failure: GatewayError | None = None

    def feed(self, data: bytes) -> bytes:
        """The bytes to send now. Sets `complete` or `failure`; then nothing more may be fed."""
        if self._decoder.between and self._translator is None and b"\r" not in data:
            size, events = self._chunks.feed_plain(data)
            self.events += events
            if size == len(data):
                return data
            if size:
                return data[:size] + self._feed(data[size:])
        return self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        """As `feed`, whatever `data` is."""
        out: list[bytes] = []
        try:
            if self._translator is not None:
                self._take(self._decoder.feed(data), out)
            else:
                if not self.events and 1 < (first := data.find(b"\n\n") + 2) < len(data):
                    # The first chunk is always decoded; what came with it need not be.
                    self._take(self._decoder.feed(data[:first]), out)
                    data = data[first:]
                self._out = out
                events = self._decoder.feed(data, self._take_plain)
                if events:
                    self._take(events, out)
        except GatewayError as error:
            self.failure = error.with_traceback(None)  # whose frames hold this object
        except EventTooLargeError:
            self.failure = GatewayError(ErrorKind.UPSTREAM_TOO_LARGE, "The provider sent an event that is too large.")
        return out[0] if len(out) == 1 else b"".join(out)

    def finish(self) -> bytes:
        """The end of input. Sets `complete` where the finish reason has come, else `failure`."""
        out: list[bytes] = []
        try:
            try:
                self._take(self._decoder.finish(), out)
            except GatewayError as error:
                if error.kind is not ErrorKind.UPSTREAM_INVALID or not self.events:
                    raise
                # An event cut in two is none: what the stream lacks decides.
            if not self.complete:
                if self._translator is not None:
                    out += [self._chunks.feed(payload) for payload in self._translator.finish()]
                self._chunks.end(done=False)
                self.complete = True
        except GatewayError as error:
            self.failure = error.with_traceback(None)
        return b"".join(out)

    def _take_plain(self, text: bytes) -> int:
        size, events = self._chunks.feed_plain(text)
        if size:
            self._out.append(text if size == len(text) else text[:size])
            self.events += events
        return size

    def _take(self, events: list[Event], out: list[bytes]) -> None:
        translator = self._translator
        feed = self._chunks.feed
        for event, data in events:
            if event == COMMENT:
                if self.events:
                    out.append(_PING)
                continue
            if translator is None:
                if data == DONE:
                    self._chunks.end()
                    self.complete = True
                    return
                out.append(feed(data))
            else:
                if event == "ping" and self.events:
                    out.append(_PING)
                if event.endswith("delta"):
                    self._deltas += 1
                for payload in translator.feed(event, data):
                    out.append(feed(payload))
                if translator.complete:
                    self._chunks.end()
                    self.complete = True
                    return
            self.events += 1

    def close(self, metadata: bytes | None) -> bytes:
        """The tail of a complete answer: what was held, `metadata` in the last chunk, `[DONE]`."""
        return self._chunks.close(metadata)

    @property
    def usage(self) -> TokenUsage | None:
        """What the provider reported, of a complete answer."""
        return self._chunks.usage if self._translator is None else self._translator.usage

    def usage_so_far(self) -> TokenUsage | None:
        """What a cut stream has cost as far as can be told: the provider's own figures where it gave any, else one
        token per piece. None where nothing had come."""
        known = self.usage
        if not self.events or (known is not None and (self._translator is None or self._translator.settled)):
            return known
        pieces = self.events - 1 if self._translator is None else self._deltas
        return TokenUsage(
            prompt_tokens=known.prompt_tokens if known else 0,
            cache_read_tokens=known.cache_read_tokens if known else 0,
            cache_write_tokens=known.cache_write_tokens if known else 0,
            cache_write_1h_tokens=known.cache_write_1h_tokens if known else 0,
            completion_tokens=max(known.completion_tokens if known else 0, pieces),
            off_list=known.off_list if known else False,
            estimated=Estimated.COMPLETION if known and known.prompt_tokens else Estimated.ALL,
        )

    def answer(self) -> Answer | None:
        """The complete answer as it would have come whole, for the cache. None where it was not kept."""
        if not self._chunks.kept:
            return None
        body = fold(self._chunks.kept)
        if body is None:
            return None
        return Answer(body, self.usage, tuple(self._chunks.finish_reasons.values()))
