import json

from llm_edge_agent.core.cache_key import NOT_KEYED
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects import CHAT, ENDPOINTS
from llm_edge_agent.dialects.endpoint import PASSED_NOTHING

RAW = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
ERROR = GatewayError(ErrorKind.UPSTREAM_TIMEOUT, "late")


def test_the_door_is_found_under_its_name() -> None:
    assert ENDPOINTS["chat"] is CHAT
    assert CHAT.not_keyed == NOT_KEYED


def test_nothing_of_a_chat_requests_head_travels() -> None:
    assert CHAT.passed("beta=true", {b"anthropic-beta": b"x"}) == PASSED_NOTHING


def test_every_chat_request_may_meet_the_cache() -> None:
    assert CHAT.cacheable(CHAT.read_request(RAW, max_depth=8))


def test_an_answer_is_told_again_with_metadata() -> None:
    body = b'{"id":"a","created":1,"choices":[]}'
    replay = CHAT.replay(body)
    assert replay is not None
    assert json.loads(replay.whole(b"x", b"2", None)) == {"id": "chatcmpl-x", "created": 2, "choices": []}
    assert json.loads(CHAT.with_metadata(body, b"{}"))["metadata"] == {}


def test_errors_go_alone_or_in_band() -> None:
    body = CHAT.error_body(ERROR)
    assert json.loads(body)["error"]["code"] == "upstream_timeout"
    assert CHAT.error_event(ERROR) == b"data: %b\n\n" % body
    assert CHAT.keepalive.startswith(b":")
    assert CHAT.request_id_lines(b"r") == b"x-request-id: r\r\n"
