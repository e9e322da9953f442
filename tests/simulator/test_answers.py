"""What the simulated models answer, as the SDKs' own types see it."""

from typing import Any

import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.simulator.direct import CHAT, MESSAGES, Got, ask, chat, function, message, simulator, tool, user

CUSTOM = {"type": "custom", "custom": {"name": "run_code", "format": {"type": "text"}}}


ALLOWED = {"mode": "required", "tools": [{"type": "function", "function": {"name": "get_time"}}]}


async def openai(body: dict[str, Any]) -> Any:
    return ChatCompletion.model_validate((await ask(simulator(), CHAT, body)).json).choices[0]


async def anthropic(body: dict[str, Any]) -> Message:
    return Message.model_validate((await ask(simulator(), MESSAGES, body)).json)


def chunks(got: Got) -> list[ChatCompletionChunk]:
    return [ChatCompletionChunk.model_validate(event) for event in got.events]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What is the capital of France?", "Paris"),
        ("capital of japan", "Tokyo"),
        ("Hello there", "How can I help"),
        ("what is 2+2", "4"),
        ("Write a haiku", "cache"),
        ("Tell me of llamas", "llamas"),
        ("", "You wrote nothing yet."),
    ],
)
async def test_what_is_said(question: str, words: str) -> None:
    assert words in (await openai(chat(question))).message.content


async def test_stop_sequences() -> None:
    choice = await openai(chat("What is the capital of France?", stop=["zzz", " is", "France"]))
    assert (choice.message.content, choice.finish_reason) == ("The capital of ", "stop")
    made = await anthropic(message("What is the capital of France?", stop_sequences=["Paris", "zzz"]))
    assert (made.stop_reason, made.stop_sequence) == ("stop_sequence", "Paris")
    assert [block.text for block in made.content if block.type == "text"] == ["The capital of France is "]


async def test_limits() -> None:
    choice = await openai(chat("What is the capital of France?", max_tokens=3))
    assert (choice.message.content, choice.finish_reason) == ("The capital ", "length")
    spent = await openai(chat("What is the capital of France?", "gpt-5", max_completion_tokens=20))
    assert (spent.message.content, spent.finish_reason) == ("", "length")
    made = await anthropic(message("What is the capital of France?", max_tokens=3))
    assert (made.stop_reason, made.usage.output_tokens) == ("max_tokens", 3)
    thinking = await anthropic(message("hello", "claude-fable-5", max_tokens=10, thinking={"type": "adaptive"}))
    assert [block.type for block in thinking.content] == ["thinking"]
    assert (thinking.stop_reason, thinking.usage.output_tokens) == ("max_tokens", 10)
    warm = await anthropic(message(max_tokens=0))
    assert (warm.content, warm.stop_reason, warm.usage.output_tokens) == ([], "max_tokens", 0)


async def test_logprobs() -> None:
    body = chat("What is 2+2?", logprobs=True, top_logprobs=3)
    found = (await openai(body)).logprobs.content
    assert "".join(each.token for each in found) == "2 + 2 = 4."
    assert {len(each.top_logprobs) for each in found} == {3}
    streamed = chunks(await ask(simulator(), CHAT, body | {"stream": True}))
    parts = [each.choices[0].logprobs for each in streamed]
    assert [part.content[0].token for part in parts if part and part.content] == [each.token for each in found]


async def test_obfuscation_can_be_turned_off() -> None:
    plain = await ask(simulator(), CHAT, chat(stream=True))
    assert all(event["obfuscation"] for event in plain.events)
    bare = await ask(simulator(), CHAT, chat(stream=True, stream_options={"include_obfuscation": False}))
    assert not any("obfuscation" in event for event in bare.events)


