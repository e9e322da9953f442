"""The real SDKs over a real socket, with strict validation of every answer."""

import json
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from llm_edge_agent.simulator import RunningSimulator
from tests.simulator.direct import SCHEMA, function, tool, user


class Weather(BaseModel):
    city: str
    days: int
    windy: bool


async def test_openai_whole(gpt: openai.AsyncOpenAI) -> None:
    made = await gpt.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "What is the capital of France?"}]
    )
    assert made.choices[0].message.content == "The capital of France is Paris."
    assert made.choices[0].finish_reason == "stop"
    assert made.model == "gpt-4o-2024-08-06"
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.total_tokens) == (8, 8, 16)
    assert made._request_id is not None


async def test_openai_stream(gpt: openai.AsyncOpenAI) -> None:
    stream = await gpt.chat.completions.create(
        model="gpt-5.2",
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        stream=True,
        stream_options={"include_usage": True},
        reasoning_effort="low",
        n=2,
    )
    chunks = [chunk async for chunk in stream]
    texts = ["", ""]
    finishes: list[str | None] = [None, None]
    for chunk in chunks[:-1]:
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        finishes[choice.index] = choice.finish_reason or finishes[choice.index]
        assert chunk.id == chunks[0].id
        assert chunk.usage is None
    assert texts == ["The capital of France is Paris.", "The capital of France is Paris. (Answer 2.)"]
    assert finishes == ["stop", "stop"]
    assert chunks[-1].choices == []
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 32
    assert usage.completion_tokens == 32 + 8 + 11
    assert chunks[0].choices[0].delta.role == "assistant"


async def test_openai_tools(gpt: openai.AsyncOpenAI) -> None:
    tools: Any = [function(), function("get_time")]
    asked: Any = [user("Please call get_weather and get_time for the city of Paris")]
    made = await gpt.chat.completions.create(model="gpt-4o", messages=asked, tools=tools)
    calls = made.choices[0].message.tool_calls
    assert calls is not None
    assert made.choices[0].finish_reason == "tool_calls"
    assert [call.function.name for call in calls if call.type == "function"] == ["get_weather", "get_time"]
    assert [json.loads(call.function.arguments) for call in calls if call.type == "function"] == [{"city": "Paris"}] * 2
    said: Any = made.choices[0].message.model_dump(exclude_none=True, exclude={"annotations"})
    results: Any = [{"role": "tool", "tool_call_id": call.id, "content": "21 degrees"} for call in calls]
    answered = await gpt.chat.completions.create(
        model="gpt-4o",
        messages=[*asked, said, *results],
        tools=tools,
    )
    assert answered.choices[0].message.content == "get_weather answered: 21 degrees get_time answered: 21 degrees"


async def test_openai_streamed_tools_and_helpers(gpt: openai.AsyncOpenAI) -> None:
    tools: Any = [function(strict=True)]
    async with gpt.chat.completions.stream(
        model="gpt-4o",
        messages=[{"role": "user", "content": "x"}],
        tools=tools,
        tool_choice="required",
    ) as stream:
        final = await stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "city"}


async def test_openai_parse(gpt: openai.AsyncOpenAI) -> None:
    made = await gpt.chat.completions.parse(
        model="gpt-5.6",
        messages=[{"role": "user", "content": "How is the weather in Rome?"}],
        response_format=Weather,
    )
    assert made.choices[0].message.parsed == Weather(city="Rome", days=42, windy=True)


async def test_openai_other_endpoints(gpt: openai.AsyncOpenAI, running: RunningSimulator) -> None:
    names = [model.id async for model in gpt.models.list()]
    assert "gpt-4o" in names
    assert "gpt-4" not in names
    assert (await gpt.models.retrieve("gpt-4o")).id == "gpt-4o"
    async with openai.AsyncOpenAI(base_url=running.url_openai, api_key="sk-test") as lenient:
        # The SDK asks for base64 by itself; its strict mode then validates before it decodes.
        decoded = await lenient.embeddings.create(model="text-embedding-3-small", input=["one", "two"], dimensions=8)
    plain = await gpt.embeddings.create(
        model="text-embedding-3-small", input=["one", "two"], dimensions=8, encoding_format="float"
    )
    assert [len(item.embedding) for item in plain.data] == [8, 8]
    assert decoded.data[1].embedding == pytest.approx(plain.data[1].embedding, abs=1e-6)
    assert plain.data[0].embedding != plain.data[1].embedding
    assert plain.usage.total_tokens == 2
    assert running.simulator.billed[-1].input_tokens == 2
    with pytest.raises(openai.RateLimitError):
        await gpt.embeddings.create(
            model="text-embedding-3-small", input="[[sim: status=429]]", encoding_format="float"
        )


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
@pytest.mark.parametrize("stream", [False, True])
async def test_openai_error_classes(
    gpt: openai.AsyncOpenAI, status: int, expected: type[openai.APIStatusError], stream: bool
) -> None:
    with pytest.raises(expected) as raised:
        await gpt.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": f"[[sim: status={status}, retry_after=2]]"}],
            stream=stream,
        )
    assert raised.value.status_code == status
    assert raised.value.response.headers["retry-after"] == "2"
    assert raised.value.request_id


