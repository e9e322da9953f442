import time

from llm_edge_agent.cache.memory import MemoryCache


class Item:
    def __init__(self, weight_bytes: int) -> None:
        self.weight_bytes = weight_bytes


def cache(
    max_entries: int = 100, max_bytes: int = 100_000, ttl_s: float = 60.0, tti_s: float = 60.0
) -> MemoryCache[Item]:
    return MemoryCache(max_entries=max_entries, max_bytes=max_bytes, ttl_s=ttl_s, tti_s=tti_s)


def test_what_was_stored_is_found_and_nothing_else() -> None:
    memory, item = cache(), Item(10)
    assert memory.set(b"a", item, ttl_s=60)
    assert memory.get(b"a") is item
    assert memory.get(b"b") is None
    memory.clear()
    assert memory.get(b"a") is None


def test_entries_are_bounded_even_if_they_are_small() -> None:
    memory = cache(max_entries=50)
    for number in range(1000):
        memory.set(b"%d" % number, Item(1), ttl_s=60)
    assert 0 < memory.entries() <= 50


def test_bytes_are_bounded_even_if_the_entries_are_few() -> None:
    memory = cache(max_entries=1000, max_bytes=100_000)
    for number in range(100):
        memory.set(b"%d" % number, Item(10_000), ttl_s=60)
    assert 0 < memory.weight() <= 100_000
    assert memory.entries() <= 10


def test_an_entry_too_large_for_its_share_is_not_stored() -> None:
    memory = cache(max_bytes=100_000)
    assert memory.set(b"a", Item(memory.max_entry_bytes), ttl_s=60)
    assert not memory.set(b"b", Item(memory.max_entry_bytes + 1), ttl_s=60)
    assert memory.get(b"b") is None


def test_entries_expire_by_their_own_time_never_later_than_the_caches() -> None:
    memory = cache(ttl_s=0.8)
    memory.set(b"short", Item(1), ttl_s=0.1)
    memory.set(b"long", Item(1), ttl_s=3600)
    time.sleep(0.2)
    assert memory.get(b"short") is None
    assert memory.get(b"long") is not None
    time.sleep(0.8)
    assert memory.get(b"long") is None


def test_entries_nobody_reads_expire_earlier() -> None:
    memory = cache(ttl_s=60, tti_s=0.6)
    memory.set(b"read", Item(1), ttl_s=60)
    memory.set(b"idle", Item(1), ttl_s=60)
    for _ in range(4):
        time.sleep(0.2)
        assert memory.get(b"read") is not None
    assert memory.get(b"idle") is None


def test_who_left_is_counted_by_reason() -> None:
    memory = cache(max_entries=10)
    for number in range(30):
        memory.set(b"%d" % number, Item(1), ttl_s=60)
    held = memory.entries()
    assert memory.evictions["size"] == 30 - held > 0
    kept = next(key for number in range(30) if memory.get(key := b"%d" % number) is not None)
    memory.set(kept, Item(1), ttl_s=60)
    memory.entries()
    assert memory.evictions["replaced"] == 1
