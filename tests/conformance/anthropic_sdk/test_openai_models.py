"""The SDK against models of OpenAI: messages translated to Chat Completions, or on to the Responses API, and back."""

import base64
from typing import Any

import anthropic
import pytest

from tests.canaries import prompt
from tests.conformance.anthropic_sdk.requests_and_texts import (
    SCHEMA,
    TOOLS,
    calls_of,
    once,
    results,
    spoken,
    text_of,
    user,
)
from tests.conformance.processes import Running, through_the_gateway

pytestmark = through_the_gateway

CHAT, RESPONSES = "gpt-4.1", "gpt-6-sol"
"""One that takes tools in Chat Completions, one that takes them only at the Responses API."""


@pytest.fixture(params=[CHAT, RESPONSES])
def gpt(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def bill_of(running: Running) -> Any:
    return running.simulator("billing")["billed"][-1]


def check_bill(usage: Any, bill: Any) -> None:
    read, written = bill["cache_read_tokens"], bill["cache_write_5m_tokens"]
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (bill["input_tokens"], read)
    assert (usage.cache_creation_input_tokens, usage.output_tokens) == (written, bill["output_tokens"])


def test_whole(client: anthropic.Anthropic, running: Running, gpt: str) -> None:
    asked = once("What is the capital of France?")
    made = client.messages.create(model=gpt, max_tokens=500, messages=asked, system="Be brief.")
    assert (made.type, made.role, made.stop_reason) == ("message", "assistant", "end_turn")
    assert text_of(made) == "The capital of France is Paris."
    check_bill(made.usage, bill_of(running))
    assert made._request_id


def test_streamed_as_whole(client: anthropic.Anthropic, running: Running, gpt: str) -> None:
    asked: dict[str, Any] = {"model": gpt, "max_tokens": 500, "messages": once("Tell me about rivers.")}
    with client.messages.stream(**asked) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    check_bill(final.usage, bill_of(running))
    assert len(pieces) > 5
    assert "".join(pieces) == text_of(final)
    whole = client.messages.create(**asked)  # from the cache: a stream was stored in the form of a whole answer
    assert (spoken(whole), whole.stop_reason) == (spoken(final), final.stop_reason)
    assert whole.usage.output_tokens == final.usage.output_tokens


@pytest.mark.parametrize("stream", [False, True])
def test_tools_in_a_loop(client: anthropic.Anthropic, running: Running, gpt: str, stream: bool) -> None:
    """The simulator refuses function tools of gpt-6-sol in Chat Completions, and reasoning that leads nowhere."""
    asked: dict[str, Any] = {"model": gpt, "max_tokens": 500, "tools": TOOLS, "tool_choice": {"type": "any"}}
    history = once("Weather and local time in Paris, please.")
    first = answered(client, stream, **asked, messages=history)
    assert first.stop_reason == "tool_use"
    assert calls_of(first)
    assert all(set(call.input) == {"city"} for call in calls_of(first))
    check_bill(first.usage, bill_of(running))
    assert bill_of(running)["path"].endswith("/responses" if gpt == RESPONSES else "/chat/completions")
    thinking = [block for block in first.content if block.type == "thinking"]
    assert bool(thinking) == (gpt == RESPONSES)
    history += [spoken(first), results(first)]
    second = answered(client, stream, model=gpt, max_tokens=500, tools=TOOLS, messages=history)
    assert second.stop_reason == "end_turn"
    assert "result of" in text_of(second)


def answered(client: anthropic.Anthropic, stream: bool, **asked: Any) -> Any:
    if not stream:
        return client.messages.create(**asked)
    with client.messages.stream(**asked) as events:
        return events.get_final_message()


def test_reasoning_is_kept_over_the_loop(client: anthropic.Anthropic, running: Running) -> None:
    """What the model reasoned comes back encrypted and is weighed again: the same history without it is cheaper."""
    asked: dict[str, Any] = {"model": RESPONSES, "max_tokens": 500, "tools": TOOLS}
    history = once("[[sim: tool=get_weather]] Weather in Paris?")
    first = client.messages.create(**asked, messages=history)
    bare = spoken(first)
    bare["content"] = [block for block in bare["content"] if block["type"] != "thinking"]
    prompts = []
    for quoted in (spoken(first), bare):
        client.messages.create(**asked, messages=[*history, quoted, results(first)])
        bill = bill_of(running)
        prompts.append(bill["input_tokens"] + bill["cache_read_tokens"] + bill["cache_write_5m_tokens"])
    assert prompts[0] > prompts[1]


def test_a_conversation_goes_on_with_claude(client: anthropic.Anthropic) -> None:
    """Claude did not sign that thinking, and would refuse it."""
    history = once("[[sim: tool=get_weather]] Weather in Paris?")
    first = client.messages.create(model=RESPONSES, max_tokens=500, tools=TOOLS, messages=history)
    assert first.content[0].type == "thinking"
    history += [spoken(first), results(first)]
    second = client.messages.create(model="claude-opus-5", max_tokens=500, tools=TOOLS, messages=history)
    assert "result of" in text_of(second)


def test_images_in_results_and_errors_of_tools(client: anthropic.Anthropic, gpt: str) -> None:
    asked: dict[str, Any] = {"model": gpt, "max_tokens": 500, "tools": TOOLS}
    history = once("[[sim: tool=get_weather]] Weather in Paris?")
    first = client.messages.create(**asked, messages=history)
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(b"\x89PNG").decode()}
    (call,) = calls_of(first)
    shown = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "image", "source": source}]}
    second = client.messages.create(**asked, messages=[*history, spoken(first), user([shown])])
    assert second.content
    failed = {"type": "tool_result", "tool_use_id": call.id, "content": "no such city", "is_error": True}
    third = client.messages.create(**asked, messages=[*history, spoken(first), user([failed])])
    assert third.content


