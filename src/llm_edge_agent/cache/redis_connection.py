"""One connection to a Redis server: bytes out, replies back in order, through hiredis.

Each `send` says how many replies it wants and how many bytes it will take for one, and is told exactly once: all the
replies, or why there are none. Replies are counted per connection, never per caller, so a caller that goes away leaves
nothing behind that another could take for its own; a connection on which anything was late or odd is closed.
"""

import asyncio
import contextlib
import re
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from llm_edge_agent.cache.tiers import StoreError
from llm_edge_agent.config.redis_address import RedisAddress, RedisTls

Replies = Callable[[list[Any] | StoreError], None]
"""Takes the replies to one `send`. A server's error reply stands among them as a `hiredis.ReplyError`."""

Place = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""

# hiredis makes room for a list as soon as its length is announced: two billion elements that never come cost seconds
# when that list is let go. Nothing we ask for has a hundred thousand, and our values (JSON, or compressed) do not hold
# such a line by chance.
_HUGE_LIST = re.compile(rb"\*\d{6,}\r\n").search
_HUGE_PUSH = re.compile(rb">\d{6,}\r\n").search
_MAX_HEADER = 24

MAX_SMALL_REPLY = 64 * 1024
"""Bytes of a reply that is no value: nothing a server says about itself is longer."""


def command(*parts: bytes) -> bytes:
    """One command as it goes on the wire."""
    return b"*%d\r\n%b" % (len(parts), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))


def error_kind(reply: hiredis.ReplyError) -> str:
    """Which of `FAILURES` an error reply is."""
    return _KINDS.get(str(reply).partition(" ")[0], "refused")


_KINDS = {
    "OOM": "oom",
    "LOADING": "loading",
    "MASTERDOWN": "loading",
    "BUSY": "loading",
    "READONLY": "readonly",
    "MOVED": "moved",
    "ASK": "moved",
    "CLUSTERDOWN": "moved",
    "TRYAGAIN": "moved",
    "NOAUTH": "auth",
    "WRONGPASS": "auth",
    "NOPERM": "auth",
    "DENIED": "auth",
}


class RedisConnection(asyncio.Protocol):
    """Use `connect`. Belongs to one event loop."""

    def __init__(self, on_lost: Callable[[StoreError], None]) -> None:
        """`on_lost` is called once, unless it was `close` that ended it."""
        self._on_lost = on_lost
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._expected: deque[tuple[int, int, Replies]] = deque()
        self._replies: list[Any] = []
        self._unparsed = 0
        self._tail = b""
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A stream protocol gets a stream transport; uvloop's is none by its class.
        self._transport = cast(asyncio.Transport, transport)

    @property
    def waiting(self) -> int:
        """How many sends have no answer yet."""
        return len(self._expected)

    def send(self, data: bytes, count: int, take: Replies, *, max_bytes: int) -> None:
        """Writes one or more commands that get `count` replies in all, of `max_bytes` each at most."""
        if self._over or self._transport is None:
            take(StoreError("closed"))
            return
        self._expected.append((count, max_bytes, take))
        self._transport.write(data)

    async def ask(self, *parts: bytes, timeout_s: float) -> Any:
        """One command and its reply. Raises StoreError; a late reply costs the connection."""
        done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

        def take(replies: list[Any] | StoreError) -> None:
            if done.done():
                return
            if isinstance(replies, StoreError):
                done.set_exception(replies)
            else:
                done.set_result(replies)

        self.send(command(*parts), 1, take, max_bytes=MAX_SMALL_REPLY * 16)
        try:
            async with asyncio.timeout(timeout_s):
                (reply,) = await done
        except TimeoutError:
            self.fail("timeout")
            raise StoreError("timeout") from None
        if isinstance(reply, hiredis.ReplyError):
            raise StoreError(error_kind(reply))
        return reply

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        reader = self._reader
        seam = self._tail + data if self._tail else data
        if _HUGE_LIST(seam) is not None or _HUGE_PUSH(seam) is not None:
            self.fail("protocol")
            return
        self._tail = data[-_MAX_HEADER:]
        try:
            reader.feed(data)
            self._unparsed += len(data)
            while True:
                reply = reader.gets()
                if reply is False:  # RESP2 has no booleans: it means that the rest is still to come
                    break
                self._unparsed = 0
                if not self._expected:
                    raise hiredis.ProtocolError("a reply that nobody asked for")
                count, _, take = self._expected[0]
                replies = self._replies
                replies.append(reply)
                if len(replies) == count:
                    self._expected.popleft()
                    self._replies = []
                    take(replies)  # which may end the connection
                    if self._ended():
                        return
        except (hiredis.HiredisError, MemoryError):
            self.fail("protocol")
            return
        if not self._expected:
            if self._unparsed or reader.has_data():
                self.fail("protocol")  # the beginning of a reply that nobody asked for
        elif self._unparsed > self._expected[0][1]:
            self.fail("too_large")

    def _ended(self) -> bool:
        return self._over

    def eof_received(self) -> None:
        self.fail("closed")

    def connection_lost(self, error: Exception | None) -> None:
        self.fail("closed")

    def fail(self, kind: str) -> None:
        """Ends the connection for a reason; whoever still waits is told it."""
        if not self._over:
            self._end(kind)
            self._on_lost(StoreError(kind))

    def close(self) -> None:
        """Ends the connection. Whoever still waits is told that it closed."""
        if not self._over:
            self._end("closed")

    def _end(self, kind: str) -> None:
        self._over = True
        if self._transport is not None:
            self._transport.abort()
        waiting, self._expected = self._expected, deque()
        for _, _, take in waiting:
            take(StoreError(kind))


