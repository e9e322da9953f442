import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.endpoint import PASSED_NOTHING, Passed
from llm_edge_agent.dialects.native import is_json_object, passed_lines, path, read_call, relayed_refusal, renamed

RAW = b' { "future":{"a":[1e5, 0.1000000000000000055]},\n "model" :"m", "stream":true }'


def test_a_request_is_read_no_further_than_it_must() -> None:
    call = read_call(RAW, max_depth=8)
    assert (call.body.raw, call.model, call.stream, call.include_usage, call.choices) == (RAW, "m", True, False, 1)
    assert read_call(RAW, max_depth=8, streams=False).stream is False
    assert read_call(b'{"model":"m","stream":null,"messages":7}', max_depth=8).stream is False


@pytest.mark.parametrize(
    ("raw", "kind", "param"),
    [
        (b"{}", ErrorKind.MISSING_PARAMETER, "model"),
        (b'{"model":null}', ErrorKind.MISSING_PARAMETER, "model"),
        (b'{"model":7}', ErrorKind.INVALID_TYPE, "model"),
        (b'{"model":"m","stream":"yes"}', ErrorKind.INVALID_TYPE, "stream"),
        (b"nonsense", ErrorKind.INVALID_JSON, None),
        (b'{"model":"m","x":[[[1]]]}', ErrorKind.INVALID_JSON, None),
        (b'{"model":"\xff"}', ErrorKind.INVALID_JSON, None),
    ],
)
def test_what_the_gateway_must_understand_is_checked(raw: bytes, kind: ErrorKind, param: str | None) -> None:
    with pytest.raises(GatewayError) as caught:
        read_call(raw, max_depth=3)
    assert (caught.value.kind, caught.value.param) == (kind, param)


def test_another_model_is_the_only_change() -> None:
    call = read_call(RAW, max_depth=8)
    assert renamed(call, "m") is RAW
    assert renamed(call, "other") == RAW.replace(b'"m"', b'"other"')


def test_listed_headers_and_the_query_travel() -> None:
    headers = {b"b": b"2, 3", b"a": b"1", b"c": b"4"}
    assert passed_lines((b"a", b"b", b"d"), headers) == b"a: 1\r\nb: 2, 3\r\n"
    assert path(b"/x", Passed(query=b"beta=true")) == b"/x?beta=true"
    assert path(b"/x", PASSED_NOTHING) == b"/x"


@pytest.mark.parametrize(
    ("body", "is_object"),
    [(b'{"a":"\xc5\xbc"}', True), (b'{"a":"\\ud83d"}', True), (b"[]", False), (b"<html>", False), (b"", False),
     (b'{"a":"\xff"}', False), (b'{"a":' * 3000 + b"1" + b"}" * 3000, False)],
)  # fmt: skip
def test_only_json_objects_are_handed_through(body: bytes, is_object: bool) -> None:
    assert is_json_object(body) is is_object


def refused(status: int, body: bytes = b'{"error":{}}', kind: ErrorKind = ErrorKind.UPSTREAM_ERROR) -> GatewayError:
    headers = {b"retry-after": b"7", b"x-should-retry": b"FALSE"}
    return relayed_refusal(GatewayError(kind, "own words"), status, headers, body, now_unix_s=0)


def test_a_refusal_keeps_its_status_its_body_and_its_advice() -> None:
    error = refused(529)
    assert (error.status, error.verbatim) == (529, b'{"error":{}}')
    assert (error.retry_after_s, error.should_retry) == (7, False)
    other = relayed_refusal(GatewayError(ErrorKind.UPSTREAM_ERROR, ""), 500, {}, b"{}", now_unix_s=0)
    assert (other.retry_after_s, other.should_retry) == (None, None)


def test_a_body_that_is_no_json_stays_here() -> None:
    error = refused(503, b"<html>secret</html>")
    assert (error.status, error.verbatim) == (503, None)


def test_neither_a_redirect_nor_trouble_with_our_own_key_is_handed_through() -> None:
    for error in (refused(302), refused(401, kind=ErrorKind.UPSTREAM_AUTH)):
        assert (error.status, error.verbatim, error.retry_after_s) == (502, None, None)
