"""L2 on one machine: an LMDB file that the processes of this machine share and that survives them.

A get is a look into mapped memory (about 2 us) and is done at once; writes are gathered and done by a thread, since a
writer waits while another process writes. Two tables: `values` by name, each value behind the time it expires, and
`expiry` by time and name, which says whose turn it is to go: expired entries first, then those that expire soonest.
That begins at HIGH_WATER and ends at LOW_WATER; the rest is what LMDB needs to be able to delete at all, since it never
writes in place and reuses what a transaction freed only after the next.

Nothing is synced to the disk (`sync=False`): after a crash of the machine the newest entries, or all, may be gone. A
file that cannot be read is begun anew; a value that was damaged does not open (`codec.py`).
"""

import asyncio
import contextlib
import logging
import os
import secrets
import struct
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lmdb

from llm_edge_agent.cache import codec
from llm_edge_agent.cache.tiers import StoreError

FILE = f"answers-v{codec.VERSION}.lmdb"
DEFAULT_MAX_BYTES = 1024 * 1024 * 1024
MIN_MAX_BYTES = 16 * 1024 * 1024
MAX_READERS = 1024
MAX_QUEUED = 4_000
MAX_QUEUED_BYTES = 32 * 1024 * 1024
"""Writes that wait for the thread; what comes on top is dropped and counted."""
GATHER_S = 0.01
"""Writes are gathered this long before one transaction takes them all."""
MAX_TRANSACTION_BYTES = 1024 * 1024
TRANSACTION_SHARE = 64
"""Bytes that one transaction adds or deletes, and the part of the whole (one in so many) that it may at most: each
touched page is written anew, and all that must fit into the room that is kept free."""
VALUE_SHARE = 16
"""No value may take more than this part of the whole: it needs its room in one piece."""
EXPIRED_AT_ONCE = 64
"""Expired entries that each transaction deletes."""
HIGH_WATER, LOW_WATER = 0.75, 0.65
MARK = b"mark"

_EXPIRY = struct.Struct(">Q")
MAX_VALUE_BYTES = codec.MAX_BYTES + codec.HEAD_BYTES + _EXPIRY.size

_log = logging.getLogger("llm_edge_agent.cache")


