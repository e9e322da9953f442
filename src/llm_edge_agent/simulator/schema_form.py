"""Whether a JSON schema is one at all: the part of the meta-schema that matters to what the simulator does with it."""

from collections.abc import Mapping
from typing import Any

_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_SCHEMA_MAPS = ("properties", "$defs", "definitions")
_SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_COUNTS = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_TEXTS = ("$ref", "format", "pattern", "title", "description")


def malformed(schema: Any) -> str | None:
    """What makes the value no JSON schema (`'5' is not of type 'array'`), or None."""
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, Mapping):
        return f"{_shown(schema)} is not of type 'object', 'boolean'"
    return _keywords(schema) or _nested(schema)


def _keywords(schema: Mapping[str, Any]) -> str | None:
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind not in _TYPES:
            return f"{_shown(kind)} is not valid under any of the given schemas"
    for name in _TEXTS:
        if name in schema and not isinstance(schema[name], str):
            return f"{_shown(schema[name])} is not of type 'string'"
    for name in _COUNTS:
        if name in schema and not (_is_number(schema[name], int) and schema[name] >= 0):
            return f"{_shown(schema[name])} is not a non-negative integer"
    for name in _NUMBERS:
        if name in schema and not _is_number(schema[name], int | float):
            return f"{_shown(schema[name])} is not of type 'number'"
    if "multipleOf" in schema and not (_is_number(schema["multipleOf"], int | float) and schema["multipleOf"] > 0):
        return f"{_shown(schema['multipleOf'])} is not a number above 0"
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(each, str) for each in required):
        return f"{_shown(required)} is not an array of strings"
    if "enum" in schema and not (isinstance(schema["enum"], list) and schema["enum"]):
        return f"{_shown(schema['enum'])} is not a non-empty array"
    return None


def _nested(schema: Mapping[str, Any]) -> str | None:
    inner: list[Any] = []
    for name in _SCHEMA_MAPS:
        if not isinstance(schema.get(name, {}), Mapping):
            return f"{_shown(schema[name])} is not of type 'object'"
        inner += schema.get(name, {}).values()
    for name in _SCHEMA_LISTS:
        if name in schema and not (isinstance(schema[name], list) and schema[name]):
            return f"{_shown(schema[name])} is not a non-empty array"
        inner += schema.get(name, [])
    inner += [schema[name] for name in ("items", "additionalProperties") if name in schema]
    return next((found for each in inner if (found := malformed(each)) is not None), None)


def _is_number(value: Any, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return repr(value)[:100]
