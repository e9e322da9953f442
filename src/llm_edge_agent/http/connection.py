"""One inbound connection: reads requests, hands them to the handler, writes what it answers.

One exchange at a time. What a client sends meanwhile is stashed, and reading is paused once the stash is full; until
then reading goes on, because only a socket that is read tells that the client has left. States:

    IDLE -> HEAD -> BODY -> REPLY -> IDLE     a message passes through in one call where all of it came in one read
    any  -> LINGER -> CLOSING                 a reply went out before its request was read: discard, then close
    any  -> CLOSING                           the write buffer is flushed, then the connection is lost

What is read: `heads` and `bodies`. What is written while a reply is on its way: `pending`. What stays here are the
transitions, which all touch the same state, and so stand in one file.
"""

import asyncio
import contextlib
import fcntl
import math
import socket
import struct
import sys
import termios
import time
from typing import Final, cast

from llm_edge_agent.http.bodies import BodyInPieces
from llm_edge_agent.http.framing import CHUNKED, HEAD, FramingError, HeadScan
from llm_edge_agent.http.heads import ParsedHead
from llm_edge_agent.http.inbound import REPEATED_BYTES, Inbound
from llm_edge_agent.http.messages import AbortReason, Again, Complete, Refusal, Request
from llm_edge_agent.http.pending import BODYLESS, Pending, log_escaped