async def test_claude_whole(claude: anthropic.AsyncAnthropic) -> None:
    made = await claude.messages.create(
        model="claude-haiku-4-5",
        max_tokens=100,
        messages=[{"role": "user", "content": "What is the capital of France?"}],
    )
    assert [block.text for block in made.content if block.type == "text"] == ["The capital of France is Paris."]
    assert (made.stop_reason, made.model) == ("end_turn", "claude-haiku-4-5-20251001")
    assert (made.usage.input_tokens, made.usage.output_tokens) == (8, 8)


async def test_claude_thinks_aloud_and_may_be_quoted(claude: anthropic.AsyncAnthropic) -> None:
    asked: Any = [user("call get_weather in Paris")]
    tools: Any = [tool()]
    async with claude.messages.stream(
        model="claude-opus-4-5",
        max_tokens=2000,
        messages=asked,
        tools=tools,
        thinking={"type": "enabled", "budget_tokens": 1024},
    ) as stream:
        made = await stream.get_final_message()
    assert [block.type for block in made.content] == ["thinking", "tool_use"]
    assert made.stop_reason == "tool_use"
    assert made.usage.output_tokens_details is not None
    thought, use = made.content
    assert thought.type == "thinking"
    assert use.type == "tool_use"
    assert use.input == {"city": "Paris"}
    assert thought.thinking
    result: Any = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]}
    answered = await claude.messages.create(
        model="claude-opus-4-5",
        max_tokens=2000,
        messages=[*asked, made.to_param(), result],
        tools=tools,
        thinking={"type": "enabled", "budget_tokens": 1024},
    )
    assert "get_weather answered: sunny" in [block.text for block in answered.content if block.type == "text"]


async def test_claude_events(claude: anthropic.AsyncAnthropic) -> None:
    stream = await claude.messages.create(
        model="claude-opus-5",
        max_tokens=300,
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        stream=True,
    )
    events = [event async for event in stream]
    assert [event.type for event in events if "delta" not in event.type] == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "content_block_start",
        "content_block_stop",
        "message_stop",
    ]
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    assert deltas[0].type == "signature_delta"
    assert "".join(delta.text for delta in deltas if delta.type == "text_delta") == "The capital of France is Paris."


async def test_claude_structured_output(claude: anthropic.AsyncAnthropic) -> None:
    made = await claude.messages.create(
        model="claude-haiku-4-5",
        max_tokens=300,
        messages=[{"role": "user", "content": "Say it"}],
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
    )
    assert [json.loads(block.text) for block in made.content if block.type == "text"] == [{"city": "city"}]


async def test_claude_other_endpoints(claude: anthropic.AsyncAnthropic) -> None:
    counted = await claude.messages.count_tokens(
        model="claude-haiku-4-5", messages=[{"role": "user", "content": "x" * 41}], system="y" * 4
    )
    assert counted.input_tokens == 12
    names = [model.id async for model in claude.models.list()]
    assert "claude-opus-5-5" in names
    assert not [name for name in names if name.startswith("claude-3")]
    assert (await claude.models.retrieve("claude-3-haiku-20240307")).lifecycle == "retired"
    beta = await claude.beta.messages.create(
        model="claude-haiku-4-5", max_tokens=10, messages=[{"role": "user", "content": "hi"}]
    )
    assert beta.content


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, anthropic.BadRequestError),
        (401, anthropic.AuthenticationError),
        (403, anthropic.PermissionDeniedError),
        (404, anthropic.NotFoundError),
        (429, anthropic.RateLimitError),
        (500, anthropic.InternalServerError),
        (529, anthropic.InternalServerError),
    ],
)
async def test_claude_error_classes(
    claude: anthropic.AsyncAnthropic, status: int, expected: type[anthropic.APIStatusError]
) -> None:
    with pytest.raises(expected) as raised:
        await claude.messages.create(
            model="claude-haiku-4-5",
            max_tokens=10,
            messages=[{"role": "user", "content": f"[[sim: status={status}]]"}],
        )
    assert raised.value.status_code == status
    assert raised.value.request_id
    assert raised.value.type


async def test_errors_within_streams(gpt: openai.AsyncOpenAI, claude: anthropic.AsyncAnthropic) -> None:
    broken = "[[sim: fail_after=2, mode=error, tokens=10]]"
    stream = await gpt.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": broken}], stream=True
    )
    with pytest.raises(openai.APIError, match="The server had an error"):
        [chunk async for chunk in stream]
    events = await claude.messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": broken}], stream=True
    )
    with pytest.raises(anthropic.APIStatusError) as raised:
        [event async for event in events]
    assert raised.value.type == "overloaded_error"


async def test_cut_connections(gpt: openai.AsyncOpenAI, running: RunningSimulator) -> None:
    stream = await gpt.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "[[sim: fail_after=2, tokens=10]]"}], stream=True
    )
    seen: list[str] = []

    async def read() -> None:
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content or "")

    with pytest.raises(openai.APIConnectionError):
        await read()
    assert len("".join(seen)) == 8
    with pytest.raises(openai.APIConnectionError):
        await gpt.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "[[sim: mode=fin, fail_after=1]]"}]
        )
    assert running.simulator.open_exchanges == 0
    assert [(record.completed, record.aborted) for record in running.simulator.requests] == [(False, False)] * 2