async def test_choices_differ() -> None:
    got = ChatCompletion.model_validate((await ask(simulator(), CHAT, chat("x", n=3))).json)
    assert len({choice.message.content for choice in got.choices}) == 3
    assert [choice.index for choice in got.choices] == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "members", "names"),
    [
        ("hello", {}, []),
        ("get_weather is a nice name", {}, []),
        ("call get_weather", {}, ["get_weather"]),
        ("use get_time, then get_weather", {}, ["get_time", "get_weather"]),
        ("use get_time, then get_weather", {"parallel_tool_calls": False}, ["get_time"]),
        ("call get_weather", {"tool_choice": "none"}, []),
        ("hello", {"tool_choice": "required"}, ["get_weather"]),
        ("hello", {"tool_choice": {"type": "function", "function": {"name": "get_time"}}}, ["get_time"]),
        ("hello", {"tool_choice": {"type": "allowed_tools", "allowed_tools": ALLOWED}}, ["get_time"]),
        ("call get_weather", {"response_format": {"type": "text"}}, ["get_weather"]),
    ],
)  # fmt: skip
async def test_which_tools_are_called(text: str, members: dict[str, Any], names: list[str]) -> None:
    choice = await openai(chat(text, tools=[function(), function("get_time")], **members))
    assert [call.function.name for call in choice.message.tool_calls or []] == names
    assert choice.finish_reason == ("tool_calls" if names else "stop")
    assert (choice.message.content is None) is bool(names)


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"type": "auto"}, []),
        ({"type": "any"}, ["get_weather"]),
        ({"type": "tool", "name": "get_time"}, ["get_time"]),
        ({"type": "none"}, []),
    ],
)
async def test_which_tools_claude_uses(choice: dict[str, Any], names: list[str]) -> None:
    made = await anthropic(message("hello", tools=[tool(), tool("get_time")], tool_choice=choice))
    assert [block.name for block in made.content if block.type == "tool_use"] == names
    asked = message("call get_time and get_weather", tools=[tool(), tool("get_time")])
    both = await anthropic(asked)
    assert [block.name for block in both.content if block.type == "tool_use"] == ["get_time", "get_weather"]
    one = await anthropic(asked | {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}})
    assert [block.name for block in one.content if block.type == "tool_use"] == ["get_time"]


async def test_legacy_functions() -> None:
    functions = [{"name": "get_weather", "parameters": {"type": "object", "properties": {}}}]
    body = chat("hello", functions=functions, function_call={"name": "get_weather"})
    choice = await openai(body)
    assert choice.finish_reason == "function_call"
    assert (choice.message.function_call.name, choice.message.function_call.arguments) == ("get_weather", "{}")
    streamed = chunks(await ask(simulator(), CHAT, body | {"stream": True}))
    deltas = [each.choices[0].delta.function_call for each in streamed]
    assert "".join(each.arguments or "" for each in deltas if each) == "{}"
    result = {"role": "function", "name": "get_weather", "content": "rain"}
    said = {"role": "assistant", "content": None, "function_call": {"name": "get_weather", "arguments": "{}"}}
    after = await openai({**body, "function_call": "auto", "messages": [user("x"), said, result]})
    assert after.message.content == "get_weather answered: rain"


async def test_custom_tools() -> None:
    body = chat("call run_code", tools=[CUSTOM])
    (call,) = (await openai(body)).message.tool_calls
    assert (call.type, call.custom.name, call.custom.input) == ("custom", "run_code", "input 0 for run_code")
    events = (await ask(simulator(), CHAT, body | {"stream": True})).events
    parts = [event["choices"][0]["delta"].get("tool_calls", [{}])[0].get("custom", {}) for event in events]
    assert "".join(part.get("input", "") for part in parts) == "input 0 for run_code"


async def test_audio() -> None:
    voice = {"modalities": ["text", "audio"], "audio": {"format": "wav", "voice": "alloy"}}
    body = chat("What is the capital of France?", "gpt-audio-1.5", **voice)
    choice = await openai(body)
    assert choice.message.content is None
    assert choice.message.audio.transcript == "The capital of France is Paris."
    streamed = chunks(await ask(simulator(), CHAT, body | {"stream": True}))
    parts = [each.choices[0].delta.audio for each in streamed]
    assert "".join(part.transcript or "" for part in parts if part) == "The capital of France is Paris."
    assert any(part.expires_at for part in parts if part)


async def test_web_search_cites() -> None:
    choice = await openai(chat("hello", "gpt-5-search-api", web_search_options={}))
    assert choice.message.annotations[0].type == "url_citation"


