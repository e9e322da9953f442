"""Failures of the gateway itself: told as such, logged without quoting, and never a hang."""

from collections.abc import Callable
from typing import Any

import pytest

from llm_edge_agent.dialects.answer_stream import ChatAnswerStream
from llm_edge_agent.gateway import dispatch, settling
from llm_edge_agent.gateway.pipeline import Pipeline
from llm_edge_agent.gateway.stored import StoredAnswer
from tests.e2e.running_gateway import ask, eventually
from tests.e2e.scripted_upstream import completion, either, reply, whole_stream
from tests.faults.conftest import Bench
from tests.faults.shapes import assert_error


def _raises(*arguments: Any, **named: Any) -> Any:
    raise LookupError(f"this quotes what was asked: {arguments} {named}")


WHOLE: list[tuple[str, Callable[[pytest.MonkeyPatch], None]]] = [
    ("while admitting", lambda patch: patch.setattr(Pipeline, "_read", lambda self, endpoint, raw: _raises(raw))),
    ("while asking", lambda patch: patch.setattr(dispatch, "reset_after_s", _raises)),
    ("while accounting", lambda patch: patch.setattr(settling, "cost_picodollars", _raises)),
    ("while storing", lambda patch: patch.setattr(StoredAnswer, "__init__", _raises)),
]


@pytest.mark.parametrize(("moment", "sabotage"), WHOLE, ids=[row[0] for row in WHOLE])
async def test_a_failure_of_our_own(
    moment: str, sabotage: Callable[[pytest.MonkeyPatch], None], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream, gateway = await bench.pair(either(reply(completion()), whole_stream()))
    with monkeypatch.context() as patch:
        sabotage(patch)
        assert_error(await gateway.chat(), 500, "internal_error")
    bench.internal_errors = 1
    assert gateway.metric("llm_edge_request_errors_total", error_type="internal") == 1
    assert (await gateway.logged("llm_edge_agent.faults"))[0]["level"] == "error"
    await eventually(lambda: gateway.server.in_flight == 0)
    assert (await gateway.chat()).status == 200
    assert gateway.state.pool.in_use == 0
    assert upstream.exchanges_open == 0


@pytest.mark.parametrize("method", ["feed", "answer", "close"])
async def test_a_failure_of_our_own_inside_a_stream(method: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream, gateway = await bench.pair(either(reply(completion()), whole_stream(), pause_s=0.01))
    with monkeypatch.context() as patch:
        patch.setattr(ChatAnswerStream, method, lambda self, *data: _raises(data))
        answer = await gateway.chat(ask(stream=True))
    bench.internal_errors = 1
    assert answer.whole
    if method == "feed":
        assert_error(answer, 500, "internal_error")
    else:
        assert answer.events[-1]["error"]["code"] == "internal_error"
        assert "[DONE]" not in answer.events
    await eventually(lambda: gateway.server.in_flight == 0)
    await eventually(lambda: upstream.exchanges_open == 0)
    assert gateway.metric("llm_edge_request_errors_total", error_type="internal") == 1
    assert (await gateway.chat(ask(stream=True))).events[-1] == "[DONE]"
