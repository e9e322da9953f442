"""The door of OpenAI's embeddings, `/v1/embeddings`, and its pair with an upstream of the same dialect: bytes through.

An embedding is whole or it is an error: there are no streams, and no reason to end but that it is done.
"""

import msgspec

from llm_edge_agent.dialects.chat import WireUsage
from llm_edge_agent.dialects.endpoint import Answer, AnswerStream, Call, Prepared, Replay
from llm_edge_agent.dialects.native import read_call
from llm_edge_agent.dialects.openai_native import OpenAIEndpoint, OpenAIToOpenAI
from llm_edge_agent.dialects.provider_json import decode


class EmbeddingsEndpoint(OpenAIEndpoint):
    """`POST /v1/embeddings`."""

    name = "embeddings"
    not_keyed = frozenset({"model", "user"})

    def read_request(self, raw: bytes, *, max_depth: int) -> Call:
        return read_call(raw, max_depth=max_depth, streams=False)

    def cacheable(self, call: Call) -> bool:
        return True

    def replay(self, body: bytes) -> Replay | None:
        return _Embeddings(body)


class _Embeddings:
    """A `Replay` of bytes that carry neither id nor time."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    def whole(self, suffix: bytes, created: bytes, metadata: bytes | None) -> bytes:
        return self._body

    def stream(self, suffix: bytes, created: bytes, metadata: bytes | None, *, show_usage: bool) -> bytes:
        raise TypeError("embeddings are not streamed")


class _Answer(msgspec.Struct):
    data: list[msgspec.Raw]
    usage: WireUsage | None = None


_answer_decoder = msgspec.json.Decoder(_Answer)


class EmbeddingsToOpenAI(OpenAIToOpenAI):
    """Same dialect on both sides."""

    path = b"/embeddings"

    def answer(self, body: bytes, prepared: Prepared, *, created: int) -> Answer:
        answer, _ = decode(_answer_decoder, body)
        return Answer(body, answer.usage.tokens(None) if answer.usage is not None else None, ("stop",))

    def stream(self, call: Call, prepared: Prepared, *, created: int, keep_limit_bytes: int) -> AnswerStream:
        raise TypeError("embeddings are not streamed")
