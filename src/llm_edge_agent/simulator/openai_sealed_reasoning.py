"""Encrypted reasoning: what a response's thinking weighed, sealed so that only the simulator can make it."""

import base64
import binascii
import hashlib
import hmac

_KEY = b"the simulator seals what it reasoned"
_TAG_BYTES = 32
_VERSION = b"\x80"


def seal(thought: str, tokens: int) -> str:
    """Encrypted content that stands for `tokens` tokens of reasoning."""
    payload = tokens.to_bytes(4) + hashlib.blake2b(thought.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return base64.urlsafe_b64encode(_VERSION + payload + _tag(payload)).decode()


def opened(sealed: str) -> int | None:
    """The tokens that a sealed reasoning stands for; None where it was not sealed here or was altered."""
    try:
        raw = base64.b64decode(sealed, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    payload, tag = raw[1:-_TAG_BYTES], raw[-_TAG_BYTES:]
    if raw[:1] != _VERSION or not hmac.compare_digest(tag, _tag(payload)):
        return None
    return int.from_bytes(payload[:4])


def _tag(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, key=_KEY, digest_size=_TAG_BYTES).digest()
