"""The endpoint before chat."""

from typing import Any

import pytest
from openai.types import Completion

from tests.simulator.direct import Got, ask, simulator

COMPLETIONS = "/v1/completions"


def sim() -> Any:
    return simulator(extra_models=("instruct",))


async def complete(running: Any, prompt: Any = "What is the capital of France?", **members: Any) -> Got:
    return await ask(running, COMPLETIONS, {"model": "instruct", "prompt": prompt, **members})


async def test_whole() -> None:
    running = sim()
    got = await complete(running)
    made = Completion.model_validate(got.json)
    assert made.choices[0].text == "The capital of France is Paris."
    assert made.choices[0].finish_reason == "stop"
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.total_tokens) == (8, 8, 16)
    assert (running.billed[-1].input_tokens, running.billed[-1].output_tokens) == (8, 8)


async def test_streamed_and_whole_agree() -> None:
    running = sim()
    asked: dict[str, Any] = {"prompt": ["one", "two"], "n": 2, "echo": True}
    made = (await complete(running, **asked)).json
    got = await complete(running, **asked, stream=True, stream_options={"include_usage": True})
    texts = ["", "", "", ""]
    for event in got.events[:-1]:
        (choice,) = event["choices"]
        texts[choice["index"]] += choice["text"]
        assert event["usage"] is None
    assert texts == [choice["text"] for choice in made["choices"]]
    assert texts[0].startswith("one")
    assert texts[2].startswith("two")
    assert got.events[-1]["choices"] == []
    assert got.events[-1]["usage"] == made["usage"]
    assert got.body.endswith(b"data: [DONE]\n\n")
    assert [choice["finish_reason"] for choice in made["choices"]] == ["length"] * 4
    assert running.billed[0].output_tokens == running.billed[1].output_tokens == 4 * 16


async def test_token_ids_stops_and_log_probabilities() -> None:
    got = (await complete(sim(), [1, 2, 3], stop=" ", logprobs=2)).json
    assert got["usage"]["prompt_tokens"] == 3
    assert " " not in got["choices"][0]["text"]
    assert len(got["choices"][0]["logprobs"]["top_logprobs"][0]) == 2
    several = (await complete(sim(), [[1, 2], [3]], max_tokens=1)).json
    assert len(several["choices"]) == 2
    assert (await complete(sim(), None)).status == 200


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"messages": []}, "messages"),
        ({"logprobs": 6}, "logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"n": 3, "best_of": 2}, "n"),
        ({"best_of": 3, "stream": True}, "best_of"),
        ({"suffix": "x", "echo": True}, "suffix"),
        ({"model": "gpt-4o"}, "model"),
        ({"prompt": "[[sim: nonsense]]"}, "prompt"),
    ],
)
async def test_refusals(members: dict[str, Any], param: str) -> None:
    got = await complete(sim(), **members)
    assert got.status in (400, 404)
    assert got.error["param"] == param


async def test_models_and_limits() -> None:
    running = sim()
    for model in ("gpt-3.5-turbo-instruct", "nothing"):
        assert (await complete(running, model=model)).error["code"] == "model_not_found"
    assert (await complete(running, max_tokens=10**6)).error["code"] == "context_length_exceeded"
    assert (await complete(running, "[[sim: status=429]]")).status == 429
    assert len(running.billed) == 0