async def test_json_object_and_stored_metadata() -> None:
    choice = await openai(chat("capital of France as json", response_format={"type": "json_object"}))
    assert choice.message.content == '{"answer":"The capital of France is Paris."}'
    stored = (await ask(simulator(), CHAT, chat(store=True, metadata={"a": "b"}))).json
    assert stored["metadata"] == {"a": "b"}
    assert "metadata" not in (await ask(simulator(), CHAT, chat(metadata={"a": "b"}))).json


@pytest.mark.parametrize(("asked", "shown"), [("fast", "priority"), ("flex", "flex"), ("auto", "default")])
async def test_service_tier(asked: str, shown: str) -> None:
    assert (await ask(simulator(), CHAT, chat(service_tier=asked))).json["service_tier"] == shown


@pytest.mark.parametrize(
    ("model", "members", "kinds", "shown"),
    [
        ("claude-opus-5", {}, ["thinking", "text"], False),
        ("claude-opus-5", {"thinking": {"type": "disabled"}}, ["text"], False),
        ("claude-opus-5", {"thinking": {"type": "adaptive", "display": "summarized"}}, ["thinking", "text"], True),
        ("claude-opus-4-8", {}, ["text"], False),
        ("claude-opus-4-8", {"thinking": {"type": "adaptive"}}, ["thinking", "text"], False),
        ("claude-opus-4-6", {"thinking": {"type": "adaptive"}}, ["thinking", "text"], True),
        ("claude-opus-4-6", {"thinking": {"type": "adaptive", "display": "omitted"}}, ["thinking", "text"], False),
        ("claude-sonnet-5-5", {"thinking": {"type": "between_tools"}}, ["text"], False),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_thinking(model: str, members: dict[str, Any], kinds: list[str], shown: bool, stream: bool) -> None:
    got = await ask(simulator(), MESSAGES, message("hello", model, stream=stream, **members))
    if stream:
        starts = [event["content_block"]["type"] for event in got.events if event["type"] == "content_block_start"]
        deltas = [event["delta"]["type"] for event in got.events if event["type"] == "content_block_delta"]
        assert starts == kinds
        assert ("signature_delta" in deltas) is ("thinking" in kinds)
        assert ("thinking_delta" in deltas) is shown
    else:
        content = got.json["content"]
        assert [block["type"] for block in content] == kinds
        assert bool(content[0].get("thinking")) is shown
        assert ("output_tokens_details" in got.json["usage"]) is ("thinking" in kinds)


async def test_thinking_is_bound_to_text_model_and_conversation() -> None:
    sim = simulator()
    body = message("hello", "claude-opus-4-6", thinking={"type": "adaptive"}, system="be brief")
    content = (await ask(sim, MESSAGES, body)).json["content"]

    def quoted(**members: Any) -> dict[str, Any]:
        said = {"role": "assistant", "content": content}
        return {**body, "messages": [user("hello"), said, user("go on")], **members}

    assert (await ask(sim, MESSAGES, quoted())).status == 200
    marked = [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}]
    assert (await ask(sim, MESSAGES, quoted(system=marked))).status == 200
    other_model = await ask(sim, MESSAGES, quoted(model="claude-sonnet-4-6"))
    assert "Invalid `signature`" in other_model.error["message"]
    other_system = await ask(sim, MESSAGES, quoted(system="be long"))
    assert "different conversation" in other_system.error["message"]
    free = simulator(bind_thinking_to_prefix=False)
    assert (await ask(free, MESSAGES, quoted(system="be long"))).status == 200
    content[0]["thinking"] += "!"
    assert "Invalid `signature`" in (await ask(free, MESSAGES, quoted())).error["message"]


async def test_error_results_and_pictures_as_results() -> None:
    use = {"type": "tool_use", "id": "a", "name": "get_weather", "input": {}}
    picture = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    result = {"type": "tool_result", "tool_use_id": "a", "is_error": True}
    talk = [user("x"), {"role": "assistant", "content": [use]}]
    body = message(tools=[tool()])
    said = await anthropic(
        {**body, "messages": [*talk, {"role": "user", "content": [{**result, "content": "no network"}]}]}
    )
    assert [block.text for block in said.content if block.type == "text"] == ["get_weather answered: Error: no network"]
    seen = await anthropic(
        {**body, "messages": [*talk, {"role": "user", "content": [{**result, "content": [picture]}]}]}
    )
    assert seen.usage.input_tokens > 1000
