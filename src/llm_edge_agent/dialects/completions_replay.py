"""A stored completion (the legacy kind) told again: whole, or as chunks."""

from collections.abc import Iterator
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
    """A `Replay`: the provider's bytes, but for id and time. Its chunks are made at once: one that fails must fail
    here."""

    __slots__ = ("_chunks", "_usage", "_whole")

    def __init__(self, body: bytes) -> None:
        """Raises one of `UNREADABLE` where the body is no completion as OpenAI sends them."""
        self._whole = StoredBody(body, ("id", "created"))
        answer = _decoder.decode(body)
        common = {k: v for k, v in answer.items() if k not in ("id", "object", "created", "choices", "usage")}
        head = _encode(common)[1:-1]
        prefix = b"," + head if head else b""
        self._chunks = [b'%b,"choices":%b' % (prefix, _encode([said])) for said in _said(answer["choices"])]
        """Each from behind its `created` to before its closing brace."""
        self._usage = b""
        if answer.get("usage") is not None:
            self._usage = b'%b,"choices":[],"usage":%b' % (prefix, _encode(answer["usage"]))

    def whole(self, suffix: bytes, created: bytes, metadata: bytes | None) -> bytes:
        return self._whole.render({"id": b'"cmpl-%b"' % suffix, "created": created})

    def stream(self, suffix: bytes, created: bytes, metadata: bytes | None, *, show_usage: bool) -> bytes:
        head = b'data: {"id":"cmpl-%b","object":"text_completion","created":%b' % (suffix, created)
        tail = b',"usage":null}\n\n' if show_usage else b"}\n\n"
        out = [b"%b%b%b" % (head, chunk, tail) for chunk in self._chunks]
        if show_usage and self._usage:
            out.append(b"%b%b}\n\n" % (head, self._usage))
        return b"".join(out) + b"data: [DONE]\n\n"


def _said(choices: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for choice in choices:
        index = choice.get("index", 0)
        ending = {key: value for key, value in choice.items() if key not in ("text", "index")}
        for piece in text_pieces(choice["text"]):
            yield {"text": piece, "index": index, "logprobs": None, "finish_reason": None}
        yield {"text": "", "index": index, **ending}
