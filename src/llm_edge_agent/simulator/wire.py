"""JSON and server-sent events as the simulated providers write them."""

import json
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


def to_json(value: Any) -> bytes:
    """Compact JSON. A lone surrogate, which UTF-8 cannot carry, is written as an escape, as some providers do."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def data_event(value: Any) -> bytes:
    """An event without a name (OpenAI's Chat Completions)."""
    return b"data: %b\n\n" % to_json(value)


def named_event(value: Any) -> bytes:
    """An event named by its own `type` (Anthropic, OpenAI's Responses)."""
    return b"event: %b\ndata: %b\n\n" % (value["type"].encode(), to_json(value))
