"""Upstreams that do exactly what a test's script says, byte for byte, and a pool to reach them with."""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from llm_edge_agent.http.answer import UpstreamAnswer
from llm_edge_agent.http.deadlines import Sweep
from llm_edge_agent.http.origins import Origin, Timeouts, UpstreamFailure
from llm_edge_agent.http.pool import ProxySettings, UpstreamPool

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"content-length: 5\r\n\r\nhello"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
PATIENT = Timeouts(connect_s=5.0, answer_s=10.0, idle_s=10.0)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Peer:
    """The upstream's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next request, whole. Raises IncompleteReadError at the end of input."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        return head + await self.reader.readexactly(size)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Returns when the client has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(65536):
                pass

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Closes with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class Upstream:
    """Runs a script per connection: the first script serves the first connection, the last one all others."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self._scripts = scripts
        self._running: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.port = 0

    @property
    def open(self) -> int:
        return len(self._running)

    def origin(self, host: str = "127.0.0.1", *, tls: bool = False, prefix: str = "") -> Origin:
        return Origin(tls, host, self.port, prefix)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        try:
            await script(Peer(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # asyncio's stream server reports a cancelled handler as an error of its own
        finally:
            self._running.discard(task)
            writer.transport.abort()

    async def stop(self) -> None:
        running = set(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@contextlib.asynccontextmanager
async def upstream(
    *scripts: Script, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Upstream]:
    server = Upstream(scripts)
    listener = await asyncio.start_server(server.handle, host, 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        # asyncio loses a connection that is accepted in the moment in which its listener is closed.
        await asyncio.sleep(0.01)
        listener.close()
        await server.stop()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def pool_of(
    *,
    tls: ssl.SSLContext | None = None,
    proxy: ProxySettings | None = None,
    max_response_bytes: int = 1 << 20,
    max_header_bytes: int = 64 * 1024,
    max_idle_per_origin: int = 256,
    idle_timeout_s: float = 30.0,
) -> AsyncIterator[UpstreamPool]:
    """A pool with a fast sweep; afterwards nothing of it may be left: connection, deadline or descriptor."""
    before = open_descriptors()
    sweep = Sweep(resolution_s=0.01)
    pool = UpstreamPool(
        sweep=sweep,
        tls=tls,
        proxy=proxy,
        max_response_bytes=max_response_bytes,
        max_header_bytes=max_header_bytes,
        max_idle_per_origin=max_idle_per_origin,
        idle_timeout_s=idle_timeout_s,
    )
    yield pool
    await pool.close()
    assert (pool.connections_open, pool.in_use, pool.idle) == (0, 0, 0)
    assert len(sweep) == 0
    await eventually(lambda: open_descriptors() <= before + 2)


def open_descriptors() -> int:
    """Sockets of this process, both ends of each loopback connection included."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return count


async def eventually(condition: Callable[[], bool], within_s: float = 15.0) -> None:
    """Returns as soon as `condition` holds; fails the test where it does not in time."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def post(pool: UpstreamPool, origin: Origin, body: bytes = b"{}", timeouts: Timeouts = PATIENT) -> UpstreamAnswer:
    return await pool.send(origin, b"POST", b"/x", b"content-type: application/json\r\n", body, timeouts)


async def whole(
    pool: UpstreamPool, origin: Origin, body: bytes = b"{}", timeouts: Timeouts = PATIENT
) -> tuple[int, bytes]:
    answer = await post(pool, origin, body, timeouts)
    try:
        return answer.status, await answer.read()
    finally:
        answer.close()


async def failure_of(exchange: Coroutine[Any, Any, object]) -> UpstreamFailure:
    """The failure that `exchange` raises; fails the test where it does not."""
    try:
        outcome = await exchange
    except UpstreamFailure as failure:
        return failure
    raise AssertionError(f"no failure but {outcome!r}")


class Received:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.ended = 0
        self.failures: list[UpstreamFailure] = []

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def over(self) -> bool:
        assert self.ended + len(self.failures) <= 1
        return self.ended + len(self.failures) == 1

    def data(self, chunk: bytes) -> None:
        assert not self.over
        assert chunk
        self.chunks.append(chunk)

    def end(self) -> None:
        self.ended += 1

    def failed(self, failure: UpstreamFailure) -> None:
        self.failures.append(failure)


def answering(*answers: bytes) -> Script:
    """Answers each request with the next of `answers`, the last one for ever."""

    async def script(peer: Peer) -> None:
        count = 0
        while True:
            await peer.request()
            await peer.send(answers[min(count, len(answers) - 1)])
            count += 1

    return script


def once(answer: bytes) -> Script:
    """Answers one request and closes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        peer.close()
        await peer.writer.wait_closed()

    return script


async def silent(peer: Peer) -> None:
    """Reads and never answers."""
    await peer.gone()
