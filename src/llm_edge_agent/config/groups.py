"""The `groups` section of the file: names of the user's own, the deployments behind each, and how one is chosen."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, cast, get_args

from llm_edge_agent.config import forms
from llm_edge_agent.config.secret import Secret
from llm_edge_agent.config.sources import Given, Problems, did_you_mean
from llm_edge_agent.config.values import DeploymentConfig, DeploymentTimeouts, GroupConfig
from llm_edge_agent.config.yaml_file import Node
from llm_edge_agent.core.models import price_list_from_record
from llm_edge_agent.core.pricing import PriceList
from llm_edge_agent.core.strategies import HybridWeights, StrategyName

STRATEGY_NAMES = get_args(StrategyName)
MAX_DEPLOYMENTS = 64

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_PRICES = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
_WEIGHTS = ("cost", "latency", "reliability")
_CHAINS = ("fallbacks", "context_window_fallbacks", "content_filter_fallbacks")
_GROUP = ("strategy", "weights", *_CHAINS, "deployments")
_TIMEOUTS = {
    "connect_seconds": "connect_s",
    "attempt_seconds": "attempt_s",
    "first_token_seconds": "first_token_s",
    "idle_seconds": "idle_s",
}
_DAY_S = 86_400


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return value

    return parse


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "name": forms.plain_text,
    "provider": forms.plain_text,
    "model": forms.plain_text,
    "base_url": forms.base_url,
    "weight": _number(0, 1_000_000),
    "priority": forms.whole(0, 1_000_000),
    "region": forms.plain_text,
    "rpm": forms.whole(1, 10**9),
    "tpm": forms.whole(1, 10**12),
    "max_concurrency": forms.whole(1, 10**6),
}
_DEPLOYMENT = (*_SCALARS, "api_key", "api_keys", "price_usd_per_mtok", "tags", "timeouts")


def groups(section: Node | None, providers: Collection[str], problems: Problems) -> tuple[GroupConfig, ...]:
    """The groups in the order of the file. A problem with one leaves it out."""
    if section is None or section.content is None:
        return ()
    if not isinstance(section.content, dict):
        problems.add(section.where, "must be a mapping from names to groups")
        return ()
    found = []
    for name, node in section.content.items():
        if not _NAME.fullmatch(name):
            problems.add(node.where, "the name must be letters, digits, '.', '_', ':', '/' and '-', 128 at most")
            continue
        before = len(problems)
        group = _Reader(problems, providers).group(name, node)
        if group is not None and len(problems) == before:
            found.append(group)
    return tuple(found)


class _Reader:
    def __init__(self, problems: Problems, providers: Collection[str]) -> None:
        self._problems = problems
        self._providers = providers

    def group(self, name: str, node: Node) -> GroupConfig | None:
        """A mapping, or the list of deployments alone."""
        members = {"deployments": node} if isinstance(node.content, list) else self._members(node, _GROUP)
        if members is None:
            return None
        listed = members.get("deployments")
        items = listed.content if listed is not None else None
        if not isinstance(items, list) or not 0 < len(items) <= MAX_DEPLOYMENTS:
            self._problems.add(node.where, f"needs deployments: a list of 1 to {MAX_DEPLOYMENTS}")
            return None
        deployments = [each for item in items if (each := self._deployment(item)) is not None]
        strategy = self._scalar(members, "strategy", forms.one_of(*STRATEGY_NAMES))
        chains = {chain: self._names(members.get(chain)) for chain in _CHAINS}
        return GroupConfig(
            name=name,
            deployments=tuple(_apart(deployments)),
            strategy=cast("StrategyName | None", strategy),
            weights=self._weights(members.get("weights")),
            **chains,
        )

    def _deployment(self, node: Node) -> DeploymentConfig | None:
        """A mapping, or `provider/model` alone."""
        given = node.given()
        if given is not None:
            provider, slash, model = given.text.partition("/")
            if not slash or not model:
                self._problems.add(node.where, "must be provider/model, or a mapping with both")
                return None
            values: dict[str, Any] = {"provider": provider, "model": model}
        else:
            members = self._members(node, _DEPLOYMENT)
            if members is None:
                return None
            before = len(self._problems)
            scalars = {name: self._scalar(members, name, form) for name, form in _SCALARS.items()}
            values = {name: value for name, value in scalars.items() if value is not None}
            if len(self._problems) > before:
                return None
            values["api_keys"] = self._keys(members)
            values["prices"] = self._prices(members.get("price_usd_per_mtok"))
            values["tags"] = self._names(members.get("tags"))
            values["timeouts"] = self._timeouts(members.get("timeouts"))
        missing = [name for name in ("provider", "model") if name not in values]
        if missing:
            self._problems.add(node.where, f"needs a {' and a '.join(missing)}")
            return None
        provider = values["provider"]
        if self._providers and provider not in self._providers:  # none: their own problems are told already
            hint = did_you_mean(provider, self._providers)
            self._problems.add(node.where, f"names a provider that is not configured{hint}")
            return None
        return DeploymentConfig(**{"name": f"{provider}/{values['model']}", **values})

    def _members(self, node: Node, allowed: Collection[str]) -> dict[str, Node] | None:
        if not isinstance(node.content, dict):
            self._problems.add(node.where, "must be a mapping")
            return None
        for name, child in node.content.items():
            if name not in allowed:
                self._problems.add(child.where, f"unknown{did_you_mean(name, allowed)}")
        return {name: child for name, child in node.content.items() if child.content is not None}

    def _scalar(self, members: Mapping[str, Node], name: str, form: Callable[[str], Any]) -> Any:
        if name not in members:
            return None
        given = members[name].given()
        if given is None or not given.text:
            self._problems.add(members[name].where, "must be a single value")
            return None
        return self._problems.parse(given, form)

    def _names(self, node: Node | None) -> tuple[str, ...]:
        """A list of names, or one name."""
        if node is None:
            return ()
        items = node.content if isinstance(node.content, list) else [node]
        names = [given.text for item in items if (given := item.given()) is not None and given.text]
        if len(names) != len(items):
            self._problems.add(node.where, "must be a list of names")
        return tuple(names)

    def _keys(self, members: Mapping[str, Node]) -> tuple[Secret, ...]:
        if "api_key" in members and "api_keys" in members:
            self._problems.add(members["api_keys"].where, "given together with api_key: use one of them")
        return keys_of(members.get("api_keys", members.get("api_key")), self._problems)

    def _prices(self, node: Node | None) -> PriceList | None:
        if node is None:
            return None
        record = node.typed()
        try:
            if not isinstance(record, dict) or not {"input", "output"} <= set(record) <= set(_PRICES):
                raise ValueError
            return price_list_from_record(record)
        except (ValueError, TypeError, ArithmeticError, KeyError):
            self._problems.add(node.where, "must be prices in USD per million tokens: input and output at least")
            return None

    def _timeouts(self, node: Node | None) -> DeploymentTimeouts:
        members = self._members(node, _TIMEOUTS) if node is not None else None
        values = {field: self._scalar(members or {}, name, forms.seconds(_DAY_S)) for name, field in _TIMEOUTS.items()}
        return DeploymentTimeouts(**values)

    def _weights(self, node: Node | None) -> HybridWeights | None:
        members = self._members(node, _WEIGHTS) if node is not None else None
        if node is None or members is None:
            return None
        shares = [self._scalar(members, name, _number(0, 1000)) or 0.0 for name in _WEIGHTS]
        if not any(shares):
            self._problems.add(node.where, "must weigh something: cost, latency, reliability")
        return HybridWeights(*shares)


def keys_of(node: Node | None, problems: Problems) -> tuple[Secret, ...]:
    """One key or a list of keys, each once."""
    if node is None:
        return ()
    keys: dict[str, Secret] = {}
    for item in node.content if isinstance(node.content, list) else [node]:
        given = item.given()
        if given is None or not given.text:
            problems.add(item.where, "must be a key")
        elif given.text in keys:
            problems.add(item.where, "the same key as one before it")
        elif problems.parse(Given(given.text, given.where), forms.key) is not None:
            keys[given.text] = Secret(given.text)
    return tuple(keys.values())


def _apart(deployments: list[DeploymentConfig]) -> list[DeploymentConfig]:
    """With names that differ: the second `openai/gpt-5.5` is `openai/gpt-5.5#2`."""
    seen: dict[str, int] = {}
    found = []
    for each in deployments:
        seen[each.name] = seen.get(each.name, 0) + 1
        number = seen[each.name]
        found.append(each if number == 1 else replace(each, name=f"{each.name}#{number}"))
    return found
