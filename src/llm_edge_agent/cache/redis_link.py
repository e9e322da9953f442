"""One Redis server as lookups and writes see it: there, or skipped.

    up --anything late, odd or broken--> down --probe answered in time--> up

While it is down nothing is sent and nobody waits: lookups have nothing, writes are dropped. A probe runs in the
background, soon at first and then less often, spread by chance so that many gateways do not return at once. Lookups
have a connection of their own, so that no pile of writes stands before them.
"""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import hiredis

from llm_edge_agent.cache import codec
from llm_edge_agent.cache.redis_connection import (
    MAX_SMALL_REPLY,
    Place,
    RedisConnection,
    command,
    connect,
    error_kind,
)
from llm_edge_agent.cache.tiers import StoreError
from llm_edge_agent.config.redis_address import RedisAddress

MAX_BATCH_KEYS = 256
"""Lookups in one command."""
MAX_BATCH_BYTES = 32 * 1024 * 1024
"""Bytes of the reply to one, however many keys it names."""
MAX_QUEUED = 2_000
MAX_QUEUED_BYTES = 32 * 1024 * 1024
"""Writes that wait for their turn; what comes on top is dropped and counted."""
MAX_PIPELINE = 128
MAX_PIPELINE_BYTES = 1024 * 1024
WRITE_TIMEOUT_S = 2.0
"""For one pipeline of writes. Nobody waits for it."""
MAX_DOOMED = 1_000
"""Names to be deleted with the next connection."""
PROBES_S = (0.1, 2.0)
"""Pause before the first probe, and the longest."""
STEADY_S = 5.0
"""A server that stayed up this long starts with the short pauses again."""

_SERVER_STATES = frozenset(("loading", "auth"))
"""Error replies that speak of the server and not of one command: it is left until a probe says otherwise."""


@dataclass(frozen=True, kw_only=True)
class LinkTimes:
    connect_s: float
    lookup_s: float
    """The most that a lookup waits."""


@dataclass(frozen=True, kw_only=True)
class LinkEvents:
    """Whom a link tells what it met."""

    failed: Callable[[str], None]
    """A kind of `tiers.FAILURES`."""
    foreign: Callable[[str], None]
    """A value that could not be ours, and why (`codec.REASONS`). The link deletes it by itself."""
    moved: Callable[[], None] = lambda: None
    """The server serves those keys no longer, or is a master no longer."""
    changed: Callable[[], None] = lambda: None
    """It came up or went down."""


