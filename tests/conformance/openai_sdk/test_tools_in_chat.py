"""Function tools in chat completions with models that take them only at the Responses API: the SDK never notices."""

import json
from typing import Any

import openai
import pytest

from tests.canaries import prompt
from tests.conformance.processes import Running, through_the_gateway

pytestmark = through_the_gateway

MODELS = ("gpt-6-sol", "gpt-6-astra")
"""One that refuses function tools unless its effort is none, one that has no effort none."""

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Get the weather of a city",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
WEATHER: list[Any] = [{"role": "user", "content": prompt("[[sim: tool=get_weather]] Weather in Paris?")}]


@pytest.fixture(params=MODELS)
def gpt(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def bill_of(running: Running) -> Any:
    return running.simulator("billing")["billed"][-1]


def check_bill(usage: Any, bill: Any) -> None:
    read, written = bill["cache_read_tokens"], bill["cache_write_5m_tokens"]
    assert usage.prompt_tokens == bill["input_tokens"] + read + written
    assert (usage.completion_tokens, usage.prompt_tokens_details.cached_tokens) == (bill["output_tokens"], read)
    assert usage.completion_tokens_details.reasoning_tokens == bill["reasoning_tokens"]


def test_the_provider_itself_refuses(running: Running, gpt: str) -> None:
    with (
        openai.OpenAI(base_url=f"{running.simulator_url}/v1", api_key="sk-x", max_retries=0) as straight,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        straight.chat.completions.create(model=gpt, messages=WEATHER, tools=TOOLS)
    assert caught.value.param == "reasoning_effort"


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop(client: openai.OpenAI, running: Running, gpt: str, stream: bool) -> None:
    first = answered(client, stream, model=gpt, messages=WEATHER, tools=TOOLS, seed=int(stream))
    check_bill(first.usage, bill_of(running))
    assert bill_of(running)["path"].endswith("/responses")
    choice = first.choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls
    assert set(json.loads(call.function.arguments)) == {"city"}
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    second = answered(client, stream, model=gpt, messages=[*WEATHER, choice.message, result], tools=TOOLS)
    assert second.choices[0].finish_reason == "stop"
    assert "sunny" in second.choices[0].message.content
    check_bill(second.usage, bill_of(running))


def answered(client: openai.OpenAI, stream: bool, **asked: Any) -> Any:
    if not stream:
        return client.chat.completions.create(**asked)
    with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
        for _ in events:
            pass
        return events.get_final_completion()


def test_reasoning_goes_on_where_the_message_is_sent_back(client: openai.OpenAI, running: Running, gpt: str) -> None:
    """The message as the SDK keeps it carries the encrypted reasoning; without it, the prompt is shorter by that."""
    first: Any = client.chat.completions.create(model=gpt, messages=WEATHER, tools=TOOLS)
    whole = first.choices[0].message.model_dump(exclude_none=True)
    assert whole["thinking_blocks"]
    bare = {key: whole[key] for key in whole if key != "thinking_blocks"}
    (call,) = first.choices[0].message.tool_calls
    prompts = []
    for message in (whole, bare):
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
        history: Any = [*WEATHER, message, result]
        made = client.chat.completions.create(model=gpt, messages=history, tools=TOOLS)
        assert made.usage is not None
        prompts.append(made.usage.prompt_tokens)
    assert prompts[0] > prompts[1]
    # The same history without tools stays where its reasoning is understood.
    told: Any = [*WEATHER, whole, result]
    client.chat.completions.create(model=gpt, messages=told)
    assert bill_of(running)["path"].endswith("/responses")
    # With another model it goes on without: the provider would refuse what it does not know.
    client.chat.completions.create(model="gpt-4.1", messages=told, tools=TOOLS)
    assert bill_of(running)["path"].endswith("/chat/completions")


def test_a_streamed_call_is_replayed_whole(client: openai.OpenAI, gpt: str) -> None:
    asked: Any = {
        "model": gpt,
        "tools": TOOLS,
        "messages": [{"role": "user", "content": f"[[sim: tool=get_weather]]{gpt}"}],
    }
    first = answered(client, True, **asked).choices[0]
    again = client.chat.completions.with_raw_response.create(**asked)
    assert again.headers["x-llm-edge-cache"] == "hit-l1"
    repeated: Any = again.parse().choices[0]
    assert (repeated.finish_reason, repeated.message.tool_calls[0].id) == ("tool_calls", first.message.tool_calls[0].id)
    assert repeated.message.thinking_blocks == first.message.thinking_blocks


def test_structured_output_and_stop_beside_tools(client: openai.OpenAI, gpt: str) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    asked: Any = {"type": "json_schema", "json_schema": {"name": "city", "schema": schema}}
    made = client.chat.completions.create(
        model=gpt,
        messages=[{"role": "user", "content": prompt("A city")}],
        tools=TOOLS,
        tool_choice="none",
        response_format=asked,
    )
    assert set(json.loads(made.choices[0].message.content or "")) == {"city"}
    cut = client.chat.completions.create(
        model=gpt,
        messages=[{"role": "user", "content": prompt("What is the capital of France?")}],
        tools=TOOLS,
        tool_choice="none",
        stop=[" France"],
    )
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("The capital of", "stop")


def test_effort_none_stays_in_chat(client: openai.OpenAI, running: Running) -> None:
    made = client.chat.completions.create(model=MODELS[0], messages=WEATHER, tools=TOOLS, reasoning_effort="none")
    assert made.choices[0].finish_reason == "tool_calls"
    assert bill_of(running)["path"].endswith("/chat/completions")


@pytest.mark.parametrize("stream", [False, True])
def test_refusals_have_the_names_of_chat(client: openai.OpenAI, gpt: str, stream: bool) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model=gpt, messages=WEATHER, tools=TOOLS, max_completion_tokens=10**7, stream=stream
        )
    assert caught.value.param == "max_completion_tokens"


def test_a_stream_that_fails(client: openai.OpenAI, gpt: str) -> None:
    asked: Any = [{"role": "user", "content": prompt("[[sim: tokens=9, fail_after=3, mode=failed]]")}]
    with pytest.raises(openai.APIError):
        for _ in client.chat.completions.create(model=gpt, messages=asked, tools=TOOLS, stream=True):
            pass
