"""What every tier must do, against each of them as it is in service."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from llm_edge_agent.cache import codec
from llm_edge_agent.cache.disk import DiskStore
from llm_edge_agent.cache.memory import MemoryCache
from llm_edge_agent.cache.redis import RedisStore
from llm_edge_agent.cache.tiers import Store
from llm_edge_agent.config.redis_address import redis_address

WAIT_S = 5.0


class Item:
    def __init__(self, value: bytes) -> None:
        self.value = value
        self.weight_bytes = len(value)


class MemoryAsStore:
    """L1 behind the protocol of the shared tiers, for what both must do."""

    up = True

    def __init__(self) -> None:
        self._memory: MemoryCache[Item] = MemoryCache(max_entries=10_000, max_bytes=2**26, ttl_s=60.0, tti_s=60.0)

    async def get(self, name: bytes) -> bytes | None:
        found = self._memory.get(name)
        return found.value if found is not None else None

    def put(self, name: bytes, value: bytes, *, ttl_s: float) -> None:
        self._memory.set(name, Item(value), ttl_s=ttl_s)

    async def start(self) -> bool:
        return True

    async def close(self) -> None:
        self._memory.clear()


Open = Callable[[], Awaitable[Store]]


@pytest.fixture(params=["memory", "disk", "redis", "unix", "cluster", "sentinel"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[str, Open]]:
    """Which store it is, and how a process comes to one: what the processes open they share."""
    kind: str = request.param
    async with AsyncExitStack() as stack:
        if kind in ("redis", "unix"):
            url = request.getfixturevalue("shared_server").url
            if kind == "unix":
                url = f"unix://{request.getfixturevalue('shared_server').socket}"
        elif kind == "cluster":
            url = f"redis+cluster://127.0.0.1:{request.getfixturevalue('shared_cluster')[1].port}"
        elif kind == "sentinel":
            url = request.getfixturevalue("shared_sentinels").url

        async def open_store() -> Store:
            store: Store
            if kind == "memory":
                store = MemoryAsStore()  # type: ignore[assignment]  # it has no epochs
            elif kind == "disk":
                store = DiskStore(tmp_path / "cache", max_bytes=64 * 2**20)
            else:
                store = RedisStore(redis_address(url), lookup_timeout_s=1.0)
            stack.push_async_callback(store.close)
            assert await store.start()
            assert store.up
            return store

        yield kind, open_store


async def settled(store: Store, name: bytes, value: bytes | None) -> None:
    """Waits until a write in the background can be seen."""
    deadline_s = time.monotonic() + WAIT_S
    while await store.get(name) != value:
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.005)


def name() -> bytes:
    return os.urandom(32)


async def test_what_was_put_is_got_and_nothing_else(opened: tuple[str, Open]) -> None:
    store = await opened[1]()
    first, second = name(), name()
    store.put(first, b"one", ttl_s=60)
    store.put(second, bytes(range(256)) * 100, ttl_s=60)
    await settled(store, first, b"one")
    await settled(store, second, bytes(range(256)) * 100)
    assert await store.get(name()) is None


async def test_the_last_put_counts(opened: tuple[str, Open]) -> None:
    store = await opened[1]()
    key = name()
    for number in range(50):
        store.put(key, b"%d" % number, ttl_s=60)
    await settled(store, key, b"49")
    store.put(key, b"fifty", ttl_s=60)
    await settled(store, key, b"fifty")


async def test_many_at_once_keep_apart(opened: tuple[str, Open]) -> None:
    store = await opened[1]()
    values = {name(): os.urandom(200) for _ in range(700)}
    for key, value in values.items():
        store.put(key, value, ttl_s=60)
    await asyncio.gather(*(settled(store, key, value) for key, value in values.items()))
    found = await asyncio.gather(*(store.get(key) for key in [*values, *(name() for _ in range(50))]))
    assert found == [*values.values(), *[None] * 50]


async def test_a_value_of_the_largest_size(opened: tuple[str, Open]) -> None:
    store = await opened[1]()
    key, value = name(), os.urandom(codec.MAX_BYTES)
    store.put(key, value, ttl_s=60)
    await settled(store, key, value)


async def test_an_entry_expires(opened: tuple[str, Open]) -> None:
    store = await opened[1]()
    short, long = name(), name()
    store.put(short, b"short", ttl_s=0.3)
    store.put(long, b"long", ttl_s=60)
    await settled(store, short, b"short")
    await asyncio.sleep(0.35)
    assert await store.get(short) is None
    assert await store.get(long) == b"long"


async def test_a_caller_that_gives_up_takes_nothing_from_others(opened: tuple[str, Open]) -> None:
    store = await opened[1]()
    values = {name(): os.urandom(50) for _ in range(60)}
    for key, value in values.items():
        store.put(key, value, ttl_s=60)
    await asyncio.gather(*(settled(store, key, value) for key, value in values.items()))
    for _ in range(5):
        lookups = [asyncio.ensure_future(store.get(key)) for key in values]
        await asyncio.sleep(0)
        for lookup in lookups[::2]:
            lookup.cancel()
        found = await asyncio.gather(*lookups, return_exceptions=True)
        assert found[1::2] == list(values.values())[1::2]


# What only tiers must do that are shared.


async def test_another_process_finds_it_also_later(opened: tuple[str, Open]) -> None:
    kind, open_store = opened
    if kind == "memory":
        return
    key = name()
    first = await open_store()
    second = await open_store()
    first.put(key, b"shared", ttl_s=60)
    await settled(second, key, b"shared")
    first.put(key, b"written as it closes", ttl_s=60)
    await first.close()
    await settled(second, key, b"written as it closes")
    await settled(await open_store(), key, b"written as it closes")


async def test_what_is_discarded_is_gone(opened: tuple[str, Open]) -> None:
    kind, open_store = opened
    if kind == "memory":
        return
    store = await open_store()
    key = name()
    store.put(key, b"bad", ttl_s=60)
    await settled(store, key, b"bad")
    store.discard(key)
    await settled(store, key, None)
    store.discard(name())


async def test_epochs_are_seen_by_others_once_they_change(opened: tuple[str, Open]) -> None:
    kind, open_store = opened
    if kind == "memory":
        return
    first, second = await open_store(), await open_store()
    scope = f"tenant:{name().hex()}"
    await first.write_epochs({scope: 1000, "model:openai/gpt é": 1001}, ttl_s=60)
    found = await second.changed_epochs(b"none")
    assert found is not None
    mark, epochs = found
    assert epochs[scope] == 1000
    assert epochs["model:openai/gpt é"] == 1001
    assert await second.changed_epochs(mark) is None
    await second.write_epochs({scope: 2000}, ttl_s=60)
    changed = await first.changed_epochs(mark)
    assert changed is not None
    assert changed[0] != mark
    assert changed[1][scope] == 2000
    assert changed[1]["model:openai/gpt é"] == 1001
