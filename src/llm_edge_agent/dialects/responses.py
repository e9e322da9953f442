"""The door of OpenAI's Responses API, `/v1/responses`, and its pair with an upstream of the same dialect.

What is cached is only what stands on its own: a response that the provider was asked to store, or that continues what
it stored, is part of a history that the cache cannot see.
"""

from typing import Any

import msgspec

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects.endpoint import Answer, AnswerStream, Call, Prepared, Replay
from llm_edge_agent.dialects.event_relay import RelayedStream
from llm_edge_agent.dialects.native import read_call
from llm_edge_agent.dialects.openai_native import OpenAIEndpoint, OpenAIToOpenAI
from llm_edge_agent.dialects.provider_json import decode
from llm_edge_agent.dialects.responses_replay import responses_replay
from llm_edge_agent.dialects.responses_stream import ResponsesReader, WireResponse

_KEPT_ELSEWHERE = ("previous_response_id", "conversation", "background", "prompt")
"""Members that refer to what the provider keeps: earlier answers, an answer to come, a prompt that may be edited."""


def _names_a_container(tool: Any) -> bool:
    """A container is a machine with a memory: the same request finds it changed. `{"type": "auto"}` is a new one."""
    return isinstance(tool, dict) and isinstance(tool.get("container"), str)


class ResponsesEndpoint(OpenAIEndpoint):
    """`POST /v1/responses`."""

    name = "responses"
    not_keyed = frozenset({"model", "stream", "stream_options"})
    """Short, because a response repeats what it was asked with: `user`, `metadata` and the like stand in its body."""

    def read_request(self, raw: bytes, *, max_depth: int) -> Call:
        return read_call(raw, max_depth=max_depth)

    def cacheable(self, call: Call) -> bool:
        value = call.body.value
        if value.get("store") is not False or any(value.get(member) for member in _KEPT_ELSEWHERE):
            return False
        tools = value.get("tools")
        return not any(map(_names_a_container, tools if isinstance(tools, list) else ()))

    def replay(self, body: bytes) -> Replay | None:
        return responses_replay(body)

    def error_event(self, error: GatewayError) -> bytes:
        """The error event of the Responses API; `error` inside is what the SDKs raise on."""
        if error.told:
            return b""
        event = {
            "type": "error",
            "code": error.code,
            "message": error.message,
            "param": error.param,
            "error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code},
        }
        return b"event: error\ndata: %b\n\n" % msgspec.json.encode(event)


_answer_decoder = msgspec.json.Decoder(WireResponse)


class ResponsesToOpenAI(OpenAIToOpenAI):
    """Same dialect on both sides."""

    path = b"/responses"

    def answer(self, body: bytes, prepared: Prepared, *, created: int) -> Answer:
        response, _ = decode(_answer_decoder, body)
        return Answer(body, response.tokens(), (response.ending,))

    def stream(self, call: Call, prepared: Prepared, *, created: int, keep_limit_bytes: int) -> AnswerStream:
        return RelayedStream(ResponsesReader(), keep_limit_bytes=keep_limit_bytes)
