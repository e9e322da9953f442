"""The pairs of the chat door with OpenAI's Responses API, and with OpenAI as a whole."""

from collections.abc import Mapping

import msgspec

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects import chat
from llm_edge_agent.dialects.answer_stream import ChatAnswerStream
from llm_edge_agent.dialects.chat_stream import ChatStream
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.chat_to_responses.errors import in_chat_words
from llm_edge_agent.dialects.chat_to_responses.request import translate_request
from llm_edge_agent.dialects.chat_to_responses.response import translate_response
from llm_edge_agent.dialects.chat_to_responses.rule import needs_responses
from llm_edge_agent.dialects.chat_to_responses.sent import Sent
from llm_edge_agent.dialects.chat_to_responses.stream import ResponsesStream
from llm_edge_agent.dialects.endpoint import (
    PASSED_NOTHING,
    Answer,
    AnswerStream,
    Call,
    Passed,
    Prepared,
    Translator,
)
from llm_edge_agent.dialects.own_thinking import chat_without_own_thinking

PATH = b"/responses"


class ChatToOpenAI:
    """Chat in front of a provider of the OpenAI dialect: bytes through, but for requests that its model takes only at
    the Responses API. The request decides, so what was prepared remembers it: a `Sent` is of a translated one."""

    def __init__(self, same: Translator) -> None:
        """`same` serves what needs no translation."""
        self._same = same

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
        if not needs_responses(call.body.value, model):
            call = chat_without_own_thinking(call)
            return self._same.request(call, model, upstream_model, options, ask_usage=ask_usage, passed=passed)
        translated = translate_request(call.body.raw, model, options, upstream_model=upstream_model)
        return Prepared(path=PATH, body=translated.body, warnings=translated.warnings, sent=translated.sent)

    def answer(self, body: bytes, prepared: Prepared, *, created: int) -> Answer:
        if not isinstance(prepared.sent, Sent):
            return self._same.answer(body, prepared, created=created)
        answer, usage = translate_response(body, prepared.sent, created=created)
        return Answer(answer, usage, chat.read_answer(answer).finish_reasons)

    def stream(self, call: Call, prepared: Prepared, *, created: int, keep_limit_bytes: int) -> AnswerStream:
        if not isinstance(prepared.sent, Sent):
            return self._same.stream(call, prepared, created=created, keep_limit_bytes=keep_limit_bytes)
        sent = msgspec.structs.replace(prepared.sent, include_usage=call.include_usage)  # it may be another client's
        chunks = ChatStream(show_usage=call.include_usage, choices=1, keep_limit_bytes=keep_limit_bytes)
        return ChatAnswerStream(chunks, ResponsesStream(sent, created=created))

    def error(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
    ) -> GatewayError:
        """Either API's: the names of the one are none of the other."""
        error = self._same.error(status, headers, body, provider=provider, now_unix_s=now_unix_s)
        return in_chat_words(error)
