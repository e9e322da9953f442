"""Connections to upstreams, kept alive between requests.

Per host and port a stack of idle connections: the one used last is taken first, so that a quiet time lets the rest
expire. A connection that the server closed meanwhile is found out either by its end of input, then it is dropped at
once, or by the next request failing on it before any byte came: then, and only then, that request is sent once more
on a fresh connection (RFC 9110, section 9.2.2: an answer that never began).
"""

import asyncio
import ssl
from time import monotonic
from urllib.parse import quote

from llm_edge_agent.http.answer import UpstreamAnswer
from llm_edge_agent.http.client import UpstreamConnection
from llm_edge_agent.http.deadlines import Sweep
from llm_edge_agent.http.dial import dial, tls_context
from llm_edge_agent.http.origins import FailureReason, Origin, Timeouts, UpstreamFailure
from llm_edge_agent.http.proxies import ProxySettings

__all__ = ["ProxySettings", "UpstreamPool", "tls_context", "was_sent"]

SEPARATE_WRITE_BYTES = 64 * 1024
"""A body from this size on is not copied behind its head."""

MAX_KEPT_HEADS = 256

_SENT = "The request had been sent."

_BODILESS = frozenset((b"GET", b"HEAD", b"DELETE"))
"""Methods whose empty body is not announced."""


class UpstreamPool:
    """Sends requests. Belongs to one event loop; `close` it in the end."""

    def __init__(
        self,
        *,
        sweep: Sweep,
        tls: ssl.SSLContext | None = None,
        proxy: ProxySettings | None = None,
        max_response_bytes: int,
        max_header_bytes: int = 64 * 1024,
        max_idle_per_origin: int = 256,
        idle_timeout_s: float = 30.0,
    ) -> None:
        """`max_response_bytes` bounds a body that is read whole; a streamed one is bounded by back-pressure alone.
        `tls` None: the context of `tls_context(None)`, made when first needed."""
        self.connections_opened = 0
        self.connections_open = 0
        self.in_use = 0
        """Connections with an exchange under way."""
        self.requests_retried_stale = 0
        self.max_idle_per_origin = max_idle_per_origin
        self.idle_timeout_s = idle_timeout_s
        self.closed = False
        self._sweep = sweep
        self._tls = tls
        self._proxy = proxy
        self._max_response_bytes = max_response_bytes
        self._max_header_bytes = max_header_bytes
        self._routes: dict[Origin, _Route] = {}
        self._stacks: dict[tuple[bool, str, int], _Stack] = {}
        self._connections: set[UpstreamConnection] = set()
        self._all_lost: asyncio.Future[None] | None = None

    @property
    def idle(self) -> int:
        return sum(len(stack.idle) for stack in self._stacks.values())

    def connections_to(self, origin: Origin) -> tuple[int, int]:
        """How many connections to the host and port of an origin are in use (or being closed), and idle."""
        stack = self._stacks.get((origin.tls, origin.host, origin.port))
        return (stack.open - len(stack.idle), len(stack.idle)) if stack is not None else (0, 0)

    async def send(
        self,
        origin: Origin,
        method: bytes,
        path: bytes,
        headers: bytes,
        body: bytes,
        timeouts: Timeouts,
        *,
        whole: bool = False,
    ) -> UpstreamAnswer:
        """Returns when the head of the final answer (status 200 or above; redirects are answers) is complete; `whole`:
        when all of it is.

        `path` follows `origin.prefix`. `headers` are ready lines, each ended by CRLF, without host, content-length,
        connection, transfer-encoding and accept-encoding. The caller closes the answer. Raises UpstreamFailure;
        ValueError where `path` or `headers` would break the framing of the request. Cancelling closes the connection;
        whether the request had gone out by then `was_sent` tells of the CancelledError.
        """
        route = self._routes.get(origin)
        if route is None:
            route = self._route(origin)
        head = route.heads.get((method, path, headers)) or route.head(method, path, headers)
        size = len(body)
        if not size and method in _BODILESS:
            request = head + b"\r\n"
        elif size < SEPARATE_WRITE_BYTES:
            request = b"%bcontent-length: %d\r\n\r\n%b" % (head, size, body)
            body = b""
        else:
            request = b"%bcontent-length: %d\r\n\r\n" % (head, size)
        deadline_s = monotonic() + timeouts.answer_s
        stack = route.stack
        if self.closed:
            raise UpstreamFailure(FailureReason.SHUTDOWN, "the gateway is shutting down")
        reused = bool(stack.idle)
        connection = stack.idle.pop() if reused else await self._open(stack, timeouts, deadline_s)
        while True:
            answer = UpstreamAnswer(self._max_response_bytes, timeouts.idle_s, whole=whole)
            self.in_use += 1
            connection.start(answer, request, body, deadline_s, bare=method == b"HEAD")
            try:
                await answer.settled
            except BaseException as error:
                answer.close()
                error.add_note(_SENT)
                raise
            failure = answer.failure
            if failure is None:
                return answer
            if not reused or failure.reason is not FailureReason.CLOSED or failure.received:
                raise failure
            reused = False
            self.requests_retried_stale += 1
            connection = await self._open(stack, timeouts, deadline_s)

    async def close(self) -> None:
        """Fails what is under way (SHUTDOWN), closes every connection and returns when all are gone. Requests sent
        afterwards fail. Idempotent."""
        self.closed = True
        for connection in list(self._connections):
            connection.fail(FailureReason.SHUTDOWN, "the gateway is shutting down")
            connection.abort(FailureReason.SHUTDOWN)
        for stack in self._stacks.values():
            stack.idle.clear()
        if self._connections:
            if self._all_lost is None:
                self._all_lost = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._all_lost)

    def _route(self, origin: Origin) -> "_Route":
        key = (origin.tls, origin.host, origin.port)
        stack = self._stacks.get(key)
        if stack is None:
            stack = self._stacks[key] = _Stack(self, *key)
        try:
            route = self._routes[origin] = _Route(origin, stack)
        except UnicodeError:
            raise UpstreamFailure(FailureReason.DNS, "the host name cannot be encoded") from None
        return route

    async def _open(self, stack: "_Stack", timeouts: Timeouts, deadline_s: float) -> UpstreamConnection:
        remaining_s = deadline_s - monotonic()
        if stack.tls and self._tls is None:
            self._tls = tls_context(None)
        proxy = self._proxy if self._proxy is not None and stack.tls else None
        if proxy is not None and not proxy.applies(stack.host, stack.port):
            proxy = None
        connection = UpstreamConnection(stack, self._sweep, self._max_header_bytes)
        tls = self._tls if stack.tls else None
        try:
            async with asyncio.timeout(min(timeouts.connect_s, remaining_s)):
                await dial(lambda: connection, stack.host, stack.port, tls, proxy)
        except TimeoutError:
            connection.abandon()
            if timeouts.connect_s < remaining_s:
                raise UpstreamFailure(FailureReason.CONNECT_TIMEOUT, "no connection in time") from None
            raise UpstreamFailure(FailureReason.TIMEOUT, "the answer did not come in time") from None
        except BaseException:
            connection.abandon()
            raise
        if self.closed:
            connection.abort(FailureReason.SHUTDOWN)
            raise UpstreamFailure(FailureReason.SHUTDOWN, "the gateway is shutting down")
        return connection

    # From the stacks.

    def made(self, connection: UpstreamConnection) -> None:
        self._connections.add(connection)
        self.connections_opened += 1
        self.connections_open += 1

    def lost(self, connection: UpstreamConnection) -> None:
        self._connections.discard(connection)
        self.connections_open -= 1
        if self._all_lost is not None and not self._connections and not self._all_lost.done():
            self._all_lost.set_result(None)


