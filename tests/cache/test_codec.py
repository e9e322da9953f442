import os
import pickle

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.cache import codec
from llm_edge_agent.cache.codec import CorruptError, entry_name, pack, unpack

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
TEXT = b'{"content":"' + b"the same words again and again, " * 200 + b'"}'


def packed(payload: bytes = TEXT, key: bytes = KEY) -> bytes:
    value = pack(key, payload, stored_ms=1_000, expires_ms=2_000)
    assert value is not None
    return value


def reason(value: bytes, key: bytes = KEY) -> str:
    with pytest.raises(CorruptError) as caught:
        unpack(key, value)
    assert caught.value.reason in codec.REASONS
    return caught.value.reason


@given(st.binary(max_size=4000), st.binary(min_size=32, max_size=32))
def test_what_was_packed_is_unpacked(payload: bytes, key: bytes) -> None:
    assert unpack(key, packed(payload, key)) == (payload, 1_000, 2_000)


def test_a_kilobyte_of_text_is_compressed_and_less_is_not() -> None:
    assert len(packed()) < len(TEXT) / 4
    assert packed(b"short").endswith(b"short")
    random = os.urandom(2000)
    assert len(packed(random)) == 2000 + codec.HEAD_BYTES


def test_the_name_of_an_entry_does_not_tell_its_key() -> None:
    assert len({entry_name(KEY), entry_name(OTHER_KEY), KEY}) == 3
    assert len(entry_name(KEY)) == 32


def test_a_value_under_anothers_name_does_not_open() -> None:
    assert reason(packed(), OTHER_KEY) == "seal"


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_no_byte_of_a_value_can_be_changed(position: int, flip: int) -> None:
    value = bytearray(packed(b"an answer"))
    value[position % len(value)] ^= flip
    reason(bytes(value))


@given(st.integers(min_value=0))
def test_a_value_cut_short_does_not_open(length: int) -> None:
    value = packed()
    reason(value[: length % len(value)])


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("nothing", b"", "foreign"),
        ("a stranger's text", b"x" * 100, "foreign"),
        ("another version", b"lea\x02" + packed()[4:], "foreign"),
        ("longer than any value", b"lea\x01" + bytes(codec.MAX_BYTES + codec.HEAD_BYTES), "size"),
    ],
)
def test_what_is_none_of_ours(name: str, value: bytes, why: str) -> None:
    assert reason(value) == why


def test_a_pickle_is_never_executed() -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.abort, ()  # type: ignore[return-value]  # never called

    assert reason(pickle.dumps(Payload())) == "foreign"


def test_too_large_is_not_packed() -> None:
    assert pack(KEY, bytes(codec.MAX_BYTES), stored_ms=0, expires_ms=0) is not None
    assert pack(KEY, bytes(codec.MAX_BYTES + 1), stored_ms=0, expires_ms=0) is None


def forged(payload: bytes, *, compressed: int, size: int) -> bytes:
    """A value sealed by one who knows the key, and who means harm."""
    head = codec._HEAD.pack(codec._MAGIC, compressed, size, 0, 0, b"")[: codec._SEALED]
    return head + codec._seal(KEY, head, payload) + payload


def test_a_bomb_is_not_decompressed() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(10**8))
    assert len(bomb) < 10_000
    assert reason(forged(bomb, compressed=1, size=10**8)) == "size"
    assert reason(forged(bomb, compressed=1, size=100)) == "size"
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(10**8))
    assert reason(forged(unsized, compressed=1, size=100)) == "size"


def test_what_cannot_be_decompressed() -> None:
    assert reason(forged(b"no frame at all", compressed=1, size=15)) == "payload"
    cut = zstandard.ZstdCompressor().compress(os.urandom(2000))[:-100]
    assert reason(forged(cut, compressed=1, size=2000)) == "payload"
    assert reason(forged(b"abc", compressed=0, size=4)) == "size"
