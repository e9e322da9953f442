"""Messages whole and streamed: text, tools, documents, structured output, counting."""

import base64
import json
from typing import Any

import anthropic
import pytest

from tests.conformance.anthropic_sdk.requests_and_texts import (
    SCHEMA,
    TOOLS,
    calls_of,
    once,
    pdf,
    results,
    spoken,
    text_of,
    user,
)
from tests.conformance.processes import Running, through_the_gateway

PARIS = "What is the capital of France?"


def test_whole(client: anthropic.Anthropic, running: Running, model: str) -> None:
    made = client.messages.create(model=model, max_tokens=500, messages=once(PARIS), system="Be brief.")
    assert (made.type, made.role, made.stop_reason) == ("message", "assistant", "end_turn")
    assert text_of(made) == "The capital of France is Paris."
    bill = running.simulator("billing")["billed"][-1]
    assert (made.usage.input_tokens, made.usage.output_tokens) == (bill["input_tokens"], bill["output_tokens"])
    assert made._request_id


def test_streamed_as_whole(client: anthropic.Anthropic, model: str) -> None:
    asked: dict[str, Any] = {"model": model, "max_tokens": 500, "messages": once("Tell me about rivers.")}
    with client.messages.stream(**asked) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 5
    assert "".join(pieces) == text_of(final)
    whole = client.messages.create(**asked)
    assert (spoken(whole), whole.usage.output_tokens) == (spoken(final), final.usage.output_tokens)
    assert (whole.stop_reason, whole.usage.input_tokens) == (final.stop_reason, final.usage.input_tokens)


def test_events_in_order(client: anthropic.Anthropic) -> None:
    asked = once("[[sim: pings=2, tokens=3]]")
    events = client.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=asked, stream=True)
    assert [event.type for event in events] == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_pings_are_relayed(client: anthropic.Anthropic) -> None:
    asked: Any = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": once("[[sim: pings=2, tokens=3]]")}
    with client.messages.with_streaming_response.create(**asked, stream=True) as raw:
        lines = list(raw.iter_lines())
    assert lines.count("event: ping") == 1 + 2 * 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("call get_weather for Paris", ["get_weather"]),
        ("call get_weather and call get_time for Paris", ["get_weather", "get_time"]),
    ],
)
def test_tools_and_their_loop(
    client: anthropic.Anthropic, model: str, wanted: str, names: list[str], stream: bool
) -> None:
    asked: dict[str, Any] = {"model": model, "max_tokens": 2000, "tools": TOOLS}
    messages = once(wanted)
    if stream:
        with client.messages.stream(**asked, messages=messages) as events:
            made = events.get_final_message()
    else:
        made = client.messages.create(**asked, messages=messages)
    assert made.stop_reason == "tool_use"
    assert [call.name for call in calls_of(made)] == names
    assert [call.input for call in calls_of(made)] == [{"city": "Paris"}] * len(names)
    again = client.messages.create(**asked, messages=[*messages, spoken(made), results(made)])
    assert again.stop_reason == "end_turn"
    assert all(f"{name} answered: result of {name}" in text_of(again) for name in names)


def test_tool_choice(client: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 500, "tools": TOOLS}
    named = client.messages.create(**asked, messages=once("Rome"), tool_choice={"type": "tool", "name": "get_time"})
    assert [call.name for call in calls_of(named)] == ["get_time"]
    forced = client.messages.create(**asked, messages=once("Rome"), tool_choice={"type": "any"})
    assert forced.stop_reason == "tool_use"
    both = once("call get_weather and call get_time")
    single = client.messages.create(
        **asked, messages=both, tool_choice={"type": "auto", "disable_parallel_tool_use": True}
    )
    assert len(calls_of(single)) == 1
    none = client.messages.create(**asked, messages=both, tool_choice={"type": "none"})
    assert calls_of(none) == []


def test_a_failed_tool(client: anthropic.Anthropic, model: str) -> None:
    messages = once("call get_weather for Oslo")
    made = client.messages.create(model=model, max_tokens=2000, messages=messages, tools=TOOLS)
    again = client.messages.create(
        model=model, max_tokens=2000, tools=TOOLS, messages=[*messages, spoken(made), results(made, is_error=True)]
    )
    assert "Error: result of get_weather" in text_of(again)


def test_documents_and_images(client: anthropic.Anthropic, model: str) -> None:
    image = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    content = [
        pdf(2),
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Plain."}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}},
        {"type": "text", "text": "What is this?"},
    ]
    made = client.messages.create(model=model, max_tokens=500, messages=[user(content)])
    assert made.usage.input_tokens > 2 * 1500
    assert text_of(made)


def test_a_document_that_is_none(client: anthropic.Anthropic) -> None:
    document = pdf(1)
    document["source"]["data"] = base64.b64encode(b"not a PDF").decode()
    with pytest.raises(anthropic.BadRequestError, match="The PDF specified was not valid"):
        client.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=[user([document])])


