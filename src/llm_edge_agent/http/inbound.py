"""What the connections of one server share: settings, counts, and bytes worth keeping ready."""

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

from llm_edge_agent.config import ServerLimits
from llm_edge_agent.http.deadlines import Sweep
from llm_edge_agent.http.heads import HeadReader
from llm_edge_agent.http.messages import Again, Handler, Request
from llm_edge_agent.http.pending import log_escaped

if TYPE_CHECKING:
    from llm_edge_agent.http.connection import Connection

_REPEATED_REQUESTS = 1024
REPEATED_BYTES = 8 * 1024
"""Longest request that is remembered whole: looking a large one up would cost more than it saves."""


class ReplyHeads:
    """Status line and Date of replies, ready as bytes; the sweep lets them lapse once a second."""

    __slots__ = ("_date", "_heads", "deadline_s")

    def __init__(self) -> None:
        self._heads: dict[int, bytes] = {}
        self.expire()

    def expire(self) -> None:
        self._heads.clear()
        self._date = formatdate(usegmt=True).encode("ascii")
        self.deadline_s = time.monotonic() + 1.0

    def get(self, status: int) -> bytes:
        head = self._heads.get(status)
        if head is None:
            try:
                phrase = HTTPStatus(status).phrase
            except ValueError:
                phrase = ""
            line = f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")
            head = self._heads[status] = b"%bdate: %b\r\n" % (line, self._date)
        return head


class Inbound:
    """One per server; its connections read it directly."""

    __slots__ = (
        "closed",
        "connections",
        "draining",
        "handler",
        "heads",
        "in_flight",
        "limits",
        "reader",
        "refused_connections",
        "repeats",
        "sweep",
    )

    def __init__(self, handler: Handler, limits: ServerLimits, sweep: Sweep) -> None:
        self.handler = handler
        self.limits = limits
        self.sweep = sweep
        self.heads = ReplyHeads()
        self.connections: set[Connection] = set()
        self.in_flight = 0
        self.refused_connections = 0
        self.draining = False
        """Every reply ends its connection from now on."""
        self.closed = False
        """No connection may come in any more."""
        self.reader = HeadReader()
        self.repeats: dict[bytes, Again] = {}
        """How whole requests, byte for byte, are answered again (see `Complete.again`)."""

    def remember(self, raw: bytes, again: Again) -> None:
        """Keeps what a reply said of its request's return, in a bounded table."""
        if len(raw) <= REPEATED_BYTES and not self.draining:
            if len(self.repeats) >= _REPEATED_REQUESTS:
                self.repeats.clear()
            self.repeats[raw] = again

    def begin_drain(self) -> None:
        """Every reply ends its connection from now on; connections without a request are closed at once."""
        self.draining = True
        self.repeats.clear()
        for connection in list(self.connections):
            connection.drain()

    def join(self, connection: "Connection") -> bool:
        """Counts a new connection in; False where it must be closed, because of `max_connections` or of `closed`."""
        if self.closed:
            return False
        if len(self.connections) >= self.limits.max_connections:
            self.refused_connections += 1
            return False
        if not self.connections:
            self.heads.expire()
            self.sweep.add(self.heads)
        self.connections.add(connection)
        self.sweep.add(connection)
        return True

    def leave(self, connection: "Connection") -> None:
        """Counts a lost connection out; one that was never in is ignored."""
        self.connections.discard(connection)
        self.sweep.discard(connection)
        if not self.connections:
            self.sweep.discard(self.heads)

    def lost(self, request: Request, *, told: bool) -> None:
        """Counts a request out whose connection is gone. `told`: its handler hears of it by its pending reply."""
        self.in_flight -= 1
        if not told:
            try:
                self.handler.refuse("client_gone", "the client left before its request was complete", request)
            except Exception as error:
                log_escaped(error)