class _Stack:
    """The idle connections to one host and port, the last used on top. `client.Keeper` of all its connections."""

    __slots__ = ("_pool", "host", "idle", "open", "port", "tls")

    def __init__(self, pool: UpstreamPool, tls: bool, host: str, port: int) -> None:
        self._pool = pool
        self.tls = tls
        self.host = host
        self.port = port
        self.open = 0
        self.idle: list[UpstreamConnection] = []

    def finished(self, connection: UpstreamConnection, reusable: bool) -> None:
        pool = self._pool
        pool.in_use -= 1
        if reusable:
            if len(self.idle) < pool.max_idle_per_origin and not pool.closed:
                connection.deadline_s = monotonic() + pool.idle_timeout_s
                self.idle.append(connection)
            else:
                connection.abort(FailureReason.CLOSED)

    def dropped(self, connection: UpstreamConnection) -> None:
        if connection in self.idle:
            self.idle.remove(connection)

    def made(self, connection: UpstreamConnection) -> None:
        self.open += 1
        self._pool.made(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        self.open -= 1
        self._pool.lost(connection)


class _Route:
    """What every request to one origin has in common."""

    __slots__ = ("_after_path", "_before_path", "heads", "stack")

    def __init__(self, origin: Origin, stack: _Stack) -> None:
        host = origin.host_header
        name = host.encode("ascii" if host.isascii() else "idna")
        self._before_path = b" " + quote(origin.prefix, safe="/%:@!$&'()*+,;=~").encode("ascii")
        self._after_path = b" HTTP/1.1\r\nhost: " + name + b"\r\naccept-encoding: identity\r\n"
        self.stack = stack
        self.heads: dict[tuple[bytes, bytes, bytes], bytes] = {}
        """Heads by method, path and headers, but for the length: few, and most requests have the same."""

    def head(self, method: bytes, path: bytes, headers: bytes) -> bytes:
        """A checked head that `heads` does not hold, which then does. Raises ValueError."""
        if len(path.split()) != 1:
            raise ValueError("white space in the path of a request, or none")
        if headers and (headers[-2:] != b"\r\n" or b"\r\n\r\n" in headers):
            raise ValueError("header lines that do not end where they should")
        head = b"".join((method, self._before_path, path, self._after_path, headers))
        if len(self.heads) >= MAX_KEPT_HEADS:
            self.heads.clear()
        self.heads[method, path, headers] = head
        return head


def was_sent(error: BaseException) -> bool:
    """Whether whoever waited for an answer was told to stop (`error`, as `send` raised it) when the request was already
    on its way: the provider may have read it, and may bill it. An exception of a type of its own would say it better,
    but `asyncio.timeout` knows CancelledError alone."""
    return _SENT in getattr(error, "__notes__", ())
