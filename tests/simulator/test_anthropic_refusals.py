"""What the simulated Anthropic refuses, and in which words."""

# ruff: noqa: E501  (one row, one case: the tables are read across)

from typing import Any

import pytest

from tests.simulator.direct import ANTHROPIC_KEY, MESSAGES, ask, message, simulator, tool, user

OLD, NEW = "2023-06-01", "2026-10-21"
USE = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Paris"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"}
HOUR: dict[str, Any] = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
MARK: dict[str, Any] = {"cache_control": {"type": "ephemeral"}}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def says(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def text(words: str, **members: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **members}


def talk(*messages: Any, **members: Any) -> dict[str, Any]:
    return {**message(**members), "messages": list(messages)}


def loop(*messages: Any, **members: Any) -> dict[str, Any]:
    return talk(*messages, tools=[tool()], **members)


def schema(**members: Any) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False, **members}}}


def image(**source: Any) -> dict[str, Any]:
    return says({"type": "image", "source": source})


def document(**source: Any) -> dict[str, Any]:
    return says({"type": "document", "source": source})


def no(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != name}


REFUSED: list[tuple[str, str, Any, str]] = [
    ("unknown member", OLD, message(foo=1), "foo: Extra inputs are not permitted"),
    ("OpenAI's member", OLD, message(n=1), "n: Extra inputs are not permitted"),
    ("no max_tokens", OLD, no(message(), "max_tokens"), "max_tokens: Field required"),
    ("no model", OLD, no(message(), "model"), "model: Field required"),
    ("no messages", OLD, no(message(), "messages"), "messages: Field required"),
    ("empty messages", OLD, talk(), "messages: at least one message is required"),
    ("max_tokens text", OLD, message(max_tokens="5"), "max_tokens: Input should be a valid integer"),
    ("max_tokens negative", OLD, message(max_tokens=-1), "max_tokens: Input should be greater than or equal to 0"),
    ("max_tokens above model", OLD, message(max_tokens=64_001), "max_tokens: 64001 > 64000"),
    ("temperature range", OLD, message(temperature=1.5), "temperature: Input should be less than or equal to 1"),
    ("both sampling", OLD, message(temperature=0.5, top_p=0.5), "`temperature` and `top_p` cannot both be specified"),
    ("temperature, new version", NEW, message(temperature=1), "`temperature` is not supported on anthropic-version"),
    ("top_k, new version", NEW, message(top_k=5), "`top_k` is not supported"),
    ("temperature, new model", OLD, message(model="claude-opus-4-7", temperature=0.5), "`temperature` is deprecated"),
    ("top_k, new model", OLD, message(model="claude-opus-5", top_k=5), "`top_k` is deprecated for this model."),
    ("stop blank", OLD, message(stop_sequences=["x", " \n"]), "stop_sequences: each stop sequence must contain non-whi"),
    ("stop text", OLD, message(stop_sequences="x"), "stop_sequences: Input should be a valid list"),
    ("stream text", OLD, message(stream="yes"), "stream: Input should be a valid boolean"),
    ("metadata", OLD, message(metadata={"user": "x"}), "metadata.user: Extra inputs are not permitted"),
    ("service tier", OLD, message(service_tier="flex"), "service_tier: Input should be 'auto' or 'standard_only'"),
    ("role", OLD, talk({"role": "tool", "content": "x"}), "messages.0.role: Input should be 'user', 'assistant' or 'sys"),
    ("content null", OLD, talk({"role": "user", "content": None}), "messages.0.content: Input should be a valid string"),
    ("content empty", OLD, talk(says()), "messages.0: user messages must have non-empty content"),
    ("text empty", OLD, talk(says(text(""))), "messages: text content blocks must be non-empty"),
    ("text blank", OLD, talk(says(text(" \n"))), "messages: text content blocks must contain non-whitespace text"),
    ("assistant empty", OLD, talk(user("x"), {"role": "assistant", "content": []}, user("y")), "messages.1: all messages must have non-empty content"),
    ("search result cited, new version", NEW, talk(says({"type": "search_result", "source": "s", "title": "t", "content": [text("x", citations=[{"a": 1}])]})), "messages.0.content.0.search_result.content.0.citations: Extra"),
    ("user_id long", OLD, message(metadata={"user_id": "x" * 257}), "metadata.user_id: String should have at most 256 characters"),
    ("tool name empty", OLD, message(tools=[tool("")]), "tools.0.custom.name: String should have at least 1 character"),
    ("block unknown", OLD, talk(says({"type": "image_url"})), "messages.0.content.0: Input tag 'image_url' found using"),
    ("block without type", OLD, talk(says({"text": "x"})), "messages.0.content.0.type: Field required"),
    ("block member", OLD, talk(says(text("x", name="y"))), "messages.0.content.0.text.name: Extra inputs are not perm"),
    ("assistant first", OLD, talk({"role": "assistant", "content": "x"}, user("y")), 'messages: first message must use'),
    ("system role, old model", OLD, talk(user("x"), {"role": "system", "content": "y"}, user("z")), 'messages: Unexpected role "system"'),
    ("system role first", OLD, talk({"role": "system", "content": "y"}, user("z"), model="claude-opus-5"), "messages: first message must use"),
    ("system empty", OLD, message(system=[text("")]), "system: text content blocks must be non-empty"),
    ("tool_use by user", OLD, loop(says(USE)), "messages.0.content.0: `tool_use` blocks are not permitted within user"),
    ("prefill, 4.6", OLD, talk(user("x"), assistant(text("y")), model="claude-opus-4-6"), "This model does not support assistant message prefill"),
    ("prefill with whitespace", OLD, talk(user("x"), assistant(text("y "))), "messages: final assistant content cannot end with trailing"),
    ("image type", OLD, talk(image(type="base64", media_type="image/jpg", data="AAAA")), "messages.0.content.0.image.source.base64.media_type: Input should be"),
    ("image data", OLD, talk(image(type="base64", media_type="image/png", data="?")), "messages.0.content.0.image.source.base64.data: invalid base64"),
    ("image http", OLD, talk(image(type="url", url="http://x/y.png")), "messages.0.content.0.image.source.url: Only HTTPS URLs"),
    ("no PDF", OLD, talk(document(type="base64", media_type="application/pdf", data="AAAA")), "messages.0.content.0.document.source.base64.data: The PDF"),
    ("document type", OLD, talk(document(type="base64", media_type="text/plain", data="AAAA")), "messages.0.content.0.document.source.base64.media_type"),
    ("document by assistant, new version", NEW, talk(user("x"), assistant({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}), user("z")), "messages.1.content.0: `document` blocks are not permitted"),
    ("citations by user, new version", NEW, talk(says(text("x", citations=[{"a": 1}]))), "messages.0.content.0.text.citations: Extra inputs"),
    ("tool name", OLD, message(tools=[tool("get weather")]), "tools.0.custom.name: String should match pattern"),
    ("tool name twice", OLD, message(tools=[tool(), tool()]), "tools: Tool names must be unique."),
    ("tool schema", OLD, message(tools=[tool(input_schema={"properties": {}})]), "tools.0.custom.input_schema.type: Field required"),
    ("tool schema type", OLD, message(tools=[tool(input_schema={"type": "array"})]), "tools.0.custom.input_schema.type: Input should be 'object'"),
    ("tool with no schema", OLD, message(tools=[tool(input_schema={"type": "object", "properties": []})]), "tools.0.custom.input_schema: JSON schema is invalid."),
    ("tool without schema", OLD, message(tools=[{"name": "x"}]), "tools.0.custom.input_schema: Field required"),
    ("tool of OpenAI", OLD, message(tools=[{"type": "function", "function": {"name": "x"}}]), "tools.0: Input tag 'function' found using 'type'"),
    ("strict tool", OLD, message(tools=[tool(strict=True, input_schema={"type": "object"})]), "tools.0.custom.input_schema: For 'object' type"),
    ("choice without tools", OLD, message(tool_choice={"type": "auto"}), "tool_choice: may only be specified while providing"),
    ("choice of another tool", OLD, message(tools=[tool()], tool_choice={"type": "tool", "name": "x"}), "tool_choice: Tool 'x' not found"),
    ("choice word", OLD, message(tools=[tool()], tool_choice={"type": "required"}), "tool_choice: Input tag 'required' found"),
    ("none takes no parallel", OLD, message(tools=[tool()], tool_choice={"type": "none", "disable_parallel_tool_use": True}), "tool_choice.none.disable_parallel_tool_use: Extra"),
    ("forced, Opus 5.5", OLD, message(model="claude-opus-5-5", tools=[tool()], tool_choice={"type": "any"}), "tool_choice: forced tool use"),
    ("forced, always thinking", OLD, message(model="claude-fable-5", tools=[tool()], tool_choice={"type": "any"}), "Thinking may not be enabled when tool_choice"),
    ("forced with thinking", OLD, message(max_tokens=2000, thinking={"type": "enabled", "budget_tokens": 1024}, tools=[tool()], tool_choice={"type": "tool", "name": "get_weather"}), "Thinking may not be enabled when tool_choice"),
    ("use without result", OLD, loop(user("x"), assistant(USE), user("y")), "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_1."),
    ("use at the end", OLD, loop(user("x"), assistant(USE)), "messages.1: `tool_use` ids were found without"),
    ("result after text", OLD, loop(user("x"), assistant(USE), says(text("y"), RESULT)), "messages.1: `tool_use` ids were found without"),
    ("result without use", OLD, loop(says(RESULT)), "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1."),
    ("result of another use", OLD, loop(user("x"), assistant(USE), says({**RESULT, "tool_use_id": "other"})), "messages.2.content.0: unexpected `tool_use_id`"),
    ("one of two results", OLD, loop(user("x"), assistant(USE, {**USE, "id": "toolu_2"}), says(RESULT)), "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: toolu_2"),
    ("result twice", OLD, loop(user("x"), assistant(USE), says(RESULT, RESULT)), "messages.2.content: each tool_use must have a single result"),
    ("use id", OLD, loop(user("x"), assistant({**USE, "id": "a.b"}), says({**RESULT, "tool_use_id": "a.b"})), "messages.1.content.0.tool_use.id: String should match pattern"),
    ("ids twice", OLD, loop(user("x"), assistant(USE, USE), says(RESULT)), "messages: `tool_use` ids must be unique"),
    ("use input", OLD, loop(user("x"), assistant({**USE, "input": "{}"}), says(RESULT)), "messages.1.content.0.tool_use.input: Input should be an object"),
    ("blocks without tools", OLD, talk(user("x"), assistant(USE), says(RESULT)), "Requests which include `tool_use` or `tool_result` blocks must define tools"),
    ("budget small", OLD, message(thinking={"type": "enabled", "budget_tokens": 1000}), "thinking.enabled.budget_tokens: Input should be greater"),
    ("budget above max", OLD, message(max_tokens=1024, thinking={"type": "enabled", "budget_tokens": 1024}), "`max_tokens` must be greater than `thinking.budget_tokens`"),
    ("enabled, Opus 4.7", OLD, message(model="claude-opus-4-7", max_tokens=4000, thinking={"type": "enabled", "budget_tokens": 1024}), '"thinking.type.enabled" is not supported for this model.'),
    ("adaptive, Haiku 4.5", OLD, message(thinking={"type": "adaptive"}), "adaptive thinking is not supported on this model"),
    ("disabled, Opus 5.5", OLD, message(model="claude-opus-5-5", thinking={"type": "disabled"}), '"thinking.type.disabled" is not supported for this model'),
    ("disabled, Sonnet 5.5", OLD, message(model="claude-sonnet-5-5", thinking={"type": "disabled"}), '"thinking.type.disabled" is not supported for this model. Use "thinking.type.between_tools"'),
    ("disabled at max effort", OLD, message(model="claude-opus-5", thinking={"type": "disabled"}, output_config={"effort": "max"}), '"thinking.type.disabled" is only supported at effort'),
    ("between_tools at max effort", OLD, message(model="claude-sonnet-5-5", thinking={"type": "between_tools"}, output_config={"effort": "xhigh"}), '"thinking.type.between_tools" is only supported at effort'),
    ("thinking and temperature", OLD, message(max_tokens=2000, temperature=0.5, thinking={"type": "enabled", "budget_tokens": 1024}), "`temperature` may only be set to 1 when thinking"),
    ("thinking and top_p", OLD, message(max_tokens=2000, top_p=0.5, thinking={"type": "enabled", "budget_tokens": 1024}), "`top_p` must be greater than or equal to 0.95"),
    ("thinking and top_k", OLD, message(max_tokens=2000, top_k=5, thinking={"type": "enabled", "budget_tokens": 1024}), "`top_k` must be unset when thinking"),
    ("loop without thinking", OLD, loop(user("x"), assistant(USE), says(RESULT), max_tokens=2000, thinking={"type": "enabled", "budget_tokens": 1024}), "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`."),
    ("forged thinking", OLD, talk(user("x"), assistant({"type": "thinking", "thinking": "y", "signature": "AAAA"}, text("z")), user("w")), "messages.1.content.0: Invalid `signature` in `thinking` block"),
    ("forged redacted thinking", OLD, talk(user("x"), assistant({"type": "redacted_thinking", "data": "AAAA"}, text("z")), user("w")), "messages.1.content.0: Invalid `data` in `redacted_thinking` block"),
    ("effort, Haiku 4.5", OLD, message(output_config={"effort": "low"}), "This model does not support the effort parameter."),
    ("effort, Opus 4.6", OLD, message(model="claude-opus-4-6", output_config={"effort": "xhigh"}), "This model does not support effort level 'xhigh'."),
    ("effort word", OLD, message(output_config={"effort": "none"}), "output_config.effort: Input should be 'low', 'medium'"),
    ("format open", OLD, message(output_config={"format": {"type": "json_schema", "schema": {"type": "object"}}}), "output_config.format.schema: For 'object' type, 'additionalProperties' must be"),
    ("format minimum", OLD, message(output_config=schema(properties={"a": {"type": "integer", "minimum": 1}})), "output_config.format.schema: For 'integer' type, property 'minimum' is not supported"),
    ("format maxLength", OLD, message(output_config=schema(properties={"a": {"type": ["string", "null"], "maxLength": 1}})), "output_config.format.schema: For 'string' type, property 'maxLength'"),
    ("format nested open", OLD, message(output_config=schema(properties={"a": {"type": "array", "items": {"type": "object"}}})), "output_config.format.schema: For 'object' type"),
    ("format minItems", OLD, message(output_config=schema(properties={"a": {"type": "array", "minItems": 2}})), "output_config.format.schema: For 'array' type, 'minItems'"),
    ("format in $defs", OLD, message(output_config=schema(**{"$defs": {"x": {"type": "object"}}})), "output_config.format.schema: For 'object' type"),
    ("format recursive", OLD, message(output_config=schema(properties={"a": {"$ref": "#/$defs/x"}}, **{"$defs": {"x": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/x"}]}}})), "output_config.format.schema: Circular reference"),
    ("format lookaround", OLD, message(output_config=schema(properties={"a": {"type": "string", "pattern": "^(?=a).*$"}})), "output_config.format.schema: For 'string' type, 'pattern'"),
    ("21 strict tools", OLD, message(tools=[tool(f"t{i}", strict=True) for i in range(21)]), "tools: Too many strict tools (21)."),
    ("format external ref", OLD, message(output_config=schema(properties={"a": {"$ref": "https://x/y"}})), "output_config.format.schema: External $ref"),
    ("format and citations", OLD, talk(says({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, "citations": {"enabled": True}}), output_config=schema()), "Citations are not supported when using output format."),
    ("format of a string", OLD, message(output_config=schema(properties={"a": {"type": "string", "format": "color"}})), "output_config.format.schema: For 'string' type, 'format' value 'color'"),
    ("format in anyOf", OLD, message(output_config=schema(properties={"a": {"anyOf": [{"type": "null"}, {"type": "object"}]}})), "output_config.format.schema: For 'object' type"),
    ("format and prefill", OLD, talk(user("x"), assistant(text("{")), output_config=schema()), "Prefilling assistant messages is not supported when"),
    ("five breakpoints", OLD, message(system=[text("x", **MARK)] * 4, tools=[tool(**MARK)]), "A maximum of 4 blocks with cache_control may be provided. Found 5."),
    ("long after short", OLD, message(system=[text("x", **MARK), text("y", **HOUR)]), "cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Note that blocks are processed in the following order: `tools`, `system`, `messages`."),
    ("cache ttl", OLD, message(system=[text("x", cache_control={"type": "ephemeral", "ttl": "2h"})]), "system.0.text.cache_control.ephemeral.ttl: Input should be '5m' or '1h'"),
    ("too long", OLD, message("x" * 900_000), "prompt is too long: 225000 tokens > 200000 maximum"),
    ("bad directive", OLD, message("[[sim: mode=explode]]"), "sim directive: mode is one of"),
]  # fmt: skip


@pytest.mark.parametrize(("version", "body", "words"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
async def test_messages_refuses(version: str, body: Any, words: str) -> None:
    sim = simulator()
    got = await ask(sim, MESSAGES, body, {**ANTHROPIC_KEY, "anthropic-version": version})
    assert got.status == 400, got.body
    assert got.json["type"] == "error"
    assert got.error["type"] == "invalid_request_error"
    assert got.error["message"].startswith(words), got.error["message"]
    assert got.json["request_id"] == got.headers["request-id"]
    assert sim.open_exchanges == 0
    assert not sim.billed


ACCEPTED: list[tuple[str, str, dict[str, Any]]] = [
    ("sampling, old version", OLD, message(temperature=0.5, top_k=5)),
    ("default temperature, new model", OLD, message(model="claude-opus-5", temperature=1)),
    ("tool loop", OLD, loop(user("x"), assistant(text("y"), USE), says(RESULT, text("z")))),
    ("results over two messages", OLD, loop(user("x"), assistant(USE, {**USE, "id": "b"}), says(RESULT), says({**RESULT, "tool_use_id": "b"}))),
    ("neighbours merge", OLD, talk(user("x"), user("y"), assistant(text("z")), user("w"))),
    ("prefill, 4.5", OLD, talk(user("x"), assistant(text("y")))),
    ("system in the middle", OLD, talk(user("x"), {"role": "system", "content": "y"}, user("z"), model="claude-opus-4-8")),
    ("forced, Opus 5", OLD, message(model="claude-opus-5", tools=[tool()], tool_choice={"type": "any"}, thinking={"type": "disabled"})),
    ("forced, Haiku 4.5", OLD, message(tools=[tool()], tool_choice={"type": "any", "disable_parallel_tool_use": True})),
    ("pre-warm", OLD, message(max_tokens=0)),
    ("format", OLD, message(output_config=schema(properties={"a": {"type": "string", "format": "date"}}, required=["a"]))),
    ("format with references", OLD, message(output_config=schema(properties={"a": {"$ref": "#/$defs/x"}, "b": {"$ref": "#/$defs/x"}}, **{"$defs": {"x": {"type": "string", "pattern": "^a(?:b)$"}}}))),
    ("server tool", NEW, message(tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}])),
    ("four breakpoints", OLD, message(system=[text("x", **MARK)] * 4)),
    ("short after long", OLD, message(system=[text("x", **HOUR), text("y", **MARK)], tools=[tool(**HOUR)])),
    ("document", NEW, talk(document(type="text", media_type="text/plain", data="x"))),
    ("deprecated model", OLD, message(model="claude-sonnet-4-5")),
    ("disabled where thinking is off anyway", OLD, message(model="claude-opus-4-7", thinking={"type": "disabled"})),
]  # fmt: skip


@pytest.mark.parametrize(("version", "body"), [pytest.param(*row[1:], id=row[0]) for row in ACCEPTED])
async def test_messages_accepts(version: str, body: dict[str, Any]) -> None:
    sim = simulator()
    got = await ask(sim, MESSAGES, body, {**ANTHROPIC_KEY, "anthropic-version": version})
    assert got.status == 200, got.body
    assert len(sim.billed) == 1


@pytest.mark.parametrize("model", ["claude-99", "claude-3-5-sonnet-latest", "claude-opus-4-1", "gpt-4o"])
@pytest.mark.parametrize("stream", [False, True])
async def test_unknown_and_retired_models(model: str, stream: bool) -> None:
    got = await ask(simulator(), MESSAGES, message(model=model, stream=stream))
    assert (got.status, got.error["type"]) == (404, "not_found_error")
    assert got.error["message"] == f"model: {model}"


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"anthropic-version": OLD}, 401, "authentication_error"),
        ({"x-api-key": "wrong", "anthropic-version": OLD}, 401, "authentication_error"),
        ({"authorization": "Bearer wrong", "anthropic-version": OLD}, 401, "authentication_error"),
        ({"authorization": "Basic right", "anthropic-version": OLD}, 401, "authentication_error"),
        (
            {"x-api-key": "right", "authorization": "Bearer right", "anthropic-version": OLD},
            401,
            "authentication_error",
        ),
        ({"x-api-key": "right"}, 400, "invalid_request_error"),
        ({"x-api-key": "right", "anthropic-version": "2020-01-01"}, 400, "invalid_request_error"),
        ({"x-api-key": "right", "anthropic-version": OLD, "content-type": "text/plain"}, 415, "invalid_request_error"),
    ],
)
async def test_credentials_and_versions(headers: dict[str, str], status: int, kind: str) -> None:
    sim = simulator(api_keys=("right",))
    got = await ask(sim, MESSAGES, message(), headers)
    assert (got.status, got.error["type"]) == (status, kind)
    ok = {"anthropic-version": OLD}
    assert (await ask(sim, MESSAGES, message(), {**ok, "x-api-key": "right"})).status == 200
    assert (await ask(sim, MESSAGES, message(), {**ok, "authorization": "Bearer right"})).status == 200


async def test_invalid_json_and_huge_bodies() -> None:
    got = await ask(simulator(), MESSAGES, b"{nope")
    assert (got.status, got.error["type"]) == (400, "invalid_request_error")
    assert got.error["message"].startswith("The request body is not valid JSON")
    huge = await ask(simulator(), MESSAGES, b" " * (32 * 1024 * 1024 + 1))
    assert (huge.status, huge.error["type"]) == (413, "request_too_large")


async def test_beta_members_need_their_beta() -> None:
    body = message(context_management={"edits": []})
    assert (await ask(simulator(), MESSAGES, body)).status == 400
    headers = {**ANTHROPIC_KEY, "anthropic-beta": "x, context-management-2025-06-27"}
    assert (await ask(simulator(), MESSAGES, body, headers)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("POST", "/v1/messages/batches", 404, "not_found_error"),
        ("GET", "/v1/models/claude-99", 404, "not_found_error"),
        ("POST", "/v1/models", 405, "invalid_request_error"),
    ],
)
async def test_paths_and_methods(method: str, path: str, status: int, kind: str) -> None:
    got = await ask(simulator(), path, b"", ANTHROPIC_KEY, method)
    assert (got.status, got.error["type"]) == (status, kind)
