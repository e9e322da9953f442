"""Order and back-fill, over memory and an LMDB store."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from llm_edge_agent.cache import codec
from llm_edge_agent.cache.disk import DiskStore
from llm_edge_agent.cache.memory import MemoryCache
from llm_edge_agent.cache.tiers import TTL_JITTER, Tiers

KEY = b"\x00" * 32  # the jitter comes from the first byte: none
JITTERED = b"\xff" * 32


class Text:
    def __init__(self, text: str, age_s: float = 0.0) -> None:
        self.text = text
        self.age_s = age_s
        self.weight_bytes = len(text)


class TextForm:
    def dump(self, value: Text) -> bytes:
        return value.text.encode()

    def load(self, payload: bytes, age_s: float) -> Text:
        return Text(payload.decode(), age_s)


def memory(ttl_s: float = 60.0) -> MemoryCache[Text]:
    return MemoryCache(max_entries=100, max_bytes=100_000, ttl_s=ttl_s, tti_s=60.0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DiskStore]:
    store = DiskStore(tmp_path, max_bytes=2**24)
    assert await store.start()
    yield store
    await store.close()


def tiers(store: DiskStore | None, l1: MemoryCache[Text] | None = None, **more: Any) -> Tiers[Text]:
    return Tiers(l1, store, TextForm(), **more)


async def test_a_find_in_the_store_fills_memory(store: DiskStore) -> None:
    tiers(store, memory()).put(KEY, Text("answer"), ttl_s=None)
    other = tiers(store, memory())
    assert other.get(KEY) is None
    found = await other.find(KEY)
    assert found is not None
    assert found.text == "answer"
    assert other.get(KEY) is found


async def test_either_tier_may_be_missing(store: DiskStore) -> None:
    alone = tiers(None, memory())
    alone.put(KEY, Text("answer"), ttl_s=None)
    assert alone.get(KEY) is not None
    assert await alone.find(KEY) is None
    shared = tiers(store)
    assert shared.max_entry_bytes == codec.MAX_BYTES
    shared.put(KEY, Text("answer"), ttl_s=None)
    assert shared.get(KEY) is None
    assert await shared.find(KEY) is not None
    assert (shared.entries(), shared.weight()) == (0, 0)


async def test_memory_keeps_it_no_longer_than_the_store_would_have(store: DiskStore) -> None:
    tiers(store, store_ttl_s=0.4).put(KEY, Text("answer"), ttl_s=None)
    await asyncio.sleep(0.2)
    other = tiers(store, memory())
    found = await other.find(KEY)
    assert found is not None
    assert 0.15 < found.age_s < 0.4
    await asyncio.sleep(0.25)
    assert other.get(KEY) is None
    assert await other.find(KEY) is None


async def test_the_time_asked_for_shortens_both_and_lengthens_neither(store: DiskStore) -> None:
    both = tiers(store, memory(ttl_s=0.5), store_ttl_s=0.5)
    both.put(KEY, Text("short"), ttl_s=0.2)
    both.put(b"\x00" * 31 + b"1", Text("long"), ttl_s=3600)
    await asyncio.sleep(0.25)
    assert both.get(KEY) is None
    assert await both.find(KEY) is None
    assert both.get(b"\x00" * 31 + b"1") is not None
    await asyncio.sleep(0.3)
    assert both.get(b"\x00" * 31 + b"1") is None
    assert await both.find(b"\x00" * 31 + b"1") is None


async def test_the_jitter_is_a_tenth_at_most(store: DiskStore) -> None:
    shared = tiers(store, store_ttl_s=100.0)
    lives_s = []
    for key in (KEY, JITTERED):
        shared.put(key, Text("answer"), ttl_s=None)
        data = await store.get(codec.entry_name(key))
        assert data is not None
        lives_s.append(codec.unpack(key, data).expires_ms / 1000 - time.time())
    assert lives_s == [pytest.approx(100, abs=1), pytest.approx(100 * (1 - TTL_JITTER), abs=1)]


async def test_what_does_not_open_is_a_miss_and_is_deleted(store: DiskStore) -> None:
    reasons: list[str] = []
    shared = tiers(store, memory(), on_corrupt=reasons.append)
    name = codec.entry_name(KEY)
    foreign = codec.pack(JITTERED, b"of another", stored_ms=0, expires_ms=2**50)
    unreadable = codec.pack(KEY, b"\xff", stored_ms=0, expires_ms=2**50)
    assert foreign is not None
    assert unreadable is not None
    for data in (b"rubbish" * 20, foreign, unreadable):
        store.put(name, data, ttl_s=60)
        assert await shared.find(KEY) is None
        assert await store.get(name) is None
    assert reasons == ["foreign", "seal", "payload"]


async def test_a_peek_sees_what_a_find_would_and_changes_nothing(store: DiskStore) -> None:
    reasons: list[str] = []
    timed: list[float] = []
    tiers(store).put(KEY, Text("answer"), ttl_s=None)
    shared = tiers(store, memory(), on_corrupt=reasons.append, observe_l2_get=timed.append)
    found = await shared.peek(KEY)
    assert found is not None
    assert found.text == "answer"
    assert shared.get(KEY) is None
    store.put(codec.entry_name(KEY), b"rubbish" * 20, ttl_s=60)
    assert await shared.peek(KEY) is None
    assert await store.get(codec.entry_name(KEY)) is not None
    assert await tiers(None).peek(KEY) is None
    assert not reasons
    assert not timed


async def test_an_entry_that_says_it_has_expired_is_no_answer(store: DiskStore) -> None:
    data = codec.pack(KEY, b"old", stored_ms=0, expires_ms=int(time.time() * 1000) - 1)
    assert data is not None
    store.put(codec.entry_name(KEY), data, ttl_s=60)
    assert await tiers(store).find(KEY) is None
    assert await tiers(store).peek(KEY) is None


async def test_too_large_for_the_store_is_still_kept_in_memory(store: DiskStore) -> None:
    large: MemoryCache[Text] = MemoryCache(max_entries=10, max_bytes=2**26, ttl_s=60, tti_s=60)
    both = tiers(store, large)
    both.put(KEY, Text("x" * (codec.MAX_BYTES + 1)), ttl_s=None)
    assert both.get(KEY) is not None
    assert await store.get(codec.entry_name(KEY)) is None


async def test_a_store_that_is_away_is_not_asked(tmp_path: Path) -> None:
    away = DiskStore(tmp_path)
    both = tiers(away, memory())
    both.put(KEY, Text("answer"), ttl_s=None)
    assert both.get(KEY) is not None
    assert await both.find(KEY) is None
    await away.close()


async def test_every_operation_is_timed(store: DiskStore) -> None:
    seen: list[str] = []

    def observer(name: str) -> Any:
        def observe(seconds: float) -> None:
            assert 0 <= seconds < 1
            seen.append(name)

        return observe

    names = ("observe_l1_get", "observe_l1_set", "observe_l2_get", "observe_l2_set")
    both = tiers(store, memory(), **{name: observer(name) for name in names})
    both.put(KEY, Text("answer"), ttl_s=None)
    both.get(KEY)
    await both.find(KEY)
    assert seen == ["observe_l1_set", "observe_l2_set", "observe_l1_get", "observe_l2_get"]
