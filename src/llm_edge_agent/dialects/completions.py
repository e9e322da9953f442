"""The door of OpenAI's legacy completions, `/v1/completions`, and its pair with an upstream of the same dialect.

As in chat completions, a stream whose client did not ask for the usage chunk is asked for it by the gateway, which
takes it out again: without it the bill of a stream is unknown.
"""

from typing import Any

import msgspec

from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat import StreamOptions
from llm_edge_agent.dialects.chat_to_chat import edit_request
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.completions_replay import completions_replay
from llm_edge_agent.dialects.completions_stream import CompletionsReader, WireCompletion
from llm_edge_agent.dialects.endpoint import PASSED_NOTHING, Answer, AnswerStream, Call, Passed, Prepared, Replay
from llm_edge_agent.dialects.event_relay import RelayedStream
from llm_edge_agent.dialects.native import NativeRequest, read_members
from llm_edge_agent.dialects.openai_native import OpenAIEndpoint, OpenAIToOpenAI
from llm_edge_agent.dialects.provider_json import decode


class _Request(NativeRequest):
    stream_options: StreamOptions | None = None
    n: int | None = None


_request_decoder = msgspec.json.Decoder(_Request)


class CompletionsEndpoint(OpenAIEndpoint):
    """`POST /v1/completions`."""

    name = "completions"
    not_keyed = frozenset({"model", "stream", "stream_options", "user"})

    def read_request(self, raw: bytes, *, max_depth: int) -> Call:
        body, request = read_members(_request_decoder, raw, max_depth=max_depth)
        options = request.stream_options
        include_usage = bool(request.stream and options is not None and options.include_usage)
        choices = _prompts(body.value.get("prompt")) * (request.n or 1)
        return Call(body, request.model, bool(request.stream), include_usage, choices)

    def cacheable(self, call: Call) -> bool:
        return True

    def replay(self, body: bytes) -> Replay | None:
        return completions_replay(body)


def _prompts(prompt: Any) -> int:
    """How many prompts a request holds, each of which is answered: a list is several, but one of tokens is one."""
    if type(prompt) is list and prompt and type(prompt[0]) is not int:
        return len(prompt)
    return 1


_answer_decoder = msgspec.json.Decoder(WireCompletion)


class CompletionsToOpenAI(OpenAIToOpenAI):
    """Same dialect on both sides."""

    path = b"/completions"

    def request(
        self,
        call: Call,
        model: Model,
        upstream_model: str,
        options: TranslationOptions,
        *,
        ask_usage: bool,
        passed: Passed = PASSED_NOTHING,
    ) -> Prepared:
        body = edit_request(call, upstream_model, ask_usage=ask_usage)
        return Prepared(path=self.path, body=body, headers=passed.headers)

    def answer(self, body: bytes, prepared: Prepared, *, created: int) -> Answer:
        answer, _ = decode(_answer_decoder, body)
        return Answer(body, answer.tokens(), tuple(choice.finish_reason for choice in answer.choices))

    def stream(self, call: Call, prepared: Prepared, *, created: int, keep_limit_bytes: int) -> AnswerStream:
        reader = CompletionsReader(show_usage=call.include_usage, choices=call.choices)
        return RelayedStream(reader, keep_limit_bytes=keep_limit_bytes)