def test_structured_output(client: anthropic.Anthropic, gpt: str) -> None:
    made = client.messages.create(
        model=gpt,
        max_tokens=500,
        messages=once("A city, please."),
        output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
    )
    assert text_of(made).startswith('{"city":')


def test_stop_sequences(client: anthropic.Anthropic) -> None:
    """Models that reason take no `stop`: the gateway cuts the text, and says at what."""
    asked: dict[str, Any] = {"model": RESPONSES, "max_tokens": 500, "stop_sequences": ["France", "Paris"]}
    made = client.messages.create(**asked, messages=once("What is the capital of France?"))
    assert (made.stop_reason, made.stop_sequence, text_of(made)) == ("stop_sequence", "France", "The capital of ")
    with client.messages.stream(**asked, messages=once("What is the capital of France?")) as stream:
        final = stream.get_final_message()
    assert (final.stop_reason, final.stop_sequence, text_of(final)) == ("stop_sequence", "France", "The capital of ")


def test_max_tokens_and_refusals(client: anthropic.Anthropic, gpt: str) -> None:
    made = client.messages.create(model=gpt, max_tokens=50, messages=once("[[sim: finish=length]]"))
    assert made.stop_reason == "max_tokens"
    refused = client.messages.create(model=gpt, max_tokens=500, messages=once("[[sim: finish=refusal]]"))
    assert refused.stop_reason == "refusal"
    assert text_of(refused)


@pytest.mark.parametrize(
    ("directive", "status", "kind"),
    [
        ("status=400", 400, "invalid_request_error"),
        ("status=401", 502, "api_error"),
        ("status=429, retry_after=2", 429, "rate_limit_error"),
        ("status=500", 502, "api_error"),
        ("status=503", 503, "overloaded_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors(client: anthropic.Anthropic, directive: str, status: int, kind: str, stream: bool) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(
            model=CHAT, max_tokens=50, messages=once(f"[[sim: {directive}]]"), stream=stream, tools=TOOLS
        )
    body: Any = caught.value.body
    assert (caught.value.status_code, body["type"], body["error"]["type"]) == (status, "error", kind)
    assert caught.value.request_id


def test_a_stream_that_breaks(client: anthropic.Anthropic, gpt: str) -> None:
    with (
        pytest.raises(anthropic.APIError),
        client.messages.stream(
            model=gpt, max_tokens=500, messages=once("[[sim: tokens=9, fail_after=3, mode=error]]"), tools=TOOLS
        ) as stream,
    ):
        stream.get_final_message()


@pytest.mark.parametrize(
    ("members", "place"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0.type"),
        ({"messages": [user(prompt("Hi")), {"role": "assistant", "content": "He"}]}, "messages"),
        ({"container": "c"}, "container"),
    ],
)
def test_what_cannot_be_carried(client: anthropic.Anthropic, members: dict[str, Any], place: str) -> None:
    asked: dict[str, Any] = {"model": CHAT, "max_tokens": 50, "messages": once("Hi"), **members}
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.beta.messages.create(**asked)
    body: Any = caught.value.body
    assert body["error"]["type"] == "invalid_request_error"
    assert place in body["error"]["message"]


def test_what_is_dropped_is_told(client: anthropic.Anthropic) -> None:
    made = client.messages.with_raw_response.create(
        model=CHAT, max_tokens=50, messages=once("Hi"), extra_body={"top_k": 3, "inference_geo": "eu"}
    )
    assert made.headers["x-llm-edge-warnings"].endswith("dropped:top_k, dropped:inference_geo")


def test_count_tokens_is_an_estimate_and_says_so(client: anthropic.Anthropic, running: Running, gpt: str) -> None:
    asked: dict[str, Any] = {"model": gpt, "system": "Be brief. " * 40, "tools": TOOLS}
    asked["messages"] = once("Tell me about rivers. " * 100)
    before = len(running.simulator("billing")["billed"])
    counted = client.messages.with_raw_response.count_tokens(**asked)
    assert len(running.simulator("billing")["billed"]) == before
    assert counted.headers["x-llm-edge-estimated"] == "true"
    made = client.messages.create(**asked, max_tokens=500)
    billed = made.usage.input_tokens + (made.usage.cache_read_input_tokens or 0)
    billed += made.usage.cache_creation_input_tokens or 0
    assert billed * 0.8 < counted.parse().input_tokens < billed * 1.25