class RedisLink:
    """Two connections to one server and what keeps them alive. `start`, then `close`."""

    def __init__(
        self,
        locate: Callable[[], Awaitable[Place]],
        address: RedisAddress,
        times: LinkTimes,
        events: LinkEvents,
        *,
        one_command: bool = True,
    ) -> None:
        """`locate` says where to connect to, anew for every attempt; it raises StoreError. `one_command`: lookups of
        one tick go out as one MGET; else as so many GETs in one write, as a cluster wants it."""
        self._locate = locate
        self._address = address
        self._times = times
        self._events = events
        self._one_command = one_command
        self._loop = asyncio.get_running_loop()
        self._lookups: RedisConnection | None = None
        self._writes: RedisConnection | None = None
        self._batch: list[tuple[bytes, asyncio.Future[bytes | None]]] = []
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._doomed: set[bytes] = set()
        self._writing = False
        self._written: asyncio.Future[None] | None = None
        """Done when nothing is left to be written; there is one once somebody waits for it."""
        self._lost = asyncio.Event()
        self._first = self._loop.create_future()
        self._keeper: asyncio.Task[None] | None = None
        self.up = False
        self._up_since_s = 0.0

    @property
    def steady(self) -> bool:
        """Whether the last connection lasted, or has lasted, for some seconds."""
        return monotonic() - self._up_since_s > STEADY_S

    async def start(self) -> bool:
        """Starts to keep a connection; returns after the first attempt, saying whether it is there."""
        if self._keeper is None:
            self._keeper = self._loop.create_task(self._keep())
        return bool(await asyncio.shield(self._first))

    async def close(self) -> None:
        """Lets go; queued writes go out if that takes no longer than a lookup may."""
        if self._writing and self.up:
            self._written = self._loop.create_future()
            await asyncio.wait([self._written], timeout=self._times.lookup_s)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._drop()
        self.up = False

    # Lookups.

    def get(self, name: bytes) -> "asyncio.Future[bytes | None]":
        """The value of a Redis key, with all the others that are asked for in this turn of the loop."""
        future: asyncio.Future[bytes | None] = self._loop.create_future()
        batch = self._batch
        batch.append((name, future))
        if len(batch) == 1:
            self._loop.call_soon(self._look_up)
        elif len(batch) == MAX_BATCH_KEYS:
            self._look_up()
        return future

    def _look_up(self) -> None:
        batch, self._batch = self._batch, []
        connection = self._lookups
        if not batch:
            return
        if connection is None:
            _give(batch, [None] * len(batch))
            return
        several = self._one_command and len(batch) > 1
        if several:
            data, count = command(b"MGET", *[name for name, _ in batch]), 1
        else:
            data, count = b"".join([command(b"GET", name) for name, _ in batch]), len(batch)
        timer = self._loop.call_later(self._times.lookup_s, connection.fail, "timeout")

        def take(replies: list[Any] | StoreError) -> None:
            timer.cancel()
            if isinstance(replies, StoreError):
                _give(batch, [None] * len(batch))
                if replies.kind == "too_large":
                    # Which of them it was cannot be seen: all of them go, once there is a connection again.
                    self._events.foreign("size")
                    self._doomed.update(name for name, _ in batch[: MAX_DOOMED - len(self._doomed)])
            else:
                self._take(batch, replies[0] if several else replies)

        bound = codec.MAX_BYTES + MAX_SMALL_REPLY
        connection.send(data, count, take, max_bytes=min(bound * len(batch), MAX_BATCH_BYTES) if several else bound)

    def _take(self, batch: "list[tuple[bytes, asyncio.Future[bytes | None]]]", replies: Any) -> None:
        if isinstance(replies, hiredis.ReplyError):
            replies = [replies] * len(batch)
        if not isinstance(replies, list) or len(replies) != len(batch):
            _give(batch, [None] * len(batch))
            self._fail("protocol")
            return
        values: list[bytes | None] = []
        for (name, _), reply in zip(batch, replies, strict=True):
            if reply is None or type(reply) is bytes:
                values.append(reply)
                continue
            values.append(None)
            if isinstance(reply, hiredis.ReplyError):
                self._refused(reply, name)
            else:
                self._fail("protocol")
        _give(batch, values)

    def _refused(self, reply: hiredis.ReplyError, name: bytes | None) -> None:
        """An error reply: to a lookup of `name`, or to a write."""
        if str(reply).startswith("WRONGTYPE"):
            if name is not None:
                self._events.foreign("type")
                self.write(b"UNLINK", name)
            return
        kind = error_kind(reply)
        if kind in _SERVER_STATES:
            self._fail(kind)
        else:
            self._events.failed(kind)
        if kind in ("moved", "readonly"):
            self._events.moved()

    # Writes.

    def write(self, *parts: bytes) -> None:
        """Queues one command whose reply nobody waits for."""
        if not self.up:
            return
        data = command(*parts)
        if len(self._queue) >= MAX_QUEUED or self._queued_bytes + len(data) > MAX_QUEUED_BYTES:
            self._events.failed("queue_full")
            return
        self._queue.append(data)
        self._queued_bytes += len(data)
        if not self._writing:
            self._writing = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        connection, queue = self._writes, self._queue
        if connection is None or not queue:
            self._writing = False
            if self._written is not None and not self._written.done():
                self._written.set_result(None)
            return
        pieces: list[bytes] = []
        size = 0
        while queue and len(pieces) < MAX_PIPELINE and size < MAX_PIPELINE_BYTES:
            pieces.append(queue.popleft())
            size += len(pieces[-1])
        self._queued_bytes -= size
        timer = self._loop.call_later(WRITE_TIMEOUT_S, connection.fail, "timeout")

        def take(replies: list[Any] | StoreError) -> None:
            timer.cancel()
            if isinstance(replies, StoreError):
                return
            for reply in replies:
                if isinstance(reply, hiredis.ReplyError):
                    self._refused(reply, None)
            self._write()

        connection.send(b"".join(pieces), len(pieces), take, max_bytes=MAX_SMALL_REPLY)

    async def ask(self, *parts: bytes) -> Any:
        """One command on the connection of the writes, behind those that were sent. Raises StoreError."""
        if self._writes is None:
            raise StoreError("closed")
        return await self._writes.ask(*parts, timeout_s=WRITE_TIMEOUT_S)

    # Keeping the connections.

    async def _keep(self) -> None:
        pause_s, longest_s = PROBES_S
        while True:
            try:
                await self._connect()
            except StoreError as error:
                self._events.failed(error.kind)
                if not self._first.done():
                    self._first.set_result(False)
            else:
                await self._lost.wait()
                if self.steady:
                    pause_s = PROBES_S[0]
            await asyncio.sleep(pause_s * random.uniform(0.75, 1.25))  # noqa: S311  jitter
            pause_s = min(2 * pause_s, longest_s)

    async def _connect(self) -> None:
        place = await self._locate()
        self._lost.clear()
        times = self._times
        try:
            for name in ("_lookups", "_writes"):
                connection = await connect(
                    place, self._address, self._on_lost, timeout_s=times.connect_s, probe_s=times.lookup_s
                )
                setattr(self, name, connection)
        except BaseException:
            self._drop()
            raise
        if self._lost.is_set():
            raise StoreError("closed")
        self._writing = False
        self.up = True
        self._up_since_s = monotonic()
        while self._doomed:
            self.write(b"UNLINK", self._doomed.pop())
        if not self._first.done():
            self._first.set_result(True)
        self._events.changed()

    def _on_lost(self, error: StoreError) -> None:
        was_up, self.up = self.up, False
        self._lost.set()
        self._drop()
        if was_up:
            self._events.failed(error.kind)
            self._events.changed()

    def _fail(self, kind: str) -> None:
        if self._lookups is not None:
            self._lookups.fail(kind)

    def reconnect(self) -> None:
        """Asks `locate` again: it may be another server by now."""
        self._fail("readonly")

    def _drop(self) -> None:
        connections = (self._lookups, self._writes)
        self._lookups = self._writes = None
        for connection in connections:
            if connection is not None:
                connection.close()
        self._queue.clear()
        self._queued_bytes = 0
        self._writing = False


def _give(batch: "Sequence[tuple[bytes, asyncio.Future[bytes | None]]]", values: "Sequence[bytes | None]") -> None:
    for (_, future), value in zip(batch, values, strict=True):
        if not future.done():
            future.set_result(value)
