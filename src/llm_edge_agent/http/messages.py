"""What the HTTP server and whoever answers requests say to each other. No sockets here, and nothing of LLMs.

Life of one exchange on the server side:

1. the head is complete: `Handler.head(request)`; a `Complete` refuses before the body is read, None reads on;
2. the body is complete: `Handler.handle(request)`; a `Complete` is written at once, inside the parser's callback (the
   fast path needs no task); an awaitable is run as an errand and yields a `Complete` or a `Streaming`;
3. a `Streaming` gets the connection as its `Sink` through `start`; from then on it owns the end of the exchange.

If the client leaves (or is cut for slowness, or the server stops) while an awaitable is pending, its errand is
cancelled; while a `Streaming` is running, its `abort` is called, once.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

AbortReason = Literal["client_gone", "client_slow", "shutdown"]

Refusal = Literal[
    "bad_request",
    "headers_too_large",
    "uri_too_long",
    "body_too_large",
    "unsupported_media_type",
    "expectation_failed",
    "request_timeout",
    "version_not_supported",
    "not_implemented",
    "shutting_down",
    "internal_error",
    "client_gone",
]
"""Why the server itself refuses, before or instead of the handler: framing, bounds, deadlines, draining. On
`client_gone` (before the request was complete) the reply reaches nobody; the handler is told, so that what it began in
`head` ends."""


class Request:
    """One inbound request. `headers` maps lower-case names to raw values (OWS trimmed); a repeated field is joined
    with `, ` in order of arrival. `body` is empty until `Handler.handle` is called. `context` belongs to the
    handler: the server never looks at it."""

    __slots__ = ("body", "context", "headers", "http_1_0", "method", "path", "peer", "query", "received_s")

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        headers: dict[bytes, bytes],
        *,
        body: bytes = b"",
        http_1_0: bool = False,
        peer: str | None = None,
        received_s: float = 0.0,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
        self.http_1_0 = http_1_0
        self.peer = peer
        self.received_s = received_s
        """Monotonic time (seconds) at which the head was complete."""
        self.context: object = None


Again = Callable[[float], "Complete | None"]


class Complete:
    """A whole reply. `headers` is a block of ready header lines, each ended by CRLF, names in lower case, without
    content-length, date and connection, which the server adds. `close` ends the connection after the reply.

    `again` is how a handler says that the reply depended on nothing but the request's bytes and its own state: when
    the same bytes come again, the server may call it with the time of arrival (monotonic seconds) in place of `head`
    and `handle`. It returns None where the request has to go the long way after all.
    """

    __slots__ = ("again", "body", "close", "headers", "status")

    def __init__(self, status: int, headers: bytes, body: bytes, *, close: bool = False) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.close = close
        self.again: Again | None = None


class Sink(Protocol):
    """Where a `Streaming` writes its body: the client's connection."""

    def write(self, data: bytes) -> None:
        """Sends body bytes at once (framed as a chunk where the protocol needs it). Ignored once closed."""
        ...

    def end(self, last: bytes = b"", trailers: bytes = b"") -> None:
        """The body is complete with `last`; the connection may serve the next request. Told with the end, the last
        bytes need no write of their own. `trailers`: ready header lines that are told after the body where its framing
        has a place for them (RFC 9112 section 7.1.2), and nowhere else."""
        ...

    def cut(self) -> None:
        """The body cannot be completed: the connection is closed without a proper end, so the client can tell."""
        ...


class Streaming(Protocol):
    """A reply whose body comes in pieces. Owns closing the upstream and ending the exchange, exactly once, on every
    path: its own end, `abort`, or never having been started (then `abort` is called too)."""

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> bytes:
        """As `Complete.headers`; the server adds transfer-encoding."""
        ...

    def start(self, sink: Sink) -> None:
        """Called once, right after the head went out. May write at once, from any later callback, until `end`."""
        ...

    def pause(self) -> None:
        """The client reads slower than the body comes: hold the source back. May be called again while paused."""
        ...

    def resume(self) -> None: ...

    def abort(self, reason: AbortReason) -> None:
        """The client is gone, was too slow, or the server stops. On `shutdown` the sink still takes a last `write`
        (an in-band error) before the server closes it; else nothing more may be written."""
        ...


class Handler(Protocol):
    """Who answers. All calls come from the event loop and must not block."""

    def head(self, request: Request) -> Complete | None:
        """Refuse by the head alone (unknown path, method, credentials), or None to read the body."""
        ...

    def handle(self, request: Request) -> "Complete | Awaitable[Complete | Streaming]": ...

    def refuse(self, refusal: Refusal, detail: str, request: Request | None) -> Complete:
        """Renders the server's own refusal in the handler's error shape. `request` is None where no head was read."""
        ...


def header_block(pairs: Sequence[tuple[str, str]]) -> bytes:
    """Header lines from pairs, for cold paths. Raises ValueError on a CR, LF or NUL, or a value outside latin-1."""
    lines = []
    for name, value in pairs:
        line = f"{name}: {value}"
        if any(c in line for c in "\r\n\0"):
            raise ValueError(f"control character in header {name!r}")
        lines.append(line)
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def header_pairs(block: bytes) -> list[tuple[bytes, bytes]]:
    """The inverse of `header_block`, for ASGI."""
    pairs = []
    for line in block.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            pairs.append((name, value.strip()))
    return pairs
