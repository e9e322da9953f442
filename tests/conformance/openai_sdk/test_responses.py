"""The Responses API: whole, streamed, function calls, reasoning items, structured outputs, failures."""

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.canaries import CLIENT_KEY, prompt
from tests.conformance.processes import STRAIGHT, UPSTREAM_TIMEOUT_S, Running, through_the_gateway

PARIS = "What is the capital of France?"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"type": "function", "name": name, "parameters": SCHEMA, "strict": True} for name in ("get_weather", "get_time")
]
SEALED: list[Any] = ["reasoning.encrypted_content"]


class City(BaseModel):
    name: str
    population: int


@pytest.fixture(scope="session")
def client(running: Running) -> Iterator[openai.OpenAI]:
    """Every answer is checked against the SDK's own types."""
    with openai.OpenAI(
        base_url=f"{running.url}/v1",
        api_key=CLIENT_KEY,
        max_retries=0,
        timeout=20,
        _strict_response_validation=True,
    ) as sdk:
        yield sdk


@pytest.fixture(params=["gpt-5.6", "gpt-6-astra"])
def reasoner(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def once(text: str) -> str:
    """A question that no other test asks, so that no answer comes from a cache."""
    return f"{prompt(text)} ({time.monotonic_ns()})"


def test_whole(client: openai.OpenAI, running: Running, reasoner: str) -> None:
    made = client.responses.create(model=reasoner, input=once(PARIS), instructions="Be brief.", store=False)
    assert (made.object, made.status, made.error) == ("response", "completed", None)
    assert made.output_text == "The capital of France is Paris."
    bill = running.simulator("billing")["billed"][-1]
    assert made.usage is not None
    assert (made.usage.input_tokens, made.usage.output_tokens) == (bill["input_tokens"], bill["output_tokens"])
    assert made.usage.output_tokens_details.reasoning_tokens == bill["reasoning_tokens"] > 0
    assert made._request_id


def test_streamed(client: openai.OpenAI, reasoner: str) -> None:
    asked: dict[str, Any] = {"model": reasoner, "input": once("Tell me about rivers."), "store": False}
    events = list(client.responses.create(**asked, reasoning={"summary": "auto"}, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events]
    assert kinds[:3] == ["response.created", "response.in_progress", "response.output_item.added"]
    assert "response.reasoning_summary_text.delta" in kinds
    final = events[-1]
    assert final.type == "response.completed"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.response.output_text
    whole = client.responses.create(**asked, reasoning={"summary": "auto"})
    assert (whole.output_text, whole.usage and whole.usage.output_tokens) == (
        text,
        final.response.usage and final.response.usage.output_tokens,
    )


def test_stream_helper(client: openai.OpenAI, reasoner: str) -> None:
    with client.responses.stream(model=reasoner, input=once(PARIS), store=False) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_response()
    assert "response.output_text.delta" in kinds
    assert final.output_text == "The capital of France is Paris."


@pytest.mark.parametrize("stream", [False, True])
def test_function_calls_and_their_loop(client: openai.OpenAI, reasoner: str, stream: bool) -> None:
    asked: dict[str, Any] = {"model": reasoner, "tools": TOOLS, "store": False, "include": SEALED}
    history: list[Any] = [{"role": "user", "content": once("call get_weather and get_time for Paris")}]
    if stream:
        with client.responses.stream(**asked, input=history) as events:
            made: Any = events.get_final_response()
    else:
        made = client.responses.create(**asked, input=history)
    reasoning, *calls = made.output
    assert reasoning.type == "reasoning"
    assert reasoning.encrypted_content
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("get_weather", {"city": "Paris"}),
        ("get_time", {"city": "Paris"}),
    ]
    history += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in made.output]
    history += [
        {"type": "function_call_output", "call_id": call.call_id, "output": f"result of {call.name}"} for call in calls
    ]
    again = client.responses.create(**asked, input=history)
    assert "get_time answered: result of get_time" in again.output_text
    altered: list[Any] = [
        {**item, "encrypted_content": "gAAAAAB="} if item.get("summary") == [] else item for item in history
    ]
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(**asked, input=altered)
    assert caught.value.code == "invalid_encrypted_content"


