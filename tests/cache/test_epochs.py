"""Purging: here at once, elsewhere soon, and never undone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from llm_edge_agent.cache.disk import DiskStore
from llm_edge_agent.cache.epochs import ALL, OUTLIVES_S, REFRESH_S, Epochs, model_scope, tenant_scope
from llm_edge_agent.cache.redis import EPOCHS, RedisStore
from llm_edge_agent.cache.tiers import StoreError
from llm_edge_agent.config.redis_address import redis_address
from tests.cache.redis_servers import RedisServer

WHO = ("alice", "openai/gpt")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


class Clock:
    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DiskStore]:
    store = DiskStore(tmp_path, max_bytes=2**24)
    assert await store.start()
    yield store
    await store.close()


async def test_alone_a_bump_counts_at_once() -> None:
    epochs = Epochs(None, entry_ttl_s=60, now_s=Clock())
    assert epochs.current
    assert epochs.of(*WHO) == ""
    assert await epochs.bump(tenant_scope("alice"))
    assert epochs.of(*WHO) == "0.1000000.0"
    assert epochs.generation == 1
    assert epochs.of("bob", "openai/gpt") == ""
    assert await epochs.refresh()
    await epochs.start()
    await epochs.close()


@pytest.mark.parametrize("scope", [ALL, tenant_scope("alice"), model_scope("openai/gpt")])
async def test_each_scope_changes_the_key_of_whom_it_names(scope: str) -> None:
    epochs = Epochs(None, entry_ttl_s=60)
    await epochs.bump(scope)
    assert epochs.of(*WHO) != ""
    changed = {who for who in (("alice", "other"), ("bob", "openai/gpt"), ("bob", "other")) if epochs.of(*who) != ""}
    expected = {
        ALL: {("alice", "other"), ("bob", "openai/gpt"), ("bob", "other")},
        tenant_scope("alice"): {("alice", "other")},
        model_scope("openai/gpt"): {("bob", "openai/gpt")},
    }
    assert changed == expected[scope]


async def test_two_bumps_in_one_millisecond_differ() -> None:
    epochs = Epochs(None, entry_ttl_s=60, now_s=Clock())
    await epochs.bump(ALL)
    first = epochs.of(*WHO)
    await epochs.bump(ALL)
    assert epochs.of(*WHO) != first


async def test_others_see_it_when_they_look(store: DiskStore) -> None:
    here, there = Epochs(store, entry_ttl_s=60), Epochs(store, entry_ttl_s=60)
    known = [there.current, await there.refresh(), there.current]
    assert known == [False, True, True]
    before = there.generation
    assert await here.bump(ALL)
    assert await there.refresh()
    assert there.of(*WHO) == here.of(*WHO) != ""
    assert there.generation > before
    settled = there.generation
    await there.refresh()
    assert there.generation == settled


async def test_in_the_background_within_a_second(store: DiskStore) -> None:
    here, there = Epochs(store, entry_ttl_s=60), Epochs(store, entry_ttl_s=60)
    await there.start()
    await here.bump(ALL)
    await asyncio.sleep(REFRESH_S + 0.2)
    assert there.of(*WHO) == here.of(*WHO) != ""
    await there.close()


async def test_a_clock_that_is_behind_does_not_undo_a_bump(store: DiskStore) -> None:
    ahead = Epochs(store, entry_ttl_s=60, now_s=Clock(2000))
    behind = Epochs(store, entry_ttl_s=60, now_s=Clock(1000))
    await ahead.bump(ALL)
    first = ahead.of(*WHO)
    await behind.bump(ALL)
    await ahead.refresh()
    assert ahead.of(*WHO) == behind.of(*WHO) != first


async def test_an_epoch_outlives_every_entry_and_then_goes(store: DiskStore) -> None:
    clock = Clock()
    epochs = Epochs(store, entry_ttl_s=60, now_s=clock)
    await epochs.bump(ALL)
    clock.now_s += 60 + OUTLIVES_S - 1
    await epochs.bump(tenant_scope("alice"))
    assert epochs.of("bob", "m") != ""
    clock.now_s += 2
    await epochs.refresh()
    await epochs.bump(tenant_scope("alice"))
    await epochs.refresh()
    assert epochs.of("bob", "m") == ""


async def test_what_the_shared_tier_lost_it_is_told_again(server: RedisServer) -> None:
    redis = RedisStore(redis_address(server.url))
    assert await redis.start()
    epochs, other = Epochs(redis, entry_ttl_s=60), Epochs(redis, entry_ttl_s=60)
    await epochs.bump(ALL)
    with server.client() as client:
        assert client.pttl(EPOCHS) > 60_000
        client.flushall()
        await epochs.refresh()
        assert client.exists(EPOCHS)
    await other.refresh()
    assert other.of(*WHO) == epochs.of(*WHO) != ""
    await redis.close()


async def test_while_the_shared_tier_is_away_nothing_shared_is_trusted(server: RedisServer) -> None:
    redis = RedisStore(redis_address(server.url), lookup_timeout_s=0.2)
    assert await redis.start()
    epochs = Epochs(redis, entry_ttl_s=60)
    assert await epochs.refresh()
    server.kill()
    await until(lambda: not redis.up)
    assert not await epochs.refresh()
    assert not epochs.current
    assert not await epochs.bump(ALL)
    here = epochs.of(*WHO)
    assert here != ""
    server.start()
    await until(lambda: redis.up)
    assert await epochs.refresh()
    other = Epochs(redis, entry_ttl_s=60)
    assert await other.refresh()
    assert other.of(*WHO) == here
    await redis.close()


async def test_a_shared_tier_that_fails_while_it_is_up(store: DiskStore) -> None:
    class Failing:
        up = True

        async def changed_epochs(self, known: bytes) -> tuple[bytes, dict[str, int]] | None:
            raise StoreError("timeout")

        async def write_epochs(self, epochs: dict[str, int], *, ttl_s: float) -> None:
            raise StoreError("timeout")

    epochs = Epochs(Failing(), entry_ttl_s=60)
    assert not await epochs.refresh()
    assert not await epochs.bump(ALL)
    assert not epochs.current
    assert epochs.of(*WHO) != ""
