import json

import pytest

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.dialects.chat import read_request
from llm_edge_agent.dialects.chat_to_chat import edit_request, read_error

RAW = b'{ "model" : "gpt-x", "messages":[{"role":"user","content":"\\u00e9"}], "n":1.0e0, "stream":%b, "new":{ } }'
WHOLE = RAW.replace(b"1.0e0", b"1") % b"false"
STREAM = RAW.replace(b"1.0e0", b"1") % b"true"


@pytest.mark.parametrize(
    ("raw", "upstream_model", "ask_usage", "expected"),
    [
        (WHOLE, "gpt-x", True, WHOLE),
        (WHOLE, "y", True, WHOLE.replace(b'"gpt-x"', b'"y"')),
        (STREAM, "gpt-x", False, STREAM),
        (STREAM, "gpt-x", True, b'{"stream_options":{"include_usage":true},' + STREAM[1:]),
        (STREAM[:-2] + b',"stream_options":{"include_usage":true}}', "gpt-x", True, None),
    ],
)
def test_the_clients_own_bytes_go_upstream(
    raw: bytes, upstream_model: str, ask_usage: bool, expected: bytes | None
) -> None:
    call = read_request(raw, max_depth=128)
    assert edit_request(call, upstream_model, ask_usage=ask_usage) == (raw if expected is None else expected)


def error(message: str = "why", **members: object) -> bytes:
    return json.dumps({"error": {"message": message, "type": "t", "param": None, "code": None, **members}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind", "shown", "code"),
    [
        (400, error(code="invalid_value", param="n"), ErrorKind.UPSTREAM_REJECTED, 400, "invalid_value"),
        (400, error(code="context_length_exceeded"), ErrorKind.CONTEXT_LENGTH, 400, "context_length_exceeded"),
        (400, error(code="content_filter"), ErrorKind.CONTENT_FILTER, 400, "content_filter"),
        (404, error(code="model_not_found"), ErrorKind.MODEL_NOT_FOUND, 404, "model_not_found"),
        (409, error(), ErrorKind.UPSTREAM_REJECTED, 409, "invalid_value"),
        (413, error(), ErrorKind.UPSTREAM_REJECTED, 413, "invalid_value"),
        (422, b'{"detail":[{"loc":["body"]}]}', ErrorKind.UPSTREAM_REJECTED, 422, "invalid_value"),
        (404, b"<html>nginx</html>", ErrorKind.UPSTREAM_ERROR, 502, "upstream_error"),
        (401, error("bad key sk-secret12345"), ErrorKind.UPSTREAM_AUTH, 502, "upstream_authentication_failed"),
        (403, error(), ErrorKind.UPSTREAM_AUTH, 502, "upstream_authentication_failed"),
        (402, error(), ErrorKind.UPSTREAM_QUOTA, 429, "insufficient_quota"),
        (429, error(code="insufficient_quota"), ErrorKind.UPSTREAM_QUOTA, 429, "insufficient_quota"),
        (429, error(type="insufficient_quota"), ErrorKind.UPSTREAM_QUOTA, 429, "insufficient_quota"),
        (429, error(code="rate_limit_exceeded"), ErrorKind.UPSTREAM_RATE_LIMIT, 429, "rate_limit_exceeded"),
        (429, b"", ErrorKind.UPSTREAM_RATE_LIMIT, 429, "rate_limit_exceeded"),
        (500, error(), ErrorKind.UPSTREAM_ERROR, 502, "upstream_error"),
        (501, b"\xff", ErrorKind.UPSTREAM_ERROR, 502, "upstream_error"),
        (302, b"", ErrorKind.UPSTREAM_ERROR, 502, "upstream_error"),
        (204, b"", ErrorKind.UPSTREAM_ERROR, 502, "upstream_error"),
        (503, error(), ErrorKind.UPSTREAM_OVERLOADED, 503, "overloaded"),
        (529, error(), ErrorKind.UPSTREAM_OVERLOADED, 503, "overloaded"),
        (504, b"", ErrorKind.UPSTREAM_TIMEOUT, 504, "upstream_timeout"),
        (408, b"", ErrorKind.UPSTREAM_TIMEOUT, 504, "upstream_timeout"),
    ],
)
def test_what_a_refusal_becomes(status: int, body: bytes, kind: ErrorKind, shown: int, code: str) -> None:
    headers = {b"retry-after": b"3", b"x-request-id": b"req_1"}
    got = read_error(status, headers, body, provider="openai", now_unix_s=0)
    assert (got.kind, got.status, got.code) == (kind, shown, code)
    assert got.extra == {"provider": "openai", "upstream_status": status, "upstream_request_id": "req_1"}
    assert "sk-secret" not in got.message
    assert "html" not in got.message
    assert (got.retry_after_s == 3.0) is (
        kind in (ErrorKind.UPSTREAM_RATE_LIMIT, ErrorKind.UPSTREAM_ERROR, ErrorKind.UPSTREAM_OVERLOADED)
    )


def test_a_refusal_of_the_request_keeps_the_providers_words() -> None:
    got = read_error(400, {}, error("n is too large", param="n", code=7), provider="x", now_unix_s=0)
    assert (got.message, got.param, got.code, got.type) == ("n is too large", "n", "7", "t")
    assert "upstream_request_id" not in got.extra
    bare = read_error(400, {}, b'{"error":{}}', provider="x", now_unix_s=0)
    assert (bare.message, bare.param, bare.type) == (
        "Provider 'x' refused the request.",
        None,
        "invalid_request_error",
    )
