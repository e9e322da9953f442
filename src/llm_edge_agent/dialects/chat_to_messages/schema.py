"""JSON schemas as Anthropic's grammar compiler takes them (mapping sections 4 and 5)."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import msgspec

Json = dict[str, Any]

_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLES = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")

_CONSTRAINTS = frozenset(
    {
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "pattern",
        "format",
    }
)
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"},
)
_LOOKAROUND = re.compile(r"\(\?<?[=!]")

MAX_STRICT_TOOLS = 20
MAX_STRICT_OPTIONAL = 24
MAX_STRICT_UNIONS = 16
"""Bounds of one request's strict tools, all taken together."""

MAX_SUBSCHEMAS = 10_000
"""Far above what the compiler takes; following references takes time that grows faster than the schema."""


class Complexity(NamedTuple):
    """What counts against the bounds of strict tools."""

    optional: int
    unions: int


def subschemas(schema: Json) -> Iterator[Json]:
    """The schema and every schema inside it, but not what merely looks like one (enum, const, examples)."""
    waiting: list[Any] = [schema]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, dict):
            continue
        yield each
        for key, inner in each.items():
            if key in _SINGLES:
                waiting.append(inner)
            elif key in _LISTS and isinstance(inner, list):
                waiting += inner
            elif key in _MAPS and isinstance(inner, dict):
                waiting += inner.values()


def _is_object(schema: Json) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema


def _resolve(root: Json, pointer: str) -> Json | None:
    """What a local reference (RFC 6901 in a fragment) points to, or None."""
    node: Any = root
    if pointer != "#":
        if not pointer.startswith("#/"):
            return None
        for token in pointer[2:].split("/"):
            name = token.replace("~1", "/").replace("~0", "~")
            node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else None


def reference_problem(root: Json) -> str | None:
    """Why the references of a schema cannot be compiled: one that is not local, a recursion, too many places to
    look at. None: they can."""
    if sum(1 for _ in islice(subschemas(root), MAX_SUBSCHEMAS + 1)) > MAX_SUBSCHEMAS:
        return "it is too complex"
    done: set[str] = set()
    active: list[str] = []

    def visit(pointer: str) -> str | None:
        if pointer in active:
            return f"recursive reference {pointer!r}"
        if pointer in done:
            return None
        target = _resolve(root, pointer)
        if target is None:
            return f"reference {pointer!r} does not point into the schema"
        active.append(pointer)
        for schema in subschemas(target):
            reference = schema.get("$ref")
            if isinstance(reference, str) and (problem := visit(reference)) is not None:
                return problem
        active.pop()
        done.add(pointer)
        return None

    return visit("#")


def _is_taken(key: str, value: object) -> bool:
    """Whether the compiler takes a constraint as it is."""
    if key == "minItems":
        return value in (0, 1)
    if key == "format":
        return isinstance(value, str) and value in _FORMATS
    if key == "pattern":
        return isinstance(value, str) and _LOOKAROUND.search(value) is None
    return False


def prepare(schema: Json) -> tuple[Json, bool]:
    """The schema as the compiler takes it, and whether it says less than before.

    Every object is closed; constraints that the compiler does not know move into the description, where the model
    reads them. Nothing is removed without a trace.
    """
    weaker = False

    def one(value: Any) -> Any:
        return convert(value) if isinstance(value, dict) else value

    def convert(source: Json) -> Json:
        nonlocal weaker
        target: Json = {}
        said: list[str] = []
        for key, value in source.items():
            if key == "$schema":
                continue
            if key in _CONSTRAINTS and not _is_taken(key, value):
                said.append(f"{key} {msgspec.json.encode(value).decode()}")
            elif key in _MAPS and isinstance(value, dict):
                target[key] = {name: one(each) for name, each in value.items()}
            elif key in _LISTS and isinstance(value, list):
                target[key] = [one(each) for each in value]
            elif key in _SINGLES:
                target[key] = one(value)
            else:
                target[key] = value
        if _is_object(source):
            weaker = weaker or source.get("additionalProperties", False) is not False
            target["additionalProperties"] = False
        if said:
            weaker = True
            note = f"Constraints: {', '.join(said)}."
            description = target.get("description")
            target["description"] = f"{description}\n\n{note}" if isinstance(description, str) else note
        return target

    return convert(schema), weaker


def strict_complexity(schema: Json) -> Complexity | None:
    """What a tool's schema counts towards the bounds of strict tools; None where it cannot be strict at all: an open
    object, a constraint that the compiler does not take, a recursion."""
    if reference_problem(schema) is not None:
        return None
    optional = unions = 0
    for each in subschemas(schema):
        if any(key in _CONSTRAINTS and not _is_taken(key, value) for key, value in each.items()):
            return None
        if _is_object(each):
            if each.get("additionalProperties") is not False:
                return None
            properties, required = each.get("properties"), each.get("required")
            names = set(properties) if isinstance(properties, dict) else set()
            known = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
            optional += len(names - known)
        if "anyOf" in each or isinstance(each.get("type"), list):
            unions += 1
    return Complexity(optional, unions)
