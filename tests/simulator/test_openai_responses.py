"""The Responses API: its answers against the SDK's own types, its events, its conversations, its refusals."""

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.simulator.direct import SCHEMA, Got, ask, simulator

RESPONSES = "/v1/responses"
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
WEATHER = {"type": "function", "name": "get_weather", "parameters": SCHEMA}
SEALED = ["reasoning.encrypted_content"]


def body(text: Any = "What is the capital of France?", model: str = "gpt-5.6", **members: Any) -> dict[str, Any]:
    return {"model": model, "input": text, **members}


async def whole(sim: Any, **members: Any) -> dict[str, Any]:
    got = await ask(sim, RESPONSES, body(**members))
    assert got.status == 200, got.body
    Response.model_validate(got.json)
    found: dict[str, Any] = got.json
    return found


async def events(sim: Any, **members: Any) -> list[Any]:
    got = await ask(sim, RESPONSES, body(stream=True, **members))
    assert got.status == 200, got.body
    for event in got.events:
        EVENT.validate_python(event)
    assert [event["sequence_number"] for event in got.events] == list(range(len(got.events)))
    names = [line[7:] for line in got.body.decode().split("\n") if line.startswith("event: ")]
    assert names == [event["type"] for event in got.events]
    return got.events


async def refused(sim: Any, **members: Any) -> Any:
    got: Got = await ask(sim, RESPONSES, body(**members))
    assert got.status in (400, 404), got.body
    return got.error


async def test_whole() -> None:
    sim = simulator()
    made = await whole(sim, instructions="Be brief.", metadata={"a": "b"})
    reasoning, message = made["output"]
    assert (reasoning["type"], reasoning["summary"]) == ("reasoning", [])
    assert "encrypted_content" not in reasoning
    assert message["content"][0]["text"] == "The capital of France is Paris."
    assert (made["status"], made["store"], made["instructions"]) == ("completed", True, "Be brief.")
    usage, bill = made["usage"], sim.billed[-1]
    assert usage["input_tokens"] == bill.input_tokens == 3 + 8
    assert usage["output_tokens"] == bill.output_tokens == 32 + 8
    assert usage["output_tokens_details"]["reasoning_tokens"] == bill.reasoning_tokens == 32
    assert (bill.path, bill.completed) == (RESPONSES, True)


