"""What may be answered from the cache, and what may be stored in it."""

from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError

CACHEABLE_FINISHES = frozenset({"stop", "tool_calls"})
"""An answer that ended any other way (`length`, `content_filter`, cut short) is not worth repeating."""

MAX_NAMESPACE = 64


class CacheControl(NamedTuple):
    """What the client's headers ask of the cache."""

    read: bool = True
    write: bool = True
    ttl_s: int | None = None
    """Seconds for which the answer may live, if shorter than the configured time."""
    namespace: str = ""
    """Separates entries of one tenant; part of the key, in the case it was written in."""


DEFAULT = CacheControl()


def parse_cache_control(standard: bytes | None, own: bytes | None) -> CacheControl:
    """Reads `Cache-Control` (RFC 9111 section 5.2.1: no-cache, no-store; others mean nothing to us and are ignored)
    and `x-llm-edge-cache-control` (no-cache, no-store, `ttl=SECONDS`, `namespace=NAME`).

    Raises GatewayError (400) on an unknown or malformed directive of our own header: a typo there must not pass as
    consent to cache.
    """
    if standard is None and own is None:
        return DEFAULT
    read = write = True
    ttl_s: int | None = None
    namespace = ""
    for directive in _directives(standard):
        directive = directive.lower()
        if directive == "no-cache":
            read = False
        elif directive == "no-store":
            read = write = False
    for directive in _directives(own):
        name, _, value = directive.partition("=")
        name = name.lower()
        value = value.strip().strip('"')
        if name == "no-cache" and not value:
            read = False
        elif name == "no-store" and not value:
            read = write = False
        elif name == "ttl" and value.isascii() and value.isdigit() and 0 < len(value) < 10:
            ttl_s = int(value)
        elif name == "namespace" and 0 < len(value) <= MAX_NAMESPACE:
            namespace = value
        else:
            raise GatewayError(
                ErrorKind.INVALID_REQUEST,
                "x-llm-edge-cache-control takes no-cache, no-store, ttl=SECONDS and namespace=NAME "
                f"(at most {MAX_NAMESPACE} characters).",
                param="x-llm-edge-cache-control",
            )
    return CacheControl(read, write and ttl_s != 0, ttl_s, namespace)


def _directives(header: bytes | None) -> list[str]:
    if header is None:
        return []
    return [item.strip() for item in header.decode("latin-1").split(",") if item.strip()]


def is_cacheable_request(value: Mapping[str, Any], policy: Literal["all", "deterministic", "off"]) -> bool:
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
    return 200 <= status < 300 and bool(finish_reasons) and all(f in CACHEABLE_FINISHES for f in finish_reasons)
