"""What the doors of OpenAI's other endpoints have in common: OpenAI's errors, and bytes through to an upstream of the
same dialect."""

from collections.abc import Mapping

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects import chat, chat_stream, chat_to_chat
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.endpoint import PASSED_NOTHING, Call, Passed, Prepared
from llm_edge_agent.dialects.native import passed_lines, relayed_refusal, renamed

PASSED_HEADERS = (b"openai-beta",)
"""What a client of OpenAI says beside its body, and what belongs to its meaning. Organisation and project are not among
them: which account is billed is the gateway's business."""


class OpenAIEndpoint:
    """Half an `Endpoint`: what does not depend on the body."""

    in_body = False
    keepalive = b": keep-alive\n\n"

    def passed(self, query: str, headers: Mapping[bytes, bytes]) -> Passed:
        lines = passed_lines(PASSED_HEADERS, headers)
        return Passed(headers=lines) if lines else PASSED_NOTHING

    def with_metadata(self, body: bytes, metadata: bytes) -> bytes:
        return body

    def request_id_lines(self, request_id: bytes) -> bytes:
        return b"x-request-id: %b\r\n" % request_id

    def error_body(self, error: GatewayError) -> bytes:
        return error.verbatim if error.verbatim is not None else chat.error_body(error)

    def error_event(self, error: GatewayError) -> bytes:
        if error.told:
            return b""
        return chat_stream.error_event(b" ".join(self.error_body(error).splitlines()))


class OpenAIToOpenAI:
    """Half a `Translator`: what does not depend on the answer."""

    path = b""

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
        return Prepared(path=self.path, body=renamed(call, upstream_model), headers=passed.headers)

    def error(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
    ) -> GatewayError:
        read = chat_to_chat.read_error(status, headers, body, provider=provider, now_unix_s=now_unix_s)
        return relayed_refusal(read, status, headers, body, now_unix_s=now_unix_s)
