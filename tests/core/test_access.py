import hmac
from hashlib import sha256
from unittest.mock import patch

import pytest

from llm_edge_agent.core.access import Keyring, Principal, presented_credentials

ALICE = Principal("alice", "a")
BOB = Principal("bob", "b")


def ring() -> Keyring:
    return Keyring([(sha256(b"key-a").digest(), ALICE), (sha256(b"key-b").digest(), BOB)])


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, []),
        ({b"authorization": b"Bearer key-a"}, [b"key-a"]),
        ({b"authorization": b"bearer   key-a "}, [b"key-a"]),
        ({b"authorization": b"Basic key-a"}, []),
        ({b"authorization": b"Bearer "}, []),
        ({b"authorization": b"Bearer"}, []),
        ({b"x-api-key": b"key-a"}, [b"key-a"]),
        ({b"api-key": b"key-a"}, [b"key-a"]),
        ({b"x-api-key": b""}, []),
        ({b"authorization": b"Bearer one", b"x-api-key": b"two"}, [b"one", b"two"]),
    ],
)
def test_where_credentials_are_looked_for(headers: dict[bytes, bytes], expected: list[bytes]) -> None:
    assert presented_credentials(headers) == expected


@pytest.mark.parametrize(
    ("presented", "expected"),
    [
        ([], None),
        ([b"wrong"], None),
        ([b"key-a "], None),
        ([b"KEY-A"], None),
        ([b"key-a"], ALICE),
        ([b"key-b"], BOB),
        ([b"wrong", b"key-b"], BOB),
        ([b"key-b", b"key-a"], BOB),
        ([sha256(b"key-a").digest()], None),
    ],
)
def test_identify(presented: list[bytes], expected: Principal | None) -> None:
    assert ring().identify(presented) == expected


def test_every_key_is_compared_even_after_a_match() -> None:
    with patch("hmac.compare_digest", wraps=hmac.compare_digest) as compare:
        ring().identify([b"key-a"])
        ring().identify([b"wrong"])
    assert compare.call_count == 4


def test_an_empty_keyring_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one key"):
        Keyring([])
