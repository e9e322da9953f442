"""A stored message told again: whole, or as the events that Anthropic would have sent for it."""

from collections.abc import Mapping
from typing import Any

import msgspec

from llm_edge_agent.dialects.provider_json import raw_number
from llm_edge_agent.dialects.stored_body import UNREADABLE, StoredBody, text_pieces

_AT_THE_END = ("stop_reason", "stop_sequence", "stop_details", "container")
"""Members of a message that its stream tells in the last event, inside `delta`."""

_BESIDE_THE_END = ("context_management",)
"""Members that it tells there beside `delta`."""

_LATE_USAGE = ("output_tokens_details", "server_tool_use")
"""Counts that are not known when an answer begins."""

_ID = "\0id\0"
"""Stands in the prepared stream where each telling has its own id; no text can hold it, since JSON escapes NUL."""
_ID_ENCODED = msgspec.json.encode(_ID)

_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=raw_number)
_encode = msgspec.json.encode


def messages_replay(body: bytes) -> "MessagesReplay | None":
    """The message made ready to be stored, or None where it could not be told again in both framings."""
    try:
        return MessagesReplay(body)
    except UNREADABLE:
        return None


class MessagesReplay:
    """A `Replay`: the provider's bytes, but for the id. Its stream is made at once: one that fails must fail here."""

    __slots__ = ("_stream", "_whole")

    def __init__(self, body: bytes) -> None:
        """Raises one of `UNREADABLE` where the body is no message as Anthropic sends them."""
        self._whole = StoredBody(body, ("id",))
        self._stream = _events(_decoder.decode(body)).split(_ID_ENCODED, 1)

    def whole(self, suffix: bytes, created: bytes, metadata: bytes | None) -> bytes:
        return self._whole.render({"id": b'"msg_%b"' % suffix})

    def stream(self, suffix: bytes, created: bytes, metadata: bytes | None, *, show_usage: bool) -> bytes:
        return (b'"msg_%b"' % suffix).join(self._stream)


def _events(message: dict[str, Any]) -> bytes:
    content: list[dict[str, Any]] = message.pop("content")
    usage: dict[str, Any] = message.pop("usage")
    ending = {key: message.pop(key) for key in _AT_THE_END if key in message}
    beside = {key: message.pop(key) for key in _BESIDE_THE_END if key in message}
    start: dict[str, Any] = {
        **{key: _ID if key == "id" else value for key, value in message.items()},
        "content": [],
        **{key: None for key in ending if key != "container"},
        "usage": {key: value for key, value in usage.items() if key not in _LATE_USAGE} | {"output_tokens": 0},
    }
    out = [_event("message_start", message=start)]
    for index, block in enumerate(content):
        opening, deltas = _taken_apart(block)
        out.append(_event("content_block_start", index=index, content_block=opening))
        out += [_event("content_block_delta", index=index, delta=delta) for delta in deltas]
        out.append(_event("content_block_stop", index=index))
    out.append(_event("message_delta", delta=ending, usage=usage, **beside))
    out.append(_event("message_stop"))
    return b"".join(out)


def _event(kind: str, **members: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **members}))


def _taken_apart(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it opens, and the deltas that complete it. One of a type that does not grow opens complete."""
    opening = dict(block)
    deltas: list[dict[str, Any]] = []
    kind = block["type"]
    if kind == "text":
        opening["text"] = ""
        if block.get("citations"):
            opening["citations"] = []
            deltas += [{"type": "citations_delta", "citation": citation} for citation in block["citations"]]
        deltas += [{"type": "text_delta", "text": piece} for piece in text_pieces(block["text"])]
    elif kind == "thinking":
        opening["thinking"] = ""
        deltas += [{"type": "thinking_delta", "thinking": piece} for piece in text_pieces(block["thinking"])]
        if "signature" in block:
            opening["signature"] = ""
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
        opening["input"] = {}
        deltas.append({"type": "input_json_delta", "partial_json": _encode(block["input"]).decode()})
    return opening, deltas
