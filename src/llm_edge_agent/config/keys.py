"""The keys that clients may present: `API_KEYS` and `auth` in the file."""

import re
from collections.abc import Iterator
from hashlib import sha256

from llm_edge_agent.config import forms
from llm_edge_agent.config.sources import Given, Problems, Variables, did_you_mean
from llm_edge_agent.config.values import GatewayKey
from llm_edge_agent.config.yaml_file import Node

DEFAULT_TENANT = "default"

_TENANT = re.compile(r"(?!sk-)[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_HEX_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_MEMBERS = ("key", "tenant")


def gateway_keys(
    variables: Variables, section: Node | None, enabled: bool | None, problems: Problems
) -> tuple[GatewayKey, ...]:
    """The keys of the environment or else of the file. `enabled`: `AUTH_ENABLED`, None where it is not given.

    Nobody gets an open gateway by an empty list: a list that is given and empty is a problem unless authentication is
    off in so many words.
    """
    given = variables.given_even_empty("API_KEYS")
    where = "API_KEYS"
    keys: list[GatewayKey] = []
    if given is not None:
        where, named = given.where, True
        entries: Iterator[Given] = _entries_of_text(given) if given.text else iter(())
    else:
        named = section is not None
        where = section.where if section is not None else where
        entries = _entries_of_node(section, problems) if section is not None else iter(())
    before = len(problems)
    seen: set[bytes] = set()
    for entry in entries:
        key = _key(entry, problems)
        if key is not None and key.digest in seen:
            problems.add(entry.where, "the same key as one before it")
        elif key is not None:
            seen.add(key.digest)
            keys.append(key)
    if len(problems) > before:
        return tuple(keys)
    if enabled is False and keys:
        problems.add("AUTH_ENABLED", f"is false although keys are given in {where}: take away one of them")
    if enabled is not False and named and not keys:
        problems.add(where, "is empty: name a key, or say AUTH_ENABLED=false to serve everybody")
    elif enabled is True and not keys:
        problems.add("AUTH_ENABLED", "is true without a key: set API_KEYS")
    return tuple(keys)


def _entries_of_text(given: Given) -> Iterator[Given]:
    for number, entry in enumerate(given.text.split(","), 1):
        yield Given(entry.strip(), f"{given.where}: entry {number}")


def _entries_of_node(section: Node, problems: Problems) -> Iterator[Given]:
    if isinstance(section.content, str):
        yield from _entries_of_text(Given(section.content.strip(), section.where)) if section.content.strip() else ()
        return
    if section.content is not None and not isinstance(section.content, list):
        problems.add(section.where, "must be a list")
        return
    for node in section.content or ():
        if isinstance(node.content, dict):
            yield from _entry_of_mapping(node, node.content, problems)
        else:
            yield node.given() or Given("", node.where)


def _entry_of_mapping(node: Node, members: dict[str, Node], problems: Problems) -> Iterator[Given]:
    for name, member in members.items():
        if name not in _MEMBERS:
            problems.add(member.where, f"unknown{did_you_mean(name, _MEMBERS)}")
    key, tenant = (members[name].given() if name in members else None for name in _MEMBERS)
    if key is None:
        problems.add(node.where, "must have a key")
    else:
        yield Given(f"{tenant.text}={key.text}" if tenant is not None else key.text, node.where)


def _key(entry: Given, problems: Problems) -> GatewayKey | None:
    """One entry: `key`, `sha256:<hex>`, and both with `tenant=` before them."""
    if not entry.text:
        problems.add(entry.where, "is empty")
        return None
    tenant, separator, key = entry.text.partition("=")
    if not separator:
        tenant, key = DEFAULT_TENANT, entry.text
    elif not key.strip("="):
        # `alice=` must not make a key of its own text, nor `c2VjcmV0==` let in whoever presents `=`.
        problems.add(entry.where, "has no key after its = (for a key that ends in =: default=KEY)")
        return None
    if not _TENANT.fullmatch(tenant):
        problems.add(
            entry.where,
            "the tenant before = must be letters, digits, '.', '_' and '-' (for a key with = in it: default=KEY)",
        )
        return None
    if key.startswith("sha256:"):
        digest = key.removeprefix("sha256:")
        if not _HEX_DIGEST.fullmatch(digest):
            problems.add(entry.where, "sha256: must be followed by 64 hexadecimal digits")
            return None
        return _gateway_key(tenant, bytes.fromhex(digest))
    if problems.parse(Given(key, entry.where), forms.key) is None:
        return None
    return _gateway_key(tenant, sha256(key.encode()).digest())


def _gateway_key(tenant: str, digest: bytes) -> GatewayKey:
    return GatewayKey(tenant=tenant, digest=digest, key_id=digest.hex()[:8])
