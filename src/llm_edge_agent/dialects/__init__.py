"""Pure wire formats. No sockets, clocks or settings of our own: bytes and values in, bytes and values out.

`TRANSLATORS[inbound, upstream]` is the whole knowledge of which dialects can be joined. The pipeline knows neither
dialect; it asks the pair's translator. No entry means a clear 400.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.models import Dialect, Model
from llm_edge_agent.dialects import chat_to_chat
from llm_edge_agent.dialects.answer_stream import ChatAnswerStream, StreamTranslator
from llm_edge_agent.dialects.chat import ChatAnswer, ChatCall, read_answer
from llm_edge_agent.dialects.chat_stream import ChatStream
from llm_edge_agent.dialects.chat_to_messages.errors import translate_error
from llm_edge_agent.dialects.chat_to_messages.request import translate_request
from llm_edge_agent.dialects.chat_to_messages.response import translate_response
from llm_edge_agent.dialects.chat_to_messages.sent import Sent, TranslationOptions
from llm_edge_agent.dialects.chat_to_messages.stream import MessagesStream


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the upstream takes it."""

    path: bytes
    """Appended to the provider's base URL."""
    body: bytes
    headers: bytes = b""
    """Ready header lines of the dialect itself (versions, betas); credentials are the caller's business."""
    warnings: tuple[str, ...] = ()
    sent: Sent | None = None
    """What a translation must remember; None where nothing is translated."""


class Translator(Protocol):
    """One pair of dialects. Every method is a pure function of its arguments and raises only GatewayError."""

    def request(
        self, call: ChatCall, model: Model, upstream_model: str, options: TranslationOptions, *, ask_usage: bool
    ) -> Prepared: ...

    def answer(self, body: bytes, prepared: Prepared, *, created: int) -> ChatAnswer: ...

    def stream(self, call: ChatCall, prepared: Prepared, *, created: int, keep_limit_bytes: int) -> ChatAnswerStream:
        """The state machine of one streamed answer. `keep_limit_bytes`: as in `ChatStream`."""
        ...

    def error(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
    ) -> GatewayError: ...


class ChatToChat:
    """Same dialect on both sides: bytes through."""

    def request(
        self, call: ChatCall, model: Model, upstream_model: str, options: TranslationOptions, *, ask_usage: bool
    ) -> Prepared:
        return Prepared(
            path=b"/chat/completions", body=chat_to_chat.edit_request(call, upstream_model, ask_usage=ask_usage)
        )

    def answer(self, body: bytes, prepared: Prepared, *, created: int) -> ChatAnswer:
        return read_answer(body)

    def stream(self, call: ChatCall, prepared: Prepared, *, created: int, keep_limit_bytes: int) -> ChatAnswerStream:
        return _stream(call, None, keep_limit_bytes)

    def error(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
    ) -> GatewayError:
        return chat_to_chat.read_error(status, headers, body, provider=provider, now_unix_s=now_unix_s)


class ChatToMessages:
    """OpenAI chat in front of Anthropic's Messages API."""

    def request(
        self, call: ChatCall, model: Model, upstream_model: str, options: TranslationOptions, *, ask_usage: bool
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
        )

    def answer(self, body: bytes, prepared: Prepared, *, created: int) -> ChatAnswer:
        answer, usage = translate_response(body, _sent(prepared), created=created)
        return ChatAnswer(answer, usage, read_answer(answer).finish_reasons)

    def stream(self, call: ChatCall, prepared: Prepared, *, created: int, keep_limit_bytes: int) -> ChatAnswerStream:
        return _stream(call, MessagesStream(_sent(prepared), created=created), keep_limit_bytes)

    def error(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
    ) -> GatewayError:
        return translate_error(status, headers, body, provider=provider, now_unix_s=now_unix_s)


def _stream(call: ChatCall, translator: StreamTranslator | None, keep_limit_bytes: int) -> ChatAnswerStream:
    chunks = ChatStream(show_usage=call.include_usage, choices=call.choices, keep_limit_bytes=keep_limit_bytes)
    return ChatAnswerStream(chunks, translator)


def _sent(prepared: Prepared) -> Sent:
    if prepared.sent is None:
        raise ValueError("not prepared by this translator")
    return prepared.sent


TRANSLATORS: Mapping[tuple[str, Dialect], Translator] = {
    ("chat", "openai"): ChatToChat(),
    ("chat", "anthropic"): ChatToMessages(),
}
