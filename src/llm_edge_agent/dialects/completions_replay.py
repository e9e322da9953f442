"""A stored completion (the legacy kind) told again: whole, or as chunks."""

from typing import Any

import msgspec

from llm_edge_agent.dialects.provider_json import raw_number
from llm_edge_agent.dialects.stored_body import UNREADABLE, StoredBody, text_pieces

_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=raw_number)
_encode = msgspec.json.encode


def completions_replay(body: bytes) -> "CompletionsReplay | None":
    """The completion made ready to be stored, or None where it could not be told again in both framings."""
    try:
        return CompletionsReplay(body)
    except UNREADABLE:
        return None


class CompletionsReplay:
    """A `Replay`: the provider's bytes, but for id and time. Its streams are made at once: one that fails must fail
    here."""

    __slots__ = ("_stream", "_whole")

    def __init__(self, body: bytes) -> None:
        """Raises one of `UNREADABLE` where the body is no completion as OpenAI sends them."""
        self._whole = StoredBody(body, ("id", "created"))
        answer = _decoder.decode(body)
        self._stream = {show_usage: _chunks(answer, show_usage) for show_usage in (False, True)}

    def whole(self, suffix: bytes, created: bytes, metadata: bytes | None) -> bytes:
        return self._whole.render({"id": b'"cmpl-%b"' % suffix, "created": created})

    def stream(self, suffix: bytes, created: bytes, metadata: bytes | None, *, show_usage: bool) -> bytes:
        chunks = self._stream[show_usage]
        head = b'data: {"id":"cmpl-%b","object":"text_completion","created":%b' % (suffix, created)
        return b"".join([b"%b%b}\n\n" % (head, chunk) for chunk in chunks]) + b"data: [DONE]\n\n"


def _chunks(answer: dict[str, Any], show_usage: bool) -> list[bytes]:
    """Each chunk from behind its `created` to before its closing brace."""
    common = {k: v for k, v in answer.items() if k not in ("id", "object", "created", "choices", "usage")}
    head = _encode(common)[1:-1]
    prefix = b"," + head if head else b""
    nothing_yet = b',"usage":null' if show_usage else b""
    chunks = []
    for choice in answer["choices"]:
        index = choice.get("index", 0)
        ending = {key: value for key, value in choice.items() if key not in ("text", "index")}
        for piece in text_pieces(choice["text"]):
            said = {"text": piece, "index": index, "logprobs": None, "finish_reason": None}
            chunks.append(b'%b,"choices":%b%b' % (prefix, _encode([said]), nothing_yet))
        last = {"text": "", "index": index, **ending}
        chunks.append(b'%b,"choices":%b%b' % (prefix, _encode([last]), nothing_yet))
    if show_usage and answer.get("usage") is not None:
        chunks.append(b'%b,"choices":[],"usage":%b' % (prefix, _encode(answer["usage"])))
    return chunks
