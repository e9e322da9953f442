"""Each workload is what its description says, and the same for everybody."""

import json
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest

from llm_edge_agent.dialects.chat import read_request
from llm_edge_agent.workloads import GENERATORS, LoggedRequest, generate
from llm_edge_agent.workloads.records import write_line


def body(record: LoggedRequest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(record.request))
    return found


@pytest.mark.parametrize("name", GENERATORS)
def test_a_seed_decides_everything(name: str) -> None:
    def digest(seed: int) -> str:
        return sha256(b"".join(map(write_line, generate(name, 50, seed)))).hexdigest()

    assert digest(1) == digest(1)
    assert digest(1) != digest(2)


@pytest.mark.parametrize("name", GENERATORS)
def test_every_request_is_one_that_the_gateway_takes_and_times_only_grow(name: str) -> None:
    records = list(generate(name, 300, 3))
    times = [record.time for record in records]
    assert times == sorted(times, key=lambda time: time or 0.0)
    for record in records:
        assert read_request(bytes(record.request), max_depth=16).model
        assert record.usage is not None
        assert record.usage.prompt_tokens > 0


def test_the_support_bot_hears_few_questions_often() -> None:
    questions = [body(record)["messages"][1]["content"] for record in generate("support-bot", 2000, 1)]
    commonest = max(questions.count(question) for question in set(questions))
    assert commonest > 100
    assert 300 < len(set(questions)) < 700
    assert 0.03 < sum("(order " in question for question in questions) / len(questions) < 0.07


def test_an_agents_request_begins_with_the_one_before_it() -> None:
    by_task: dict[str, list[list[Any]]] = {}
    for record in generate("agent-loop", 400, 1):
        messages = body(record)["messages"]
        by_task.setdefault(messages[1]["content"], []).append(messages)
    assert any(len(turns) > 10 for turns in by_task.values())
    for turns in by_task.values():
        for before, after in pairwise(turns):
            assert after[: len(before)] == before
            assert [message["role"] for message in after[len(before) :]] == ["assistant", "tool"]


def test_open_chat_hardly_repeats() -> None:
    requests = [bytes(record.request) for record in generate("open-chat", 2000, 1)]
    assert 0.9 < len(set(requests)) / len(requests) < 1.0
