"""The top-level fields of a request: copied, translated, dropped or refused."""

import json
from typing import Any

import msgspec
import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.messages_to_chat.request import translate_request
from tests.dialects.messages_to_chat import models
from tests.dialects.messages_to_chat.models import out, refused, tool, translate

Json = dict[str, Any]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a": "\\ud800"}', b"\xff", b'{"a":' * 5000])
def test_no_json_object(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        translate_request(body, models.model(models.PLAIN), TranslationOptions())
    assert caught.value.kind is ErrorKind.INVALID_JSON


def test_a_schema_nested_to_the_bounds_of_recursion() -> None:
    deep: Any = {}
    for _ in range(900):
        deep = {"items": deep}
    body = msgspec.json.encode(
        {
            "model": "m",
            "max_tokens": 1,
            "messages": [{"role": "user", "content": "x"}],
            "tools": [
                tool(
                    strict=True,
                    input_schema={
                        "type": "object",
                        "additionalProperties": False,
                        "required": [],
                        "properties": {},
                        "items": deep,
                    },
                )
            ],
        }
    )
    with pytest.raises(GatewayError) as caught:
        translate_request(body, models.model(models.PLAIN), TranslationOptions())
    assert caught.value.kind is ErrorKind.INVALID_JSON


@pytest.mark.parametrize("key", ["model", "max_tokens", "messages"])
def test_what_must_be_there(key: str) -> None:
    error = refused({key: None})
    assert (error.code, error.param) == ("missing_required_parameter", key)


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        ({"container": {"id": "c"}}, "container"),
        ({"stop_sequences": [""]}, "stop_sequences.0"),
        ({"temperature": 1.5}, "temperature"),
        ({"top_k": -1}, "top_k"),
        ({"metadata": {"user_id": 1}}, "metadata.user_id"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"output_config": {"format": {"type": "json"}}}, "output_config.format.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_what_is_refused(request_: Json, param: str) -> None:
    assert refused(request_).param == param


def test_the_name_that_goes_upstream() -> None:
    body = b'{"model": "fast", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}'
    model = models.model(models.PLAIN)
    assert json.loads(translate_request(body, model, TranslationOptions()).body)["model"] == "fast"
    renamed = translate_request(body, model, TranslationOptions(), upstream_model="gpt-4.1")
    assert json.loads(renamed.body)["model"] == "gpt-4.1"
    assert renamed.sent.requested_model == "fast"


def test_the_bound_on_tokens_has_the_name_the_server_knows() -> None:
    newest = Model.unknown("gpt-7", "openai", "openai")
    body = b'{"model": "gpt-7", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}'
    assert json.loads(translate_request(body, newest, TranslationOptions()).body)["max_completion_tokens"] == 1
    assert out({}, name=models.FOREIGN)["max_tokens"] == 64
    assert out({}, name=models.REASONING)["max_completion_tokens"] == 64
    too_many = {"max_tokens": 10**6}
    assert translate(too_many).warnings == ("changed:max_tokens",)
    assert refused(too_many, strict=True).param == "max_tokens"


@pytest.mark.parametrize(
    ("name", "request_", "sent", "warnings"),
    [
        (models.PLAIN, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}, ()),
        (models.FOREIGN, {"temperature": 0}, {"temperature": 0}, ()),
        (models.REASONING, {"temperature": 0.5}, {}, ("dropped:temperature",)),
        (models.REASONING, {"temperature": 1, "top_p": 1.0}, {}, ()),
        (models.REASONING, {"temperature": 0.5, "thinking": {"type": "disabled"}}, {"temperature": 0.5}, ()),
        (models.ALWAYS, {"top_p": 0.5}, {}, ("dropped:top_p",)),
    ],
)
def test_sampling(name: str, request_: Json, sent: Json, warnings: tuple[str, ...]) -> None:
    got = out(request_, name=name)
    assert {key: got[key] for key in ("temperature", "top_p") if key in got} == sent
    assert translate(request_, name=name).warnings == warnings


def test_structured_outputs_where_there_are_none() -> None:
    model = models.model(models.PLAIN)
    old = msgspec.structs.replace(model, rules=msgspec.structs.replace(model.rules, structured_outputs=False))
    body = json.dumps(
        {
            "model": "m",
            "max_tokens": 1,
            "messages": [{"role": "user", "content": "x"}],
            "output_config": {"format": {"type": "json_schema", "schema": {}}},
        }
    )
    with pytest.raises(GatewayError) as caught:
        translate_request(body.encode(), old, TranslationOptions())
    assert caught.value.param == "output_config.format"


def test_a_server_that_reports_usage_unasked_is_not_asked() -> None:
    asked, unasked = (translate({"stream": True}, ask_usage=ask).body for ask in (True, False))
    assert b'"stream_options":{"include_usage":true}' in asked
    assert b"stream_options" not in unasked
