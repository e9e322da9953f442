"""Tools, the choice among them, and what each model takes of it."""

import json
from typing import Any

import pytest

from tests.dialects.chat_to_messages import models
from tests.dialects.chat_to_messages.models import call, function, out, refused, translate

Json = dict[str, Any]
CLOSED = {"type": "object", "properties": {}, "additionalProperties": False}


def tools(request: Json, **options: Any) -> Any:
    return out(request, **options).get("tools")


def test_a_strict_schema_that_qualifies_stays_strict() -> None:
    (tool,) = tools({"tools": [function(parameters=CLOSED, strict=True)]})
    assert tool["strict"] is True


def test_no_more_strict_tools_than_the_bound() -> None:
    many = [function(f"f{index}", parameters=CLOSED, strict=True) for index in range(21)]
    result = translate({"tools": many})
    strict = [tool.get("strict") for tool in json.loads(result.body)["tools"]]
    assert strict == [True] * 20 + [None]
    assert result.warnings == ("dropped:tools.strict",)
    assert refused({"tools": many}, strict=True).param == "tools[20].function.strict"


def test_models_without_structured_outputs_take_no_strict_tools() -> None:
    request = {"tools": [function(parameters=CLOSED, strict=True)]}
    assert "strict" not in out(request, name=models.NO_SCHEMAS)["tools"][0]


@pytest.mark.parametrize(
    "wide",
    [
        {"properties": {f"p{index}": {} for index in range(13)}},
        {"properties": {f"p{index}": {"anyOf": []} for index in range(9)}, "required": [f"p{i}" for i in range(9)]},
    ],
)
def test_no_more_optional_parameters_or_unions_than_the_bound(wide: Json) -> None:
    both = [function(name, parameters=CLOSED | wide, strict=True) for name in ("a", "b")]
    assert [tool.get("strict") for tool in tools({"tools": both})] == [True, None]


def test_schema_gets_its_type_and_loses_its_dialect() -> None:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "properties": {"a": {}}}
    (tool,) = tools({"tools": [function(parameters=schema)]})
    assert tool["input_schema"] == {"type": "object", "properties": {"a": {}}}


def test_extras_pass_from_the_tool_or_its_function() -> None:
    (tool,) = tools(
        {"tools": [function(input_examples=[{}], cache_control={"type": "ephemeral"}) | {"defer_loading": True}]}
    )
    assert tool["input_examples"] == [{}]
    assert tool["defer_loading"] is True
    assert tool["cache_control"] == {"type": "ephemeral"}


@pytest.mark.parametrize(
    ("request_", "code", "param"),
    [
        ({"tools": {}}, "invalid_type", "tools"),
        ({"tools": [1]}, "invalid_type", "tools[0]"),
        ({"tools": [{}]}, "missing_required_parameter", "tools[0].type"),
        ({"tools": [{"type": "web_search_20250305"}]}, "invalid_value", "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "missing_required_parameter", "tools[0].function"),
        ({"tools": [function("a b")]}, "invalid_value", "tools[0].function.name"),
        ({"tools": [function(parameters={"type": "array"})]}, "invalid_value", "tools[0].function.parameters"),
        ({"tools": [function(description=1)]}, "invalid_type", "tools[0].function.description"),
        ({"tools": [function()], "functions": []}, "invalid_value", "functions"),
        ({"tool_choice": "required"}, "invalid_value", "tool_choice"),
        ({"tools": [function()], "tool_choice": "any"}, "invalid_value", "tool_choice"),
        ({"tools": [function()], "tool_choice": 1}, "invalid_type", "tool_choice"),
        ({"tools": [function()], "tool_choice": {"type": "x"}}, "invalid_value", "tool_choice.type"),
        (
            {"tools": [function()], "tool_choice": {"type": "function", "function": {"name": "g"}}},
            "invalid_value",
            "tool_choice.function.name",
        ),
        (
            {"tools": [function()], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "x"}}},
            "invalid_value",
            "tool_choice.allowed_tools.mode",
        ),
        (
            {"tools": [function()], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}},
            "invalid_value",
            "tool_choice.allowed_tools.tools",
        ),
        ({"functions": [{"name": "f"}], "function_call": "required"}, "invalid_value", "function_call"),
        ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "invalid_value", "function_call.name"),
        ({"tools": [function()], "parallel_tool_calls": "no"}, "invalid_type", "parallel_tool_calls"),
    ],
)
def test_refused(request_: Json, code: str, param: str) -> None:
    error = refused(request_)
    assert (error.code, error.param) == (code, param)


