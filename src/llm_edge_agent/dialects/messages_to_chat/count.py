"""Tokens of a Messages request for models whose provider does not count for Anthropic's clients: an estimate.

No tokenizer: each vendor has its own, and tables to load for each. Text counts a token for four bytes of UTF-8, the
usual rule of thumb; images and pages of documents count what they typically cost. Agents use the number to decide when
to shorten their history, for which this will do.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from llm_edge_agent.dialects.endpoint import Call
from llm_edge_agent.dialects.fields import items, missing
from llm_edge_agent.dialects.messages_to_chat.errors import named

BYTES_PER_TOKEN = 4
MESSAGE_TOKENS = 4
IMAGE_TOKENS = 800
PAGE_TOKENS = 1500
BASE64_PER_PAGE = 64 * 1024

_NO_TEXT = frozenset({"type", "id", "tool_use_id", "cache_control", "signature", "media_type", "role"})
"""Members that cost nothing of their own, or what every message costs."""


def estimate_tokens(request: Mapping[str, Any]) -> int:
    """Of a whole request: system prompt, tools, messages. Raises GatewayError (400) where there are no messages."""
    if request.get("messages") is None:
        raise named(missing("messages"))
    messages = items(request["messages"], "messages")
    tools = request.get("tools")
    tokens = len(messages) * MESSAGE_TOKENS + _tokens(messages) + _tokens(request.get("system"))
    return tokens + (_of_bytes(len(msgspec.json.encode(tools))) if tools else 0)


def _tokens(value: Any) -> int:
    if isinstance(value, str):
        return _of_bytes(len(value.encode("utf-8", "surrogatepass")))
    if isinstance(value, list):
        return sum(_tokens(each) for each in value)
    if not isinstance(value, dict):
        return 0 if value is None else 1
    kind, source = value.get("type"), value.get("source")
    if kind == "image":
        return IMAGE_TOKENS
    if kind == "document" and isinstance(source, dict) and source.get("type") == "base64":
        data = source.get("data")
        return PAGE_TOKENS * (1 + (len(data) if isinstance(data, str) else 0) // BASE64_PER_PAGE)
    if kind == "tool_use":
        return _tokens(value.get("name")) + _of_bytes(len(msgspec.json.encode(value.get("input"))))
    return sum(_tokens(each) for key, each in value.items() if key not in _NO_TEXT)


def _of_bytes(size: int) -> int:
    return -(-size // BYTES_PER_TOKEN)


def count_tokens(call: Call) -> bytes:
    """The answer to `/v1/messages/count_tokens`. Raises GatewayError (400)."""
    return msgspec.json.encode({"input_tokens": estimate_tokens(call.body.value)})
