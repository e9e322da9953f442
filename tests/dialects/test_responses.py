import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.endpoint import Prepared
from llm_edge_agent.dialects.responses import ResponsesEndpoint, ResponsesToOpenAI
from tests.dialects.native_samples import RESPONSE, response_events, run

DOOR, PAIR = ResponsesEndpoint(), ResponsesToOpenAI()
PREPARED = Prepared(path=b"", body=b"")


@pytest.mark.parametrize(
    ("members", "cacheable"),
    [
        ({"store": False, "tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, False),
        ({"store": False, "tools": [{"type": "code_interpreter", "container": {"type": "auto"}}, 1]}, True),
        ({"store": False, "tools": "odd"}, True),
        ({"store": False}, True),
        ({"store": False, "previous_response_id": None, "background": False}, True),
        ({}, False),
        ({"store": True}, False),
        ({"store": None}, False),
        ({"store": False, "previous_response_id": "resp_1"}, False),
        ({"store": False, "conversation": {"id": "conv_1"}}, False),
        ({"store": False, "background": True}, False),
        ({"store": False, "prompt": {"id": "pmpt_1"}}, False),
    ],
)
def test_only_what_stands_on_its_own_is_cached(members: dict[str, Any], cacheable: bool) -> None:
    call = DOOR.read_request(json.dumps({"model": "m", **members}).encode(), max_depth=8)
    assert DOOR.cacheable(call) is cacheable


def test_an_answer_whole_and_streamed() -> None:
    body = json.dumps(RESPONSE).encode()
    answer = PAIR.answer(body, PREPARED, created=1)
    assert (answer.body, answer.finish_reasons) == (body, ("stop",))
    assert answer.usage is not None
    assert DOOR.replay(body) is not None
    call = DOOR.read_request(b'{"model":"m","stream":true}', max_depth=8)
    stream = PAIR.stream(call, PREPARED, created=1, keep_limit_bytes=100_000)
    run(stream, response_events())
    folded = stream.answer()
    assert folded is not None
    assert (json.loads(folded.body), folded.usage) == (RESPONSE, answer.usage)


def test_what_is_no_response_is_refused() -> None:
    with pytest.raises(GatewayError) as caught:
        PAIR.answer(b"[]", PREPARED, created=1)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID


def test_an_error_event_in_the_shape_of_the_api() -> None:
    error = GatewayError(ErrorKind.UPSTREAM_TIMEOUT, "late")
    event = DOOR.error_event(error)
    assert event.startswith(b"event: error\ndata: {")
    data = json.loads(event.split(b"data: ")[1])
    assert (data["type"], data["message"], data["code"], data["param"]) == ("error", "late", "upstream_timeout", None)
    assert data["error"]["message"] == "late"
    error.told = True
    assert DOOR.error_event(error) == b""
