"""The store on Redis: keys, expiry, the log, clusters that move. What all stores must do is in the contract."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_edge_agent.cache.redis import EPOCHS, PREFIX, RedisStore, _epochs, redis_key
from llm_edge_agent.cache.tiers import StoreError
from llm_edge_agent.config.redis_address import redis_address
from tests.cache.redis_servers import RedisServer, asked, redis_cluster, redis_sentinels


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.01)


async def test_every_key_has_prefix_version_and_expiry(server: RedisServer) -> None:
    store = RedisStore(redis_address(server.url), lookup_timeout_s=1.0)
    assert await store.start()
    for _ in range(10):
        store.put(os.urandom(32), b"value", ttl_s=30)
    await store.write_epochs({"all": 1}, ttl_s=30)
    await store.close()
    with server.client() as client:
        keys = client.keys("*")
        assert len(keys) == 11
        for key in keys:
            assert key.startswith(b"llm-edge-agent:1:")
            assert 0 < client.pttl(key) <= 30_000
            assert key == EPOCHS or len(key) == len(PREFIX) + 64


async def test_away_at_start_is_one_warning_without_userinfo(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.kill()
    store = RedisStore(redis_address(f"redis://user:hunter2@127.0.0.1:{server.port}"))
    with caplog.at_level(logging.INFO, "llm_edge_agent"):
        assert not await store.start()
        await asyncio.sleep(0.5)
    (record,) = caplog.records
    assert record.getMessage() == (f"Warning: L2 cache enabled but connection failed (redis://127.0.0.1:{server.port})")
    assert not store.up
    assert await store.get(b"n" * 32) is None
    store.put(b"n" * 32, b"value", ttl_s=1)
    with pytest.raises(StoreError):
        await store.changed_epochs(b"")
    await store.close()


async def test_going_and_coming_back_is_said_once_each(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    store = RedisStore(redis_address(server.url))
    with caplog.at_level(logging.INFO, "llm_edge_agent"):
        assert await store.start()
        server.kill()
        await until(lambda: not store.up)
        await asyncio.sleep(0.3)
        server.start()
        await until(lambda: store.up)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    await store.close()


async def test_a_cluster_whose_primary_dies_loses_its_part_until_the_replica_has_it(tmp_path: Path) -> None:
    with redis_cluster(tmp_path, replicas=True) as servers:
        failures: list[str] = []
        address = redis_address(f"redis+cluster://127.0.0.1:{servers[0].port}")
        store = RedisStore(address, lookup_timeout_s=0.5, on_failure=failures.append)
        assert await store.start()
        assert store.whole
        names = [os.urandom(32) for _ in range(60)]
        for name in names:
            store.put(name, b"value", ttl_s=60)
        await asyncio.sleep(0.5)
        assert await asyncio.gather(*(store.get(name) for name in names)) == [b"value"] * 60
        servers[0].kill()
        await until(lambda: not store.whole)
        assert store.up
        found = await asyncio.gather(*(store.get(name) for name in names))
        assert 0 < found.count(b"value") < 60
        await until(lambda: store.whole, within_s=20)
        assert await asyncio.gather(*(store.get(name) for name in names)) == [b"value"] * 60
        await store.close()


async def test_a_slot_that_moved_is_found_again(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as servers:
        store = RedisStore(redis_address(f"redis+cluster://127.0.0.1:{servers[0].port}"), lookup_timeout_s=0.5)
        assert await store.start()
        name = os.urandom(32)
        key = redis_key(name)
        clients = [server.client() for server in servers]
        slot = asked(clients[0], "CLUSTER KEYSLOT", key)
        owner = [slot <= last for last in (5460, 10922, 16383)].index(True)
        other = (owner + 1) % 3
        ids = [asked(client, "CLUSTER MYID") for client in clients]
        for client in clients:
            asked(client, "CLUSTER SETSLOT", slot, "NODE", ids[other])
        async with asyncio.timeout(15):
            while clients[other].get(key) != b"value":
                store.put(name, b"value", ttl_s=60)  # refused by the old owner, which says where it went
                await asyncio.sleep(0.1)
        assert await store.get(name) == b"value"
        for client in clients:
            client.close()
        await store.close()


async def test_after_a_failover_the_new_master_is_used(tmp_path: Path) -> None:
    with redis_sentinels(tmp_path) as watched:
        store = RedisStore(redis_address(watched.url), lookup_timeout_s=0.5)
        assert await store.start()
        name = os.urandom(32)
        watched.master.kill()
        await until(lambda: not store.up)
        await until(lambda: store.up, within_s=20)
        store.put(name, b"value", ttl_s=60)
        await asyncio.sleep(0.2)
        assert await store.get(name) == b"value"
        with watched.replica.client() as client:
            assert client.exists(redis_key(name))
        await store.close()


async def test_a_cluster_that_is_away_at_start(caplog: pytest.LogCaptureFixture) -> None:
    store = RedisStore(redis_address("redis+cluster://127.0.0.1:1"), connect_timeout_s=0.5)
    assert not await store.start()
    assert "connection failed (redis+cluster://127.0.0.1:1)" in caplog.text
    assert not store.up
    assert await store.get(b"n" * 32) is None
    store.put(b"n" * 32, b"value", ttl_s=1)
    store.discard(b"n" * 32)
    await store.close()


def test_epochs_that_somebody_spoilt() -> None:
    assert _epochs([b"mark", b"m", b"all", b"12", b"tenant:x", b"-5", b"model:\xff", b"3", b"a", b"9" * 40]) == (
        b"m",
        {"all": 12, "model:\ufffd": 3},
    )
    assert _epochs([]) == (b"", {})
    for reply in (None, b"x", [1, 2], 5):
        with pytest.raises(StoreError, match="protocol"):
            _epochs(reply)