class _Files:
    """The open environments of this process: LMDB forbids to open one twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, tuple[lmdb.Environment, int]] = {}

    def open(self, path: str, max_bytes: int) -> lmdb.Environment:
        with self._lock:
            environment, users = self._open.get(path, (None, 0))
            if environment is None:
                environment = _environment(path, max_bytes)
            self._open[path] = environment, users + 1
            return environment

    def close(self, path: str) -> None:
        with self._lock:
            environment, users = self._open[path]
            if users > 1:
                self._open[path] = environment, users - 1
            else:
                del self._open[path]
                environment.close()


_files = _Files()


class DiskStore:
    """A `tiers.Store`. To be made and used on one event loop; any number of processes may have one for a folder."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        on_failure: Callable[[str], None] = lambda _kind: None,
    ) -> None:
        """`folder` is made if it is not there, for this user alone. `on_failure` gets a kind of `tiers.FAILURES`."""
        self._folder = folder
        self._path = os.path.realpath(folder / FILE)
        self._max_bytes = max(MIN_MAX_BYTES, max_bytes)
        self._transaction_bytes = min(MAX_TRANSACTION_BYTES, self._max_bytes // TRANSACTION_SHARE)
        self._on_failure = on_failure
        self._environment: lmdb.Environment | None = None
        self._values: Any = None
        self._expiry: Any = None
        self._epochs: Any = None
        self._queue: dict[bytes, bytes | None] = {}
        """Name to time and value; None: to be deleted. What is asked for before it is written is found here."""
        self._queued_bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="llm-edge-cache")
        self._writing: asyncio.Task[None] | None = None
        self._closed = False
        self.up = False

    async def start(self) -> bool:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        except (OSError, lmdb.Error) as error:
            self._on_failure("disk")
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            _log.warning("Warning: L2 cache enabled but connection failed (%s: %s)", self._folder, reason)
            return False
        self.up = True
        return True

    async def close(self) -> None:
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        if self._queue and self.up:
            await self._drain()
        self.up = False
        if not self._closed:
            self._closed = True
            await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
            self._thread.shutdown(wait=False)

    async def get(self, name: bytes) -> bytes | None:
        if name in self._queue:
            found = self._queue[name]
        else:
            found = self._read(name)
        if found is None or _EXPIRY.unpack_from(found)[0] <= time.time() * 1000:
            return None
        return found[_EXPIRY.size :]

    def _read(self, name: bytes) -> bytes | None:
        if self._environment is None:
            return None
        try:
            with self._environment.begin(db=self._values, buffers=True) as transaction:
                found = transaction.get(name)
                if found is None or not _EXPIRY.size <= len(found) <= MAX_VALUE_BYTES:
                    return None
                return bytes(found)
        except lmdb.Error:
            self._on_failure("disk")
            return None

    def put(self, name: bytes, value: bytes, *, ttl_s: float) -> None:
        if not self.up or len(value) > self._max_bytes // VALUE_SHARE:
            return
        if len(self._queue) >= MAX_QUEUED or self._queued_bytes + len(value) > MAX_QUEUED_BYTES:
            self._on_failure("queue_full")
            return
        self._enqueue(name, _EXPIRY.pack(int((time.time() + ttl_s) * 1000)) + value)

    def discard(self, name: bytes) -> None:
        if self.up and len(self._queue) < 2 * MAX_QUEUED:
            self._enqueue(name, None)

    def _enqueue(self, name: bytes, value: bytes | None) -> None:
        self._queued_bytes += len(value or b"") - len(self._queue.get(name) or b"")
        self._queue[name] = value
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write_soon())

    async def _write_soon(self) -> None:
        await asyncio.sleep(GATHER_S)
        await self._drain()

    async def _drain(self) -> None:
        """Hands everything queued to the thread, transaction by transaction."""
        loop = asyncio.get_running_loop()
        while self._queue:
            batch: dict[bytes, bytes | None] = {}
            size = 0
            for name, value in self._queue.items():
                batch[name] = value
                size += len(value or b"")
                if size >= self._transaction_bytes:
                    break
            try:
                lost = await loop.run_in_executor(self._thread, self._write, batch)
            except (lmdb.Error, OSError):
                lost = 1
            for _ in range(lost):
                self._on_failure("disk")
            for name, value in batch.items():
                if self._queue.get(name, b"") is value:  # else it was given anew meanwhile
                    del self._queue[name]
                    self._queued_bytes -= len(value or b"")

    async def changed_epochs(self, known: bytes) -> tuple[bytes, dict[str, int]] | None:
        if self._environment is None:
            raise StoreError("disk")
        try:
            with self._environment.begin(db=self._epochs) as transaction:
                mark = bytes(transaction.get(MARK, b""))
                if mark == known:
                    return None
                found = {bytes(k): bytes(v) for k, v in transaction.cursor() if k != MARK}
        except lmdb.Error:
            raise StoreError("disk") from None
        now_ms = time.time() * 1000
        return mark, {
            scope.decode("utf-8", "replace"): at_ms
            for scope, value in found.items()
            if len(value) == 16
            for at_ms, until_ms in [struct.unpack(">QQ", value)]
            if until_ms > now_ms
        }

    async def write_epochs(self, epochs: Mapping[str, int], *, ttl_s: float) -> None:
        if self._environment is None:
            raise StoreError("disk")
        until_ms = int((time.time() + ttl_s) * 1000)
        rows = {scope.encode(): struct.pack(">QQ", at_ms, until_ms) for scope, at_ms in epochs.items()}
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._write_epochs, rows)
        except (lmdb.Error, OSError):
            raise StoreError("disk") from None

    def used_bytes(self) -> int:
        """Bytes of the file in use, without what is free for reuse."""
        if self._environment is None:
            return 0
        with self._environment.begin() as transaction:
            return self._used(transaction)

    def entries(self) -> int:
        if self._environment is None:
            return 0
        with self._environment.begin() as transaction:
            return int(transaction.stat(self._values)["entries"])

    # What the thread does.

    def _open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        environment = _files.open(self._path, self._max_bytes)
        try:
            self._values = environment.open_db(b"values")
            self._expiry = environment.open_db(b"expiry")
            self._epochs = environment.open_db(b"epochs")
            environment.reader_check()
        except BaseException:
            _files.close(self._path)
            raise
        self._environment = environment

    def _close(self) -> None:
        if self._environment is not None:
            self._environment = None
            _files.close(self._path)

    def _write(self, batch: Mapping[bytes, bytes | None]) -> int:
        """Returns how many of them found no room."""
        environment = self._environment
        if environment is None:
            return 0
        try:
            self._apply(environment, batch)
            return 0
        except lmdb.MapResizedError:
            environment.set_mapsize(0)
        except lmdb.MapFullError:
            environment.reader_check()  # one who died while reading may hold what could be reused
            self._make_room(environment, LOW_WATER / 2)
        lost = 0
        for name, value in batch.items():
            try:
                self._apply(environment, {name: value})
            except lmdb.MapFullError:
                lost += 1
        if lost == len(batch) and lost:
            with environment.begin(write=True) as transaction:
                transaction.drop(self._values, delete=False)
                transaction.drop(self._expiry, delete=False)
        return lost

    def _apply(self, environment: lmdb.Environment, batch: Mapping[bytes, bytes | None]) -> None:
        now = _EXPIRY.pack(int(time.time() * 1000))
        with environment.begin(write=True) as transaction:
            cursor = transaction.cursor(db=self._expiry)
            for _ in range(EXPIRED_AT_ONCE):
                if not cursor.first() or bytes(cursor.key()) > now:
                    break
                self._delete_first(transaction, cursor)
            for name, value in batch.items():
                before = transaction.get(name, db=self._values)
                if before is not None:
                    transaction.delete(before[: _EXPIRY.size] + name, db=self._expiry)
                if value is None:
                    transaction.delete(name, db=self._values)
                else:
                    transaction.put(name, value, db=self._values)
                    transaction.put(value[: _EXPIRY.size] + name, b"", db=self._expiry)
            full = self._used(transaction) > HIGH_WATER * self._max_bytes
        if full:
            self._make_room(environment, LOW_WATER)

    def _make_room(self, environment: lmdb.Environment, target: float) -> None:
        """Deletes in the order of expiry until the file is `target` full at most, some at a time."""
        while True:
            with environment.begin(write=True) as transaction:
                freed = 0
                cursor = transaction.cursor(db=self._expiry)
                while freed < self._transaction_bytes and cursor.first():
                    freed += self._delete_first(transaction, cursor)
                if freed == 0 or self._used(transaction) <= target * self._max_bytes:
                    return

    def _delete_first(self, transaction: lmdb.Transaction, cursor: lmdb.Cursor) -> int:
        """Deletes the entry at the head of the table of expiry; returns how many bytes that was."""
        name = bytes(cursor.key())[_EXPIRY.size :]
        value = transaction.pop(name, db=self._values)
        cursor.delete()
        return len(value or b"") + len(name)

    def _used(self, transaction: lmdb.Transaction) -> int:
        pages = size = 0
        for table in (self._values, self._expiry, self._epochs):
            stat = transaction.stat(table)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
            size = stat["psize"]
        return int(pages * size)

    def _write_epochs(self, rows: Mapping[bytes, bytes]) -> None:
        environment = self._environment
        if environment is None:
            return
        now_ms = int(time.time() * 1000)
        with environment.begin(write=True, db=self._epochs) as transaction:
            for scope, value in transaction.cursor():
                if len(value) == 16 and struct.unpack(">QQ", value)[1] <= now_ms:
                    transaction.delete(scope)
            for scope, value in rows.items():
                transaction.put(scope, value)
            transaction.put(MARK, secrets.token_bytes(8))


def _environment(path: str, max_bytes: int) -> lmdb.Environment:
    """Opens or makes the file. One that is broken, or no LMDB file, is replaced."""
    for attempt in range(2):
        try:
            return lmdb.open(
                path,
                map_size=max_bytes,
                subdir=False,
                max_dbs=3,
                max_readers=MAX_READERS,
                mode=0o600,
                sync=False,
                metasync=False,
                readahead=False,
                meminit=False,
            )
        except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError, lmdb.PageNotFoundError):
            if attempt:
                raise
            _log.warning("the L2 cache in %s cannot be read: beginning anew", path)
            for each in (path, f"{path}-lock"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(each)
    raise AssertionError("unreachable")
