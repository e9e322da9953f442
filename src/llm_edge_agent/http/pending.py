"""A reply that could not be given at once: first an errand, then perhaps a stream.

Whoever leaves first ends it: the reply by completing, or the connection by `abandon` or `shut_down`. `_live` is true
until then, and guards every way in: what comes later finds nothing to act on.
"""

import asyncio
import logging
import re
import traceback
from collections.abc import Awaitable, Callable
from types import CoroutineType
from typing import Any, Final, Protocol

from llm_edge_agent.http.errands import Errand
from llm_edge_agent.http.messages import AbortReason, Complete, Request, Streaming

BODYLESS: Final = frozenset((204, 304))
"""Statuses whose replies have neither body nor content-length here (RFC 9110 sections 15.3.5 and 15.4.5)."""

_ANNOUNCED: Final = re.compile(rb"(?m)^trailer:[^\r]*\r\n")
"""What says that trailers follow, where there is no place for them."""

logger = logging.getLogger("llm_edge_agent.http")


def log_escaped(error: BaseException) -> None:
    """Logs what a handler let escape, without the exception's message: it may quote the request."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    logger.error("%s escaped from a handler\n%s", type(error).__name__, frames)


class Outlet(Protocol):
    """The connection, as a pending reply sees it."""

    @property
    def write_paused(self) -> bool: ...

    def give(self, reply: Complete) -> None:
        """Writes a whole reply and goes on to the next exchange."""
        ...

    def fail(self) -> None:
        """Nothing was sent: answers that something went wrong inside."""
        ...

    def open_stream(self, status: int, headers: bytes) -> None:
        """Holds the head, and what is sent, back until `uncork` or the end: a write to a socket costs more than all
        that comes before it."""
        ...

    def send(self, data: bytes) -> None: ...

    def uncork(self) -> None:
        """Writes what was held back; from now on everything goes out as it comes."""
        ...

    def end_stream(self, tail: bytes) -> None:
        """The reply is complete once `tail` is written."""
        ...

    def cut_stream(self, *, framed: bool) -> None:
        """The reply stays incomplete, and the client must see it: by the missing last chunk, or where the end of the
        connection would be the end of the body, by a reset."""
        ...

    def drop(self) -> None:
        """Closes at once, flushing nothing."""
        ...


class Pending:
    """One reply on its way. Is the `Sink` of its own stream, dead once that ended: a late write cannot reach the next
    exchange."""

    __slots__ = ("_chunked", "_errand", "_live", "_mute", "_outlet", "_request", "_sent", "_streaming")

    def __init__(self, outlet: Outlet, request: Request) -> None:
        self._outlet = outlet
        self._request = request
        self._live = True
        self._errand: Errand[Complete | Streaming] | None = None
        self._streaming: Streaming | None = None
        self._sent = False
        self._chunked = False
        self._mute = False
        """The body is taken and not sent: a reply to HEAD, or a status without a body."""

    def run(self, reply: Awaitable[Complete | Streaming], loop: asyncio.AbstractEventLoop) -> None:
        """Begins to wait for the reply, once; it may be given from within this call."""
        coroutine: Any = reply if type(reply) is CoroutineType else _awaited(reply)
        errand = self._errand = Errand(coroutine, self, loop)
        errand.start()

    @property
    def streaming(self) -> bool:
        return self._streaming is not None

    def write(self, data: bytes) -> None:
        # An empty chunk would be the end of the body.
        if self._live and data and not self._mute:
            self._outlet.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self, last: bytes = b"", trailers: bytes = b"") -> None:
        if self._live:
            self._live = False
            if self._mute:
                last = b""
            elif self._chunked:
                end = b"0\r\n%b\r\n" % trailers
                last = b"%x\r\n%b\r\n%b" % (len(last), last, end) if last else end
            self._outlet.end_stream(last)

    def cut(self) -> None:
        if self._live:
            self._live = False
            self._outlet.cut_stream(framed=self._chunked)

    def pause(self) -> None:
        if self._live and self._streaming is not None:
            self._call(self._streaming.pause)

    def resume(self) -> None:
        if self._live and self._streaming is not None:
            self._call(self._streaming.resume)

    def abandon(self, reason: AbortReason) -> None:
        """The connection is lost to this reply: forsakes the errand or aborts the stream."""
        if not self._live:
            return
        self._live = False
        if self._streaming is not None:
            self._abort(self._streaming, reason)
        elif self._errand is not None:
            self._errand.forsake()

    def shut_down(self) -> bool:
        """The server stops. A stream is aborted, may write once more, and is cut: True. An answer still awaited is
        given up, and the connection may give another: False."""
        streaming = self._streaming
        if streaming is None:
            self.abandon("shutdown")
            return False
        if self._live:
            self._abort(streaming, "shutdown")
            self.cut()
        return True

    # From the errand.

    def returned(self, reply: Complete | Streaming) -> None:
        try:
            self._deliver(reply)
        except Exception as error:
            self._broken(error)

    def raised(self, error: BaseException) -> None:
        if isinstance(error, Exception):
            self._broken(error)
        elif self._live:
            self._live = False
            if self._errand is not None and self._errand.cancelling():
                self._outlet.drop()
            else:
                log_escaped(error)
                self._outlet.fail()

    def _deliver(self, reply: Complete | Streaming) -> None:
        if not self._live:
            _dispose(reply)
        elif isinstance(reply, Complete):
            self._live = False
            self._outlet.give(reply)
        else:
            self._streaming = reply
            bodyless = reply.status in BODYLESS
            self._mute = bodyless or self._request.method == "HEAD"
            self._chunked = not self._request.http_1_0
            headers = reply.headers
            if not self._chunked:
                headers = _ANNOUNCED.sub(b"", headers)
            elif not bodyless:
                headers += b"transfer-encoding: chunked\r\n"
            self._outlet.open_stream(reply.status, headers)
            self._sent = True
            reply.start(self)
            if self._live:
                self._outlet.uncork()
            if self._outlet.write_paused:
                self.pause()

    def _call(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            self._broken(error)

    def _broken(self, error: Exception) -> None:
        """The handler's side raised, and cannot be trusted to end the exchange."""
        log_escaped(error)
        if not self._live:
            return
        self.abandon("shutdown")
        if self._sent:
            self._outlet.drop()
        else:
            self._outlet.fail()

    @staticmethod
    def _abort(streaming: Streaming, reason: AbortReason) -> None:
        try:
            streaming.abort(reason)
        except Exception as error:
            log_escaped(error)


def _dispose(reply: Complete | Streaming) -> None:
    """A reply came for which there is no client any more."""
    if not isinstance(reply, Complete):
        try:
            reply.abort("client_gone")
        except Exception as error:
            log_escaped(error)


async def _awaited(reply: Awaitable[Complete | Streaming]) -> Complete | Streaming:
    """Any awaitable as a coroutine. Cancelled, it looks whether a future holds a reply that nobody got to see."""
    try:
        return await reply
    except asyncio.CancelledError:
        if isinstance(reply, asyncio.Future) and reply.done() and not reply.cancelled() and reply.exception() is None:
            _dispose(reply.result())
        raise