def test_custom_tools(client: openai.OpenAI, reasoner: str) -> None:
    tools: Any = [{"type": "custom", "name": "note", "description": "Takes a note"}]
    made = client.responses.create(model=reasoner, input=once("call note"), tools=tools, store=False)
    (call,) = [item for item in made.output if item.type == "custom_tool_call"]
    assert call.input


def test_a_stored_response_is_continued(client: openai.OpenAI, reasoner: str) -> None:
    first = client.responses.create(model=reasoner, input=once("My name is Ada."))
    second = client.responses.create(model=reasoner, input=once("And mine?"), previous_response_id=first.id)
    assert second.previous_response_id == first.id
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=reasoner, input=prompt("And now?"), previous_response_id="resp_none")
    assert caught.value.code == "previous_response_not_found"


@pytest.mark.parametrize("stream", [False, True])
def test_structured_output(client: openai.OpenAI, reasoner: str, stream: bool) -> None:
    asked: dict[str, Any] = {"model": reasoner, "input": once("Describe Rome."), "store": False, "text_format": City}
    if stream:
        with client.responses.stream(**asked) as events:
            parsed = events.get_final_response().output_parsed
    else:
        parsed = client.responses.parse(**asked).output_parsed
    assert isinstance(parsed, City)


def test_images_and_files(client: openai.OpenAI, reasoner: str) -> None:
    content: Any = [
        {"type": "input_text", "text": once("What is this?")},
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
    ]
    made = client.responses.create(model=reasoner, input=[{"role": "user", "content": content}], store=False)
    assert made.usage is not None
    assert made.usage.input_tokens > 1000


@pytest.mark.parametrize("stream", [False, True])
def test_incomplete(client: openai.OpenAI, reasoner: str, stream: bool) -> None:
    asked: dict[str, Any] = {"model": reasoner, "input": once("[[sim: tokens=100]]"), "max_output_tokens": 70}
    if stream:
        final: Any = list(client.responses.create(**asked, store=False, stream=True))[-1]
        assert final.type == "response.incomplete"
        made = final.response
    else:
        made = client.responses.create(**asked, store=False)
    assert (made.status, made.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert made.usage.output_tokens == 70


def test_refusals_of_the_model(client: openai.OpenAI, reasoner: str) -> None:
    made = client.responses.create(model=reasoner, input=once("[[sim: finish=refusal]]"), store=False)
    (message,) = [item for item in made.output if item.type == "message"]
    assert message.content[0].type == "refusal"


def test_the_prompt_cache_shows_in_usage(client: openai.OpenAI, reasoner: str) -> None:
    instructions = once("x") + "y" * 8000
    asked: dict[str, Any] = {"model": reasoner, "instructions": instructions, "store": False}
    first = client.responses.create(**asked, input=prompt("One?")).usage
    second = client.responses.create(**asked, input=prompt("Two?")).usage
    assert first is not None
    assert second is not None
    assert first.input_tokens_details.cached_tokens == 0
    assert second.input_tokens_details.cached_tokens >= 1920


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_error_classes(client: openai.OpenAI, status: int, expected: type[openai.APIStatusError], stream: bool) -> None:
    text = once(f"[[sim: status={status}, retry_after=2]]")
    if status in (401, 403) and not STRAIGHT:
        # What a provider says of the gateway's own key is no business of the client's.
        status, expected = 502, openai.InternalServerError
    with pytest.raises(expected) as caught:
        client.responses.create(model="gpt-5.6", input=text, store=False, stream=stream)
    assert caught.value.status_code == status
    assert caught.value.request_id
    assert isinstance(caught.value.body, dict)
    assert {"message", "type", "param", "code"} <= set(caught.value.body)
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "2"


def test_members_that_nobody_knows_reach_the_provider(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="gpt-5.6", input=prompt("Hi"), extra_body={"from_the_future": 1})
    assert (caught.value.code, caught.value.param) == ("unknown_parameter", "from_the_future")


@pytest.mark.parametrize(("mode", "last"), [("error", "error"), ("failed", "response.failed")])
def test_failures_within_the_stream(client: openai.OpenAI, mode: str, last: str) -> None:
    """The SDK hands both out as events."""
    text = once(f"[[sim: tokens=50, fail_after=4, mode={mode}]]")
    seen = [event.type for event in client.responses.create(model="gpt-5.6", input=text, store=False, stream=True)]
    assert seen[-1] == last
    assert seen.count("response.output_text.delta") == 4


@through_the_gateway
@pytest.mark.parametrize("mode", ["rst", "fin", "eof_tidy", "stall"])
def test_a_broken_stream_says_so(client: openai.OpenAI, mode: str) -> None:
    text = once(f"[[sim: tokens=50, fail_after=4, mode={mode}]]")
    stream = client.responses.create(model="gpt-5.6", input=text, store=False, stream=True)
    seen: list[Any] = []
    try:
        seen.extend(stream)
    except openai.APIError:
        seen.append(None)
    assert "response.output_text.delta" in {event.type for event in seen if event}
    assert seen[-1] is None or seen[-1].type in ("error", "response.failed")


def test_timeouts_and_cancelling(client: openai.OpenAI, running: Running) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).responses.create(model="gpt-5.6", input=once("[[sim: latency=30]]"))
    running.wait_until(0)
    stream = client.responses.create(
        model="gpt-5.6", input=once("[[sim: tokens=200, chunk_delay=0.1]]"), store=False, stream=True
    )
    assert next(iter(stream)).type == "response.created"
    assert running.open_exchanges() == 1
    stream.close()
    assert running.wait_until(0) < 1.5


