import json

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.completions import CompletionsEndpoint, CompletionsToOpenAI
from llm_edge_agent.dialects.endpoint import Passed, Prepared
from tests.dialects.native_samples import COMPLETION, completion_events, run

DOOR, PAIR = CompletionsEndpoint(), CompletionsToOpenAI()
MODEL = Model(id="m", dialect="openai", provider="openai")
PREPARED = Prepared(path=b"", body=b"")


@pytest.mark.parametrize(
    ("members", "choices"),
    [
        ({}, 1),
        ({"prompt": "a", "n": 3}, 3),
        ({"prompt": ["a", "b"], "n": 2}, 4),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": [[1], [2]]}, 2),
        ({"prompt": []}, 1),
    ],
)
def test_how_many_answers_a_request_wants(members: dict[str, object], choices: int) -> None:
    raw = json.dumps({"model": "m", **members}).encode()
    assert DOOR.read_request(raw, max_depth=8).choices == choices


@pytest.mark.parametrize(
    ("raw", "asked", "sent"),
    [
        (b'{"model":"m"}', False, b'{"model":"m"}'),
        (b'{"model":"m","stream":true}', False, b'{"stream_options":{"include_usage":true},"model":"m","stream":true}'),
        (
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
            True,
            b'{"model":"m","stream":true,"stream_options":{"include_usage":true}}',
        ),
        (b'{"model":"m","stream_options":{"include_usage":true}}', False, None),
    ],
)
def test_a_stream_is_asked_for_its_usage(raw: bytes, asked: bool, sent: bytes | None) -> None:
    call = DOOR.read_request(raw, max_depth=8)
    assert call.include_usage is asked
    prepared = PAIR.request(
        call, MODEL, "m", TranslationOptions(), ask_usage=True, passed=Passed(headers=b"openai-beta: x\r\n")
    )
    assert (prepared.path, prepared.headers) == (b"/completions", b"openai-beta: x\r\n")
    assert prepared.body == (raw if sent is None else sent)


def test_an_answer_whole_and_streamed() -> None:
    body = json.dumps(COMPLETION).encode()
    answer = PAIR.answer(body, PREPARED, created=1)
    assert (answer.body, answer.finish_reasons) == (body, ("stop", "stop"))
    assert answer.usage == TokenUsage(prompt_tokens=3, completion_tokens=4)
    assert DOOR.replay(body) is not None
    call = DOOR.read_request(b'{"model":"m","stream":true,"n":2}', max_depth=8)
    assert DOOR.cacheable(call)
    stream = PAIR.stream(call, PREPARED, created=1, keep_limit_bytes=100_000)
    run(stream, completion_events())
    folded = stream.answer()
    assert folded is not None
    assert json.loads(folded.body) == COMPLETION


@pytest.mark.parametrize("body", [b"{}", b'{"error":{}}', b"<html>"])
def test_what_is_no_completion_is_refused(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        PAIR.answer(body, PREPARED, created=1)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID
