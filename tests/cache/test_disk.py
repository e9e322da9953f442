"""The embedded store: bounds, processes, files that are broken. What all stores must do is in the contract."""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from llm_edge_agent.cache import codec, disk
from llm_edge_agent.cache.disk import FILE, HIGH_WATER, DiskStore
from llm_edge_agent.cache.tiers import StoreError

SMALL = 2**24


@contextlib.asynccontextmanager
async def opened(folder: Path, **settings: int) -> AsyncIterator[tuple[DiskStore, list[str]]]:
    failures: list[str] = []
    store = DiskStore(folder, on_failure=failures.append, **settings)
    assert await store.start()
    yield store, failures
    await store.close()


async def written(store: DiskStore) -> None:
    while store._queue:
        await asyncio.sleep(0.01)


async def test_the_file_is_bounded_and_stays_usable(tmp_path: Path) -> None:
    async with opened(tmp_path, max_bytes=SMALL) as (store, failures):
        names = []
        for size in (3_000, 200_000, 3_000):
            for _ in range(2 * SMALL // max(size, 2_000)):
                names.append(os.urandom(32))
                store.put(names[-1], os.urandom(size), ttl_s=3600)
                if len(names) % 100 == 0:
                    await written(store)
        await written(store)
        assert len(failures) < len(names) / 1000  # a large value may find no room in one piece
        assert store.used_bytes() <= HIGH_WATER * SMALL
        assert (tmp_path / FILE).stat().st_size <= SMALL
        assert await store.get(names[-1]) is not None
        assert await store.get(names[0]) is None
        assert 100 < store.entries() < len(names)


async def test_what_expires_first_goes_first(tmp_path: Path) -> None:
    async with opened(tmp_path, max_bytes=SMALL) as (store, _):
        kept = [os.urandom(32) for _ in range(100)]
        for name in kept:
            store.put(name, os.urandom(3_000), ttl_s=7200)
        await written(store)
        for index in range(SMALL // 2_000):
            store.put(os.urandom(32), os.urandom(3_000), ttl_s=60)
            if index % 1000 == 0:
                await written(store)
        await written(store)
        assert all([await store.get(name) is not None for name in kept])


async def test_expired_entries_are_deleted_by_later_writes(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, _):
        for _ in range(20):
            store.put(os.urandom(32), b"gone soon", ttl_s=0.05)
        await written(store)
        assert store.entries() == 20
        await asyncio.sleep(0.1)
        store.put(os.urandom(32), b"stays", ttl_s=60)
        await written(store)
        assert store.entries() == 1


async def test_a_value_too_large_for_the_file_is_not_taken(tmp_path: Path) -> None:
    async with opened(tmp_path, max_bytes=SMALL) as (store, failures):
        name = os.urandom(32)
        store.put(name, bytes(SMALL // 16 + 1), ttl_s=60)
        assert await store.get(name) is None
        assert failures == []


async def test_the_queue_is_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, failures):
        for _ in range(disk.MAX_QUEUED + 5):
            store.put(os.urandom(32), b"x", ttl_s=60)
        assert failures == ["queue_full"] * 5
        await written(store)
        assert store.entries() == disk.MAX_QUEUED


async def test_two_in_one_process_share_the_file(tmp_path: Path) -> None:
    async with opened(tmp_path) as (first, _), opened(tmp_path) as (second, _):
        first.put(b"n" * 32, b"value", ttl_s=60)
        await written(first)
        assert await second.get(b"n" * 32) == b"value"
        await first.close()
        assert await second.get(b"n" * 32) == b"value"


WRITER = """
import asyncio, os, sys
from pathlib import Path
from llm_edge_agent.cache.disk import DiskStore

async def main():
    store = DiskStore(Path(sys.argv[1]), max_bytes=2**24)
    assert await store.start()
    print("started", flush=True)
    while True:
        store.put(os.urandom(32), os.urandom(3_000), ttl_s=3600)
        await store.get(os.urandom(32))
        await asyncio.sleep(0)

asyncio.run(main())
"""


async def test_a_writer_that_is_killed_or_stopped_harms_nobody(tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    try:
        assert writer.stdout.readline() == b"started\n"
        async with opened(tmp_path, max_bytes=SMALL) as (store, failures):
            store.put(b"a" * 32, b"beside it", ttl_s=3600)
            await written(store)
            writer.send_signal(signal.SIGSTOP)  # perhaps with the lock in its hand: then writes wait, lookups do not
            store.put(b"b" * 32, b"waits", ttl_s=3600)
            began_s = time.monotonic()
            assert await store.get(b"a" * 32) == b"beside it"
            assert await store.get(b"b" * 32) == b"waits"
            assert time.monotonic() - began_s < 0.2
            writer.kill()
            writer.wait()
            store.put(b"c" * 32, b"after it", ttl_s=3600)
            await written(store)
            assert await store.get(b"c" * 32) == b"after it"
            assert failures == []
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
    async with opened(tmp_path, max_bytes=SMALL) as (store, _):
        assert await store.get(b"c" * 32) == b"after it"


@pytest.mark.parametrize("content", [b"no database at all" * 1000, b"\0" * 65536])
async def test_a_file_that_is_no_database_is_begun_anew(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(content)
    async with opened(tmp_path) as (store, _):
        store.put(b"n" * 32, b"value", ttl_s=60)
        await written(store)
        assert await store.get(b"n" * 32) == b"value"


async def test_a_folder_that_cannot_be_made_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    failures: list[str] = []
    store = DiskStore(tmp_path / "file" / "folder", on_failure=failures.append)
    with caplog.at_level(logging.WARNING):
        assert not await store.start()
    assert not store.up
    (record,) = caplog.records
    assert record.getMessage().startswith("Warning: L2 cache enabled but connection failed (")
    assert failures == ["disk"]
    store.put(b"n" * 32, b"value", ttl_s=60)
    store.discard(b"n" * 32)
    assert await store.get(b"n" * 32) is None
    assert (store.entries(), store.used_bytes()) == (0, 0)
    with pytest.raises(StoreError):
        await store.changed_epochs(b"")
    with pytest.raises(StoreError):
        await store.write_epochs({"all": 1}, ttl_s=1)
    await store.close()


async def test_only_its_user_may_read_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "cache"):
        assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
        assert (tmp_path / "cache" / FILE).stat().st_mode & 0o077 == 0


async def test_a_huge_value_that_somebody_put_there_is_not_read(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, _):
        environment = store._environment
        assert environment is not None
        with environment.begin(write=True, db=store._values) as transaction:
            transaction.put(b"n" * 32, b"\xff" * 8 + bytes(codec.MAX_BYTES + 1000))
            transaction.put(b"m" * 32, b"short")
        assert await store.get(b"n" * 32) is None
        assert await store.get(b"m" * 32) is None


async def test_epochs_go_when_their_time_is_over(tmp_path: Path) -> None:
    async with opened(tmp_path) as (store, _):
        await store.write_epochs({"tenant:a": 1}, ttl_s=0.05)
        await asyncio.sleep(0.06)
        assert await store.changed_epochs(b"") is not None
        await store.write_epochs({"tenant:b": 2}, ttl_s=60)
        found = await store.changed_epochs(b"")
        assert found is not None
        assert found[1] == {"tenant:b": 2}
