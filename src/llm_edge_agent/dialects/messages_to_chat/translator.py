"""The pair of the Messages door with a provider of the OpenAI dialect."""

from collections.abc import Mapping

import msgspec

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.chat_to_responses import request as responses_request
from llm_edge_agent.dialects.chat_to_responses import response as responses_response
from llm_edge_agent.dialects.chat_to_responses.sent import Sent as SentToResponses
from llm_edge_agent.dialects.chat_to_responses.stream import ResponsesStream
from llm_edge_agent.dialects.chat_to_responses.translator import PATH as RESPONSES_PATH
from llm_edge_agent.dialects.endpoint import PASSED_NOTHING, Answer, AnswerStream, Call, Passed, Prepared
from llm_edge_agent.dialects.messages_to_chat.answer_stream import MessagesAnswerStream
from llm_edge_agent.dialects.messages_to_chat.errors import translate_error
from llm_edge_agent.dialects.messages_to_chat.request import translate_request
from llm_edge_agent.dialects.messages_to_chat.response import translate_response
from llm_edge_agent.dialects.messages_to_chat.sent import Sent
from llm_edge_agent.dialects.messages_to_chat.stream import MessagesEvents


class _Sent(msgspec.Struct, frozen=True):
    """`responses` is there where the request went through both translations: Messages to chat, chat to Responses."""

    messages: Sent
    responses: SentToResponses | None = None


class MessagesToOpenAI:
    """Messages in front of Chat Completions; where the model takes a request only at the Responses API, the chat
    request, answer or chunk between the two is translated once more."""

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
        translated = translate_request(
            call.body.raw, model, options, upstream_model=upstream_model, ask_usage=ask_usage
        )
        body, warnings, sent = translated.body, translated.warnings, translated.sent
        if not translated.to_responses:
            return Prepared(path=b"/chat/completions", body=body, warnings=warnings, sent=_Sent(sent))
        further = responses_request.translate_request(body, model, options, expose=translated.summarized)
        # The chunks between the two machines tell all there is; what the client sees, the second one decides.
        within = msgspec.structs.replace(further.sent, include_usage=True, expose_thinking=True)
        return Prepared(
            path=RESPONSES_PATH, body=further.body, warnings=warnings + further.warnings, sent=_Sent(sent, within)
        )

    def answer(self, body: bytes, prepared: Prepared, *, created: int) -> Answer:
        sent = _sent(prepared)
        if sent.responses is not None:
            body, _ = responses_response.translate_response(body, sent.responses, created=created)
        answer, usage, finish = translate_response(body, sent.messages)
        return Answer(answer, usage, (finish,))

    def stream(self, call: Call, prepared: Prepared, *, created: int, keep_limit_bytes: int) -> AnswerStream:
        sent = _sent(prepared)
        translator = ResponsesStream(sent.responses, created=created) if sent.responses is not None else None
        return MessagesAnswerStream(MessagesEvents(sent.messages), translator, keep_limit_bytes)

    def error(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
    ) -> GatewayError:
        return translate_error(status, headers, body, provider=provider, now_unix_s=now_unix_s)


def _sent(prepared: Prepared) -> _Sent:
    if not isinstance(prepared.sent, _Sent):
        raise TypeError("not prepared by this translator")
    return prepared.sent
