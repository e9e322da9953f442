"""The top-level fields of a request: copied, translated, dropped or refused."""

import hashlib
import json
from typing import Any

import msgspec
import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_to_messages.request import translate_request
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from tests.dialects.chat_to_messages import models
from tests.dialects.chat_to_messages.models import function, out, refused, translate

Json = dict[str, Any]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b"{",
        b'{"a": NaN}',
        b'{"a": "\\ud800"}',
        b"\xff",
        b'{"a":' * 5000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_no_json_object(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        translate_request(body, models.model(models.ADAPTIVE), TranslationOptions())
    assert caught.value.kind is ErrorKind.INVALID_JSON


def test_a_schema_nested_to_the_bounds_of_recursion() -> None:
    deep: Any = {}
    for _ in range(900):
        deep = {"items": deep}
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": deep}}
    body = msgspec.json.encode(
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "response_format": schema}
    )
    with pytest.raises(GatewayError) as caught:
        translate_request(body, models.model(models.ADAPTIVE), TranslationOptions())
    assert caught.value.kind is ErrorKind.INVALID_JSON


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "model"),
        ({"model": "m"}, "missing_required_parameter", "messages"),
        ({"model": None, "messages": []}, "invalid_type", "model"),
        ({"model": "m", "messages": None}, "invalid_type", "messages"),
    ],
)
def test_what_must_be_there(body: Json, code: str, param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        translate_request(json.dumps(body).encode(), models.model(models.ADAPTIVE), TranslationOptions())
    assert (caught.value.code, caught.value.param) == (code, param)


def test_the_name_that_goes_upstream() -> None:
    body = b'{"model": "fast", "messages": [{"role": "user", "content": "x"}]}'
    translated = translate_request(body, models.model(models.ADAPTIVE), TranslationOptions())
    assert json.loads(translated.body)["model"] == translated.sent.requested_model == "fast"
    renamed = translate_request(
        body, models.model(models.ADAPTIVE), TranslationOptions(), upstream_model="claude-opus-4-8"
    )
    assert json.loads(renamed.body)["model"] == "claude-opus-4-8"
    assert renamed.sent.requested_model == "fast"


def test_null_counts_as_absent() -> None:
    fields = (
        *("max_tokens", "temperature", "top_p", "stop", "stream", "stream_options", "n", "tools", "tool_choice"),
        *("response_format", "reasoning_effort", "user", "service_tier", "logprobs", "audio", "seed", "made_up"),
    )
    plain = translate({})
    nulls = translate(dict.fromkeys(fields))
    assert nulls == plain
    assert plain.warnings == ()


@pytest.mark.parametrize(
    ("request_", "limit"),
    [
        ({}, 16000),
        ({"stream": True}, 32000),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 7}, 7),
    ],
)
def test_max_tokens(request_: Json, limit: int) -> None:
    assert out(request_)["max_tokens"] == limit


def test_the_default_stays_below_the_bound_of_the_model() -> None:
    assert out({}, name="claude-3-haiku")["max_tokens"] == 4096
    assert out({}, default_max_tokens=100)["max_tokens"] == 100


def test_a_model_that_nobody_knows() -> None:
    unknown = Model.unknown("claude-next", "anthropic", "anthropic")
    body = b'{"model": "claude-next", "messages": [{"role": "user", "content": "x"}], "max_tokens": 999999}'
    translated = translate_request(body, unknown, TranslationOptions())
    assert json.loads(translated.body)["max_tokens"] == 999999
    body = b'{"model": "claude-next", "messages": [{"role": "user", "content": "x"}]}'
    assert json.loads(translate_request(body, unknown, TranslationOptions()).body)["max_tokens"] == 16000


def test_a_limit_above_the_bound_is_refused_in_strict_mode() -> None:
    error = refused({"max_tokens": 128001}, strict=True)
    assert (error.code, error.param) == ("integer_above_max_value", "max_tokens")


