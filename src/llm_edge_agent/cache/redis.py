"""L2 on Redis or Valkey: one server, the master that Sentinels name, or a cluster.

Every key is `llm-edge-agent:<version>:<digest>`; every key expires. Lookups are MGETs, one for each turn of the event
loop; writes are pipelines in the background (`redis_link.py`), and so are the questions where a master or a slot is
(`redis_discovery.py`). No client library: hiredis parses, the rest is ours (docs/adr/0011).
"""

import asyncio
import logging
import secrets
from binascii import crc_hqx
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any

from llm_edge_agent.cache import codec, redis_discovery
from llm_edge_agent.cache.redis_connection import Place
from llm_edge_agent.cache.redis_link import LinkEvents, LinkTimes, RedisLink
from llm_edge_agent.cache.tiers import StoreError
from llm_edge_agent.config.redis_address import RedisAddress

PREFIX = b"llm-edge-agent:%d:" % codec.VERSION
EPOCHS = PREFIX + b"{epochs}"
EPOCHS_MARK = b"mark"
"""The field whose value changes with every change of the epochs."""
DISCOVER_S = (0.5, 30.0)
"""Pause between looks at a cluster's map: while something is wrong, and while nothing is."""

_log = logging.getLogger("llm_edge_agent.cache")


def redis_key(name: bytes) -> bytes:
    return PREFIX + name.hex().encode()


def slot_of(key: bytes) -> int:
    """The slot of a key without braces (or with braces around the part that `{epochs}` has)."""
    start = key.find(b"{")
    end = key.find(b"}", start + 1)
    return crc_hqx(key[start + 1 : end] if 0 <= start < end - 1 else key, 0) % redis_discovery.SLOTS