WRITE_HIGH_WATER_BYTES: Final = 256 * 1024
LINGER_S: Final = 2.0
_STASH_BYTES = 64 * 1024
_REPLIES_IN_A_ROW = 32
"""Pipelined requests answered before other connections get their turn."""

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no seconds: closing resets the connection."""
_IDLE, _HEAD, _BODY, _REPLY, _LINGER, _CLOSING, _CLOSED = range(7)


class Connection(asyncio.Protocol):
    """One accepted connection, registered with `inbound` until it is lost."""

    __slots__ = (
        "_body",
        "_continuing",
        "_corked",
        "_flushed",
        "_inbound",
        "_keep",
        "_loop",
        "_peer",
        "_pending",
        "_progress_s",
        "_reading_paused",
        "_received",
        "_request",
        "_scan",
        "_served",
        "_stash",
        "_state",
        "_transport",
        "_whole",
        "_written",
        "deadline_s",
        "write_paused",
    )

    def __init__(self, inbound: Inbound, loop: asyncio.AbstractEventLoop) -> None:
        self._inbound = inbound
        self._loop = loop
        self._transport: asyncio.Transport
        self._peer: str | None = None
        self._state = _CLOSED
        self.deadline_s = math.inf
        self._scan: HeadScan | None = None
        self._served = False
        """Whether a request was answered: until then the header timeout runs from the start of the connection."""
        self._request: Request | None = None
        self._whole: bytes | None = None
        """What was read, where it begins with the head of the request that is being answered."""
        self._keep = False
        self._body: BodyInPieces | None = None
        self._received = 0
        """While lingering: bytes discarded."""
        self._pending: Pending | None = None
        self._stash = b""
        """Bytes after the request that is being answered, or that wait for their turn or for the write buffer."""
        self._continuing = False
        """Whether the stash has its turn on the next round of the loop."""
        self._corked: list[bytes] | None = None
        """What a stream has written since its head, while it starts: it goes out in one piece."""
        self._reading_paused = False
        self.write_paused = False
        self._written = 0
        self._flushed = -1
        """Bytes the client had taken when the write buffer was last looked at; -1: not looked at yet."""
        self._progress_s = 0.0

    @property
    def request(self) -> Request | None:
        """The request that is being answered."""
        return self._request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        if not self._inbound.join(self):
            transport.close()
            return
        self._state = _IDLE
        self.deadline_s = time.monotonic() + self._inbound.limits.header_timeout_s
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        peer = transport.get_extra_info("peername")
        if peer:
            self._peer = peer[0].removeprefix("::ffff:")

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == _REPLY or self._stash:
            self._stash += data
            if len(self._stash) > _STASH_BYTES and not self._reading_paused:
                self._reading_paused = True
                self._transport.pause_reading()
        elif state == _IDLE:
            again = self._inbound.repeats.get(data) if len(data) <= REPEATED_BYTES else None
            if again is None or self.write_paused or not self._repeat(again):
                self._serve(data)
        elif state == _HEAD:
            self._serve(self._scan_head(data))
        elif state == _BODY:
            self._serve(self._read_body(data, 0))
        elif state == _LINGER:
            self._received += len(data)
            # No more than an accepted body would have cost.
            if self._received > self._inbound.limits.max_body_bytes:
                self._close()

    def eof_received(self) -> None:
        """The client has left, or will send nothing more, which we take for the same while it waits for an answer."""
        if self._state in (_BODY, _REPLY):
            self._give_up("client_gone")
        elif self._state != _CLOSED:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._give_up("client_gone")
        self.deadline_s = math.inf
        self._inbound.leave(self)

    def pause_writing(self) -> None:
        self.write_paused = True
        self._watch_writes()
        if self._pending is not None:
            self._pending.pause()

    def resume_writing(self) -> None:
        self.write_paused = False
        if self._pending is not None:
            self._pending.resume()
        elif self._state == _IDLE:
            self._rest()

    def expire(self) -> None:
        """From the sweep: the deadline of the present state has passed."""
        now = time.monotonic()
        timeout_s = self._inbound.limits.write_timeout_s
        buffered = self._transport.get_write_buffer_size()
        if buffered:
            flushed = self._written - buffered - self._unacknowledged()
            if flushed != self._flushed:
                self._flushed = flushed
                self._progress_s = now
            elif now - self._progress_s >= timeout_s:
                self._give_up("client_slow")
                return
            self.deadline_s = now + timeout_s / 4
            return
        self._flushed = -1
        state = self._state
        if state == _REPLY:
            streaming = self._pending is not None and self._pending.streaming
            self.deadline_s = now + timeout_s / 4 if streaming else math.inf
        elif state in (_HEAD, _BODY):
            self._refuse("request_timeout", "the request did not arrive in time")
        elif state == _CLOSING:
            self._give_up("client_gone")
        else:
            self._close()

    def _unacknowledged(self) -> int:
        """Bytes in the kernel that the client has not taken. Where the system does not tell, 0: then a client is seen
        to take something only when the kernel has room for more, which at a large send buffer may be seldom."""
        sock = self._transport.get_extra_info("socket")
        try:
            return int.from_bytes(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        except OSError:
            return 0

    def drain(self) -> None:
        """Closes the connection at once where no request is on it, not even in part."""
        if self._state == _IDLE and not self._stash:
            self._close()

    def shut_down(self) -> None:
        """Ends what is on the connection: a stream is aborted and may say so, a request is refused."""
        if self._state in (_BODY, _REPLY):
            if self._pending is None or not self._pending.shut_down():
                self._refuse("shutting_down", "the server is shutting down")
        elif self._state in (_IDLE, _HEAD, _LINGER):
            self._close()

    def drop(self) -> None:
        """Closes at once, flushing nothing."""
        self._give_up("shutdown")

    def give(self, reply: Complete) -> None:
        self._reply(reply, b"", 0)
        if self._stash and self._state == _IDLE:
            self._rest()

    def fail(self) -> None:
        self._refuse("internal_error", "internal error")

    def open_stream(self, status: int, headers: bytes) -> None:
        request = self._request
        # To HTTP/1.0 the end of the body is the end of the connection.
        self._keep = self._keep and request is not None and not request.http_1_0 and not self._inbound.draining
        self._watch_writes()
        self._corked = [self._head(status, headers, request, self._keep, None)]

    def send(self, data: bytes) -> None:
        if self._corked is not None:
            self._corked.append(data)
        else:
            self._written += len(data)
            self._transport.write(data)

    def uncork(self) -> None:
        corked, self._corked = self._corked, None
        if corked:
            self.send(corked[0] if len(corked) == 1 else b"".join(corked))

    def end_stream(self, tail: bytes) -> None:
        if tail:
            self.send(tail)
        self.uncork()
        self._end_exchange()
        if self._keep and not self._inbound.draining:
            self._rest()
        else:
            self._close(unread=bool(self._stash))

    def cut_stream(self, *, framed: bool) -> None:
        self.uncork()
        self._end_exchange()
        if framed:
            self._close()
        else:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._give_up("shutdown")

    def _repeat(self, again: Again) -> bool:
        """Answers the same bytes as an earlier request; False where the request has to go the long way. `_reply`
        remembers only what keeps the connection and has a body, so this is all of a head that can occur."""
        now = time.monotonic()
        try:
            reply = again(now)
        except Exception as error:
            log_escaped(error)
            return False
        if reply is None:
            return False
        inbound = self._inbound
        body = reply.body
        out = b"%bcontent-length: %d\r\n%b\r\n%b" % (inbound.heads.get(reply.status), len(body), reply.headers, body)
        self._served = True
        self.deadline_s = now + inbound.limits.keepalive_timeout_s
        self._written += len(out)
        self._transport.write(out)
        return True

    def _serve(self, data: bytes) -> None:
        """Answers the requests at the head of `data` one after the other, and puts away what cannot have its turn."""
        limits = self._inbound.limits
        seen = self._inbound.reader.seen
        turns = _REPLIES_IN_A_ROW
        while data:
            if not turns or self.write_paused:
                self._stash = data
                if not self.write_paused:
                    self._rest()
                return
            turns -= 1
            end = data.find(b"\r\n\r\n") + 4
            parsed = seen.get(data[:end])
            if parsed is not None:
                self._whole = data
                data = self._exchange(parsed, data, end)
                self._whole = None
                continue
            match = HEAD.match(data)
            if (
                match is None
                or (end := match.end()) > limits.max_header_bytes
                or match.end(2) - match.start(2) > limits.max_target_bytes
                or data.count(b"\n", 0, end) - 2 > limits.max_headers
            ):
                data = self._scan_head(data)
            else:
                try:
                    parsed = self._inbound.reader.read(match, data[:end])
                except FramingError as error:
                    self._refuse(error.refusal, error.detail)
                    return
                self._whole = data
                data = self._exchange(parsed, data, end)
                self._whole = None

    def _rest(self) -> None:
        """Between two exchanges: the stash gets its turn, or the idle time begins."""
        if self._stash:
            if not self._continuing and not self.write_paused:
                self._continuing = True
                self._loop.call_soon(self._continue)
        else:
            self.deadline_s = time.monotonic() + self._inbound.limits.keepalive_timeout_s

    def _continue(self) -> None:
        self._continuing = False
        if self._state == _IDLE and not self.write_paused:
            stash, self._stash = self._stash, b""
            self._resume_reading()
            self._serve(stash)

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()

    # What follows returns the bytes after the exchange where the next one may begin at once, else b"".

    def _scan_head(self, data: bytes) -> bytes:
        scan = self._scan
        if scan is None:
            limits = self._inbound.limits
            scan = self._scan = HeadScan(limits.max_header_bytes, limits.max_headers, limits.max_target_bytes)
            self._state = _HEAD
            if self._served:
                self.deadline_s = time.monotonic() + limits.header_timeout_s
        try:
            head = scan.feed(data)
        except FramingError as error:
            return self._refuse(error.refusal, error.detail)
        if head is None:
            return b""
        self._scan = None
        match = HEAD.match(head)
        if match is None:
            return self._refuse("bad_request", "malformed head")
        try:
            parsed = self._inbound.reader.read(match, head)
        except FramingError as error:
            return self._refuse(error.refusal, error.detail)
        return self._exchange(parsed, scan.rest, 0)

    def _exchange(self, parsed: ParsedHead, data: bytes, start: int) -> bytes:
        """A head is complete; what followed it begins at `start` of `data`."""
        inbound = self._inbound
        method, path, query, fields, http_1_0, length, self._keep = parsed
        request = self._request = Request(
            method, path, query, fields, http_1_0=http_1_0, peer=self._peer, received_s=time.monotonic()
        )
        inbound.in_flight += 1
        try:
            refusal = inbound.handler.head(request)
        except Exception as error:
            log_escaped(error)
            return self._refuse("internal_error", "internal error")
        end = start + length
        if refusal is not None:
            return self._reply(refusal, data, end if length != CHUNKED else -1)
        if b"content-encoding" in fields and fields[b"content-encoding"].lower() not in (b"", b"identity"):
            return self._refuse("unsupported_media_type", "request bodies must not be compressed")
        if length > inbound.limits.max_body_bytes:
            return self._refuse("body_too_large", "request body too large")
        if b"expect" in fields and not http_1_0:
            if fields[b"expect"].lower() != b"100-continue":
                return self._refuse("expectation_failed", "only 100-continue can be expected")
            if length and start >= len(data):
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if 0 <= length <= len(data) - start:
            request.body = data[start:end]
            return self._dispatch(request, data, end)
        self._state = _BODY
        self._body = BodyInPieces(length, inbound.limits, request.received_s)
        return self._read_body(data, start)

    def _read_body(self, data: bytes, start: int) -> bytes:
        request, body = self._request, self._body
        assert request is not None  # noqa: S101  set since the head
        assert body is not None  # noqa: S101  likewise
        try:
            end = body.feed(data, start)
        except FramingError as error:
            return self._refuse(error.refusal, error.detail)
        self.deadline_s = body.deadline_s
        if end < 0:
            return b""
        request.body = body.take()
        self._body = None
        return self._dispatch(request, data, end)

    def _dispatch(self, request: Request, data: bytes, end: int) -> bytes:
        try:
            result = self._inbound.handler.handle(request)
        except Exception as error:
            log_escaped(error)
            return self._refuse("internal_error", "internal error")
        if isinstance(result, Complete):
            return self._reply(result, data, end)
        self._stash = data[end:]
        self._state = _REPLY
        self.deadline_s = math.inf
        pending = self._pending = Pending(self, request)
        pending.run(result, self._loop)
        return b""

    def _reply(self, reply: Complete, data: bytes, end: int) -> bytes:
        """Writes a whole reply. `end` is where the request ended in `data`: before the reply (-1 or beyond `data`) it
        did not, so the connection cannot go on."""
        inbound = self._inbound
        request = self._request
        status, body = reply.status, reply.body
        read = 0 <= end <= len(data)
        keep = self._keep and read and not reply.close and not inbound.draining
        self._pending = None
        if request is not None:
            inbound.in_flight -= 1
            self._request = None
        bodyless = status in BODYLESS
        if keep and not bodyless and request is not None and not request.http_1_0 and request.method != "HEAD":
            out = b"%bcontent-length: %d\r\n%b\r\n%b" % (inbound.heads.get(status), len(body), reply.headers, body)
            if reply.again is not None and data is self._whole and end == len(data):
                inbound.remember(data, reply.again)
        else:
            out = self._head(status, reply.headers, request, keep, None if bodyless else len(body))
            if not bodyless and (request is None or request.method != "HEAD"):
                out += body
        self._state = _IDLE
        self._served = True
        self.deadline_s = time.monotonic() + inbound.limits.keepalive_timeout_s
        self._written += len(out)
        self._transport.write(out)
        if keep:
            return data[end:]
        self._close(unread=not read or end < len(data) or bool(self._stash))
        return b""

    def _head(self, status: int, headers: bytes, request: Request | None, keep: bool, length: int | None) -> bytes:
        """The head of any reply; `length` None: no content-length."""
        lines = [self._inbound.heads.get(status), headers]
        if length is not None:
            lines.append(b"content-length: %d\r\n" % length)
        if not keep:
            lines.append(b"connection: close\r\n")
        elif request is not None and request.http_1_0:
            lines.append(b"connection: keep-alive\r\n")
        lines.append(b"\r\n")
        return b"".join(lines)

    def _refuse(self, refusal: Refusal, detail: str) -> bytes:
        """Answers for the server itself; the connection does not outlive it."""
        self._keep = False
        try:
            reply = self._inbound.handler.refuse(refusal, detail, self._request)
        except Exception as error:
            log_escaped(error)
            reply = Complete(500, b"", b"")
        return self._reply(reply, b"", -1)

    def _end_exchange(self) -> None:
        self._pending = None
        self._request = None
        self._inbound.in_flight -= 1
        self._state = _IDLE
        self._served = True

    def _watch_writes(self) -> None:
        if self._state != _CLOSED:
            self._flushed = -1
            self.deadline_s = time.monotonic() + self._inbound.limits.write_timeout_s / 4

    def _close(self, *, unread: bool = False) -> None:
        """Closes once the reply is flushed. `unread`: the client is still sending; closing on it would reset the
        connection, and the reply be lost with it."""
        self._stash = b""
        self._scan = None
        if unread:
            self._state = _LINGER
            self._received = 0
            self.deadline_s = time.monotonic() + LINGER_S
            with contextlib.suppress(OSError):  # asyncio's own loop tells at once that the client has left by now
                self._transport.write_eof()
            self._resume_reading()
        else:
            self._state = _CLOSING
            self._watch_writes()
            self._transport.close()

    def _give_up(self, reason: AbortReason) -> None:
        """Drops the connection and ends what is on it. Does nothing the second time."""
        if self._state == _CLOSED:
            return
        self._state = _CLOSED
        self._stash = b""
        self._scan = None
        self._body = None
        request, self._request = self._request, None
        pending, self._pending = self._pending, None
        if request is not None:
            self._inbound.lost(request, told=pending is not None)
        if pending is not None:
            pending.abandon(reason)
        self._transport.abort()
