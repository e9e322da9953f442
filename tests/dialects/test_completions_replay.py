import json

import pytest

from llm_edge_agent.dialects.completions_replay import completions_replay
from llm_edge_agent.dialects.completions_stream import CompletionsReader
from llm_edge_agent.dialects.event_relay import RelayedStream
from tests.dialects.native_samples import COMPLETION, run

BODY = json.dumps(COMPLETION, indent=1).encode()


def test_whole_it_is_the_providers_bytes_but_for_id_and_time() -> None:
    replay = completions_replay(BODY)
    assert replay is not None
    whole = replay.whole(b"abc", b"7", None)
    assert whole == BODY.replace(b'"cmpl-1"', b'"cmpl-abc"').replace(b'"created": 1', b'"created": 7')


@pytest.mark.parametrize("show_usage", [False, True])
def test_streamed_it_folds_into_itself(show_usage: bool) -> None:
    replay = completions_replay(BODY)
    assert replay is not None
    stream = replay.stream(b"abc", b"7", None, show_usage=show_usage)
    machine = RelayedStream(CompletionsReader(show_usage=True, choices=2), keep_limit_bytes=100_000)
    assert run(machine, [stream]) == stream
    answer = machine.answer()
    assert answer is not None
    expected = {**COMPLETION, "id": "cmpl-abc", "created": 7}
    if not show_usage:
        del expected["usage"]
    assert json.loads(answer.body) == expected
    assert stream.count(b'"usage"') == (stream.count(b"data: {") if show_usage else 0)


def test_an_answer_of_nothing_but_choices() -> None:
    replay = completions_replay(b'{"choices":[{"text":""}]}')
    assert replay is not None
    stream = replay.stream(b"a", b"1", None, show_usage=True)
    assert stream.count(b"data: ") == 2


@pytest.mark.parametrize("body", [b"{}", b"nonsense", b'{"choices":[{}]}', b'{"id":1,"id":2,"choices":[]}'])
def test_what_could_not_be_told_in_both_framings_is_not_stored(body: bytes) -> None:
    assert completions_replay(body) is None