class RedisStore:
    """A `tiers.Store`. To be made and used on one event loop."""

    def __init__(
        self,
        address: RedisAddress,
        *,
        connect_timeout_s: float = 1.0,
        lookup_timeout_s: float = 0.1,
        on_failure: Callable[[str], None] = lambda _kind: None,
        on_corrupt: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        """`on_failure` gets a kind of `tiers.FAILURES`, `on_corrupt` a reason of `codec.REASONS`."""
        self._address = address
        self._times = LinkTimes(connect_s=connect_timeout_s, lookup_s=lookup_timeout_s)
        self._events = LinkEvents(failed=on_failure, foreign=on_corrupt, moved=self._on_moved, changed=self._on_changed)
        self._single: RedisLink | None = None
        self._links: dict[tuple[str, int], RedisLink] = {}
        self._slots: list[RedisLink | None] = []
        self._look = asyncio.Event()
        self._explorer: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] | None = None
        self._told: bool | None = None

    @property
    def up(self) -> bool:
        """Of a cluster: whether any part of it is there. Lookups of the rest find nothing."""
        if self._single is not None:
            return self._single.up
        return any(link.up for link in self._links.values())

    @property
    def whole(self) -> bool:
        """Whether all of it is there."""
        if self._single is not None:
            return self._single.up
        return bool(self._slots) and all(link is not None and link.up for link in set(self._slots))

    async def start(self) -> bool:
        address = self._address
        if address.kind == "cluster":
            if self._explorer is None:
                self._first = asyncio.get_running_loop().create_future()
                self._explorer = asyncio.get_running_loop().create_task(self._explore())
            if self._first is not None:
                await asyncio.shield(self._first)
            await asyncio.gather(*(link.start() for link in self._links.values()))
            reached = self.whole
        else:
            if self._single is None:
                self._single = RedisLink(self._place, address, self._times, self._events)
            reached = await self._single.start()
        if not reached:
            _log.warning("Warning: L2 cache enabled but connection failed (%s)", address)
        self._told = reached
        return reached

    async def close(self) -> None:
        if self._explorer is not None:
            self._explorer.cancel()
            await asyncio.gather(self._explorer, return_exceptions=True)
        links = [*self._links.values(), *([self._single] if self._single is not None else [])]
        await asyncio.gather(*(link.close() for link in links))

    async def get(self, name: bytes) -> bytes | None:
        key = redis_key(name)
        link = self._link(key)
        if link is None or not link.up:
            return None
        return await link.get(key)

    def put(self, name: bytes, value: bytes, *, ttl_s: float) -> None:
        key = redis_key(name)
        link = self._link(key)
        if link is not None:
            link.write(b"SET", key, value, b"PX", b"%d" % max(1, ttl_s * 1000))

    def discard(self, name: bytes) -> None:
        key = redis_key(name)
        link = self._link(key)
        if link is not None:
            link.write(b"UNLINK", key)

    async def changed_epochs(self, known: bytes) -> tuple[bytes, dict[str, int]] | None:
        link = self._required(EPOCHS)
        mark = await link.ask(b"HGET", EPOCHS, EPOCHS_MARK)
        if mark == known or (mark is None and not known):
            return None
        return _epochs(await link.ask(b"HGETALL", EPOCHS))

    async def write_epochs(self, epochs: Mapping[str, int], *, ttl_s: float) -> None:
        link = self._required(EPOCHS)
        fields = [part for scope, at_ms in epochs.items() for part in (scope.encode(), b"%d" % at_ms)]
        await link.ask(b"HSET", EPOCHS, *fields, EPOCHS_MARK, secrets.token_hex(8).encode())
        await link.ask(b"PEXPIRE", EPOCHS, b"%d" % (ttl_s * 1000))

    def _link(self, key: bytes) -> RedisLink | None:
        if self._single is not None:
            return self._single
        return self._slots[slot_of(key)] if self._slots else None

    def _required(self, key: bytes) -> RedisLink:
        link = self._link(key)
        if link is None or not link.up:
            raise StoreError("closed")
        return link

    def _on_moved(self) -> None:
        self._look.set()
        link = self._single
        if link is not None and (self._address.kind == "sentinel" or link.steady):
            link.reconnect()

    def _on_changed(self) -> None:
        """Says once that it went, and once that it came back."""
        whole = self.whole
        if not whole:
            self._look.set()
        if self._told is not None and whole != self._told:
            self._told = whole
            if whole:
                _log.info("L2 cache connected (%s)", self._address)
            else:
                _log.warning("L2 cache lost; going on without it (%s)", self._address)

    async def _place(self) -> Place:
        address = self._address
        if address.path is not None:
            return address.path
        if address.kind == "sentinel":
            return await redis_discovery.master(address, timeout_s=self._times.connect_s)
        return address.nodes[0]

    # A cluster's map.

    async def _explore(self) -> None:
        looked_s = 0.0
        while True:
            self._look.clear()
            try:
                owners = await redis_discovery.slot_owners(
                    self._address, list(self._links), timeout_s=self._times.connect_s
                )
            except StoreError as error:
                self._events.failed(error.kind)
            else:
                await self._adopt(owners)
            if self._first is not None and not self._first.done():
                self._first.set_result(None)
            looked_s = monotonic()
            soon_s, later_s = DISCOVER_S
            try:
                async with asyncio.timeout(later_s if self.whole else soon_s):
                    await self._look.wait()
            except TimeoutError:
                pass
            await asyncio.sleep(max(0.0, looked_s + soon_s - monotonic()))  # however often something moves

    async def _adopt(self, owners: list[tuple[str, int] | None]) -> None:
        wanted = {place for place in owners if place is not None}
        for place in wanted - self._links.keys():

            async def locate(place: Place = place) -> Place:
                return place

            link = RedisLink(locate, self._address, self._times, self._events, one_command=False)
            self._links[place] = link
            asyncio.ensure_future(link.start()).add_done_callback(_forget)
        self._slots = [self._links[place] if place is not None else None for place in owners]
        for place in self._links.keys() - wanted:
            await self._links.pop(place).close()


def _forget(done: "asyncio.Future[bool]") -> None:
    if not done.cancelled():
        done.exception()


def _epochs(reply: Any) -> tuple[bytes, dict[str, int]]:
    """From the flat list of fields and values. What is no epoch is passed over."""
    if not isinstance(reply, list) or not all(isinstance(part, bytes) for part in reply):
        raise StoreError("protocol")
    fields = dict(zip(reply[::2], reply[1::2], strict=False))
    mark = fields.pop(EPOCHS_MARK, b"")
    return mark, {
        scope.decode("utf-8", "replace"): int(at_ms)
        for scope, at_ms in fields.items()
        if at_ms.isdigit() and len(at_ms) < 16
    }