async def test_stream_and_whole_agree() -> None:
    sim = simulator()
    asked: dict[str, Any] = {"reasoning": {"effort": "low", "summary": "auto"}, "include": SEALED}
    seen = await events(sim, **asked)
    kinds = [event["type"] for event in seen]
    assert [kind for index, kind in enumerate(kinds) if kinds[index - 1 : index] != [kind]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    text = "".join(event["delta"] for event in seen if event["type"] == "response.output_text.delta")
    assert text == "The capital of France is Paris."
    made = await whole(sim, **asked)
    final = seen[-1]["response"]

    def without_ids(response: Any) -> Any:
        output = [{**item, "id": ""} for item in response["output"]]
        return {**response, "id": "", "created_at": 0, "completed_at": 0, "output": output}

    assert without_ids(final) == without_ids(made)
    assert sim.billed[0].output_tokens == sim.billed[1].output_tokens == made["usage"]["output_tokens"]


async def test_function_calls_in_parallel_and_their_loop() -> None:
    sim = simulator()
    tools = [WEATHER, {**WEATHER, "name": "get_time"}, {"type": "custom", "name": "note"}]
    asked = "call get_weather and get_time and note for Paris"
    made = await whole(sim, text=asked, tools=tools, store=False, include=SEALED)
    reasoning, *calls = made["output"]
    assert [call["type"] for call in calls] == ["function_call", "function_call", "custom_tool_call"]
    assert json.loads(calls[0]["arguments"]) == {"city": "Paris"}
    assert made["tools"][0]["strict"] is True
    outputs = [
        {"type": f"{call['type']}_output", "call_id": call["call_id"], "output": f"result of {call['name']}"}
        for call in calls
    ]
    history = [{"role": "user", "content": asked}, *made["output"], *outputs]
    answered = await whole(sim, text=history, tools=tools, store=False)
    assert "get_time answered: result of get_time" in answered["output"][1]["content"][0]["text"]
    assert sim.billed[-1].input_tokens > 32
    for damaged, message in (
        (history[:-1], "No tool output found for custom tool call"),
        ([history[0], *outputs], "No tool call found for function call output"),
        ([history[0], reasoning], "without its required following item"),
        ([history[0], {**reasoning, "encrypted_content": "gAAAAAB="}, *calls, *outputs], "could not be verified"),
        ([history[0], {**reasoning, "encrypted_content": None}, *calls, *outputs], "not found. Items are not"),
        ([history[0], {**reasoning, "id": "msg_1"}, *calls, *outputs], "begins with 'rs'"),
    ):
        assert message in (await refused(sim, text=damaged, tools=tools))["message"]


async def test_streamed_calls_bill_as_whole_ones() -> None:
    sim = simulator()
    asked: dict[str, Any] = {
        "text": "call get_weather for Paris",
        "tools": [WEATHER, {"type": "custom", "name": "note"}],
    }
    seen = await events(sim, **asked)
    pieces = [event["delta"] for event in seen if event["type"] == "response.function_call_arguments.delta"]
    (done,) = [event for event in seen if event["type"] == "response.function_call_arguments.done"]
    assert "".join(pieces) == done["arguments"] == '{"city":"Paris"}'
    await whole(sim, **asked)
    assert sim.billed[0].output_tokens == sim.billed[1].output_tokens
    custom = await events(sim, text="call note", tools=asked["tools"])
    assert "response.custom_tool_call_input.done" in {event["type"] for event in custom}


async def test_a_stored_response_is_continued_read_and_deleted() -> None:
    sim = simulator()
    first = await whole(sim, text="My name is Ada.")
    second = await whole(sim, text="And mine is Bob.", previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"] + 32
    assert (await ask(sim, f"{RESPONSES}/{second['id']}", b"", method="GET")).json == second
    listed = (await ask(sim, f"{RESPONSES}/{second['id']}/input_items", b"", method="GET")).json
    assert [item["content"][0]["text"] for item in listed["data"]] == ["And mine is Bob."]
    reasoning = first["output"][0]
    again = await whole(sim, text=[{"role": "user", "content": "x"}, reasoning, first["output"][1]])
    assert again["usage"]["input_tokens"] > 32
    referred = await whole(sim, text=[{"type": "item_reference", "id": first["output"][1]["id"]}])
    assert referred["usage"]["input_tokens"] == again["usage"]["input_tokens"] - 1 - 32
    assert (await ask(sim, f"{RESPONSES}/{second['id']}/cancel", b"", method="POST")).status == 400
    assert (await ask(sim, f"{RESPONSES}/{first['id']}", b"", method="DELETE")).json["deleted"] is True
    assert (await ask(sim, f"{RESPONSES}/{first['id']}", b"", method="GET")).status == 404
    assert (await refused(sim, previous_response_id=first["id"]))["code"] == "previous_response_not_found"
    unstored = await whole(sim, store=False)
    assert (await ask(sim, f"{RESPONSES}/{unstored['id']}", b"", method="GET")).status == 404
    assert (await ask(sim, f"{RESPONSES}/{unstored['id']}/nothing", b"", method="GET")).error["code"] == "unknown_url"


async def test_structured_output_and_limits() -> None:
    sim = simulator()
    wanted = {"format": {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}}
    made = await whole(sim, text="How is it in Rome?", reasoning={"effort": "none"}, model="gpt-5.6")
    assert [item["type"] for item in made["output"]] == ["message"]
    got = await ask(sim, RESPONSES, {**body("How is it in Rome?"), "text": wanted})
    assert json.loads(got.json["output"][1]["content"][0]["text"]) == {"city": "Rome"}
    cut = await whole(sim, text="[[sim: tokens=100]]", max_output_tokens=40)
    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert cut["output"][1]["status"] == "incomplete"
    assert cut["usage"]["output_tokens"] == 40
    seen = await events(sim, text="[[sim: tokens=100]]", max_output_tokens=16)
    assert seen[-1]["type"] == "response.incomplete"
    assert [item["type"] for item in seen[-1]["response"]["output"]] == ["reasoning"]
    filtered = await whole(sim, text="[[sim: finish=content_filter]]")
    assert filtered["incomplete_details"] == {"reason": "content_filter"}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_a_part_of_its_own(stream: bool) -> None:
    sim = simulator()
    if stream:
        seen = await events(sim, text="[[sim: finish=refusal]]")
        assert "response.refusal.done" in {event["type"] for event in seen}
        made = seen[-1]["response"]
    else:
        made = await whole(sim, text="[[sim: finish=refusal]]")
    assert made["output"][1]["content"] == [{"type": "refusal", "refusal": "I'm sorry, I can't help with that."}]
    assert made["usage"]["output_tokens"] == sim.billed[-1].output_tokens


async def test_log_probabilities_where_nothing_is_reasoned() -> None:
    sim = simulator()
    asked: dict[str, Any] = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    seen = await events(sim, reasoning={"effort": "none"}, **asked)
    (done,) = [event for event in seen if event["type"] == "response.output_text.done"]
    assert len(done["logprobs"]) == 8
    assert len(done["logprobs"][0]["top_logprobs"]) == 2
    assert (await refused(sim, **asked))["code"] == "unsupported_parameter"


@pytest.mark.parametrize("mode", ["error", "failed"])
async def test_a_failure_in_the_stream(mode: str) -> None:
    seen = await events(simulator(), text=f"[[sim: tokens=50, fail_after=3, mode={mode}]]")
    last = seen[-1]
    if mode == "error":
        assert (last["type"], last["code"]) == ("error", "server_error")
    else:
        assert last["type"] == "response.failed"
        assert last["response"]["error"]["code"] == "server_error"
    got = await ask(simulator(), RESPONSES, body(f"[[sim: fail_after=3, mode={mode}]]"))
    assert got.status == 500


async def test_input_tokens_are_those_billed() -> None:
    sim = simulator()
    image = "data:image/png;base64,aGk="
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": image},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
    ]
    asked = {"model": "gpt-5.6", "input": [{"role": "user", "content": content}], "tools": [WEATHER]}
    counted = (await ask(sim, f"{RESPONSES}/input_tokens", asked)).json
    made = (await ask(sim, RESPONSES, asked)).json
    assert counted == {"object": "response.input_tokens", "input_tokens": made["usage"]["input_tokens"]}
    assert counted["input_tokens"] > 1000


async def test_the_prompt_cache_shows_in_usage() -> None:
    sim = simulator()
    long = "x" * 8000
    first = await whole(sim, instructions=long)
    second = await whole(sim, instructions=long, text="Another question.")
    assert first["usage"]["input_tokens_details"] == {"cached_tokens": 0, "cache_write_tokens": 1920}
    assert second["usage"]["input_tokens_details"]["cached_tokens"] == sim.billed[-1].cache_read_tokens == 1920


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"max_output_tokens": 5}, "max_output_tokens"),
        ({"max_output_tokens": 10**9}, "max_output_tokens"),
        ({"messages": []}, "messages"),
        ({"n": 2}, "n"),
        ({"stop": "x"}, "stop"),
        ({"temperature": 0.5}, "temperature"),
        ({"reasoning": {"effort": "minimal"}}, "reasoning.effort"),
        ({"reasoning": {"effort": "low"}, "model": "gpt-4o"}, "reasoning.effort"),
        ({"include": ["everything"]}, "include[0]"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].function"),
        ({"tools": [{**WEATHER, "parameters": {"type": "array"}, "strict": True}]}, "tools[0].parameters"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"model": "no-such-model"}, "model"),
        ({"model": "text-embedding-3-small"}, "model"),
        ({"input": None}, "input"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]},
            "input[0].content[0].type",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "ftp://x"}]}]},
            "input[0].content[0].image_url",
        ),
        ({"text": {"format": {"type": "json_object"}}}, "input"),
        ({"text": {"format": {"type": "json_schema", "json_schema": {}}}}, "text.format.json_schema"),
    ],
)
async def test_refusals(members: dict[str, Any], param: str) -> None:
    got = await ask(simulator(), RESPONSES, {**body(), **members})
    assert got.status in (400, 404)
    assert got.error["param"] == param


async def test_errors_by_directive() -> None:
    sim = simulator()
    for directive, status, code in (
        ("status=429", 429, "rate_limit_exceeded"),
        ("status=503", 503, "overloaded"),
        ("error=insufficient_quota", 429, "insufficient_quota"),
        ("error=context_length_exceeded", 400, "context_length_exceeded"),
    ):
        got = await ask(sim, RESPONSES, body(f"[[sim: {directive}, retry_after=3]]"))
        assert (got.status, got.error["code"], got.headers["retry-after"]) == (status, code, "3")
    assert "error is one of" in (await refused(sim, text="[[sim: error=nonsense]]"))["message"]
    assert len(sim.billed) == 0
