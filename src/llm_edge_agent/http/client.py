"""One upstream connection and the answer it carries. Knows framing and deadlines; neither DNS, TLS nor reuse.

Theory of operation. A connection serves one exchange at a time. `start` writes the request and arms the deadline; from
then on everything happens in the socket's callbacks:

    head --interim 1xx--> head --final head--> length | chunked | until_eof --complete--> back to the keeper
      |                                                  |
      `---------------- any fault: the connection is aborted, the answer fails ----------------'

A plain head is read at one glance (`plain_heads`); httptools parses every other and the chunked framing. The end of
such a head is found here as well (the first empty line; both must agree), so a body of known length is counted, not
parsed, and bytes after an answer are always noticed.

The machine stands in one file, long as it is: every framing begins from the same head and ends in the same few ways.
"""

import asyncio
import math
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from llm_edge_agent.http.answer import UpstreamAnswer
from llm_edge_agent.http.deadlines import Sweep
from llm_edge_agent.http.origins import FailureReason, UpstreamFailure
from llm_edge_agent.http.plain_heads import plain_head

__all__ = ["Keeper", "UpstreamAnswer", "UpstreamConnection"]

MAX_INTERIM_ANSWERS = 10

_HEAD_END = b"\r\n\r\n"
_VERSION = b"HTTP/1."
_HEAD, _LENGTH, _CHUNKED, _UNTIL_EOF = range(4)


class Keeper(Protocol):
    """Who owns connections between exchanges."""

    def finished(self, connection: "UpstreamConnection", reusable: bool) -> None:
        """The exchange is over. A reusable connection may be started again; else it is aborted already."""
        ...

    def dropped(self, connection: "UpstreamConnection") -> None:
        """The connection broke between exchanges and is aborted already: it must not be started again."""
        ...

    def made(self, connection: "UpstreamConnection") -> None: ...

    def lost(self, connection: "UpstreamConnection") -> None:
        """The transport is gone. The last call for this connection."""
        ...


class _ExcessError(Exception):
    """Raised into the parser to stop it: a second message begins where one was asked for."""