@pytest.mark.parametrize(
    ("request_", "code", "param"),
    [
        ({"max_tokens": 1.5}, "invalid_type", "max_tokens"),
        ({"max_tokens": True}, "invalid_type", "max_tokens"),
        ({"n": 0}, "integer_below_min_value", "n"),
        ({"temperature": "hot"}, "invalid_type", "temperature"),
        ({"temperature": 2.1}, "decimal_above_max_value", "temperature"),
        ({"temperature": -1}, "decimal_below_min_value", "temperature"),
        ({"temperature": 10**40}, "decimal_above_max_value", "temperature"),
        ({"top_k": -1}, "integer_below_min_value", "top_k"),
        ({"stop": 1}, "invalid_type", "stop"),
        ({"stop": [1]}, "invalid_type", "stop[0]"),
        ({"stream": 1}, "invalid_type", "stream"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "invalid_type", "stream_options.include_usage"),
        ({"logprobs": True}, "unsupported_parameter", "logprobs"),
        ({"top_logprobs": 2}, "unsupported_parameter", "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "unsupported_value", "modalities[1]"),
        ({"audio": {}}, "unsupported_parameter", "audio"),
        ({"web_search_options": {}}, "unsupported_parameter", "web_search_options"),
        ({"logit_bias": []}, "invalid_type", "logit_bias"),
        ({"response_format": {}}, "missing_required_parameter", "response_format.type"),
        ({"response_format": {"type": "xml"}}, "invalid_value", "response_format.type"),
        (
            {"response_format": {"type": "json_schema"}},
            "missing_required_parameter",
            "response_format.json_schema",
        ),
        ({"user": 1}, "invalid_type", "user"),
        ({"service_tier": "gold"}, "invalid_value", "service_tier"),
        ({"thinking": {}}, "missing_required_parameter", "thinking.type"),
        ({"system": [1]}, "invalid_type", "system[0]"),
        ({"output_config": 1}, "invalid_type", "output_config"),
        ({"prompt_cache_options": 1}, "invalid_type", "prompt_cache_options"),
        ({"include_reasoning": 1}, "invalid_type", "include_reasoning"),
        ({"frequency_penalty": None, "presence_penalty": {}}, "invalid_type", "presence_penalty"),
    ],
)
def test_refused(request_: Json, code: str, param: str) -> None:
    error = refused(request_)
    assert (error.code, error.param) == (code, param)
    assert error.type == "invalid_request_error"


@pytest.mark.parametrize(
    "request_",
    [
        {"seed": 1},
        {"logit_bias": {"1": 2}},
        {"frequency_penalty": 0.1},
        {"presence_penalty": -1},
        {"verbosity": "low"},
        {"store": True},
        {"service_tier": "scale"},
        {"prediction": {}},
        {"moderation": {}},
        {"stop": " "},
        {"temperature": 0.1},
        {"top_k": 3},
    ],
)
def test_dropped_with_a_warning_or_refused(request_: Json) -> None:
    (field,) = request_
    translated = translate(request_)
    assert translated.warnings == (f"dropped:{field}",)
    assert translated.body == translate({}).body
    error = refused(request_, strict=True)
    assert error.code == ("unsupported_value" if field in ("temperature", "top_k") else "unsupported_parameter")
    assert error.param == field


@pytest.mark.parametrize(
    "request_",
    [
        {"temperature": 1, "top_p": 1.0},
        {"n": 1},
        {"frequency_penalty": 0.0, "presence_penalty": 0},
        {"logprobs": False, "top_logprobs": 0, "logit_bias": {}},
        {"store": False},
        {"modalities": ["text"]},
        {"metadata": {"user_id": "jane"}, "prompt_cache_key": "k", "prompt_cache_retention": "24h"},
        {"stream_options": {"include_obfuscation": False}},
        {"response_format": {"type": "text"}},
        {"parallel_tool_calls": True},
        {"user": ""},
        {"system": " "},
    ],
)
def test_what_means_nothing_changes_nothing(request_: Json) -> None:
    assert translate(request_, strict=True).body == translate({}).body


def test_members_nobody_knows() -> None:
    translated = translate({"made_up": 1, "bad, name\r\n": 2})
    assert translated.warnings == ("dropped:made_up", "dropped:unknown")
    assert refused({"made_up": 1}, strict=True).code == "unknown_parameter"
    assert len(translate({f"x{index}": 1 for index in range(100)}).warnings) == 32
    assert len(refused({"x" * 1000: 1}, strict=True).param or "") == 64


@pytest.mark.parametrize(
    ("request_", "name", "sent"),
    [
        ({"temperature": 0.7}, models.ENABLED, {"temperature": 0.7}),
        ({"temperature": 0.7, "top_p": 1}, models.ENABLED, {"temperature": 0.7}),
        ({"top_p": 0.5, "top_k": 3}, models.ENABLED, {"top_p": 0.5, "top_k": 3}),
        ({"temperature": 0.7, "top_p": 0.5}, models.NO_SCHEMAS, {"temperature": 0.7, "top_p": 0.5}),
        ({"temperature": 0.7, "top_k": 3, "reasoning_effort": "low"}, models.ENABLED, {}),
        ({"top_p": 0.96, "reasoning_effort": "low"}, models.ENABLED, {"top_p": 0.96}),
        ({"top_p": 0.9, "reasoning_effort": "low"}, models.ENABLED, {}),
    ],
)
def test_sampling(request_: Json, name: str, sent: Json) -> None:
    body = out(request_, name=name)
    assert {key: body[key] for key in ("temperature", "top_p", "top_k") if key in body} == sent


def test_sampling_numbers_keep_their_text() -> None:
    request = b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "temperature": 0.10}'
    assert b'"temperature":0.10' in translate_request(request, models.model(models.ENABLED), TranslationOptions()).body


