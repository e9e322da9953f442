"""After the commit point: upstream bytes to client bytes, pushed from socket to socket without a task or a queue.

Theory of operation. The upstream connection pushes body bytes into `data`; what the stream's state machines make of
them is written to the client's sink in one piece per read. Before the first piece of an answer has come the relay is
not open: a failure then is an ordinary error with its own status, and another deployment may be asked. Events that only
announce an answer are held back for that long, but not longer than HOLD_S. After that an error goes in-band, as one
last event.

    waiting --first content--> open --terminal event--> done
       |--failure, or none in time-->      |--failure--> error event, done
       |          `opened` raises          |
                                           `--client leaves--> upstream cut, done

Every path to `done` ends the exchange, once, and closes or releases the upstream.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from llm_edge_agent.core.deployments import Try
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.endpoint import AnswerStream, Endpoint
from llm_edge_agent.dialects.sse import begins_content
from llm_edge_agent.gateway.exchange import Exchange
from llm_edge_agent.gateway.faults import internal_error
from llm_edge_agent.http.deadlines import Sweep
from llm_edge_agent.http.messages import AbortReason, Sink
from llm_edge_agent.http.origins import FailureReason, UpstreamFailure

KEEPALIVE_S = 15.0
HOLD_S = 2.0


class Source(Protocol):
    """The upstream as a relay needs it: `http.client.UpstreamAnswer`, or a share of one."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def close(self) -> None: ...