def test_models_without_tools() -> None:
    assert refused({"tools": [function()]}, name=models.NO_TOOLS).param == "tools"
    assert refused({"functions": [{"name": "f"}]}, name=models.NO_TOOLS).param == "functions"


def allowed(mode: str, *names: str) -> Json:
    listed = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": listed}}


@pytest.mark.parametrize(
    ("request_", "choice"),
    [
        pytest.param({"tool_choice": "none"}, {"type": "none"}, id="none"),
        pytest.param({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}, id="none, one at a time"),
        pytest.param({"tool_choice": "auto"}, {"type": "auto"}, id="auto"),
        pytest.param({}, None, id="nothing said"),
        pytest.param(
            {"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}, id="named"
        ),
        pytest.param(
            {"tool_choice": "required", "parallel_tool_calls": False},
            {"type": "any", "disable_parallel_tool_use": True},
            id="required, one at a time",
        ),
        pytest.param({"tool_choice": allowed("auto", "f")}, {"type": "auto"}, id="all allowed"),
    ],
)
def test_choice(request_: Json, choice: Json | None) -> None:
    assert out({"tools": [function()]} | request_, name=models.ADAPTIVE).get("tool_choice") == choice


def test_allowing_all_tools_changes_nothing() -> None:
    assert translate({"tools": [function()], "tool_choice": allowed("required", "f")}).warnings == ()


def test_choosing_none_without_tools_says_nothing() -> None:
    assert "tool_choice" not in out({"tool_choice": "none"})
    assert "tool_choice" not in out({"parallel_tool_calls": False})


def test_old_functions() -> None:
    body = out({"functions": [{"name": "f", "parameters": {}}], "function_call": {"name": "f"}})
    assert body["tool_choice"] == {"type": "tool", "name": "f", "disable_parallel_tool_use": True}
    body = out({"functions": [{"name": "f"}]})
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


def test_custom_tool_choice() -> None:
    custom = {"type": "custom", "custom": {"name": "python"}}
    result = translate({"tools": [custom], "tool_choice": custom})
    assert json.loads(result.body)["tool_choice"] == {"type": "tool", "name": "python"}
    assert result.sent.custom_tools == {"python"}
    assert "description" not in json.loads(result.body)["tools"][0]


SCHEMA = {"type": "json_schema", "json_schema": {"name": "f", "schema": {"properties": {}}}}


def test_emulated_schema_beside_tools_lets_the_model_choose() -> None:
    result = translate({"tools": [function()], "response_format": SCHEMA}, name=models.NO_SCHEMAS)
    body = json.loads(result.body)
    assert [tool["name"] for tool in body["tools"]] == ["f", "f_"]
    assert body["tool_choice"] == {"type": "any"}
    assert result.sent.schema_tool == "f_"


def test_emulated_schema_is_forced_where_the_client_wants_no_tool() -> None:
    request = {"tools": [function()], "tool_choice": "none", "response_format": SCHEMA}
    body = out(request, name=models.NO_SCHEMAS)
    assert body["tool_choice"] == {"type": "tool", "name": "f_", "disable_parallel_tool_use": True}


def test_stubs_name_each_tool_of_the_history_once() -> None:
    turns = [
        {"role": "user", "content": "Go."},
        {"role": "assistant", "tool_calls": [call("a", "g"), call("b", "f"), call("c", "g")]},
        *({"role": "tool", "tool_call_id": each, "content": "x"} for each in "abc"),
    ]
    assert [tool["name"] for tool in tools({"messages": turns})] == ["g", "f"]