def test_structured_output(client: anthropic.Anthropic, model: str) -> None:
    wanted: Any = {"format": {"type": "json_schema", "schema": SCHEMA}}
    made = client.messages.create(model=model, max_tokens=500, messages=once("Where is Rome?"), output_config=wanted)
    assert set(json.loads(text_of(made))) == {"city"}


def test_limits_and_stops(client: anthropic.Anthropic) -> None:
    cut = client.messages.create(model="claude-haiku-4-5", max_tokens=5, messages=once("Tell me a long story."))
    assert (cut.stop_reason, cut.usage.output_tokens) == ("max_tokens", 5)
    stopped = client.messages.create(
        model="claude-haiku-4-5", max_tokens=50, messages=once(PARIS), stop_sequences=["is"]
    )
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "is")


@pytest.mark.parametrize("finish", ["refusal", "pause_turn", "model_context_window_exceeded"])
def test_other_reasons_to_stop(client: anthropic.Anthropic, finish: str) -> None:
    made = client.messages.create(model="claude-haiku-4-5", max_tokens=500, messages=once(f"[[sim: finish={finish}]]"))
    assert made.stop_reason == finish


def test_count_tokens_is_what_is_billed(client: anthropic.Anthropic, model: str) -> None:
    asked: dict[str, Any] = {
        "model": model,
        "system": "Be brief.",
        "tools": TOOLS,
        "messages": [*once("Read this."), {"role": "user", "content": [pdf(1)]}],
    }
    counted = client.messages.count_tokens(**asked)
    made = client.messages.create(**asked, max_tokens=500)
    assert counted.input_tokens == made.usage.input_tokens > 1500


def test_betas(client: anthropic.Anthropic) -> None:
    edits: Any = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    asked: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 50}
    made = client.beta.messages.create(
        **asked, messages=once("Hi"), context_management=edits, betas=["context-management-2025-06-27"]
    )
    assert made.content
    with client.beta.messages.stream(
        **asked, messages=once("Hi"), context_management=edits, betas=["context-management-2025-06-27"]
    ) as stream:
        assert stream.get_final_message().content
    with pytest.raises(anthropic.BadRequestError, match="context_management: Extra inputs are not permitted"):
        client.messages.create(**asked, messages=once("Hi"), extra_body={"context_management": edits})


def test_members_that_nobody_knows_reach_the_provider(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(
            model="claude-haiku-4-5", max_tokens=50, messages=once("Hi"), extra_body={"from_the_future": 1}
        )
    assert caught.value.body == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "from_the_future: Extra inputs are not permitted"},
        "request_id": caught.value.body["request_id"],  # type: ignore[index]  # an object, as the comparison says
    }


@pytest.mark.parametrize(
    ("version", "expected"), [("2023-06-01", None), ("2026-10-21", "`temperature` is not supported on")]
)
def test_the_version_of_the_api_is_the_clients(client: anthropic.Anthropic, version: str, expected: str | None) -> None:
    asked: dict[str, Any] = {
        "model": "claude-haiku-4-5",
        "max_tokens": 50,
        "messages": once("Hi"),
        "extra_body": {"temperature": 0.5},
        "extra_headers": {"anthropic-version": version},
    }
    if expected is None:
        assert client.messages.create(**asked).content
    else:
        with pytest.raises(anthropic.BadRequestError, match=expected):
            client.messages.create(**asked)


def test_models(client: anthropic.Anthropic) -> None:
    listed = {item.id for item in client.models.list(limit=1000)}
    assert {"claude-opus-5", "claude-haiku-4-5-20251001"} <= listed
    assert client.models.retrieve("claude-opus-5").display_name


@through_the_gateway
def test_what_the_gateway_adds_is_in_headers_only(client: anthropic.Anthropic, running: Running) -> None:
    raw = client.messages.with_raw_response.create(model="claude-opus-5", max_tokens=500, messages=once(PARIS))
    sent = running.simulator("exchanges")["exchanges"][-1]
    assert raw.http_response.content == base64.b64decode(sent["answer_base64"])
    assert raw.headers["x-llm-edge-provider"] == "anthropic"
    assert float(raw.headers["x-llm-edge-cost-usd"]) > 0
    assert raw.headers["x-llm-edge-cache"] == "miss"
    assert b'"metadata"' not in raw.http_response.content


@through_the_gateway
def test_the_same_question_again_is_answered_from_the_cache(client: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {"model": "claude-opus-5", "max_tokens": 500, "messages": once("Tell me about bridges.")}
    first = client.messages.create(**asked)
    raw = client.messages.with_raw_response.create(**asked)
    second = raw.parse()
    assert raw.headers["x-llm-edge-cache"] == "hit-l1"
    assert (second.content, second.usage, second.stop_reason) == (first.content, first.usage, first.stop_reason)
    with client.messages.stream(**asked) as stream:
        replayed = stream.get_final_message()
    assert (spoken(replayed), replayed.usage.output_tokens) == (spoken(first), first.usage.output_tokens)
