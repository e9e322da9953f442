"""Signatures of thinking blocks: bound to the text, the model and the conversation before them."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

from llm_edge_agent.simulator.anthropic_conversation import Turn, blocks
from llm_edge_agent.simulator.wire import to_json

_KEY = b"the simulator signs what it thought"
_PREFIX_BYTES = 8


def conversation_digest(system: Any, tools: Any, turns: Sequence[Turn]) -> bytes:
    """What the thinking depends on: system, tools and the merged turns before it, cache markers left out."""
    value = [_plain(blocks(system or ())), _plain(tools), [[turn.role, _plain(turn.blocks)] for turn in turns]]
    return hashlib.blake2b(to_json(value), digest_size=_PREFIX_BYTES).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in sorted(value.items()) if key != "cache_control"}
    return value


def sign(shown: str, model: str, conversation: bytes) -> str:
    """The signature of a thinking block whose text is shown as `shown` (empty where it is omitted)."""
    return base64.b64encode(conversation + _tag(shown, model, conversation)).decode()


def genuine(shown: str, model: str, signature: str) -> bool:
    """Whether the signature was made here for this text on this model."""
    raw = _decoded(signature)
    conversation, tag = raw[:_PREFIX_BYTES], raw[_PREFIX_BYTES:]
    return hmac.compare_digest(tag, _tag(shown, model, conversation))


def conversation_of(signature: str) -> bytes:
    """The digest of the conversation that the block belongs to."""
    return _decoded(signature)[:_PREFIX_BYTES]


def _tag(shown: str, model: str, conversation: bytes) -> bytes:
    message = b"\0".join((shown.encode("utf-8", "surrogatepass"), model.encode(), conversation))
    return hashlib.blake2b(message, key=_KEY, digest_size=32).digest()


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return b""
