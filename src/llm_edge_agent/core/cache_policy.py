"""What may be answered from the cache, and what may be stored in it."""

import re
from collections.abc import Collection, Mapping, Sequence
from fnmatch import translate
from typing import Any, Literal, NamedTuple

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError

CACHEABLE_FINISHES = frozenset({"stop", "tool_calls"})
"""An answer that ended any other way (`length`, `content_filter`, cut short) is not worth repeating."""

MAX_NAMESPACE = 64

Policy = Literal["all", "deterministic", "off"]


class CacheControl(NamedTuple):
    """What the client's headers ask of the cache."""

    read: bool = True
    write: bool = True
    ttl_s: int | None = None
    """Seconds for which the answer may live, if shorter than the configured time."""
    namespace: str = ""
    """Separates entries of one tenant; part of the key, in the case it was written in."""
    max_age_s: int | None = None
    """Seconds since an answer was made, beyond which it is not wanted."""
    only_if_cached: bool = False
    """Rather no answer than one that a provider has to be asked for."""


DEFAULT = CacheControl()


def parse_cache_control(standard: bytes | None, own: bytes | None) -> CacheControl:
    """Reads `Cache-Control` (RFC 9111 section 5.2.1: no-cache, no-store, max-age, only-if-cached; others mean nothing
    to us and are ignored, a malformed max-age too) and `x-llm-edge-cache-control` (no-cache, no-store, `ttl=SECONDS`,
    `namespace=NAME`).

    Raises GatewayError (400) on an unknown or malformed directive of our own header: a typo there must not pass as
    consent to cache.
    """
    if standard is None and own is None:
        return DEFAULT
    read = write = True
    ttl_s: int | None = None
    max_age_s: int | None = None
    only_if_cached = False
    namespace = ""
    for directive in _directives(standard):
        directive = directive.lower()
        if directive == "no-cache":
            read = False
        elif directive == "no-store":
            read = write = False
        elif directive == "only-if-cached":
            only_if_cached = True
        elif directive.startswith("max-age="):
            seconds = _seconds(directive[8:].strip('"'))
            max_age_s = seconds if max_age_s is None or seconds is None else min(max_age_s, seconds)
    for directive in _directives(own):
        name, _, value = directive.partition("=")
        name = name.lower()
        value = value.strip().strip('"')
        if name == "no-cache" and not value:
            read = False
        elif name == "no-store" and not value:
            read = write = False
        elif name == "ttl" and (seconds := _seconds(value)) is not None:
            ttl_s = seconds
        elif name == "namespace" and 0 < len(value) <= MAX_NAMESPACE:
            namespace = value
        else:
            raise GatewayError(
                ErrorKind.INVALID_REQUEST,
                "x-llm-edge-cache-control takes no-cache, no-store, ttl=SECONDS and namespace=NAME "
                f"(at most {MAX_NAMESPACE} characters).",
                param="x-llm-edge-cache-control",
            )
    return CacheControl(read and max_age_s != 0, write and ttl_s != 0, ttl_s, namespace, max_age_s, only_if_cached)


def _seconds(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _directives(header: bytes | None) -> list[str]:
    if header is None:
        return []
    return [item.strip() for item in header.decode("latin-1").split(",") if item.strip()]


class PolicyRule(NamedTuple):
    """What holds for the models whose names fit."""

    models: tuple[str, ...]
    """Names, with `*` and `?` as in file names."""
    policy: Policy | None = None
    """None: the general one."""
    ttl_s: float | None = None
    """How long their answers live at most; None: as long as each tier keeps any."""


class Policies:
    """The general policy, and rules for some models: the first that fits holds."""

    def __init__(self, general: Policy, rules: Sequence[PolicyRule] = ()) -> None:
        self._general = general
        self._rules = [
            (re.compile("|".join(translate(name) for name in rule.models)), rule.policy or general, rule.ttl_s)
            for rule in rules
        ]

    def of(self, *names: str) -> tuple[Policy, float | None]:
        """Policy and time to live for a model that goes by these names: the client's, the provider's, the table's."""
        for pattern, policy, ttl_s in self._rules:
            if any(pattern.match(name) for name in names):
                return policy, ttl_s
        return self._general, None

    @property
    def ever(self) -> bool:
        """Whether any request may meet the cache."""
        return self._general != "off" or any(policy != "off" for _, policy, _ in self._rules)


def is_cacheable_request(value: Mapping[str, Any], policy: Policy) -> bool:
    """Whether the policy lets this request meet the cache at all. `deterministic` wants `temperature: 0` or a `seed`,
    which is how a client says that it expects the same answer again."""
    if policy == "all":
        return True
    if policy == "off":
        return False
    if value.get("seed") is not None:
        return True
    temperature = value.get("temperature")
    if isinstance(temperature, msgspec.Raw):
        return float(bytes(temperature)) == 0.0
    return temperature == 0 and temperature is not None and temperature is not False


def is_cacheable_answer(status: int, finish_reasons: Collection[str | None]) -> bool:
    """Whether a complete answer may be stored: 2xx, and every choice ended by itself."""
    return 200 <= status < 300 and bool(finish_reasons) and CACHEABLE_FINISHES.issuperset(finish_reasons)
