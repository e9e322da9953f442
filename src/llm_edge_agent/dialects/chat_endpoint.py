"""The door of OpenAI Chat Completions, and its pairs with the upstream dialects."""

from collections.abc import Mapping

import msgspec

from llm_edge_agent.core.cache_key import NOT_KEYED
from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects import chat, chat_stream, chat_to_chat
from llm_edge_agent.dialects.answer_stream import ChatAnswerStream, StreamTranslator
from llm_edge_agent.dialects.chat_replay import replayable
from llm_edge_agent.dialects.chat_stream import ChatStream
from llm_edge_agent.dialects.chat_to_messages.errors import translate_error
from llm_edge_agent.dialects.chat_to_messages.request import translate_request
from llm_edge_agent.dialects.chat_to_messages.response import translate_response
from llm_edge_agent.dialects.chat_to_messages.sent import Sent, TranslationOptions
from llm_edge_agent.dialects.chat_to_messages.stream import MessagesStream
from llm_edge_agent.dialects.endpoint import PASSED_NOTHING, Answer, AnswerStream, Call, Passed, Prepared, Replay


class ChatEndpoint:
    """`POST /v1/chat/completions`."""

    name = "chat"
    in_body = True
    not_keyed = NOT_KEYED
    keepalive = b": keep-alive\n\n"

    def passed(self, query: str, headers: Mapping[bytes, bytes]) -> Passed:
        return PASSED_NOTHING

    def read_request(self, raw: bytes, *, max_depth: int) -> Call:
        return chat.read_request(raw, max_depth=max_depth)

    def cacheable(self, call: Call) -> bool:
        return True

    def replay(self, body: bytes) -> Replay | None:
        return replayable(body)

    def with_metadata(self, body: bytes, metadata: bytes) -> bytes:
        return chat.with_metadata(body, metadata)

    def request_id_lines(self, request_id: bytes) -> bytes:
        return b"x-request-id: %b\r\n" % request_id

    def error_body(self, error: GatewayError) -> bytes:
        return chat.error_body(error)

    def error_event(self, error: GatewayError) -> bytes:
        return chat_stream.error_event(chat.error_body(error))


class ChatToChat:
    """Same dialect on both sides: bytes through."""

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
        return Prepared(
            path=b"/chat/completions", body=chat_to_chat.edit_request(call, upstream_model, ask_usage=ask_usage)
        )

    def answer(self, body: bytes, prepared: Prepared, *, created: int) -> Answer:
        return chat.read_answer(body)

    def stream(self, call: Call, prepared: Prepared, *, created: int, keep_limit_bytes: int) -> AnswerStream:
        return _stream(call, None, keep_limit_bytes)

    def error(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
    ) -> GatewayError:
        return chat_to_chat.read_error(status, headers, body, provider=provider, now_unix_s=now_unix_s)


class ChatToMessages:
    """OpenAI chat in front of Anthropic's Messages API."""

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
        translated = translate_request(call.body.raw, model, options, upstream_model=upstream_model)
        headers = b"anthropic-version: %b\r\n" % options.anthropic_version.encode()
        if translated.betas:
            headers += b"anthropic-beta: %b\r\n" % ",".join(translated.betas).encode()
        return Prepared(
            path=b"/v1/messages",
            body=translated.body,
            headers=headers,
            warnings=translated.warnings,
            sent=translated.sent,
            breakpoints=translated.breakpoints,
        )

    def answer(self, body: bytes, prepared: Prepared, *, created: int) -> Answer:
        answer, usage = translate_response(body, _sent(prepared), created=created)
        return Answer(answer, usage, chat.read_answer(answer).finish_reasons)

    def stream(self, call: Call, prepared: Prepared, *, created: int, keep_limit_bytes: int) -> AnswerStream:
        sent = _sent(prepared)
        if sent.include_usage != call.include_usage:  # prepared for another client, who asked the same
            sent = msgspec.structs.replace(sent, include_usage=call.include_usage)
        return _stream(call, MessagesStream(sent, created=created), keep_limit_bytes)

    def error(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
    ) -> GatewayError:
        return translate_error(status, headers, body, provider=provider, now_unix_s=now_unix_s)


def _stream(call: Call, translator: StreamTranslator | None, keep_limit_bytes: int) -> ChatAnswerStream:
    chunks = ChatStream(show_usage=call.include_usage, choices=call.choices, keep_limit_bytes=keep_limit_bytes)
    return ChatAnswerStream(chunks, translator)


def _sent(prepared: Prepared) -> Sent:
    if not isinstance(prepared.sent, Sent):
        raise TypeError("not prepared by this translator")
    return prepared.sent