def digest(user: str) -> str:
    return hashlib.sha256(user.encode()).hexdigest()


@pytest.mark.parametrize(
    ("request_", "user_id"),
    [
        ({"user": "u-1"}, "u-1"),
        ({"user": "u-1", "safety_identifier": "s-1"}, "s-1"),
        ({"user": "jane@example.com"}, digest("jane@example.com")),
        ({"user": "Jane <jane@example.com>"}, digest("Jane <jane@example.com>")),
        ({"user": "+49 (30) 123-456"}, digest("+49 (30) 123-456")),
        ({"user": "x" * 257}, digest("x" * 257)),
        ({"user": "3f2a-77"}, "3f2a-77"),
    ],
)
def test_user(request_: Json, user_id: str) -> None:
    assert out(request_)["metadata"] == {"user_id": user_id}


@pytest.mark.parametrize(
    ("tier", "sent"),
    [("auto", "auto"), ("default", "standard_only"), ("priority", "auto"), ("fast", "auto")],
)
def test_service_tier(tier: str, sent: str) -> None:
    assert out({"service_tier": tier})["service_tier"] == sent


def test_native_members_stand_beside_translated_ones() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "description": "D.", "schema": {"description": "E."}}}
    translated = translate(
        {
            "reasoning_effort": "low",
            "response_format": schema,
            "output_config": {"effort": "max"},
            "thinking": {"type": "disabled"},
            "system": [{"type": "text", "text": "Native."}],
            "messages": [{"role": "system", "content": "Chat."}, {"role": "user", "content": "x"}],
            "speed": "fast",
        }
    )
    body = json.loads(translated.body)
    assert body["output_config"] == {
        "effort": "max",
        "format": {"type": "json_schema", "schema": {"description": "D.\n\nE."}},
    }
    assert body["thinking"] == {"type": "disabled"}
    assert [block["text"] for block in body["system"]] == ["Native.", "Chat."]
    assert translated.betas == ("fast-mode-2026-02-01",)


def test_native_thinking_decides_about_forced_tools() -> None:
    request = {"tools": [function()], "tool_choice": "required"}
    assert out(request | {"thinking": {"type": "disabled"}}, name=models.DEFAULT_ON)["tool_choice"] == {"type": "any"}
    adaptive = translate(request | {"thinking": {"type": "adaptive"}}, name=models.DEFAULT_ON)
    assert json.loads(adaptive.body)["tool_choice"] == {"type": "auto"}
    assert adaptive.warnings == ("changed:tool_choice",)


def test_usage_is_shown_to_who_streams_and_asks() -> None:
    asked = {"stream_options": {"include_usage": True}}
    assert translate(asked | {"stream": True}).sent.include_usage
    assert not translate(asked).sent.include_usage
    assert not translate({"stream": True}).sent.include_usage