@through_the_gateway
def test_a_provider_that_does_not_answer(client: openai.OpenAI, running: Running) -> None:
    began_s = time.monotonic()
    with pytest.raises(openai.InternalServerError) as caught:
        client.responses.create(model="gpt-5.6", input=once("[[sim: latency=30]]"))
    assert UPSTREAM_TIMEOUT_S - 0.5 < time.monotonic() - began_s < UPSTREAM_TIMEOUT_S + 3
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
    running.wait_until(0)


@through_the_gateway
def test_what_the_gateway_adds_is_in_headers_only(client: openai.OpenAI, running: Running) -> None:
    raw = client.responses.with_raw_response.create(model="gpt-5.6", input=once(PARIS), store=False)
    sent = running.simulator("exchanges")["exchanges"][-1]
    assert raw.http_response.content == base64.b64decode(sent["answer_base64"])
    assert raw.headers["x-llm-edge-provider"] == "openai"
    assert float(raw.headers["x-llm-edge-cost-usd"]) > 0


@through_the_gateway
def test_only_unstored_responses_are_answered_from_the_cache(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "gpt-5.6", "input": once("Tell me about bridges.")}
    first = client.responses.create(**asked, store=False)
    again = client.responses.with_raw_response.create(**asked, store=False)
    assert again.headers["x-llm-edge-cache"] == "hit-l1"
    assert again.parse().output_text == first.output_text
    events = list(client.responses.create(**asked, store=False, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == first.output_text
    for _ in range(2):
        stored = client.responses.with_raw_response.create(**asked)
        assert not stored.headers["x-llm-edge-cache"].startswith("hit")


@pytest.mark.parametrize("stream", [False, True])
def test_cancelling_a_task_cancels_the_provider(running: Running, stream: bool) -> None:
    async def ask_and_cancel() -> None:
        async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key=CLIENT_KEY, max_retries=0) as client:

            async def read() -> None:
                made: Any = await client.responses.create(
                    model="gpt-5.6", input=once("[[sim: tokens=200, chunk_delay=0.1]]"), store=False, stream=stream
                )
                async for _ in made:
                    pass

            task = asyncio.ensure_future(read())
            await asyncio.to_thread(running.wait_until, 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.to_thread(running.wait_until, 0, 1.5)

    asyncio.run(ask_and_cancel())
