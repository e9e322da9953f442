"""After the commit point: upstream bytes to client bytes, pushed from socket to socket without a task or a queue.

Theory of operation. The upstream connection pushes body bytes into `data`; what the stream's state machines make of
them is written to the client's sink in one piece per read. Before the first event has parsed the relay is not open: a
failure then is an ordinary error with its own status. After that an error goes in-band, as one last event.

    waiting --first event--> open --terminal event--> done
       |--failure--> `opened` raises     |--failure--> error event, done
                                         `--client leaves--> upstream cut, done

Every path to `done` ends the exchange, once, and closes or releases the upstream.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from time import monotonic

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects import StreamTranslator
from llm_edge_agent.dialects.chat import error_body
from llm_edge_agent.dialects.chat_stream import DONE, ChatStream, error_event
from llm_edge_agent.dialects.sse import COMMENT, Event, EventTooLargeError, SSEDecoder
from llm_edge_agent.gateway.exchange import Exchange
from llm_edge_agent.http.client import UpstreamAnswer
from llm_edge_agent.http.deadlines import Sweep
from llm_edge_agent.http.messages import AbortReason, Sink
from llm_edge_agent.http.origins import UpstreamFailure

KEEPALIVE_S = 15.0
_KEEPALIVE = b": keep-alive\n\n"
_PING = b": ping\n\n"

_log = logging.getLogger("llm_edge_agent.relay")


class Relay:
    """One streamed answer. `http.origins.Receiver` towards the upstream, `http.messages.Streaming` towards the
    client, and the owner of both ends."""

    __slots__ = (
        "_buffer",
        "_decoder",
        "_done",
        "_events",
        "_finish",
        "_on_failure",
        "_sink",
        "_stream",
        "_sweep",
        "_translator",
        "_upstream",
        "_wrote",
        "deadline_s",
        "exchange",
        "headers",
        "opened",
        "status",
    )

    def __init__(
        self,
        exchange: Exchange,
        upstream: UpstreamAnswer,
        stream: ChatStream,
        translator: StreamTranslator | None,
        sweep: Sweep,
        *,
        headers: bytes,
        finish: Callable[["Relay", TokenUsage | None, bool], bytes | None],
        on_failure: Callable[[UpstreamFailure], GatewayError],
    ) -> None:
        """`finish(relay, usage, whole)` is called once when the answer has ended; it accounts, stores where `whole`,
        and returns the `metadata` object or None. `on_failure` words a broken exchange for the client."""
        self.status = 200
        self.headers = headers
        self.exchange = exchange
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.deadline_s = math.inf
        self._upstream = upstream
        self._stream = stream
        self._translator = translator
        self._sweep = sweep
        self._finish = finish
        self._on_failure = on_failure
        self._decoder = SSEDecoder()
        self._sink: Sink | None = None
        self._buffer: list[bytes] = []
        self._events = 0
        self._wrote = False
        self._done = False

    # Towards the upstream: http.origins.Receiver.

    def data(self, chunk: bytes) -> None:
        if self._done:
            self._upstream.close()  # nothing may follow a terminal event
            return
        out: list[bytes] = []
        try:
            complete = self._take(self._decoder.feed(chunk), out)
        except GatewayError as error:
            self._fail(error, out)
        except EventTooLargeError:
            self._fail(GatewayError(ErrorKind.UPSTREAM_TOO_LARGE, "The provider sent an event that is too large."), out)
        except Exception:
            _log.exception("unexpected failure while relaying a stream")
            self._fail(GatewayError(ErrorKind.INTERNAL, "The gateway failed while relaying the answer."), out)
        else:
            if complete:
                self._complete(out, whole=True)
            else:
                self._emit(out)

    def end(self) -> None:
        if not self._done:
            self._at_end_of_input(None)

    def failed(self, failure: UpstreamFailure) -> None:
        if not self._done:
            self._at_end_of_input(failure)

    def _take(self, events: list[Event], out: list[bytes]) -> bool:
        """Translates events into `out`; True once the stream's terminal event has come."""
        translator = self._translator
        feed = self._stream.feed
        for event, data in events:
            if event == COMMENT:
                if self._events:
                    out.append(_PING)
                continue
            if translator is None:
                if data == DONE:
                    self._stream.end()
                    return True
                out.append(feed(data))
            else:
                if event == "ping" and self._events:
                    out.append(_PING)
                out += [feed(payload) for payload in translator.feed(event, data)]
                if translator.complete:
                    self._stream.end()
                    return True
            self._events += 1
        return False

    def _at_end_of_input(self, failure: UpstreamFailure | None) -> None:
        """The upstream is over, by its framing or by breaking off. An answer whose finish reason has come is whole
        for the client either way; it is stored only where the framing was whole too."""
        out: list[bytes] = []
        try:
            complete = self._take(self._decoder.finish(), out)
            if not complete:
                if self._translator is not None:
                    out += [self._stream.feed(payload) for payload in self._translator.finish()]
                self._stream.end()
        except GatewayError as error:
            self._fail(error if failure is None else self._on_failure(failure), out)
            return
        self._complete(out, whole=failure is None)

    # Towards the client: http.messages.Streaming.

    def start(self, sink: Sink) -> None:
        self._sink = sink
        self.deadline_s = monotonic() + KEEPALIVE_S
        self._sweep.add(self)
        buffered = b"".join(self._buffer)
        self._buffer.clear()
        if buffered:
            sink.write(buffered)
        if self._done:
            self._close_sink()

    def pause(self) -> None:
        self._upstream.pause()

    def resume(self) -> None:
        self._upstream.resume()

    def expire(self) -> None:
        """Silence: a comment keeps proxies and clients from giving up (called by the deadline sweep)."""
        self.deadline_s = monotonic() + KEEPALIVE_S
        if self._wrote:
            self._wrote = False
        elif self._sink is not None and not self._done:
            self._sink.write(_KEEPALIVE)

    def abort(self, reason: AbortReason) -> None:
        self._sweep.discard(self)
        self._upstream.close()
        if self._done:
            self.exchange.end(499, ErrorKind.CLIENT_GONE)
            return
        self._done = True
        self._finish(self, self._usage_so_far(), False)
        if reason == "shutdown":
            error = GatewayError(ErrorKind.SHUTTING_DOWN, "The gateway is shutting down.")
            if self._sink is not None:
                self._sink.write(error_event(error_body(error)))
            self.exchange.end(self.status, error.kind)
        else:
            self.exchange.end(499, ErrorKind.CLIENT_GONE)
        if not self.opened.done():
            self.opened.cancel()

    # The ends.

    def _emit(self, out: list[bytes]) -> None:
        data = b"".join(out) if len(out) != 1 else out[0]
        if data:
            if self.exchange.ttft_s is None and self._events:
                self.exchange.ttft_s = monotonic() - self.exchange.started_s
            self._wrote = True
            if self._sink is not None:
                self._sink.write(data)
            else:
                self._buffer.append(data)
        if self._events and not self.opened.done():
            self.opened.set_result(None)

    def _complete(self, out: list[bytes], *, whole: bool) -> None:
        self._done = True
        self._events += 1
        metadata = self._finish(self, self._usage(), whole)
        out.append(self._stream.close(metadata))
        self._emit(out)
        self._upstream.resume()
        if self._sink is not None:
            self._close_sink()

    def _fail(self, error: GatewayError, out: list[bytes]) -> None:
        self._done = True
        self._upstream.close()
        if not self.opened.done():
            self.opened.set_exception(error)
            return
        self._finish(self, self._usage_so_far(), False)
        self.exchange.error = error.kind
        out.append(error_event(error_body(error)))
        self._emit(out)
        if self._sink is not None:
            self._close_sink()

    def _close_sink(self) -> None:
        self._sweep.discard(self)
        if self._sink is not None:
            self._sink.end()
        self.exchange.end(self.status, self.exchange.error)

    def _usage(self) -> TokenUsage | None:
        return self._stream.usage if self._translator is None else self._translator.usage

    def _usage_so_far(self) -> TokenUsage | None:
        """What a cut stream has cost, as far as can be told: the provider's own figures where it gave any, one token
        per event else. None where nothing had come."""
        known = self._usage()
        if known is not None and self._translator is None:
            return known
        if not self._events:
            return known
        return TokenUsage(
            prompt_tokens=known.prompt_tokens if known else 0,
            cache_read_tokens=known.cache_read_tokens if known else 0,
            cache_write_tokens=known.cache_write_tokens if known else 0,
            cache_write_1h_tokens=known.cache_write_1h_tokens if known else 0,
            completion_tokens=max(known.completion_tokens if known else 0, self._events - 1),
            estimated=True,
        )
