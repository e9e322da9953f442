"""The answer of one upstream exchange, as its holder sees it: head, then body, whole or pushed.

A body is taken in one of three modes: *held* (nobody has asked yet: bounded by pausing the socket), *read* (collected
whole, bounded by a limit) and *pushed* (handed to a receiver, one socket read at a time, bounded by the receiver's
pauses).
"""

import math
from time import monotonic
from typing import Protocol

from llm_edge_agent.http.errands import Signal
from llm_edge_agent.http.origins import FailureReason, Receiver, UpstreamFailure
from llm_edge_agent.http.plain_heads import WantedFields, fields

HELD_BYTES = 64 * 1024
"""How much body an answer holds before anybody has asked for it; one socket read more at the most."""


class Source(Protocol):
    """The connection that an answer comes from."""

    deadline_s: float
    """Monotonic time in seconds at which the exchange fails."""
    left: int
    """Body bytes still to come, where the length is known; else 0."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def fail(self, reason: FailureReason, detail: str) -> None:
        """Aborts the connection and calls the answer's `fail`."""
        ...

    def give_up(self) -> None:
        """Aborts the connection and calls the answer's `left`."""
        ...


class UpstreamAnswer:
    """The final answer of one exchange. Whoever gets it calls `close` in the end, on every path."""

    __slots__ = (
        "_connection",
        "_failure",
        "_headers",
        "_idle_s",
        "_limit",
        "_paused",
        "_pieces",
        "_reading",
        "_receiver",
        "_size",
        "complete",
        "raw_head",
        "received",
        "settled",
        "status",
    )

    def __init__(self, limit: int, idle_s: float, *, whole: bool = False) -> None:
        """`limit` bounds the body in `read` mode, in bytes. `whole`: it is read from the start, and `settled` is
        set when all of it is there."""
        self.status = 0
        self.raw_head = b""
        """Status line and field lines, where they came plain; else empty, and `headers` tells."""
        self._headers: dict[bytes, bytes] | None = None
        self.settled = Signal()
        """Set when the head is complete, or the exchange has failed."""
        self.complete = False
        """The whole answer has arrived, by its framing."""
        self.received = False
        """Whether any byte of the answer has arrived."""
        self._limit = limit
        self._idle_s = idle_s
        self._connection: Source | None = None
        self._failure: UpstreamFailure | None = None
        self._receiver: Receiver | None = None
        self._reading = whole
        self._paused = False
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def headers(self) -> dict[bytes, bytes]:
        """Lower-case names to values; a repeated field is joined with `, ` in order of arrival."""
        headers = self._headers
        if headers is None:
            headers = self._headers = fields(self.raw_head)
        return headers

    def some(self, wanted: WantedFields) -> dict[bytes, bytes]:
        """Those of `headers` that are wanted."""
        headers = self._headers
        return wanted.of_plain_head(self.raw_head) if headers is None else wanted.of_fields(headers)

    @property
    def flowing(self) -> bool:
        """Whether the body is pushed to a receiver and its first byte has come: then silences are bounded."""
        return self._receiver is not None and self._size > 0

    @property
    def failure(self) -> UpstreamFailure | None:
        """Why the exchange broke off, if it did."""
        return self._failure

    async def read(self) -> bytes:
        """The whole body; returns without suspending where it is complete already. At most one reader.

        Raises UpstreamFailure; the connection is closed then. Being cancelled closes it too.
        """
        connection = self._connection
        if connection is not None:
            self._reading = True
            if self._size > self._limit or connection.left > self._limit - self._size:
                connection.fail(FailureReason.TOO_LARGE, "the body exceeds the limit")
            else:
                connection.resume()
                settled = self.settled = Signal()
                try:
                    await settled
                except BaseException:
                    self.close()
                    raise
        if self._size > self._limit and self._failure is None:
            self._failure = self._too_large()
        if self._failure is not None:
            raise self._failure
        return self.body()

    def body(self) -> bytes:
        """The body of an answer that was asked for whole, and has come."""
        pieces = self._pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def stream(self, receiver: Receiver) -> None:
        """Pushes the body to `receiver` as it comes: one `data` per socket read, then `end` or `failed`. What has
        arrived already is delivered from within this call."""
        pieces = self._pieces
        self._receiver = receiver
        if pieces:
            self._pieces = []
            receiver.data(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            if self._receiver is not receiver:
                return
        if self.complete:
            self._receiver = None
            receiver.end()
        elif self._failure is not None:
            self._receiver = None
            receiver.failed(self._failure)
        elif self._connection is not None:
            if self._paused:
                self.pause()
            else:
                self._connection.resume()
                if pieces:
                    self._connection.deadline_s = monotonic() + self._idle_s

    def pause(self) -> None:
        """Holds the upstream back: nothing is read from the socket, and the idle timeout stands still."""
        self._paused = True
        connection = self._connection
        if connection is not None:
            connection.pause()
            if self.flowing:
                connection.deadline_s = math.inf

    def resume(self) -> None:
        """Undoes `pause`, however often it was called."""
        if not self._paused:
            return
        self._paused = False
        connection = self._connection
        if connection is not None:
            connection.resume()
            if self.flowing:
                connection.deadline_s = monotonic() + self._idle_s

    def close(self) -> None:
        """Gives up what has not arrived: unless the answer is complete, the connection is aborted at once, and
        nothing is delivered any more. Idempotent."""
        self._receiver = None
        connection = self._connection
        if connection is not None:
            connection.give_up()

    # From the connection.

    def began(self, connection: Source) -> None:
        self._connection = connection

    def ready(self, status: int, raw_head: bytes, headers: dict[bytes, bytes] | None) -> None:
        """The final head is complete: plain, or read already."""
        self.status = status
        self.raw_head = raw_head
        self._headers = headers
        if self._reading and self._connection is not None and self._connection.left > self._limit:
            self._connection.fail(FailureReason.TOO_LARGE, "the body exceeds the limit")

    def arrived(self) -> None:
        """What came in one read with the end of the head, or with a part of it, has been handed over."""
        if self.status and not self._reading:
            self.settled.set()

    def push(self, connection: Source, data: bytes) -> None:
        """Body bytes of one socket read, more to come."""
        self._size += len(data)
        receiver = self._receiver
        if receiver is not None:
            if not self._paused:  # what TLS had decrypted before the pause still comes
                connection.deadline_s = monotonic() + self._idle_s
            receiver.data(data)
        else:
            self._pieces.append(data)
            if self._reading:
                if self._size > self._limit:
                    connection.fail(FailureReason.TOO_LARGE, "the body exceeds the limit")
            elif self._size >= HELD_BYTES:
                connection.pause()

    def finish(self, data: bytes) -> None:
        """The last body bytes, maybe none. The connection has left already."""
        self._connection = None
        self.complete = True
        receiver = self._receiver
        if receiver is not None:
            if data:
                self._size += len(data)
                receiver.data(data)
            if self._receiver is not None:
                self._receiver = None
                receiver.end()
        else:
            if data:
                self._size += len(data)
                self._pieces.append(data)
                if self._reading and self._size > self._limit:
                    self._failure = self._too_large()
            self.settled.set()

    def fail(self, failure: UpstreamFailure) -> None:
        """The exchange broke off. The connection has left already."""
        self._connection = None
        failure.status = self.status
        self._failure = failure
        receiver = self._receiver
        if receiver is not None:
            self._receiver = None
            receiver.failed(failure)
        self.settled.set()

    def left(self) -> None:
        """Closed by its holder before it was complete."""
        self._connection = None
        if self._failure is None:
            self._failure = UpstreamFailure(FailureReason.CLOSED, "the answer was closed", received=self.received)
        self.settled.set()

    def _too_large(self) -> UpstreamFailure:
        failure = UpstreamFailure(FailureReason.TOO_LARGE, "the body exceeds the limit", received=True)
        failure.status = self.status
        return failure
