"""Who is calling: gateway keys to principals, compared in constant time over digests."""

import hmac
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple


class Principal(NamedTuple):
    """Who is calling. Never the key itself."""

    tenant: str
    key_id: str | None
    """First hex digits of the key's digest: what logs show. None where no key is asked for."""


ANYONE = Principal("default", None)
"""The caller when no keys are configured."""


def presented_credentials(headers: Mapping[bytes, bytes]) -> list[bytes]:
    """The keys a request carries: `Authorization: Bearer`, `x-api-key` and `api-key`, in this order.

    Clients may send the same key in two fields (Claude Code does); which one is right is for `Keyring` to find.
    """
    found = []
    authorization = headers.get(b"authorization")
    if authorization is not None and authorization[:7].lower() == b"bearer ":
        token = authorization[7:].strip()
        if token:
            found.append(token)
    for name in (b"x-api-key", b"api-key"):
        value = headers.get(name)
        if value:
            found.append(value)
    return found


class Keyring:
    """The configured keys. Looks a presented key up without leaking through time how much of it was right."""

    def __init__(self, keys: Sequence[tuple[bytes, Principal]]) -> None:
        """`keys`: SHA-256 digest of each key, and who presents it. Raises ValueError if there is none: a keyring that
        lets nobody in is a mistake, and one that lets everybody in a disaster."""
        if not keys:
            raise ValueError("a keyring needs at least one key")
        self._keys = tuple(keys)

    def identify(self, presented: Sequence[bytes]) -> Principal | None:
        """The principal of the first presented key that is known, else None. Every configured key is compared with
        every presented one, found or not."""
        match: Principal | None = None
        for credential in presented:
            digest = sha256(credential).digest()
            for known, principal in self._keys:
                if hmac.compare_digest(known, digest) and match is None:
                    match = principal
        return match
