"""The form of a value in the shared tiers: versioned, sealed with its own key, compressed, bounded.

    magic and version | compressed? | size | stored | expires | seal | payload

The seal is a digest over everything else, keyed by the cache key. A value under another's name, cut short, altered or
written by a stranger does not open; and since the store only knows `entry_name(key)`, from which the key cannot be
worked out, whoever can write to the store cannot forge an answer to a request that they do not know.
"""

from hashlib import blake2b, sha256
from struct import Struct
from typing import NamedTuple

import zstandard

MAX_BYTES = 2 * 1024 * 1024
"""No value is larger, neither as it is stored nor once it is decompressed: both are checked on write and on read."""
COMPRESS_ABOVE = 1024
VERSION = 1

_MAGIC = b"lea" + bytes((VERSION,))
_HEAD = Struct(">4sBIQQ16s")
_SEALED = _HEAD.size - 16
HEAD_BYTES = _HEAD.size

# One thread works with these, the event loop's. Level 1: 4.3 KB of JSON to 1.8 KB in 14 us, and back in 6 us.
_compress = zstandard.ZstdCompressor(level=1).compress
_decompress = zstandard.ZstdDecompressor().decompress


class Entry(NamedTuple):
    """What a value held. Times are Unix milliseconds: they are compared across machines."""

    payload: bytes
    stored_ms: int
    expires_ms: int


class CorruptError(Exception):
    """The bytes are no value of ours for this key. `reason`: one of `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


REASONS = ("foreign", "size", "seal", "payload", "type")
"""Not of our form; beyond the bound; altered, cut or another's; unreadable inside; not even text in Redis' terms."""


def entry_name(key: bytes) -> bytes:
    """The 32 bytes under which a store knows the entry of a cache key."""
    return sha256(b"llm-edge-agent entry" + key).digest()


def pack(key: bytes, payload: bytes, *, stored_ms: int, expires_ms: int) -> bytes | None:
    """The value to store under `entry_name(key)`; None where it is too large to be stored."""
    size = len(payload)
    if size > MAX_BYTES:
        return None
    compressed = 0
    if size > COMPRESS_ABOVE:
        smaller = _compress(payload)
        if len(smaller) < size:
            payload, compressed = smaller, 1
    head = _HEAD.pack(_MAGIC, compressed, size, stored_ms, expires_ms, b"")[:_SEALED]
    return b"%b%b%b" % (head, _seal(key, head, payload), payload)


def unpack(key: bytes, value: bytes) -> Entry:
    """What `pack` was given. Raises CorruptError for anything else; it never decompresses more than the bound."""
    if len(value) > MAX_BYTES + HEAD_BYTES:
        raise CorruptError("size")
    if len(value) < HEAD_BYTES:
        raise CorruptError("foreign")
    magic, compressed, size, stored_ms, expires_ms, seal = _HEAD.unpack_from(value)
    if magic != _MAGIC:
        raise CorruptError("foreign")
    payload = value[HEAD_BYTES:]
    if _seal(key, value[:_SEALED], payload) != seal:
        raise CorruptError("seal")
    if size > MAX_BYTES:
        raise CorruptError("size")
    if compressed:
        payload = _decompressed(payload, size)
    elif len(payload) != size:
        raise CorruptError("size")
    return Entry(payload, stored_ms, expires_ms)


def _seal(key: bytes, head: bytes, payload: bytes) -> bytes:
    digest = blake2b(head, key=key, digest_size=16)
    digest.update(payload)
    return digest.digest()


def _decompressed(payload: bytes, size: int) -> bytes:
    """A frame says how large it will be, and the library believes it: so it is looked at first."""
    try:
        if zstandard.frame_content_size(payload) != size:
            raise CorruptError("size")
        return _decompress(payload, max_output_size=size)
    except zstandard.ZstdError:
        raise CorruptError("payload") from None
