"""Epochs that the worker processes of one gateway share where no tier does: a page of memory, inherited by all.

Every worker may write, seldom, so writers take a lock of the kernel's that a dying process gives back; readers look at
one number, and read on only when it has changed.
"""

import fcntl
import mmap
import os

import msgspec

from llm_edge_agent.cache.tiers import StoreError

SIZE_BYTES = 256 * 1024
_WORD_BYTES = 8
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, int]).decode


class EpochMemory:
    """`epochs.SharedEpochs` in shared memory. Made before the workers are forked."""

    up = True

    def __init__(self, size_bytes: int = SIZE_BYTES) -> None:
        self._file = os.memfd_create("llm-edge-epochs")
        os.ftruncate(self._file, size_bytes)
        memory = memoryview(mmap.mmap(self._file, size_bytes))
        self._words = memory[: 2 * _WORD_BYTES].cast("q")
        """How often it was written, and how many bytes it holds."""
        self._bytes = memory[2 * _WORD_BYTES :]

    async def changed_epochs(self, known: bytes) -> tuple[bytes, dict[str, int]] | None:
        if self._mark() == known:
            return None
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            return self._mark(), self._read()
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    async def write_epochs(self, epochs: dict[str, int], *, ttl_s: float) -> None:
        """An epoch never goes back. `ttl_s` is the readers' business: memory lives as long as the gateway."""
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            known = self._read()
            for scope, at_ms in epochs.items():
                known[scope] = max(at_ms, known.get(scope, 0))
            text = _encode(known)
            if len(text) > len(self._bytes):
                raise StoreError("too_large")
            self._bytes[: len(text)] = text
            self._words[1] = len(text)
            self._words[0] += 1
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _mark(self) -> bytes:
        return b"%d" % self._words[0]

    def _read(self) -> dict[str, int]:
        length = self._words[1]
        return _decode(bytes(self._bytes[:length])) if length else {}
