"""The doors of Anthropic's Messages API, `/v1/messages` and `/v1/messages/count_tokens`, and their pair with an
upstream of the same dialect: bytes through."""

from collections.abc import Mapping

import msgspec

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_to_messages.errors import translate_error
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.chat_to_messages.wire import MessageUsage, usage_of
from llm_edge_agent.dialects.endpoint import PASSED_NOTHING, Answer, AnswerStream, Call, Passed, Prepared, Replay
from llm_edge_agent.dialects.event_relay import RelayedStream
from llm_edge_agent.dialects.messages_replay import messages_replay
from llm_edge_agent.dialects.messages_stream import MessagesReader, finish_reason
from llm_edge_agent.dialects.native import passed_lines, path, read_call, relayed_refusal, renamed
from llm_edge_agent.dialects.own_thinking import messages_without_own_thinking
from llm_edge_agent.dialects.provider_json import decode

PASSED_HEADERS = (b"anthropic-version", b"anthropic-beta")
"""What a client of Anthropic says beside its body, and what belongs to its meaning. The workspace is not among them:
which account is billed is the gateway's business."""

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's error types by status; any other is `invalid_request_error` below 500 and `api_error` above."""


class MessagesEndpoint:
    """`POST /v1/messages`."""

    name = "messages"
    in_body = False
    not_keyed = frozenset({"model", "stream", "metadata"})
    keepalive = b'event: ping\ndata: {"type": "ping"}\n\n'

    def passed(self, query: str, headers: Mapping[bytes, bytes]) -> Passed:
        return Passed(query.encode("latin-1", "replace"), passed_lines(PASSED_HEADERS, headers))

    def read_request(self, raw: bytes, *, max_depth: int) -> Call:
        return read_call(raw, max_depth=max_depth)

    def cacheable(self, call: Call) -> bool:
        """A container is a machine with a memory: the same request finds it changed."""
        return call.body.value.get("container") is None

    def replay(self, body: bytes) -> Replay | None:
        return messages_replay(body)

    def with_metadata(self, body: bytes, metadata: bytes) -> bytes:
        return body

    def request_id_lines(self, request_id: bytes) -> bytes:
        """Anthropic's SDKs read `request-id`."""
        return b"x-request-id: %b\r\nrequest-id: %b\r\n" % (request_id, request_id)

    def error_body(self, error: GatewayError) -> bytes:
        """Anthropic's error object. Extra facts stand inside `error`, where SDKs ignore them."""
        if error.verbatim is not None:
            return error.verbatim
        return msgspec.json.encode(
            {
                "type": "error",
                "error": {"type": _type(error), "message": error.message, "code": error.code, **error.extra},
            }
        )

    def error_event(self, error: GatewayError) -> bytes:
        if error.told:
            return b""
        return b"event: error\ndata: %b\n\n" % b" ".join(self.error_body(error).splitlines())


def _type(error: GatewayError) -> str:
    known = _TYPES.get(error.status)
    if known is None:
        return "invalid_request_error" if error.status < 500 else "api_error"
    return known


class CountTokensEndpoint(MessagesEndpoint):
    """`POST /v1/messages/count_tokens`. Never cached: a count costs nothing, is asked for once for each body by the
    agents that ask at all, and would push out answers that cost money."""

    name = "count_tokens"

    def read_request(self, raw: bytes, *, max_depth: int) -> Call:
        return read_call(raw, max_depth=max_depth, streams=False)

    def cacheable(self, call: Call) -> bool:
        return False


class _Answer(msgspec.Struct, tag_field="type", tag="message"):
    usage: MessageUsage
    stop_reason: str | None = None


class _Count(msgspec.Struct):
    input_tokens: int


_answer_decoder = msgspec.json.Decoder(_Answer)
_count_decoder = msgspec.json.Decoder(_Count)


class MessagesToMessages:
    """Same dialect on both sides."""

    _path = b"/v1/messages"

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
        """The version is the client's; one that names none gets the gateway's, since Anthropic refuses to guess."""
        call = messages_without_own_thinking(call)
        headers = passed.headers
        if b"anthropic-version: " not in headers:
            headers += b"anthropic-version: %b\r\n" % options.anthropic_version.encode()
        return Prepared(path=path(self._path, passed), body=renamed(call, upstream_model), headers=headers)

    def answer(self, body: bytes, prepared: Prepared, *, created: int) -> Answer:
        answer = decode(_answer_decoder, body)[0]
        return Answer(body, usage_of(answer.usage), (finish_reason(answer.stop_reason),))

    def stream(self, call: Call, prepared: Prepared, *, created: int, keep_limit_bytes: int) -> AnswerStream:
        return RelayedStream(MessagesReader(), keep_limit_bytes=keep_limit_bytes)

    def error(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
    ) -> GatewayError:
        read = translate_error(status, headers, body, provider=provider, now_unix_s=now_unix_s)
        return relayed_refusal(read, status, headers, body, now_unix_s=now_unix_s)


class CountTokensToMessages(MessagesToMessages):
    """Counting is free: no usage, no cost."""

    _path = b"/v1/messages/count_tokens"

    def answer(self, body: bytes, prepared: Prepared, *, created: int) -> Answer:
        decode(_count_decoder, body)
        return Answer(body, None, ())
