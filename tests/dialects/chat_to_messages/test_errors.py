"""Failures of the provider: what golden files leave out."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.chat_to_messages.errors import error_event, translate_error


def body(kind: str | None, message: str | None, **details: Any) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message} | details}).encode()


def error(status: int, content: bytes = b"", headers: dict[bytes, bytes] | None = None) -> GatewayError:
    return translate_error(status, headers or {}, content, provider="claude-prod", now_unix_s=1e9)


@pytest.mark.parametrize(
    ("status", "kind", "shown"),
    [
        (301, ErrorKind.UPSTREAM_ERROR, 502),
        (400, ErrorKind.UPSTREAM_REJECTED, 400),
        (401, ErrorKind.UPSTREAM_AUTH, 502),
        (402, ErrorKind.UPSTREAM_QUOTA, 429),
        (403, ErrorKind.UPSTREAM_AUTH, 502),
        (404, ErrorKind.UPSTREAM_REJECTED, 404),
        (405, ErrorKind.UPSTREAM_ERROR, 502),
        (408, ErrorKind.UPSTREAM_TIMEOUT, 504),
        (409, ErrorKind.UPSTREAM_REJECTED, 409),
        (413, ErrorKind.UPSTREAM_REJECTED, 413),
        (422, ErrorKind.UPSTREAM_REJECTED, 422),
        (429, ErrorKind.UPSTREAM_RATE_LIMIT, 429),
        (500, ErrorKind.UPSTREAM_ERROR, 502),
        (503, ErrorKind.UPSTREAM_OVERLOADED, 503),
        (504, ErrorKind.UPSTREAM_TIMEOUT, 504),
        (529, ErrorKind.UPSTREAM_OVERLOADED, 503),
    ],
)
def test_status_alone(status: int, kind: ErrorKind, shown: int) -> None:
    found = error(status)
    assert (found.kind, found.status) == (kind, shown)
    assert "claude-prod" in found.message
    assert found.extra == {"provider": "claude-prod", "upstream_status": status}


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("max_tokens: Field required", "missing_required_parameter", "max_tokens"),
        ("foo: Extra inputs are not permitted", "unknown_parameter", "foo"),
        ("`temperature` is deprecated for this model.", "unsupported_parameter", None),
        ("messages.3.content.0.text: must be non-empty", "invalid_value", "messages"),
        ("thinking.type: Input should be 'adaptive'", "invalid_value", "reasoning_effort"),
        ("system: must be text", "invalid_value", "messages"),
        ("Whatever", "invalid_value", None),
    ],
)
def test_rejections_name_the_field_of_the_client(message: str, code: str, param: str | None) -> None:
    found = error(400, body("invalid_request_error", message))
    assert (found.code, found.param, found.message) == (code, param, message)


def test_input_and_output_together_above_the_window() -> None:
    text = "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"
    assert error(400, body("invalid_request_error", text)).kind is ErrorKind.CONTEXT_LENGTH


def test_types_count_where_a_proxy_changed_the_status() -> None:
    assert error(500, body("overloaded_error", "x")).kind is ErrorKind.UPSTREAM_OVERLOADED
    assert error(500, body("timeout_error", "x")).kind is ErrorKind.UPSTREAM_TIMEOUT


def test_nothing_secret_or_unsafe_is_repeated() -> None:
    found = error(400, body("invalid_request_error", "bad\r\n\x00 sk-ant-api03-abcdef012345 " + "x" * 5000))
    assert "sk-ant" not in found.message
    assert not any(ord(character) < 32 for character in found.message)
    assert len(found.message) <= 2000
    for status in (401, 403, 429, 500):
        assert "secret words" not in error(status, body("api_error", "secret words")).message


def test_request_ids_are_bounded() -> None:
    assert error(500, headers={b"request-id": b"req_1"}).extra["upstream_request_id"] == "req_1"
    assert len(str(error(500, headers={b"request-id": b"x" * 999}).extra["upstream_request_id"])) == 128


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("invalid_request_error", ErrorKind.UPSTREAM_REJECTED),
        ("authentication_error", ErrorKind.UPSTREAM_AUTH),
        ("billing_error", ErrorKind.UPSTREAM_QUOTA),
        ("rate_limit_error", ErrorKind.UPSTREAM_RATE_LIMIT),
        ("overloaded_error", ErrorKind.UPSTREAM_OVERLOADED),
        ("timeout_error", ErrorKind.UPSTREAM_TIMEOUT),
        ("api_error", ErrorKind.UPSTREAM_ERROR),
        ("something_new", ErrorKind.UPSTREAM_ERROR),
        (None, ErrorKind.UPSTREAM_ERROR),
    ],
)
def test_error_events(kind: str | None, expected: ErrorKind) -> None:
    found = error_event(body(kind, None))
    assert found.kind is expected
    assert found.extra == {}


def test_error_event_keeps_the_request_id() -> None:
    assert error_event(b'{"error":{"type":"api_error"},"request_id":"req_1"}').extra == {"upstream_request_id": "req_1"}


@settings(deadline=None)
@given(st.integers(300, 599), st.binary(max_size=200), st.binary(max_size=30))
def test_anything_is_an_error(status: int, content: bytes, header: bytes) -> None:
    found = error(status, content, {b"retry-after": header, b"request-id": header})
    assert 400 <= found.status <= 599
    assert found.message