class Relay:
    """One streamed answer. `http.origins.Receiver` towards the upstream, `http.messages.Streaming` towards the
    client, and the owner of both ends."""

    __slots__ = (
        "_buffer",
        "_conceal",
        "_endpoint",
        "_finish",
        "_held",
        "_mute",
        "_on_failure",
        "_sink",
        "_stream",
        "_sweep",
        "_trailers",
        "_tried",
        "_upstream",
        "_wrote",
        "deadline_s",
        "done",
        "exchange",
        "failure",
        "headers",
        "keep_going",
        "opened",
        "status",
    )

    def __init__(
        self,
        exchange: Exchange,
        upstream: Source,
        stream: AnswerStream,
        sweep: Sweep,
        endpoint: Endpoint,
        *,
        headers: bytes,
        commit_by_s: float,
        finish: Callable[[TokenUsage | None, bool], bytes | None],
        on_failure: Callable[[UpstreamFailure], GatewayError],
        conceal: Callable[[bytes], bytes],
        tried: Try | None = None,
        trailers: Callable[[Exchange], bytes] | None = None,
    ) -> None:
        """`commit_by_s`: monotonic time at which the first event must be in, for as long as the caller has the relay
        watched by the sweep. `finish(usage, whole)` is called once when the answer has ended; it accounts, stores where
        `whole`, and returns the `metadata` object or None. `on_failure` words a broken exchange for the client;
        `conceal` takes out of a provider's error what no client may see. `tried` is told of the first token, and ended
        here wherever `finish` did not. `trailers` makes the lines that follow the stream."""
        self.status = 200
        self.headers = headers
        self.exchange = exchange
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.deadline_s = commit_by_s
        self._upstream = upstream
        self._stream = stream
        self._sweep = sweep
        self._endpoint = endpoint
        self._finish = finish
        self._on_failure = on_failure
        self._conceal = conceal
        self._tried = tried
        self._trailers = trailers
        self._held = False
        self._sink: Sink | None = None
        self._buffer: list[bytes] = []
        self._wrote = False
        self.done = False
        """Whether nothing more is taken from the upstream."""
        self._mute = False
        """The client has left, and the stream goes on for others."""
        self.failure: GatewayError | None = None
        """Why the stream broke."""
        self.keep_going: Callable[[], bool] | None = None
        """Asked when the client leaves: whether others want the answer, so that it must be received to its end."""

    # Towards the upstream: http.origins.Receiver.

    def data(self, chunk: bytes) -> None:
        if self.done:
            self._upstream.close()  # nothing may follow a terminal event
            return
        try:
            stream = self._stream
            out = stream.feed(chunk)
            if stream.failure is not None:
                self._fail(stream.failure, out)
            elif stream.complete:
                self._complete(out, whole=True)
            elif self._sink is None or self.exchange.ttft_s is None:
                self._emit(out)
            elif out:  # as nearly every read of a stream
                self._wrote = True
                self._sink.write(out)
        except Exception as error:
            self._break(error)

    def end(self) -> None:
        self.failed(None)

    def failed(self, failure: UpstreamFailure | None) -> None:
        if self.done:
            return
        try:
            self._at_end_of_input(failure)
        except Exception as error:
            self._break(error)

    def _at_end_of_input(self, failure: UpstreamFailure | None) -> None:
        """The upstream is over, by its framing or by breaking off. An answer whose finish reason has come is whole
        for the client either way; it is stored only where the framing was whole too."""
        out = self._stream.finish()
        if self._stream.failure is None:
            self._complete(out, whole=failure is None)
        else:
            self._fail(self._stream.failure if failure is None else self._on_failure(failure), out)

    # Towards the client: http.messages.Streaming.

    def commit(self) -> None:
        """Whatever has come or not: nobody else will be asked, and from now on an error goes in-band."""
        if not self.opened.done():
            self._open()

    def start(self, sink: Sink) -> None:
        self._sink = sink
        self.deadline_s = monotonic() + KEEPALIVE_S
        self._sweep.add(self)
        buffered = b"".join(self._buffer)
        self._buffer.clear()
        if buffered:
            sink.write(buffered)
        if self.done:
            self._close_sink()

    def pause(self) -> None:
        self._upstream.pause()

    def resume(self) -> None:
        self._upstream.resume()

    def expire(self) -> None:
        """Called by the deadline sweep. Waiting: comments alone do not make an answer, however long they go on. Open:
        a sign of life keeps proxies and clients from giving up."""
        if not self.opened.done():
            if self._held:
                self._open()
            else:
                self._fail(self._on_failure(UpstreamFailure(FailureReason.TIMEOUT, "no first event in time")), b"")
            return
        self.deadline_s = monotonic() + KEEPALIVE_S
        if self._wrote:
            self._wrote = False
        elif self._sink is not None and not self.done:
            self._sink.write(self._endpoint.keepalive)

    def abort(self, reason: AbortReason) -> None:
        self._sweep.discard(self)
        if reason != "shutdown" and not self.done and self.keep_going is not None and self.keep_going():
            self._mute = self.exchange.left = True
            self._sink = None
            self._buffer.clear()
            return
        self._upstream.close()
        sink, self._sink = self._sink, None
        if self.done:
            self.exchange.end(499, ErrorKind.CLIENT_GONE)
            return
        self.done = True
        self._account(self._stream.usage_so_far(), whole=False)
        if reason == "shutdown":
            error = GatewayError(ErrorKind.SHUTTING_DOWN, "The gateway is shutting down.")
            if sink is not None:
                sink.write(self._endpoint.error_event(error))
            self.exchange.end(self.status, error.kind)
        else:
            self.exchange.end(499, ErrorKind.CLIENT_GONE)
        if not self.opened.done():
            self.opened.cancel()

    def refuse(self, error: GatewayError) -> None:
        """Breaks the stream off for a reason of the gateway's own."""
        if not self.done:
            self._fail(error, b"")

    # The ends.

    def _emit(self, data: bytes) -> None:
        if data:
            if self.exchange.ttft_s is None:
                self.exchange.ttft_s = monotonic() - self.exchange.started_s
            self._wrote = True
            if self._sink is not None:
                self._sink.write(data)
            elif not self._mute:
                self._buffer.append(data)
        if not self.opened.done() and self._stream.events:
            if begins_content(data):
                self._open()
            elif not self._held:
                self._held = True
                self.deadline_s = monotonic() + HOLD_S

    def _open(self) -> None:
        """From here on the answer is the client's."""
        if self._tried is not None:
            self._tried.first_token(monotonic())
        self.opened.set_result(None)

    def _account(self, usage: TokenUsage | None, *, whole: bool) -> bytes | None:
        """Once, when the answer has ended, whichever way."""
        try:
            return self._finish(usage, whole)
        finally:
            if self._tried is not None:
                self._tried.abandoned(monotonic())

    def _complete(self, out: bytes, *, whole: bool) -> None:
        self.done = True
        if not self.opened.done():
            self._open()
        metadata = self._account(self._stream.usage, whole=whole)
        out += self._stream.close(metadata)
        if self._sink is None or self.exchange.ttft_s is None:
            self._emit(out)
            out = b""
        self._upstream.resume()
        if self._sink is not None or self._mute:
            self._close_sink(out)

    def _fail(self, error: GatewayError, out: bytes) -> None:
        self.done = True
        error.conceal(self._conceal)
        self.failure = error
        if not self.opened.done() and begins_content(out):
            self._open()  # how the network cut the stream decides nothing
        self._upstream.close()
        if not self.opened.done():
            self._sweep.discard(self)
            self._buffer.clear()
            self.opened.set_exception(error)
            return
        self.exchange.error = error.kind
        self._account(self._stream.usage_so_far(), whole=False)
        self._emit(self._conceal(out) + self._endpoint.error_event(error))
        if self._sink is not None or self._mute:
            self._close_sink()

    def _break(self, error: Exception) -> None:
        """The gateway's own failure: whatever the accounts still lack, the client must not be left waiting."""
        self._finish = _account_nothing
        self._fail(internal_error(error, self.exchange.request_id), b"")

    def _close_sink(self, last: bytes = b"") -> None:
        self._sweep.discard(self)
        sink, self._sink = self._sink, None  # it holds this relay: together they would outlive the stream
        if sink is not None:
            sink.end(last, self._trailers(self.exchange) if self._trailers is not None else b"")
        self.exchange.end(self.status, self.exchange.error)


def _account_nothing(usage: TokenUsage | None, whole: bool) -> bytes | None:
    """In the place of an accounting that failed."""
    return None
