import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.endpoint import Passed, Prepared
from llm_edge_agent.dialects.messages import (
    CountTokensEndpoint,
    CountTokensToMessages,
    MessagesEndpoint,
    MessagesToMessages,
)
from tests.dialects.native_samples import MESSAGE, message_events, run

DOOR, PAIR = MessagesEndpoint(), MessagesToMessages()
MODEL = Model(id="m", dialect="anthropic", provider="anthropic")
PREPARED = Prepared(path=b"", body=b"")
CALL = DOOR.read_request(b'{"model":"m","max_tokens":1,"messages":[],"stream":true}', max_depth=8)


def prepared(passed: Passed, upstream_model: str = "m") -> Prepared:
    return PAIR.request(CALL, MODEL, upstream_model, TranslationOptions(), ask_usage=True, passed=passed)


def test_version_betas_and_query_go_upstream_as_sent() -> None:
    headers = {
        b"anthropic-version": b"2026-10-21",
        b"anthropic-beta": b"a-2026-01-01,future-9",
        b"anthropic-workspace-id": b"w",
        b"x-api-key": b"k",
    }
    passed = DOOR.passed("beta=true", headers)
    sent = prepared(passed)
    assert sent.path == b"/v1/messages?beta=true"
    assert sent.headers == b"anthropic-version: 2026-10-21\r\nanthropic-beta: a-2026-01-01,future-9\r\n"
    assert sent.body == CALL.body.raw


def test_a_client_that_names_no_version_gets_the_gateways() -> None:
    sent = prepared(DOOR.passed("", {}), "other")
    assert (sent.path, sent.headers) == (b"/v1/messages", b"anthropic-version: 2023-06-01\r\n")
    assert sent.body == CALL.body.raw.replace(b'"m"', b'"other"')


def test_an_answer_whole_and_streamed() -> None:
    body = json.dumps(MESSAGE, indent=2).encode() + b"\n"
    answer = PAIR.answer(body, PREPARED, created=1)
    assert (answer.body, answer.finish_reasons) == (body, ("tool_calls",))
    assert answer.usage == TokenUsage(
        prompt_tokens=235, cache_read_tokens=200, cache_write_tokens=10, cache_write_1h_tokens=20, completion_tokens=40
    )
    assert DOOR.replay(body) is not None
    stream = PAIR.stream(CALL, PREPARED, created=1, keep_limit_bytes=100_000)
    assert run(stream, message_events()) == b"".join(message_events())
    folded = stream.answer()
    assert folded is not None
    assert (json.loads(folded.body), folded.usage, folded.finish_reasons) == (
        MESSAGE,
        answer.usage,
        answer.finish_reasons,
    )


@pytest.mark.parametrize("body", [b"{}", b'{"type":"error","error":{}}', b"<html>", b'{"type":"message"}'])
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        PAIR.answer(body, PREPARED, created=1)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID


def test_a_conversation_with_a_machine_that_remembers_is_not_cached() -> None:
    assert DOOR.cacheable(CALL)
    assert not DOOR.cacheable(DOOR.read_request(b'{"model":"m","container":"c_1"}', max_depth=8))


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [
        (ErrorKind.INVALID_TYPE, 400, "invalid_request_error"),
        (ErrorKind.UNAUTHENTICATED, 401, "authentication_error"),
        (ErrorKind.MODEL_NOT_FOUND, 404, "not_found_error"),
        (ErrorKind.TOO_LARGE, 413, "request_too_large"),
        (ErrorKind.UPSTREAM_RATE_LIMIT, 429, "rate_limit_error"),
        (ErrorKind.INTERNAL, 500, "api_error"),
        (ErrorKind.UPSTREAM_CONNECTION, 502, "api_error"),
        (ErrorKind.SHUTTING_DOWN, 503, "overloaded_error"),
        (ErrorKind.UPSTREAM_TIMEOUT, 504, "timeout_error"),
    ],
)
def test_errors_have_anthropics_shape(kind: ErrorKind, status: int, name: str) -> None:
    error = GatewayError(kind, "so", extra={"provider": "p"})
    body = DOOR.error_body(error)
    assert json.loads(body) == {
        "type": "error",
        "error": {"type": name, "message": "so", "code": kind.value.code, "provider": "p"},
    }
    assert error.status == status
    assert DOOR.error_event(error) == b"event: error\ndata: %b\n\n" % body
    assert DOOR.with_metadata(b"{}", b'{"a":1}') == b"{}"
    assert DOOR.keepalive == b'event: ping\ndata: {"type": "ping"}\n\n'
    assert DOOR.request_id_lines(b"r") == b"x-request-id: r\r\nrequest-id: r\r\n"


def test_the_providers_words_come_first() -> None:
    error = GatewayError(ErrorKind.UPSTREAM_ERROR, "", verbatim=b'{"type":\n"error"}')
    assert DOOR.error_body(error) == b'{"type":\n"error"}'
    assert DOOR.error_event(error) == b'event: error\ndata: {"type": "error"}\n\n'
    error.told = True
    assert (DOOR.error_body(error), DOOR.error_event(error)) == (b'{"type":\n"error"}', b"")


@pytest.mark.parametrize(
    ("status", "shown", "verbatim"), [(400, 400, True), (402, 402, True), (529, 529, True), (403, 502, False)]
)
def test_a_refusal_is_handed_through_unless_it_is_about_our_key(status: int, shown: int, verbatim: bool) -> None:
    body: Any = b'{"type":"error", "error": {"type":"x","message":"no"}, "request_id":"req_1"}'
    error = PAIR.error(status, {}, body, provider="anthropic", now_unix_s=0)
    assert (error.status, error.verbatim) == (shown, body if verbatim else None)


def test_a_count_is_free_and_never_cached() -> None:
    door, pair = CountTokensEndpoint(), CountTokensToMessages()
    call = door.read_request(b'{"model":"m","stream":true}', max_depth=8)
    assert (call.stream, door.cacheable(call)) == (False, False)
    sent = pair.request(call, MODEL, "m", TranslationOptions(), ask_usage=True, passed=door.passed("beta=true", {}))
    assert sent.path == b"/v1/messages/count_tokens?beta=true"
    answer = pair.answer(b'{"input_tokens": 7}', sent, created=1)
    assert (answer.body, answer.usage, answer.finish_reasons) == (b'{"input_tokens": 7}', None, ())
    with pytest.raises(GatewayError):
        pair.answer(b"{}", sent, created=1)
