"""Whatever is asked: an answer or a refusal, never a crash."""

import asyncio
import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llm_edge_agent.simulator.openai_sealed_reasoning import seal
from tests.simulator.direct import CHAT, MESSAGES, SCHEMA, ask, chat, function, message, simulator, tool, user

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
WORDS = st.sampled_from(
    ["type", "text", "object", "function", "auto", "required", "assistant", "tool", "$ref", "#", "allOf", "properties"]
)
USE = {"type": "tool_use", "id": "a", "name": "get_weather", "input": {}}
CALL = {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
CHATS: list[dict[str, Any]] = [
    {
        **chat(
            tools=[function()],
            tool_choice={
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "get_weather"}}]},
            },
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}},
            stream=True,
            stream_options={"include_usage": True},
        ),
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "call get_weather"}]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "a", "content": "x"},
            user("call get_weather"),
        ],
    },
]
TALKS: list[dict[str, Any]] = [
    {
        **message(
            tools=[tool()],
            tool_choice={"type": "auto"},
            system=[{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
            output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
            stop_sequences=["x"],
            stream=True,
        ),
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "call get_weather"}]},
            {"role": "assistant", "content": [USE]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "x"}]},
        ],
    },
]
RESPONSES = "/v1/responses"
ITEMS: list[dict[str, Any]] = [
    {
        "model": "gpt-5.6",
        "instructions": "x",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "call get_weather"}]},
            {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": seal("x", 8)},
            {"type": "function_call", "call_id": "a", "name": "get_weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "x"}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
            {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.com/"}]},
        ],
        "tools": [{"type": "function", "name": "get_weather", "parameters": SCHEMA}, {"type": "custom", "name": "n"}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "n"}]},
        "text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
        "stream": True,
    },
]
COMPLETIONS = "/v1/completions"
PROMPTS: list[dict[str, Any]] = [
    {"model": "instruct", "prompt": ["x", "y"], "n": 2, "echo": True, "logprobs": 2, "stop": ["z"], "max_tokens": 9},
    {"model": "instruct", "prompt": [1, 2], "stream": True, "stream_options": {"include_usage": True}},
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key in the value."""
    found: list[tuple[Any, Any]] = []
    entries = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    for key, each in entries:
        found.append((value, key))
        found += places(each)
    return found


@st.composite
def spoiled(draw: st.DrawFn, bodies: list[dict[str, Any]]) -> dict[str, Any]:
    """A valid body with up to three of its parts replaced, removed or added."""
    body: dict[str, Any] = copy.deepcopy(draw(st.sampled_from(bodies)))
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(body)))
        match draw(st.integers(0, 3)):
            case 0:
                container[key] = draw(JSON)
            case 1:
                container[key] = draw(WORDS)
            case 2 if isinstance(container, dict):
                container[draw(WORDS | st.text(max_size=5))] = draw(JSON | WORDS | st.just({"$ref": "#"}))
            case _ if isinstance(container, dict) and len(places(body)) > 1:
                del container[key]
        if not places(body):
            break
    return body


async def judged(path: str, body: dict[str, Any]) -> None:
    sim = simulator(extra_models=("instruct",))
    got = await asyncio.wait_for(ask(sim, path, body), 20)
    assert got.status in (200, 400, 404)
    if got.status != 200:
        assert got.error["message"]
    assert sim.open_exchanges == 0
    assert len(sim.billed) == (1 if got.status == 200 else 0)


@settings(deadline=None, max_examples=300)
@given(spoiled(CHATS))
def test_spoiled_chats(body: dict[str, Any]) -> None:
    asyncio.run(judged(CHAT, body))


@settings(deadline=None, max_examples=300)
@given(spoiled(TALKS))
def test_spoiled_messages(body: dict[str, Any]) -> None:
    asyncio.run(judged(MESSAGES, body))


@settings(deadline=None, max_examples=300)
@given(spoiled(ITEMS))
def test_spoiled_responses(body: dict[str, Any]) -> None:
    asyncio.run(judged(RESPONSES, body))


@settings(deadline=None, max_examples=100)
@given(spoiled(PROMPTS))
def test_spoiled_completions(body: dict[str, Any]) -> None:
    asyncio.run(judged(COMPLETIONS, body))
