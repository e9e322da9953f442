import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.embeddings import EmbeddingsEndpoint, EmbeddingsToOpenAI
from llm_edge_agent.dialects.endpoint import Prepared

DOOR, PAIR = EmbeddingsEndpoint(), EmbeddingsToOpenAI()
PREPARED = Prepared(path=b"", body=b"")
BODY = b'{"object":"list","data":[{"embedding":"AACAPw==","index":0}],"usage":{"prompt_tokens":4,"total_tokens":4}}'


def test_an_answer_is_the_providers_bytes_and_is_told_again_as_such() -> None:
    answer = PAIR.answer(BODY, PREPARED, created=1)
    assert (answer.body, answer.usage, answer.finish_reasons) == (BODY, TokenUsage(prompt_tokens=4), ("stop",))
    replay = DOOR.replay(answer.body)
    assert replay is not None
    assert replay.whole(b"id", b"1", None) == BODY
    assert PAIR.answer(b'{"data":[]}', PREPARED, created=1).usage is None


@pytest.mark.parametrize("body", [b"{}", b'{"error":{}}', b"<html>", b'{"data":7}'])
def test_what_holds_no_embeddings_is_refused(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        PAIR.answer(body, PREPARED, created=1)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID


def test_there_are_no_streams() -> None:
    call = DOOR.read_request(b'{"model":"m","stream":true}', max_depth=4)
    assert (call.stream, DOOR.cacheable(call)) == (False, True)
    with pytest.raises(TypeError):
        PAIR.stream(call, PREPARED, created=1, keep_limit_bytes=0)
    replay = DOOR.replay(BODY)
    assert replay is not None
    with pytest.raises(TypeError):
        replay.stream(b"", b"", None, show_usage=False)
