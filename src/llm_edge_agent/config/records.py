"""The `models` and `aliases` sections of the file: records that change or extend the table, names that rename."""

from collections.abc import Mapping
from typing import Any

from llm_edge_agent.config.sources import Problems, did_you_mean
from llm_edge_agent.config.yaml_file import Node
from llm_edge_agent.core.models import model_from_record
from llm_edge_agent.data import model_document

_DEFAULTS: dict[str, Any] = {
    "mode": "chat",
    "aliases": [],
    "status": "active",
    "shutdown_date": None,
    "context_window": None,
    "max_input_tokens": None,
    "max_output_tokens": None,
    "long_context_price": None,
    "capabilities": {
        "vision": True,
        "pdf": True,
        "tools": True,
        "json_schema": True,
        "reasoning": False,
        "audio": False,
        "streaming": True,
        "prompt_cache": False,
    },
    "request_rules": {},
}
"""What a new record need not say."""

_CHOICES = {
    "mode": ("chat", "responses", "completion", "embedding"),
    "status": ("active", "deprecated", "retired", "limited"),
}
_NESTED = ("price_usd_per_mtok", "capabilities", "request_rules", "long_context_price")
_FREE = ("request_rules",)
_DESCRIPTIVE = ("source", "source_date", "confidence", "notes")
_PRICES = (
    "input",
    "output",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "batch_input",
    "batch_output",
    "flex_input",
    "flex_output",
    "priority_input",
    "priority_output",
)
_LONG_CONTEXT = (*_PRICES, "threshold_prompt_tokens")
MAX_PRICE_USD_PER_MTOK = 1_000_000


def model_overrides(section: Node | None, problems: Problems) -> tuple[Mapping[str, object], ...]:
    """Whole records: known ids (or aliases of them) with the members of the file laid over theirs, new ones with
    defaults for what they leave out."""
    if section is None or section.content is None:
        return ()
    if not isinstance(section.content, list):
        problems.add(section.where, "must be a list of records")
        return ()
    known: dict[str, dict[str, Any]] = {}
    for record in model_document()["models"]:
        for name in (*record["aliases"], record["id"]):
            known[name] = record
    merged: dict[str, Mapping[str, object]] = {}
    for node in section.content:
        record = _record(node, known, problems)
        if record is None:
            continue
        if record["id"] in merged:
            problems.add(node.where, "a model that has a record before it")
        merged[record["id"]] = record
    return tuple(merged.values())


def _record(node: Node, known: Mapping[str, dict[str, Any]], problems: Problems) -> dict[str, Any] | None:
    if not isinstance(node.content, dict):
        problems.add(node.where, "must be a mapping with an id")
        return None
    given_id = node.content["id"].given() if "id" in node.content else None
    if given_id is None or not given_id.text:
        problems.add(node.where, "must have an id")
        return None
    if not (given_id.text.isascii() and given_id.text.isprintable()):
        problems.add(node.where, "must have an id of plain visible characters: it stands in headers")
        return None
    base = known.get(given_id.text)
    before = len(problems)
    patch = _checked(node.content, problems)
    if len(problems) > before:
        return None
    record = _laid_over(base if base is not None else {"id": given_id.text, **_DEFAULTS}, patch)
    record["id"] = base["id"] if base is not None else given_id.text
    missing = [name for name in ("provider", "price_usd_per_mtok") if name not in record]
    if missing:
        problems.add(node.where, f"a new model needs {' and '.join(missing)}")
        return None
    try:
        model_from_record(record)
    except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError):
        problems.add(node.where, "is no record of the form of the model table")
        return None
    return record


def _laid_over(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    record = {**base, **patch}
    for name in _NESTED:
        if isinstance(base.get(name), dict) and isinstance(patch.get(name), dict):
            record[name] = {**base[name], **patch[name]}
    return record


def _checked(members: Mapping[str, Node], problems: Problems) -> dict[str, Any]:
    """The members of one record, each of the right kind, or problems."""
    allowed = ("id", "provider", "price_usd_per_mtok", *_DEFAULTS, *_DESCRIPTIVE)
    patch: dict[str, Any] = {}
    for name, node in members.items():
        value = node.typed()
        if name not in allowed:
            problems.add(node.where, f"unknown{did_you_mean(name, allowed)}")
        elif name in ("price_usd_per_mtok", "long_context_price"):
            if name == "long_context_price" and value is None:
                patch[name] = None
                continue
            members_allowed = _PRICES if name == "price_usd_per_mtok" else _LONG_CONTEXT
            _check_members(node, members_allowed, _is_price, "a number from 0 (USD per million tokens)", problems)
        elif name == "capabilities":
            _check_members(node, tuple(_DEFAULTS[name]), lambda each: isinstance(each, bool), "true or false", problems)
        elif name in _FREE and value is not None and not isinstance(value, dict):
            problems.add(node.where, "must be a mapping")
        elif name == "aliases" and not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
            problems.add(node.where, "must be a list of names")
        elif name in _CHOICES and value not in _CHOICES[name]:
            problems.add(node.where, f"must be one of {', '.join(_CHOICES[name])}")
        elif name.endswith(("_tokens", "_window")) and not (value is None or _is_count(value)):
            problems.add(node.where, "must be a whole number above 0, or null")
        elif name == "provider" and not isinstance(value, str):
            problems.add(node.where, "must be a name")
        elif name == "shutdown_date" and not isinstance(value, str | None):
            problems.add(node.where, "must be a date in text, or null")
        elif name in _DESCRIPTIVE and not isinstance(value, str | None):
            problems.add(node.where, "must be text, or null")
        patch[name] = value
    return patch


def _is_price(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_PRICE_USD_PER_MTOK


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _check_members(node: Node, allowed: tuple[str, ...], fits: Any, wanted: str, problems: Problems) -> None:
    if not isinstance(node.content, dict):
        problems.add(node.where, "must be a mapping")
        return
    for name, child in node.content.items():
        value = child.typed()
        if name not in allowed:
            problems.add(child.where, f"unknown{did_you_mean(name, allowed)}")
        elif value is not None and not fits(value):
            problems.add(child.where, f"must be {wanted}")


def aliases(section: Node | None, problems: Problems) -> Mapping[str, str]:
    """Public name -> model name. One step: an alias of an alias is a problem."""
    if section is None or section.content is None:
        return {}
    if not isinstance(section.content, dict):
        problems.add(section.where, "must be a mapping from names to models")
        return {}
    found: dict[str, str] = {}
    for name, node in section.content.items():
        given = node.given()
        if given is None or not given.text:
            problems.add(node.where, "must be the name of a model")
        elif given.text in section.content:
            problems.add(node.where, "must name a model, not another alias")
        else:
            found[name] = given.text
    return found
