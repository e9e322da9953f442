"""The `cache.policies` section of the file: what of the cache holds for some models."""

from llm_edge_agent.config import forms
from llm_edge_agent.config.sources import Problems, did_you_mean
from llm_edge_agent.config.yaml_file import Node
from llm_edge_agent.core.cache_policy import Policy, PolicyRule

_KEYS = ("models", "policy", "ttl_seconds")
_policy = forms.one_of("all", "deterministic", "off")
_ttl = forms.seconds(365 * 86_400)
_POLICIES: dict[object, Policy] = {"all": "all", "deterministic": "deterministic", "off": "off"}


def cache_policies(section: Node | None, problems: Problems) -> tuple[PolicyRule, ...]:
    """A list of rules, each with the names of `models` that it is for and a `policy`, `ttl_seconds` or both."""
    if section is None or section.content is None:
        return ()
    if not isinstance(section.content, list):
        problems.add(section.where, "must be a list of rules")
        return ()
    rules = [_rule(node, problems) for node in section.content]
    return tuple(rule for rule in rules if rule is not None)


def _rule(node: Node, problems: Problems) -> PolicyRule | None:
    if not isinstance(node.content, dict):
        problems.add(node.where, "must be a mapping with models")
        return None
    for name, child in node.content.items():
        if name not in _KEYS:
            problems.add(child.where, f"unknown{did_you_mean(name, _KEYS)}")
    models = _names(node, problems)
    policy, ttl_s = (_value(node, name, form, problems) for name, form in (("policy", _policy), ("ttl_seconds", _ttl)))
    if policy is None and ttl_s is None:
        problems.add(node.where, "must have a policy or ttl_seconds")
    return PolicyRule(models, _POLICIES.get(policy), ttl_s if isinstance(ttl_s, float) else None)


def _names(node: Node, problems: Problems) -> tuple[str, ...]:
    given = node.content.get("models") if isinstance(node.content, dict) else None
    if given is None:
        problems.add(node.where, "must say for which models")
        return ()
    children = given.content if isinstance(given.content, list) else [given]
    names = [text.text for child in children if (text := child.given()) is not None and text.text]
    if not names or len(names) != len(children):
        problems.add(given.where, "must be names of models, * standing for anything")
    return tuple(names)


def _value(node: Node, name: str, form: forms.Form, problems: Problems) -> object | None:
    child = node.content.get(name) if isinstance(node.content, dict) else None
    if child is None or child.content is None:
        return None
    given = child.given()
    if given is None:
        problems.add(child.where, "must be a single value")
        return None
    return problems.parse(given, form)