class UpstreamConnection(asyncio.Protocol):
    """One transport to one origin, from `connection_made` to `connection_lost`."""

    __slots__ = (
        "_answer",
        "_bare",
        "_body_done",
        "_chunks",
        "_fault",
        "_framing",
        "_head",
        "_head_bytes",
        "_headers",
        "_interim",
        "_keep_alive",
        "_keeper",
        "_max_header_bytes",
        "_old_version",
        "_parser",
        "_paused",
        "_quiet_bytes",
        "_status",
        "_sweep",
        "_tail",
        "_tls_body",
        "_transport",
        "deadline_s",
        "exchanges",
        "left",
        "on_body",
    )

    def __init__(self, keeper: Keeper, sweep: Sweep, max_header_bytes: int) -> None:
        self.deadline_s = math.inf
        """Of the exchange (total, then idle), or of idleness between exchanges, where the keeper sets it."""
        self.exchanges = 0
        self.left = 0
        """Body bytes still to come, where the length is known; else 0."""
        self._keeper = keeper
        self._sweep = sweep
        self._max_header_bytes = max_header_bytes
        self._transport: asyncio.Transport | None = None
        self._answer: UpstreamAnswer | None = None
        self._fault: FailureReason | None = None
        self._parser: HttpResponseParser | None = None
        self._framing = _HEAD
        self._head = bytearray()
        self._head_bytes = 0
        self._headers: dict[bytes, bytes] = {}
        self._chunks: list[bytes] = []
        self.on_body = self._chunks.append
        """The parser's callback. Not a method: a stream has a chunk for every word, and a frame for each costs."""
        self._quiet_bytes = 0
        self._tail = b""
        self._body_done = False
        self._interim = 0
        self._status = 0
        self._keep_alive = False
        self._old_version = False
        self._bare = False
        self._tls_body = False
        self._paused = False

    # For the keeper and the answer.

    def start(self, answer: UpstreamAnswer, request: bytes, body: bytes, deadline_s: float, *, bare: bool) -> None:
        """Writes `request` (the head, and the body where that is small), then `body` (where it is large), and
        delivers what comes to `answer`. `bare`: the method is HEAD, its answer has no body. The connection is idle."""
        self.exchanges += 1
        self._answer = answer
        self._framing = _HEAD
        self._bare = bare
        self.deadline_s = deadline_s
        answer.began(self)
        transport = self._transport
        if transport is None or self._fault is not None:
            self.fail(self._fault or FailureReason.CLOSED, "the connection broke before the request was sent")
            return
        transport.write(request)
        if body:
            transport.write(body)
            self._tls_body = transport.get_extra_info("ssl_object") is not None
        else:
            self._tls_body = False

    def pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._transport is not None:
                self._transport.resume_reading()

    def give_up(self) -> None:
        """The answer's holder wants no more of it."""
        answer = self._answer
        if answer is not None:
            self._leave()
            self.abort(FailureReason.CLOSED)
            answer.left()
            self._keeper.finished(self, False)

    def fail(self, reason: FailureReason, detail: str) -> None:
        """Ends the exchange by aborting the connection. `detail` is one of our own texts."""
        answer = self._answer
        if answer is not None:
            self._leave()
            self.abort(reason)
            self._keeper.finished(self, False)
            answer.fail(UpstreamFailure(reason, detail, received=answer.received))

    def abort(self, reason: FailureReason) -> None:
        """Closes the transport at once; `lost` follows. Ends no exchange."""
        self._fault = self._fault or reason
        self.deadline_s = math.inf
        self._sweep.discard(self)
        if self._transport is not None:
            self._transport.abort()

    def abandon(self) -> None:
        """Its opening failed or was cancelled. uvloop may have called `connection_made` by then, and closes such a
        transport without `connection_lost`."""
        self.abort(FailureReason.CLOSED)
        self.connection_lost(None)

    def expire(self) -> None:
        """The deadline has passed (called by the sweep)."""
        answer = self._answer
        if answer is None:
            self._drop(FailureReason.CLOSED)
        elif answer.flowing:
            self.fail(FailureReason.IDLE_TIMEOUT, "the stream fell silent")
        else:
            self.fail(FailureReason.TIMEOUT, "the answer did not come in time")

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # the loop's contract for a Protocol
        self._keeper.made(self)
        if self._fault is None:
            self._sweep.add(self)
        else:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            # Nobody has asked: a server that talks first, or the second of two answers.
            self._drop(FailureReason.PROTOCOL)
            return
        answer.received = True
        framing = self._framing
        if framing == _HEAD:
            plain = plain_head(data, self._max_header_bytes) if self._parser is None and not self._bare else None
            if plain is not None:
                status, self.left, head = plain
                self._framing = _LENGTH
                self._status = status
                self._keep_alive = True
                answer.ready(status, head, None)
                if self._answer is answer:
                    self._take_length(answer, data[len(head) :])
            else:
                self._take_head(answer, data)
            answer.arrived()
        elif framing == _LENGTH:
            self._take_length(answer, data)
        elif framing == _CHUNKED:
            self._take_chunks(answer, data)
        else:
            answer.push(self, data)

    def eof_received(self) -> None:
        """The end of input. Under TLS uvloop calls it for close_notify only, so that a cut never completes an unframed
        body (asyncio's own TLS does not tell the two apart)."""
        answer = self._answer
        if answer is None:
            self._drop(FailureReason.CLOSED)
        elif self._framing == _UNTIL_EOF:
            self._complete(answer, b"")
        else:
            self._closed()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is None:
            return
        self._transport = None
        if self._answer is not None:
            self._closed()
        else:
            self._drop(FailureReason.CLOSED)
        self._sweep.discard(self)
        self._keeper.lost(self)

    # HttpResponseParser's callbacks.

    def on_message_begin(self) -> None:
        if self._body_done:
            raise _ExcessError

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        headers = self._headers
        if name in headers:
            headers[name] = headers[name] + b", " + value.rstrip(b" \t")
        else:
            headers[name] = value.rstrip(b" \t")

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser is not None:
            self._status = parser.get_status_code()
            self._keep_alive = parser.should_keep_alive()

    def on_message_complete(self) -> None:
        if self._framing == _CHUNKED:
            self._body_done = True

    # Framing.

    def _take_head(self, answer: UpstreamAnswer, data: bytes) -> None:
        while True:
            seen = self._head
            before = len(seen)
            if before:
                seen += data
                end = seen.find(_HEAD_END, max(before - 3, 0))
                begin = bytes(seen[:8])
            else:
                end = data.find(_HEAD_END)
                begin = data[:8]
            if begin[:7] != _VERSION[: len(begin)]:
                self.fail(FailureReason.PROTOCOL, "the answer is not HTTP/1.x")
                return
            stop = len(data) if end < 0 else end + 4 - before
            if self._head_bytes + before + stop > self._max_header_bytes:
                self.fail(FailureReason.TOO_LARGE, "the head of the answer exceeds the limit")
                return
            parser = self._parser
            if parser is None:
                parser = self._parser = HttpResponseParser(self)
                self._headers = {}
                self._status = 0
            try:
                parser.feed_data(data if stop == len(data) else data[:stop])
            except (HttpParserError, HttpParserUpgrade):
                self.fail(FailureReason.PROTOCOL, "the head of the answer is malformed")
                return
            if end < 0 and not self._status:
                if not before:
                    seen += data
                return
            status = self._status
            if end < 0 or status < 100 or status == 101 or self._chunks:
                self.fail(FailureReason.PROTOCOL, "the head of the answer is malformed")
                return
            self._head_bytes += before + stop
            if before:
                seen.clear()
            self._old_version = begin != b"HTTP/1.1"
            data = data[stop:]
            if status >= 200:
                self._begin_body(answer, data)
                return
            self._interim += 1
            if self._interim > MAX_INTERIM_ANSWERS:
                self.fail(FailureReason.PROTOCOL, "too many interim answers")
                return
            self._parser = None
            if not data:
                return

    def _begin_body(self, answer: UpstreamAnswer, data: bytes) -> None:
        status = self._status
        headers = self._headers
        if status == 204 or status == 304 or self._bare:
            self._framing = _LENGTH
            self.left = 0
        else:
            coding = headers.get(b"content-encoding")
            if coding is not None and coding.lower() != b"identity":
                self.fail(FailureReason.ENCODING, "the answer has a content coding that was not asked for")
                return
            length = headers.get(b"content-length")
            if length is not None:
                # The parser refuses a second length, anything but digits, and a transfer coding beside it.
                self._framing = _LENGTH
                self.left = int(length)
            else:
                coding = headers.get(b"transfer-encoding")
                if coding is None:
                    self._framing = _UNTIL_EOF
                    self._keep_alive = False
                elif coding.lower() == b"chunked":
                    self._framing = _CHUNKED
                    self._quiet_bytes = 0
                    self._tail = b""
                    self._headers = {}  # for trailers, which nobody reads
                    if self._old_version:
                        self._keep_alive = False  # RFC 9112 6.1: an HTTP/1.0 peer's framing is not to be trusted
                else:
                    self.fail(FailureReason.ENCODING, "the answer has a transfer coding that was not asked for")
                    return
        answer.ready(status, b"", headers)
        if self._answer is not answer:
            return
        framing = self._framing
        if framing == _LENGTH:
            self._parser = None
            self._take_length(answer, data)
        elif framing == _CHUNKED:
            if data:
                self._take_chunks(answer, data)
        else:
            self._parser = None
            if data:
                answer.push(self, data)

    def _take_length(self, answer: UpstreamAnswer, data: bytes) -> None:
        left = self.left
        size = len(data)
        if size < left:
            self.left = left - size
            if size:
                answer.push(self, data)
        elif size == left:
            self._complete(answer, data)
        else:
            self._keep_alive = False
            self._complete(answer, data[:left])

    def _take_chunks(self, answer: UpstreamAnswer, data: bytes) -> None:
        parser = self._parser
        if parser is None:
            return
        tail = self._tail = data[-5:] if len(data) > 4 else (self._tail + data)[-5:]
        chunks = self._chunks
        broken = False
        try:
            parser.feed_data(data)
        except HttpParserError:
            broken = True
        if chunks:
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            self._quiet_bytes = 0
        else:
            body = b""
            self._quiet_bytes += len(data)
        if self._body_done:
            # The parser swallows line ends between messages: a clean end is exactly one empty line.
            if broken or tail[1:] != _HEAD_END or tail[0] in _HEAD_END:
                self._keep_alive = False
            self._complete(answer, body)
            return
        if body:
            answer.push(self, body)
        if self._answer is not answer:
            return
        if broken:
            self.fail(FailureReason.PROTOCOL, "the chunked framing of the answer is broken")
        elif self._quiet_bytes > self._max_header_bytes:
            self.fail(FailureReason.TOO_LARGE, "the trailers of the answer exceed the limit")

    # Ends.

    def _leave(self) -> None:
        """Parts the connection from its answer."""
        self._answer = None
        self._parser = None
        self._body_done = False
        self._chunks.clear()
        self._head.clear()
        self._head_bytes = 0
        self._interim = 0
        self.left = 0
        self.deadline_s = math.inf

    def _complete(self, answer: UpstreamAnswer, data: bytes) -> None:
        transport = self._transport
        reusable = (
            self._keep_alive
            and transport is not None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
            # Behind TLS the unsent part of a large request cannot be seen; only a success tells that it was read.
            and not (self._tls_body and self._status >= 300)
        )
        # The connection goes back first: what the answer's holder does next must not touch it.
        self._leave()
        if reusable:
            self.resume()
        else:
            self.abort(FailureReason.CLOSED)
        self._keeper.finished(self, reusable)
        answer.finish(data)

    def _closed(self) -> None:
        self.fail(FailureReason.CLOSED, "the connection ended before the answer did")

    def _drop(self, reason: FailureReason) -> None:
        if self._fault is None:
            self.abort(reason)
            self._keeper.dropped(self)
