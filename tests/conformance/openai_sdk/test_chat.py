import base64
import json
import struct
import threading
import time
import urllib.request
import zlib
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from tests.canaries import CLIENT_KEY, prompt

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Get the {what} of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
    for name, what in (("get_weather", "weather"), ("get_time", "local time"))
]


# The SDK types `metadata` as a map of strings, and says so when it serialises ours; RESPONSE_METADATA moves it.
pytestmark = pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")


def ask(text: str) -> list[Any]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": prompt(text)}]


def metadata(answer: ChatCompletion | ChatCompletionChunk) -> dict[str, Any]:
    extra: dict[str, Any] = (answer.model_extra or {}).get("metadata") or getattr(answer, "metadata", None) or {}
    return extra


def png() -> str:
    """One red pixel, as a data URL."""

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\x00\xff\x00\x00")
    raw = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", body) + part(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(raw).decode()


def test_chat(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=ask("What is the capital of France?"))
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert metadata(answer)["provider"] == ("openai" if model.startswith("gpt") else "anthropic")


def test_the_same_question_again_is_answered_from_the_cache(client: openai.OpenAI, model: str) -> None:
    messages = ask(f"Say something memorable about bridges, {model}.")
    first = client.chat.completions.create(model=model, messages=messages)
    raw = client.chat.completions.with_raw_response.create(model=model, messages=messages)
    second = raw.parse()
    assert isinstance(second, ChatCompletion)
    assert metadata(first)["cached"] is False
    assert metadata(first)["cost_usd"] > 0
    assert metadata(second) | {"latency_ms": 0} == {
        "provider": metadata(first)["provider"],
        "cached": True,
        "cache_tier": "l1",
        "latency_ms": 0,
        "cost_usd": 0.0,
    }
    assert second.choices == first.choices
    assert second.usage == first.usage
    assert second.id != first.id
    assert raw.headers["x-llm-edge-cache"] == "hit-l1"
    streamed = list(client.chat.completions.create(model=model, messages=messages, stream=True))
    text = "".join(c.choices[0].delta.content or "" for c in streamed if c.choices)
    assert text == first.choices[0].message.content
    assert metadata(streamed[-1])["cached"] is True


@pytest.mark.parametrize("include_usage", [True, False])
def test_stream(client: openai.OpenAI, model: str, include_usage: bool) -> None:
    messages = ask(f"Tell me about rivers. {model} {include_usage}")
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if include_usage else {}
    chunks = list(client.chat.completions.create(model=model, messages=messages, stream=True, **options))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    finishes = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert finishes == ["stop"]
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert len(usages) == (1 if include_usage else 0)
    if include_usage:
        assert chunks[-1].choices == []
    assert metadata(chunks[-1])["cached"] is False
    assert metadata(chunks[-1])["cost_usd"] > 0
    whole = client.chat.completions.create(model=model, messages=messages)
    assert whole.choices[0].message.content == text
    assert metadata(whole)["cached"] is True
    if include_usage:
        assert whole.usage == usages[0]


def test_stream_helper(client: openai.OpenAI, model: str) -> None:
    with client.chat.completions.stream(model=model, messages=ask(f"Tell me about lakes, {model}.")) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert final.choices[0].message.content


def test_single_tool(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model,
        messages=ask("call get_weather for Paris"),
        tools=TOOLS,
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    assert answer.choices[0].finish_reason in ("tool_calls", "stop")
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert [call.function.name for call in calls if call.type == "function"] == ["get_weather"]
    assert isinstance(json.loads(calls[0].function.arguments)["city"], str)  # type: ignore[union-attr]  # as asserted


def test_tool_loop_with_parallel_calls(client: openai.OpenAI, model: str) -> None:
    messages = ask("call get_weather and call get_time for Paris")
    first = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    assert first.choices[0].finish_reason == "tool_calls"
    calls: list[Any] = list(first.choices[0].message.tool_calls or [])
    assert {call.function.name for call in calls} == {"get_weather", "get_time"}
    messages.append(first.choices[0].message.model_dump(exclude_none=True))
    for call in calls:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": f"result of {call.function.name}"})
    second = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    assert second.choices[0].finish_reason == "stop"
    assert second.choices[0].message.content


def test_one_call_at_a_time_when_parallel_is_off(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model,
        messages=ask("call get_weather and call get_time for Rome"),
        tools=TOOLS,
        parallel_tool_calls=False,
    )
    assert len(answer.choices[0].message.tool_calls or []) == 1


def test_streamed_tools(client: openai.OpenAI, model: str) -> None:
    messages = ask("call get_weather and call get_time for Oslo")
    arguments: dict[int, str] = {}
    names: dict[int, str] = {}
    for chunk in client.chat.completions.create(model=model, messages=messages, tools=TOOLS, stream=True):
        for delta in chunk.choices[0].delta.tool_calls or [] if chunk.choices else []:
            assert delta.function is not None
            if delta.id:
                names[delta.index] = delta.function.name or ""
            arguments[delta.index] = arguments.get(delta.index, "") + (delta.function.arguments or "")
    assert set(names.values()) == {"get_weather", "get_time"}
    assert all("city" in json.loads(text) for text in arguments.values())
    replayed = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    assert metadata(replayed)["cached"] is True
    calls: list[Any] = list(replayed.choices[0].message.tool_calls or [])
    assert [call.function.arguments for call in calls] == [arguments[index] for index in sorted(arguments)]


class City(BaseModel):
    name: str
    country: str
    population: int


@pytest.mark.parametrize("stream", [True, False])
def test_structured_output(client: openai.OpenAI, model: str, stream: bool) -> None:
    messages = ask(f"Describe a city as JSON. {stream}")
    if stream:
        with client.chat.completions.stream(model=model, messages=messages, response_format=City) as events:
            for _ in events:
                pass
            parsed = events.get_final_completion().choices[0].message.parsed
    else:
        answer = client.chat.completions.parse(model=model, messages=messages, response_format=City)
        parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, City)


