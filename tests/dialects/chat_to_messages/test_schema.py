"""JSON schemas: what is prepared, what cannot be, and what counts as strict."""

from typing import Any

import pytest

from llm_edge_agent.dialects.chat_to_messages.schema import (
    Complexity,
    prepare,
    reference_problem,
    strict_complexity,
)

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("schema", "expected", "weaker"),
    [
        pytest.param({"type": "string"}, {"type": "string"}, False, id="nothing to do"),
        pytest.param({"$schema": "x", "type": "null"}, {"type": "null"}, False, id="dialect removed"),
        pytest.param({"type": "object"}, {"type": "object", "additionalProperties": False}, False, id="closed"),
        pytest.param(
            {"type": ["object", "null"]},
            {"type": ["object", "null"], "additionalProperties": False},
            False,
            id="closed where it may be an object",
        ),
        pytest.param(
            {"properties": {"a": {"minimum": 1}}},
            {"properties": {"a": {"description": "Constraints: minimum 1."}}, "additionalProperties": False},
            True,
            id="object by its properties",
        ),
        pytest.param(
            {"type": "object", "additionalProperties": {"type": "string"}},
            {"type": "object", "additionalProperties": False},
            True,
            id="a map is lost",
        ),
        pytest.param({"minItems": 1}, {"minItems": 1}, False, id="minItems 1"),
        pytest.param({"minItems": 2}, {"description": "Constraints: minItems 2."}, True, id="minItems 2"),
        pytest.param({"pattern": "^a+$"}, {"pattern": "^a+$"}, False, id="plain pattern"),
        pytest.param(
            {"pattern": "(?<!a)b", "description": "B."},
            {"description": 'B.\n\nConstraints: pattern "(?<!a)b".'},
            True,
            id="lookbehind",
        ),
        pytest.param({"format": "uuid"}, {"format": "uuid"}, False, id="known format"),
        pytest.param({"format": "regex"}, {"description": 'Constraints: format "regex".'}, True, id="unknown format"),
        pytest.param(
            {"anyOf": [{"maxLength": 3}, True]},
            {"anyOf": [{"description": "Constraints: maxLength 3."}, True]},
            True,
            id="alternatives",
        ),
        pytest.param({"items": {"type": "object"}, "enum": [{"minimum": 1}]}, None, False, id="enum is no schema"),
        pytest.param({"properties": 1, "anyOf": 2, "items": 3}, None, False, id="not a schema at all"),
    ],
)
def test_prepare(schema: Json, expected: Json | None, weaker: bool) -> None:
    before = repr(schema)
    prepared, says_less = prepare(schema)
    assert repr(schema) == before, "the client's schema is not touched"
    assert says_less == weaker
    if expected is not None:
        assert prepared == expected
    elif "enum" in schema:
        assert prepared["enum"] == [{"minimum": 1}]
        assert prepared["items"] == {"type": "object", "additionalProperties": False}
    else:
        assert prepared == schema | {"additionalProperties": False}


REFERENCE: Json = {"$ref": "#/$defs/a"}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        pytest.param({"properties": {"x": REFERENCE, "y": REFERENCE}, "$defs": {"a": {}}}, None, id="local, twice"),
        pytest.param(
            {"anyOf": [REFERENCE], "$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {}}}, None, id="chain"
        ),
        pytest.param({"not": {"$ref": "#/definitions/a~1b"}, "definitions": {"a/b": {}}}, None, id="escaped name"),
        pytest.param({"$ref": "#"}, "recursive", id="root"),
        pytest.param({"items": REFERENCE, "$defs": {"a": {"items": REFERENCE}}}, "recursive", id="itself"),
        pytest.param(REFERENCE, "does not point", id="nowhere"),
        pytest.param({"allOf": [{"$ref": "https://example.com/s.json"}]}, "does not point", id="elsewhere"),
        pytest.param({"$ref": "#/$defs/a/b", "$defs": {"a": 1}}, "does not point", id="through a number"),
        pytest.param({"properties": {"a": True}, "anyOf": [False, {}]}, None, id="boolean schemas"),
        pytest.param({"properties": [{"$ref": "x"}], "anyOf": {"$ref": "x"}}, None, id="lists and maps confused"),
        pytest.param({"const": {"$ref": "#"}, "$ref": 1}, None, id="no reference at all"),
    ],
)
def test_references(schema: Json, problem: str | None) -> None:
    found = reference_problem(schema)
    assert found is None if problem is None else problem in str(found)


def test_a_schema_without_end_is_not_followed() -> None:
    assert reference_problem({"anyOf": [{} for _ in range(10_000)]}) == "it is too complex"


CLOSED: Json = {"type": "object", "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param(CLOSED, Complexity(0, 0), id="no parameters"),
        pytest.param(
            CLOSED | {"properties": {"a": {"type": ["string", "null"]}, "b": {"anyOf": []}}, "required": ["a"]},
            Complexity(1, 2),
            id="optional and unions",
        ),
        pytest.param(
            CLOSED | {"properties": {"a": {}}, "required": "a"}, Complexity(1, 0), id="required of wrong type"
        ),
        pytest.param({"type": "object"}, None, id="open"),
        pytest.param(CLOSED | {"properties": {"a": {"maximum": 1}}}, None, id="constraint"),
        pytest.param(CLOSED | {"properties": {"a": {"$ref": "#"}}}, None, id="recursive"),
    ],
)
def test_strict(schema: Json, expected: Complexity | None) -> None:
    assert strict_complexity(schema) == expected
