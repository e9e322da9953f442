"""The top-level fields of a request: passed, moved, dropped or refused."""

import json
from typing import Any

import msgspec
import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.chat_to_responses.request import translate_request
from tests.dialects.chat_to_responses import models
from tests.dialects.chat_to_responses.models import function, out, refused, translate

Json = dict[str, Any]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a": "\\ud800"}', b'{"a":' * 5000])
def test_no_json_object(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        translate_request(body, models.model(models.NEWEST), TranslationOptions())
    assert caught.value.kind is ErrorKind.INVALID_JSON


def test_nesting_to_the_bounds_of_recursion(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_deep(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr(msgspec.json, "encode", too_deep)
    with pytest.raises(GatewayError) as caught:
        translate_request(b'{"model":"m","messages":[]}', models.model(models.NEWEST), TranslationOptions())
    assert caught.value.kind is ErrorKind.INVALID_JSON


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": None}, "messages"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities[1]"),
        ({"audio": {}}, "audio"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"function_call": "auto"}, "function_call"),
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
def test_what_is_refused(request_: Json, param: str) -> None:
    assert refused(request_).param == param


def test_the_name_that_goes_upstream() -> None:
    body = b'{"model": "fast", "messages": []}'
    translated = translate_request(body, models.model(models.NEWEST), TranslationOptions(), upstream_model="gpt-6-sol")
    assert json.loads(translated.body)["model"] == "gpt-6-sol"
    assert translated.sent.requested_model == "fast"


def test_sampling_is_the_providers_business_but_for_the_default() -> None:
    assert "temperature" not in out({"temperature": 1.0})
    assert out({"temperature": 0.5, "top_p": 0.9}) | {"temperature": 0.5, "top_p": 0.9} == out(
        {"temperature": 0.5, "top_p": 0.9}
    )


def test_a_function_is_strict_only_where_the_client_says_so() -> None:
    tools = [function(), function("g", strict=True), function("h", strict=None)]
    assert [tool["strict"] for tool in out({"tools": tools})["tools"]] == [False, True, False]


def test_forms_of_choices_that_are_already_flat_or_unheard_of() -> None:
    allowed = {"mode": "auto", "tools": [{"type": "function", "name": "f"}, {"type": 7}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    assert out({"tools": [function()], "tool_choice": choice})["tool_choice"]["tools"] == allowed["tools"]
    tools = [{"type": "custom", "custom": {"name": "c"} | form} for form in ({}, {"format": {"type": "grammar"}})]
    assert [tool.get("format") for tool in out({"tools": tools})["tools"]] == [None, {"type": "grammar"}]


def test_a_model_that_does_not_reason_is_not_asked_for_reasoning() -> None:
    assert out({"reasoning_effort": "low"}, name=models.PLAIN)["reasoning"] == {"effort": "low"}
    plain = out({}, name=models.PLAIN)
    assert "reasoning" not in plain
    assert "include" not in plain


def test_reasoning_is_summarised_for_whoever_sees_it() -> None:
    assert "reasoning" not in out({})
    assert json.loads(translate({}, expose=True).body)["reasoning"] == {"summary": "auto"}
    assert out({"include_reasoning": True, "reasoning_effort": "low"})["reasoning"] == {
        "effort": "low",
        "summary": "auto",
    }
