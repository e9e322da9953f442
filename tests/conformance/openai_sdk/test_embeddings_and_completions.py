"""The endpoints without a conversation."""

import time
from typing import Any

import openai
import pytest

from tests.canaries import prompt
from tests.conformance.processes import STRAIGHT, Running, through_the_gateway

SMALL = "text-embedding-3-small"
INSTRUCT = "own-instruct" if STRAIGHT else "openai/own-instruct"


def once(text: str) -> str:
    return f"{prompt(text)} ({time.monotonic_ns()})"


def test_embeddings_as_numbers_and_as_base64(client: openai.OpenAI, running: Running) -> None:
    texts = [once("one"), once("two")]
    plain = client.embeddings.create(model=SMALL, input=texts, dimensions=16, encoding_format="float")
    packed = client.embeddings.create(model=SMALL, input=texts, dimensions=16)
    assert [item.index for item in plain.data] == [0, 1]
    for floats, decoded in zip(plain.data, packed.data, strict=True):
        assert len(floats.embedding) == 16
        assert decoded.embedding == pytest.approx(floats.embedding, abs=1e-6)
    bill = running.simulator("billing")["billed"][-1]
    assert plain.usage.prompt_tokens == packed.usage.total_tokens == bill["input_tokens"]


@pytest.mark.parametrize("given", ["text", ["one", "two"], [1, 2, 3], [[1, 2], [3]]])
def test_every_form_of_input(client: openai.OpenAI, given: Any) -> None:
    made = client.embeddings.create(model=SMALL, input=given)
    assert len(made.data) == (2 if isinstance(given, list) and not isinstance(given[0], int) else 1)
    assert len(made.data[0].embedding) == 1536


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"input": []}, openai.BadRequestError),
        ({"input": "x", "dimensions": 10_000}, openai.BadRequestError),
        ({"input": ["x"] * 2049}, openai.BadRequestError),
        ({"input": "x" * 40_000}, openai.BadRequestError),
        ({"input": "x", "model": "no-such-model"}, openai.NotFoundError),
        ({"input": prompt("[[sim: status=429]]")}, openai.RateLimitError),
        ({"input": prompt("[[sim: status=500]]")}, openai.InternalServerError),
    ],
)
def test_refused_embeddings(client: openai.OpenAI, members: dict[str, Any], error: type[openai.APIStatusError]) -> None:
    asked: dict[str, Any] = {"model": SMALL, **members}
    with pytest.raises(error) as caught:
        client.embeddings.create(**asked)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"]


@through_the_gateway
def test_embeddings_are_cached(client: openai.OpenAI) -> None:
    text = once("again")
    first = client.embeddings.create(model=SMALL, input=text)
    raw = client.embeddings.with_raw_response.create(model=SMALL, input=text, extra_body={"encoding_format": "base64"})
    assert raw.headers["x-llm-edge-cache"] == "hit-l1"
    assert first.usage.total_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
def test_completions(client: openai.OpenAI, running: Running, stream: bool) -> None:
    asked: dict[str, Any] = {"model": INSTRUCT, "prompt": [once("one"), once("two")], "max_tokens": 9}
    if stream:
        texts = ["", ""]
        usage = None
        chunks = client.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        for chunk in chunks:
            for choice in chunk.choices:
                texts[choice.index] += choice.text
            usage = chunk.usage or usage
    else:
        made = client.completions.create(**asked)
        texts = [choice.text for choice in made.choices]
        usage = made.usage
        assert [choice.finish_reason for choice in made.choices] == ["length", "length"]
    assert all(texts)
    bill = running.simulator("billing")["billed"][-1]
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (bill["input_tokens"], bill["output_tokens"])
    assert usage.completion_tokens == 18


def test_refused_completions(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=INSTRUCT, prompt="x", logprobs=9)
    assert caught.value.param == "logprobs"
    with pytest.raises(openai.RateLimitError):
        client.completions.create(model=INSTRUCT, prompt=prompt("[[sim: status=429]]"))


@through_the_gateway
def test_a_broken_completion_raises(client: openai.OpenAI) -> None:
    stream = client.completions.create(
        model=INSTRUCT, prompt=once("[[sim: tokens=50, fail_after=4]]"), max_tokens=60, stream=True
    )
    with pytest.raises(openai.APIError):
        list(stream)
