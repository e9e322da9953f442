"""What is a JSON schema, and what is not."""

from typing import Any

import pytest

from llm_edge_agent.simulator.schema_form import malformed
from tests.simulator.direct import SCHEMA


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        SCHEMA,
        {"type": ["string", "null"], "minLength": 0, "maxLength": 3, "pattern": "a", "title": "t"},
        {"anyOf": [{"type": "number", "minimum": -1.5, "multipleOf": 0.5}, False]},
        {"$ref": "#/$defs/x", "$defs": {"x": {"enum": [1]}}},
        {"type": "array", "items": {}, "prefixItems": [{}], "minItems": 1},
    ],
)
def test_schemas(schema: Any) -> None:
    assert malformed(schema) is None


@pytest.mark.parametrize(
    "schema",
    [
        5,
        [],
        None,
        {"type": "objekt"},
        {"type": [5]},
        {"type": None},
        {"$ref": 5},
        {"minLength": -1},
        {"minItems": True},
        {"maximum": "5"},
        {"multipleOf": 0},
        {"required": "a"},
        {"required": [1]},
        {"enum": []},
        {"anyOf": []},
        {"oneOf": {}},
        {"properties": []},
        {"properties": {"a": 5}},
        {"items": [{}]},
        {"additionalProperties": "no"},
        {"$defs": {"a": {"b": 1, "type": "x"}}},
    ],
)
def test_no_schemas(schema: Any) -> None:
    assert malformed(schema)
