import json

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.endpoint import PASSED_NOTHING, Passed
from llm_edge_agent.dialects.native import read_call
from llm_edge_agent.dialects.openai_native import OpenAIEndpoint, OpenAIToOpenAI

DOOR = OpenAIEndpoint()
ERROR = GatewayError(ErrorKind.UPSTREAM_TIMEOUT, "too late", param="p")


def test_only_the_listed_headers_travel() -> None:
    headers = {b"openai-beta": b"x=v1", b"openai-organization": b"org", b"authorization": b"Bearer k"}
    assert DOOR.passed("a=b", headers) == Passed(headers=b"openai-beta: x=v1\r\n")
    assert DOOR.passed("a=b", {}) is PASSED_NOTHING
    call = read_call(b'{"model":"m"}', max_depth=4)
    model = Model(id="m", dialect="openai", provider="openai")
    prepared = OpenAIToOpenAI().request(
        call, model, "n", TranslationOptions(), ask_usage=True, passed=Passed(headers=b"openai-beta: x\r\n")
    )
    assert (prepared.body, prepared.headers) == (b'{"model":"n"}', b"openai-beta: x\r\n")


def test_errors_have_openais_shape() -> None:
    body = DOOR.error_body(ERROR)
    wanted = {"message": "too late", "type": "server_error", "param": "p", "code": "upstream_timeout"}
    assert json.loads(body) == {"error": wanted}
    assert DOOR.error_event(ERROR) == b"data: %b\n\n" % body
    assert DOOR.request_id_lines(b"r") == b"x-request-id: r\r\n"
    assert DOOR.with_metadata(b"{}", b'{"a":1}') == b"{}"


def test_the_providers_words_come_first() -> None:
    error = GatewayError(ErrorKind.UPSTREAM_ERROR, "", verbatim=b'{"error":\n{}}')
    assert (DOOR.error_body(error), DOOR.error_event(error)) == (b'{"error":\n{}}', b'data: {"error": {}}\n\n')
    error.told = True
    assert (DOOR.error_body(error), DOOR.error_event(error)) == (b'{"error":\n{}}', b"")


@pytest.mark.parametrize(
    ("status", "shown", "verbatim"), [(400, 400, True), (429, 429, True), (503, 503, True), (401, 502, False)]
)
def test_a_refusal_is_handed_through_unless_it_is_about_our_key(status: int, shown: int, verbatim: bool) -> None:
    body = b'{"error": {"message": "no", "type": "t", "code": null}}'
    error = OpenAIToOpenAI().error(status, {}, body, provider="openai", now_unix_s=0)
    assert (error.status, error.verbatim) == (shown, body if verbatim else None)
