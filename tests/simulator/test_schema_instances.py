"""The instances satisfy their schemas."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.simulator.schema_instances import instance

TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name", "left", "children"],
        }
    },
}


def satisfies(value: Any, schema: dict[str, Any]) -> bool:
    """A second opinion, for the keywords that the strategies below use."""
    if "const" in schema:
        return bool(value == schema["const"])
    if "enum" in schema:
        return value in schema["enum"]
    if "anyOf" in schema:
        return any(satisfies(value, each) for each in schema["anyOf"])
    match schema["type"]:
        case "object":
            return (
                isinstance(value, dict)
                and set(schema["required"]) <= set(value) <= set(schema["properties"])
                and all(satisfies(each, schema["properties"][key]) for key, each in value.items())
            )
        case "array":
            fits = isinstance(value, list) and schema["minItems"] <= len(value) <= schema["maxItems"]
            return fits and all(satisfies(each, schema["items"]) for each in value)
        case "string":
            return isinstance(value, str) and schema["minLength"] <= len(value) <= schema["maxLength"]
        case "integer":
            return isinstance(value, int) and _within(value, schema) and value % schema.get("multipleOf", 1) == 0
        case "number":
            return isinstance(value, int | float) and _within(value, schema)
        case "boolean":
            return isinstance(value, bool)
        case _:
            return value is None


def _within(value: float, schema: dict[str, Any]) -> bool:
    return bool(
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
        and schema.get("exclusiveMinimum", value - 1) < value < schema.get("exclusiveMaximum", value + 1)
    )


def _bounded(kind: str, low: str, high: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(st.integers(0, 4), st.integers(0, 4)).map(
        lambda pair: {"type": kind, low: pair[0], high: pair[0] + pair[1]}
    )


def _ranged(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    bounds = st.tuples(
        st.integers(-100, 100),
        st.integers(2, 100),
        st.sampled_from(("minimum", "exclusiveMinimum")),
        st.sampled_from(("maximum", "exclusiveMaximum")),
    )
    one_sided = st.tuples(
        st.sampled_from(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")), st.integers(-100, 100)
    )
    return bounds.map(lambda b: {"type": kind, b[2]: b[0], b[3]: b[0] + b[1]}) | one_sided.map(
        lambda b: {"type": kind, b[0]: b[1]}
    )


LEAVES = st.one_of(
    _bounded("string", "minLength", "maxLength"),
    _ranged("integer"),
    _ranged("number"),
    st.integers(1, 50).map(lambda step: {"type": "integer", "multipleOf": step, "minimum": 3}),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.lists(st.text() | st.integers(), min_size=1).map(lambda values: {"enum": values}),
    st.text().map(lambda value: {"const": value}),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.text(max_size=4), inner, max_size=4).flatmap(
            lambda properties: (
                st.lists(st.sampled_from(sorted(properties)), unique=True).map(
                    lambda required: {"type": "object", "properties": properties, "required": required}
                )
                if properties
                else st.just({"type": "object", "properties": {}, "required": []})
            )
        ),
        st.tuples(inner, _bounded("array", "minItems", "maxItems")).map(lambda pair: pair[1] | {"items": pair[0]}),
        st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches}),
    ),
    max_leaves=8,
)


@given(SCHEMAS)
def test_instances_satisfy(schema: dict[str, Any]) -> None:
    assert satisfies(instance(schema, "What about Rome?"), schema)


def test_recursive_schemas_end() -> None:
    value = instance(TREE)
    assert value["name"] == "name"
    depth = 0
    while value["children"]:
        (value,) = value["children"]
        depth += 1
    assert 1 <= depth <= 8


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": ["null", "string"]}, "Rome"),
        ({"type": "string", "format": "date"}, "2026-11-24"),
        ({"type": "object", "properties": {"a": {"enum": ["x", "y"]}}}, {"a": "x"}),
        ({"allOf": [{"properties": {"a": {"type": "boolean"}}}, {"type": "object", "required": ["b"]}]},
         {"a": True, "b": "Rome"}),
        ({"properties": {"a": {"$ref": "#/definitions/a~1b"}}, "definitions": {"a/b": {"const": 1}}}, {"a": 1}),
        ({"oneOf": [{"type": "null"}, {"type": "integer", "maximum": 5}]}, 5),
        ({"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 3}, [1, 2, 2]),
        ({}, {}),
    ],
)  # fmt: skip
def test_examples(schema: dict[str, Any], expected: Any) -> None:
    assert instance(schema, "How is it in Rome today?") == expected