def test_image_input(client: openai.OpenAI, model: str) -> None:
    content: Any = [
        {"type": "text", "text": "What colour is this?"},
        {"type": "image_url", "image_url": {"url": png()}},
    ]
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    assert answer.choices[0].message.content


def test_max_tokens_is_kept_and_not_cached(client: openai.OpenAI, model: str) -> None:
    arguments: dict[str, Any] = {"model": model, "messages": ask("Tell me a long story."), "max_completion_tokens": 5}
    for _ in range(2):
        answer = client.chat.completions.create(**arguments)
        assert answer.choices[0].finish_reason == "length"
        assert metadata(answer)["cached"] is False


@pytest.mark.parametrize(
    ("upstream", "error", "status"),
    [
        (400, openai.BadRequestError, 400),
        (401, openai.InternalServerError, 502),
        (403, openai.InternalServerError, 502),
        (404, openai.NotFoundError, 404),
        (429, openai.RateLimitError, 429),
        (500, openai.InternalServerError, 502),
        (503, openai.InternalServerError, 503),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_errors_of_the_provider(
    client: openai.OpenAI, model: str, upstream: int, error: type[openai.APIStatusError], status: int, stream: bool
) -> None:
    text = f"[[sim: status={upstream}, retry_after=2]]"
    with pytest.raises(error) as caught:
        client.chat.completions.create(model=model, messages=ask(text), stream=stream)
    assert caught.value.status_code == status
    assert caught.value.request_id
    assert isinstance(caught.value.body, dict)
    assert {"message", "type", "param", "code"} <= set(caught.value.body)
    assert "sk-" not in str(caught.value.body)
    if upstream == 429:
        assert caught.value.response.headers["retry-after"] == "2"


@pytest.mark.parametrize(
    ("changes", "error", "param"),
    [
        ({"messages": []}, openai.BadRequestError, "messages"),
        ({"temperature": "hot"}, openai.BadRequestError, "temperature"),
        ({"model": "no-such-model"}, openai.NotFoundError, "model"),
        ({"n": "two"}, openai.BadRequestError, "n"),
    ],
)
def test_errors_of_the_request(
    client: openai.OpenAI, model: str, changes: dict[str, Any], error: type[openai.APIStatusError], param: str
) -> None:
    arguments: dict[str, Any] = {"model": model, "messages": ask("hi"), **changes}
    with pytest.raises(error) as caught:
        client.chat.completions.create(**arguments)
    assert caught.value.param == param


def test_wrong_key(client: openai.OpenAI, model: str) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="wrong-key").chat.completions.create(model=model, messages=ask("hi"))
    assert caught.value.code == "invalid_api_key"


def test_timeouts(client: openai.OpenAI, model: str) -> None:
    slow = ask(f"[[sim: latency=30]] {time.monotonic()}")
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(model=model, messages=slow)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=slow)
    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")


@pytest.mark.parametrize("mode", ["rst", "fin", "error", "eof_tidy"])
def test_a_broken_stream_raises(client: openai.OpenAI, model: str, mode: str) -> None:
    text = f"[[sim: tokens=50, fail_after=4, mode={mode}]] {time.monotonic()}"
    stream = client.chat.completions.create(model=model, messages=ask(text), stream=True)
    seen: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError):
        seen.extend(stream)
    assert seen
    assert not any(chunk.choices and chunk.choices[0].finish_reason for chunk in seen)


def in_flight(gateway_url: str) -> float:
    request = urllib.request.Request(f"{gateway_url}/metrics", headers={"x-api-key": CLIENT_KEY})
    with urllib.request.urlopen(request, timeout=5) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("llm_edge_upstream_connections") and 'state="in_use"' in line:
                return float(line.rpartition(" ")[2])
    raise AssertionError("no gauge of upstream connections")


def wait_until_in_flight(gateway_url: str, count: int) -> float:
    began_s = time.monotonic()
    while in_flight(gateway_url) != count:
        assert time.monotonic() - began_s < 10, "the provider does not begin, or is still generating"
        time.sleep(0.02)
    return time.monotonic() - began_s


def test_cancelling_a_stream_cancels_the_provider(client: openai.OpenAI, gateway_url: str, model: str) -> None:
    text = f"[[sim: tokens=500, chunk_delay=0.05]] {time.monotonic()}"
    stream = client.chat.completions.create(model=model, messages=ask(text), stream=True)
    assert next(iter(stream)).id
    assert in_flight(gateway_url) == 1
    stream.close()
    # Promised within a second; the rest is a busy machine's. The stream itself takes 25.
    assert wait_until_in_flight(gateway_url, 0) < 5


def test_cancelling_a_whole_request_cancels_the_provider(client: openai.OpenAI, gateway_url: str, model: str) -> None:
    text = f"[[sim: latency=20]] {time.monotonic()}"

    def ask_and_give_up() -> None:
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=1.0).chat.completions.create(model=model, messages=ask(text))

    thread = threading.Thread(target=ask_and_give_up)
    thread.start()
    wait_until_in_flight(gateway_url, 1)
    thread.join()
    # The gateway's own timeout would end it two seconds later.
    assert wait_until_in_flight(gateway_url, 0) < 1.5


def test_models(client: openai.OpenAI, model: str) -> None:
    listed = {item.id for item in client.models.list()}
    assert {"gpt-5.5", "claude-sonnet-5"} <= listed
    assert client.models.retrieve(model).id == model
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no/such/model")
