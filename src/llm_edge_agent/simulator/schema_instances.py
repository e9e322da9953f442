"""A JSON value that satisfies a JSON schema: what the simulated models answer to json_schema and pass to tools.

Covers type (also as a list), enum, const, anyOf, oneOf, allOf, local `$ref` (recursive ones too), formats, and the
bounds of numbers, strings and arrays. `pattern` is not solved: a string with a pattern is an ordinary string.
"""

import re
from collections.abc import Mapping
from typing import Any

_MAX_DEPTH = 6
"""Below it optional members are left out and unions take their smallest branch, so that recursive schemas end."""

_FORMATS = {
    "date-time": "2026-11-24T12:00:00Z",
    "date": "2026-11-24",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "ada@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "01234567-89ab-4def-8123-456789abcdef",
}

_MAX_REFERENCES = 40
"""A chain of references that is longer leads nowhere."""
_MAX_LENGTH = 10_000
"""Nobody gets longer strings and arrays, whatever the schema says."""

Schema = Mapping[str, Any]


def instance(schema: Schema, hint: str = "") -> Any:
    """A value for `schema`, the same for the same arguments. A proper name in `hint` fills free strings."""
    return _value(schema, schema, _proper_name(hint), "value", 0)


def _proper_name(text: str) -> str | None:
    """The last capitalised word that does not open a sentence: Paris in `What is the weather in Paris?`."""
    names = re.findall(r"(?<=[^\s.!?:] )[A-Z][a-z]+", text)
    return names[-1] if names else None


def _value(schema: Any, root: Schema, name: str | None, key: str, depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _MAX_REFERENCES:
        return {}
    if "$ref" in schema:
        return _value(resolved(root, schema["$ref"]), root, name, key, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "allOf" in schema:
        return _value(_merged(schema, root), root, name, key, depth)
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            return _value(_branch(schema[union], depth), root, name, key, depth + 1)
    match _kind(schema, depth):
        case "object":
            return _object(schema, root, name, depth)
        case "array":
            return _array(schema, root, name, key, depth)
        case "string":
            return _string(schema, name, key)
        case "integer":
            return int(_number(schema, integer=True))
        case "number":
            return _number(schema, integer=False)
        case "boolean":
            return True
        case _:
            return None


def _kind(schema: Schema, depth: int) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        plain = [each for each in kind if each != "null"]
        return "null" if not plain or (depth >= _MAX_DEPTH and "null" in kind) else str(plain[0])
    if kind is not None:
        return str(kind)
    if "items" in schema:
        return "array"
    return "object" if "properties" in schema or not schema else "string"


def _branch(branches: list[Any], depth: int) -> Any:
    """The first branch that is not null; deep down a null, else the branch without references."""
    nulls = [each for each in branches if isinstance(each, Mapping) and each.get("type") == "null"]
    others = [each for each in branches if each not in nulls]
    if depth < _MAX_DEPTH:
        return (others or nulls)[0]
    flat = [each for each in others if isinstance(each, Mapping) and not {"$ref", "properties", "items"} & set(each)]
    return (nulls or flat or others)[0]


def _merged(schema: Schema, root: Schema) -> Schema:
    merged: dict[str, Any] = {}
    own = {key: each for key, each in schema.items() if key != "allOf"}
    for part in [*schema["allOf"], own]:
        for _ in range(_MAX_REFERENCES):
            if not isinstance(part, Mapping) or "$ref" not in part:
                break
            part = resolved(root, part["$ref"])
        if isinstance(part, Mapping):
            properties = {**merged.get("properties", {}), **part.get("properties", {})}
            required = [*merged.get("required", []), *part.get("required", [])]
            merged |= part
            if properties:
                merged |= {"properties": properties, "required": required}
    return merged


def resolved(root: Schema, reference: str) -> Any:
    """What a local reference (`#/$defs/x`) points at in `root`; an empty schema where it points at nothing."""
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if part:
            name = part.replace("~1", "/").replace("~0", "~")
            found = found.get(name, {}) if isinstance(found, Mapping) else {}
    return found


def _object(schema: Schema, root: Schema, name: str | None, depth: int) -> dict[str, Any]:
    required = schema.get("required") or []
    properties = schema.get("properties") or {}
    return {
        key: _value(properties.get(key, {"type": "string"}), root, name, key, depth + 1)
        for key in [*required, *(each for each in properties if each not in required)]
        if key in required or depth < _MAX_DEPTH
    }


def _array(schema: Schema, root: Schema, name: str | None, key: str, depth: int) -> list[Any]:
    wanted = max(schema.get("minItems", 0), 1 if depth < _MAX_DEPTH else 0)
    length = min(wanted, schema.get("maxItems", wanted), _MAX_LENGTH)
    prefix = schema.get("prefixItems") or []
    items = schema.get("items", {"type": "string"})
    return [
        _value(prefix[index] if index < len(prefix) else items, root, name, key, depth + 1) for index in range(length)
    ]


def _string(schema: Schema, name: str | None, key: str) -> str:
    form = schema.get("format")
    if form in _FORMATS:
        return _FORMATS[form]
    text = name or key
    longest = schema.get("maxLength", len(text))
    return text[:longest].ljust(min(schema.get("minLength", 0), _MAX_LENGTH), "x")


def _number(schema: Schema, *, integer: bool) -> float:
    step = schema.get("multipleOf") or 1
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if not integer and above is not None and below is not None:
        return (float(above) + float(below)) / 2
    floor = max([each for each in (low, None if above is None else above + step) if each is not None], default=None)
    ceiling = min([each for each in (high, None if below is None else below - step) if each is not None], default=None)
    if floor is None:
        wished = -(-42 // step) * step
        return wished if ceiling is None or wished <= ceiling else ceiling // step * step
    rounded = -(-floor // step) * step
    return rounded if integer or ceiling is None or rounded <= ceiling else float(floor)
