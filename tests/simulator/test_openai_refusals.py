"""What the simulated OpenAI refuses, and in which words."""

# ruff: noqa: E501  (one row, one case: the tables are read across)

from typing import Any

import pytest

from tests.simulator.direct import CHAT, ask, chat, function, simulator, user

CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
PNG = "data:image/png;base64,iVBORw0KGgo="
NO_OBJECT = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "array"}}}


def schema(name: str, **members: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": name, "schema": {"type": "object"}, **members}}


def image(url: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]


def without(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


REFUSED: list[tuple[str, Any, int, str | None, str | None]] = [
    ("unknown member", chat(foo=1), 400, "unknown_parameter", "foo"),
    ("unknown member below", chat(stream_options={"x": 1}, stream=True), 400, "unknown_parameter", "stream_options.x"),
    ("no model", without(chat(), "model"), 400, None, None),
    ("no messages", without(chat(), "messages"), 400, "missing_required_parameter", "messages"),
    ("empty messages", {**chat(), "messages": []}, 400, "empty_array", "messages"),
    ("messages no list", {**chat(), "messages": "hi"}, 400, "invalid_type", "messages"),
    ("no object", [1], 400, "invalid_type", ""),
    ("role unknown", {**chat(), "messages": [{"role": "bot", "content": ""}]}, 400, "invalid_value", "messages[0].role"),
    ("content missing", {**chat(), "messages": [{"role": "user"}]}, 400, "missing_required_parameter", "messages[0].content"),
    ("content null", {**chat(), "messages": [{"role": "user", "content": None}]}, 400, "invalid_type", "messages[0].content"),
    ("part unknown", {**chat(), "messages": [{"role": "user", "content": [{"type": "x"}]}]}, 400, "invalid_value", "messages[0].content[0].type"),
    ("temperature high", chat(temperature=2.5), 400, "decimal_above_max_value", "temperature"),
    ("temperature low", chat(temperature=-1), 400, "decimal_below_min_value", "temperature"),
    ("temperature text", chat(temperature="1"), 400, "invalid_type", "temperature"),
    ("top_p", chat(top_p=1.5), 400, "decimal_above_max_value", "top_p"),
    ("n zero", chat(n=0), 400, "integer_below_min_value", "n"),
    ("n huge", chat(n=129), 400, "integer_above_max_value", "n"),
    ("n fraction", chat(n=1.5), 400, "invalid_type", "n"),
    ("n boolean", chat(n=True), 400, "invalid_type", "n"),
    ("penalty", chat(presence_penalty=3), 400, "decimal_above_max_value", "presence_penalty"),
    ("max_tokens zero", chat(max_tokens=0), 400, "integer_below_min_value", "max_tokens"),
    ("max_tokens above model", chat(max_tokens=99_999), 400, "invalid_value", "max_tokens"),
    ("both limits", chat(max_tokens=5, max_completion_tokens=5), 400, None, "max_tokens"),
    ("top_logprobs without logprobs", chat(top_logprobs=3), 400, None, "top_logprobs"),
    ("top_logprobs range", chat(logprobs=True, top_logprobs=21), 400, "integer_above_max_value", "top_logprobs"),
    ("five stops", chat(stop=["a", "b", "c", "d", "e"]), 400, "array_above_max_length", "stop"),
    ("stop number", chat(stop=5), 400, "invalid_type", "stop"),
    ("metadata pairs", chat(metadata={str(i): "v" for i in range(17)}), 400, "object_above_max_properties", "metadata"),
    ("metadata value", chat(metadata={"k": "v" * 513}), 400, "string_above_max_length", "metadata.k"),
    ("metadata number", chat(metadata={"k": 1}), 400, "invalid_type", "metadata.k"),
    ("129 tools", chat(tools=[function(f"f{i}") for i in range(129)]), 400, "array_above_max_length", "tools"),
    ("no tools", chat(tools=[]), 400, "empty_array", "tools"),
    ("tool name", chat(tools=[function("get weather")]), 400, "invalid_value", "tools[0].function.name"),
    ("tool name long", chat(tools=[function("x" * 65)]), 400, "string_above_max_length", "tools[0].function.name"),
    ("tool type", chat(tools=[{"type": "x"}]), 400, "invalid_value", "tools[0].type"),
    ("tool choice without tools", chat(tool_choice="auto"), 400, None, "tool_choice"),
    ("parallel without tools", chat(parallel_tool_calls=False), 400, None, "parallel_tool_calls"),
    ("tool choice of another tool", chat(tools=[function()], tool_choice={"type": "function", "function": {"name": "x"}}), 400, "invalid_value", "tool_choice"),
    ("tool choice word", chat(tools=[function()], tool_choice="any"), 400, "invalid_value", "tool_choice"),
    ("function_call without functions", chat(function_call="auto"), 400, None, "function_call"),
    ("schema name", chat(response_format=schema("a b")), 400, "invalid_value", "response_format.json_schema.name"),
    ("schema without name", chat(response_format={"type": "json_schema", "json_schema": {}}), 400, "missing_required_parameter", "response_format.json_schema.name"),
    ("strict open object", chat(response_format=schema("x", strict=True)), 400, None, "response_format"),
    ("strict no object", chat(response_format=NO_OBJECT), 400, None, "response_format"),
    ("no schema", chat(tools=[function(parameters={"type": "objekt"})]), 400, "invalid_function_parameters", "tools[0].function.parameters"),
    ("no schema below", chat(functions=[{"name": "f", "parameters": {"type": "object", "properties": {"a": {"required": "a"}}}}]), 400, "invalid_function_parameters", "functions[0].parameters"),
    ("strict tool", chat(tools=[function(strict=True, parameters={"type": "object", "properties": {}})]), 400, "invalid_function_parameters", "tools[0].function.parameters"),
    ("json_object unsaid", chat("hello", response_format={"type": "json_object"}), 400, None, "messages"),
    ("stream_options", chat(stream_options={"include_usage": True}), 400, None, "stream_options"),
    ("audio without settings", chat(model="gpt-audio-1.5", modalities=["audio"]), 400, "missing_required_parameter", "audio"),
    ("audio model", chat(modalities=["text", "audio"], audio={"format": "wav", "voice": "alloy"}), 400, "unsupported_value", "modalities"),
    ("web search", chat(web_search_options={}), 400, "unsupported_parameter", "web_search_options"),
    ("max_tokens of a reasoning model", chat(model="gpt-5", max_tokens=10), 400, "unsupported_parameter", "max_tokens"),
    ("temperature of a reasoning model", chat(model="gpt-5", temperature=0.2), 400, "unsupported_value", "temperature"),
    ("top_p of a reasoning model", chat(model="o3", top_p=0.2), 400, "unsupported_parameter", "top_p"),
    ("logprobs of a reasoning model", chat(model="gpt-5", logprobs=True), 400, "unsupported_parameter", "logprobs"),
    ("temperature with effort", chat(model="gpt-5.2", temperature=0.2, reasoning_effort="low"), 400, "unsupported_value", "temperature"),
    ("stop of o3", chat(model="o3", stop="x"), 400, "unsupported_parameter", "stop"),
    ("effort of gpt-4o", chat(reasoning_effort="low"), 400, None, "reasoning_effort"),
    ("effort that the model lacks", chat(model="gpt-5.1", reasoning_effort="minimal"), 400, "unsupported_value", "reasoning_effort"),
    ("tools of gpt-5.6", chat(model="gpt-5.6", tools=[function()]), 400, None, "reasoning_effort"),
    ("tools of gpt-6-astra", chat(model="gpt-6-astra", tools=[function()]), 400, None, "reasoning_effort"),
    ("tools of gpt-5.4 with effort", chat(model="gpt-5.4", tools=[function()], reasoning_effort="low"), 400, None, "reasoning_effort"),
    ("cache options of gpt-4o", chat(prompt_cache_options={"mode": "explicit"}), 400, "unsupported_parameter", "prompt_cache_options"),
    ("tool message first", {**chat(), "messages": [RESULT]}, 400, None, "messages.[0].role"),
    ("tool message after user", {**chat(), "messages": [user("x"), RESULT]}, 400, None, "messages.[1].role"),
    ("tool message of another call", {**chat(), "messages": [user("x"), CALLED, {**RESULT, "tool_call_id": "other"}]}, 400, None, "messages.[2].tool_call_id"),
    ("call without result", {**chat(), "messages": [user("x"), CALLED, user("y")]}, 400, None, "messages.[2].role"),
    ("call without result at the end", {**chat(), "messages": [user("x"), CALLED]}, 400, None, "messages.[2].role"),
    ("empty assistant", {**chat(), "messages": [user("x"), {"role": "assistant"}]}, 400, None, "messages.[1].content"),
    ("image type", {**chat(), "messages": image("data:image/tiff;base64,AAAA")}, 400, "invalid_image_format", "messages.[0].content.[0].image_url.url"),
    ("image data", {**chat(), "messages": image("data:image/png;base64,???")}, 400, "invalid_base64", "messages.[0].content.[0].image_url.url"),
    ("image url", {**chat(), "messages": image("ftp://x/y.png")}, 400, "invalid_image_url", "messages.[0].content.[0].image_url.url"),
    ("image of a blind model", {**chat(model="gpt-audio-1.5"), "messages": image(PNG)}, 400, None, "messages.[0].content.[0].type"),
    ("audio of a deaf model", {**chat(), "messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]}, 400, None, "messages.[0].content.[0].type"),
    ("file without name", {**chat(), "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "x"}}]}]}, 400, "missing_required_parameter", "messages.[0].content.[0].file.filename"),
    ("context", {**chat(), "messages": [user("x" * 600_000)]}, 400, "context_length_exceeded", "messages"),
    ("unknown model", chat(model="gpt-99"), 404, "model_not_found", None),
    ("retired model", chat(model="gpt-4"), 404, "model_not_found", None),
    ("responses model", chat(model="gpt-5.2-pro"), 404, None, "model"),
    ("retired completion model", chat(model="gpt-3.5-turbo-instruct"), 404, "model_not_found", None),
    ("strict nested", chat(response_format=schema("x", strict=True, schema={"type": "object", "additionalProperties": False, "properties": {"a": {"type": "array", "items": {"anyOf": [{"type": "object"}]}}}, "required": ["a"]})), 400, None, "response_format"),
    ("strict optional", chat(response_format=schema("x", strict=True, schema={"type": "object", "additionalProperties": False, "properties": {"a": {"type": "null"}}})), 400, None, "response_format"),
    ("allowed tools of another tool", chat(tools=[function()], tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "x"}}]}}), 400, "invalid_value", "tool_choice"),
    ("file twice", {**chat(), "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "x", "file_id": "y", "filename": "z"}}]}]}, 400, None, "messages.[0].content.[0].file"),
    ("metadata key", chat(metadata={"k" * 65: "v"}), 400, "string_above_max_length", "metadata." + "k" * 65),
    ("store text", chat(store="yes"), 400, "invalid_type", "store"),
    ("tool_choice number", chat(tools=[function()], tool_choice=5), 400, "invalid_type", "tool_choice"),
    ("role number", {**chat(), "messages": [{"role": 5}]}, 400, "invalid_type", "messages[0].role"),
    ("message text", {**chat(), "messages": ["x"]}, 400, "invalid_type", "messages[0]"),
    ("embedding model", chat(model="text-embedding-3-small"), 404, "model_not_found", None),
    ("bad directive", chat("[[sim: nonsense=1]]"), 400, None, "messages"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "code", "param"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
async def test_chat_refuses(body: Any, status: int, code: str | None, param: str | None) -> None:
    sim = simulator()
    got = await ask(sim, CHAT, body)
    assert (got.status, got.error["code"], got.error["param"]) == (status, code, param)
    assert got.error["type"] == "invalid_request_error"
    assert got.error["message"]
    assert sorted(got.error) == ["code", "message", "param", "type"]
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-request-id"].startswith("req_")
    assert sim.open_exchanges == 0
    assert not sim.billed


ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("every ordinary member", chat(temperature=0, top_p=0.5, n=2, stop=["x"], seed=1, user="u", logit_bias={"1": 2})),
    ("nulls", chat(temperature=None, stop=None, n=None, metadata=None, max_tokens=None, stream=None)),
    ("tool loop", {**chat(tools=[function()]), "messages": [user("x"), CALLED, RESULT]}),
    ("tool_choice none without tools", chat(tool_choice="none")),
    ("gpt-5.6 tools without effort", chat(model="gpt-5.6", tools=[function()], reasoning_effort="none")),
    ("gpt-5.2 default effort takes temperature", chat(model="gpt-5.2", temperature=0.2)),
    ("gpt-5.4 tools", chat(model="gpt-5.4", tools=[function()])),
    ("the default temperature", chat(model="gpt-5", temperature=1)),
    ("image", {**chat(), "messages": image(PNG)}),
    ("system and developer", {**chat(), "messages": [{"role": "developer", "content": "x"}, user("y")]}),
    ("json said", chat("as json please", response_format={"type": "json_object"})),
    ("deprecated model", chat(model="gpt-4.1")),
    ("cache breakpoint", {**chat(model="gpt-5.6"), "messages": [{"role": "user", "content": [{"type": "text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}]}]}),
    ("extra model", chat(model="my/model", max_tokens=5, temperature=1.5)),
]  # fmt: skip


@pytest.mark.parametrize("body", [pytest.param(row[1], id=row[0]) for row in ACCEPTED])
async def test_chat_accepts(body: dict[str, Any]) -> None:
    sim = simulator(extra_models=("my/model",))
    got = await ask(sim, CHAT, body)
    assert got.status == 200, got.body
    assert len(sim.billed) == 1


async def test_words_name_what_was_expected_and_got() -> None:
    sim = simulator()

    async def said(body: Any) -> str:
        return str((await ask(sim, CHAT, body)).error["message"])

    assert await said(chat(n=0)) == (
        "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead."
    )
    assert await said({**chat(), "messages": "hi"}) == (
        "Invalid type for 'messages': expected an array of objects, but got a string instead."
    )
    assert await said(chat(model="gpt-5", max_tokens=10)) == (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    )
    assert await said(chat(model="gpt-99")) == ("The model `gpt-99` does not exist or you do not have access to it.")
    tools = await said(chat(model="gpt-5.6-sol", tools=[function()]))
    assert tools.startswith(
        "Function tools with reasoning_effort are not supported for gpt-5.6-sol in /v1/chat/completions"
    )
    no_type = await said(chat(top_p=None, verbosity="loud"))
    assert no_type == "Invalid value: 'loud'. Supported values are: 'low', 'medium', and 'high'."


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, None),
        ({"authorization": "Basic abc"}, 401, None),
        ({"authorization": "Bearer "}, 401, None),
        ({"authorization": "Bearer sk-wrong-key-0123456789"}, 401, "invalid_api_key"),
        ({"authorization": "Bearer sk-right", "content-type": "text/plain"}, 415, "unsupported_content_type"),
        ({"authorization": "Bearer sk-right", "content-type": "application/json; charset=utf-8"}, 200, None),
    ],
)
async def test_credentials_and_content_type(headers: dict[str, str], status: int, code: str | None) -> None:
    got = await ask(simulator(api_keys=("sk-right",)), CHAT, chat(), headers)
    assert got.status == status
    if status != 200:
        assert got.error["code"] == code
        assert "sk-wrong-key-0123456789" not in got.body.decode()


async def test_a_careless_provider_leaks_the_key() -> None:
    got = await ask(simulator(api_keys=("a",), leak_key=True), CHAT, chat(), {"authorization": "Bearer sk-secret-key"})
    assert "sk-secret-key" in got.error["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"model": NaN}', b'{"model": "\xff"}', b"[" * 100_000])
async def test_invalid_json(body: bytes) -> None:
    got = await ask(simulator(), CHAT, body)
    assert got.status == 400
    assert got.error["message"].startswith("We could not parse the JSON body of your request.")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method_not_supported"),
        ("POST", "/v1/models", 405, "method_not_supported"),
        ("GET", "/v1/foo", 404, "unknown_url"),
        ("GET", "/v1/models/gpt-99", 404, "model_not_found"),
        ("GET", "/v1/models/gpt-4", 404, "model_not_found"),
    ],
)
async def test_paths_and_methods(method: str, path: str, status: int, code: str) -> None:
    got = await ask(simulator(), path, b"", method=method)
    assert (got.status, got.error["code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model": "text-embedding-3-small"}, 400, "input"),
        ({"model": "text-embedding-3-small", "input": ""}, 400, "input"),
        ({"model": "text-embedding-3-small", "input": []}, 400, "input"),
        ({"model": "text-embedding-3-small", "input": {"a": 1}}, 400, "input"),
        ({"model": "text-embedding-3-small", "input": ["a", 1]}, 400, "input[1]"),
        ({"model": "text-embedding-3-small", "input": [[1], "a"]}, 400, "input[1]"),
        ({"model": "text-embedding-3-small", "input": ["a"] * 2049}, 400, "input"),
        ({"model": "text-embedding-3-small", "input": "x" * 40_000}, 400, "input"),
        ({"model": "text-embedding-3-small", "input": ["x" * 32_000] * 40}, 400, "input"),
        ({"model": "text-embedding-3-small", "input": "a", "dimensions": 5000}, 400, "dimensions"),
        ({"model": "text-embedding-ada-002", "input": "a", "dimensions": 5}, 400, "dimensions"),
        ({"model": "text-embedding-3-small", "input": "a", "encoding_format": "hex"}, 400, "encoding_format"),
        ({"model": "gpt-4o", "input": "a"}, 403, "model"),
        ({"model": "nothing", "input": "a"}, 404, None),
    ],
)
async def test_embeddings_refuse(body: dict[str, Any], status: int, param: str | None) -> None:
    got = await ask(simulator(), "/v1/embeddings", body)
    assert (got.status, got.error["param"]) == (status, param)