async def connect(
    place: Place, address: RedisAddress, on_lost: Callable[[StoreError], None], *, timeout_s: float, probe_s: float
) -> RedisConnection:
    """A connection that is logged in and answers. `timeout_s`: for connecting and logging in; `probe_s`: for one PING
    after that, since a server too slow for lookups is no better than none. Raises StoreError."""
    connection = RedisConnection(on_lost)
    try:
        async with asyncio.timeout(timeout_s):
            await _open(place, address, connection)
            if address.password is not None:
                login = [address.username.encode()] if address.username is not None else []
                await connection.ask(b"AUTH", *login, address.password.encode(), timeout_s=timeout_s)
            if address.database:
                await connection.ask(b"SELECT", b"%d" % address.database, timeout_s=timeout_s)
        if await connection.ask(b"PING", timeout_s=probe_s) != b"PONG":
            raise StoreError("protocol")
    except TimeoutError:
        connection.close()
        raise StoreError("timeout") from None
    except OSError:
        connection.close()
        raise StoreError("connect") from None
    except BaseException:
        connection.close()
        raise
    return connection


async def _open(place: Place, address: RedisAddress, connection: RedisConnection) -> None:
    loop = asyncio.get_running_loop()
    if isinstance(place, str):
        await loop.create_unix_connection(lambda: connection, place)
        return
    host, port = place
    context = tls_context(address.tls) if address.tls is not None else None
    await loop.create_connection(
        lambda: connection, host, port, ssl=context, server_hostname=host if context is not None else None
    )


def tls_context(tls: RedisTls) -> ssl.SSLContext:
    """Raises OSError (ssl.SSLError is one) where a file cannot be read or holds no certificate."""
    context = ssl.create_default_context(cafile=tls.ca_file)
    if tls.certificate_file is not None:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    if not tls.check_hostname:
        context.check_hostname = False
    if not tls.verify:
        context.verify_mode = ssl.CERT_NONE
    return context


async def is_answered(place: Place, address: RedisAddress, *, timeout_s: float) -> None:
    """Connects, logs in and leaves again. Raises StoreError that says what failed."""
    connection = await connect(place, address, lambda _error: None, timeout_s=timeout_s, probe_s=timeout_s)
    with contextlib.suppress(StoreError):
        connection.close()
