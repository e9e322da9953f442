"""`check-config`: whether the configuration is valid, and what it adds up to."""

import dataclasses
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_edge_agent.cli.messages import warn
from llm_edge_agent.cli.options import options_of

if TYPE_CHECKING:
    from llm_edge_agent.config import AppConfig

REDACTED = "***"


def check_config(
    context: typer.Context,
    show: Annotated[bool, typer.Option("--print", help="Print the effective configuration, without secrets.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --print: as JSON instead of YAML.")] = False,
) -> None:
    """Check the configuration without starting anything; exit code 2 and one line per problem where it is not valid."""
    config = options_of(context).load()
    for warning in config.warnings:
        warn(warning)
    if not (show or as_json):
        groups = f"; groups: {', '.join(group.name for group in config.groups)}" if config.groups else ""
        print(f"ok: {', '.join(provider.name for provider in config.providers)}{groups}")
        return
    values = redacted(config)
    if as_json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(values)).decode())
    else:
        import yaml

        yaml.safe_dump(values, sys.stdout, sort_keys=False, allow_unicode=True)


def redacted(config: "AppConfig") -> dict[str, Any]:
    """Every field of the configuration as plain values. Secrets, and header values, which may be some, are stars."""
    values: dict[str, Any] = _plain(config)
    for provider in values["providers"]:
        provider["headers"] = dict.fromkeys(provider["headers"], REDACTED)
    values["keys"] = [{"tenant": key.tenant, "key_id": key.key_id} for key in config.keys]
    return values


def _plain(value: object) -> Any:
    from llm_edge_agent.config import Secret

    if isinstance(value, Secret):
        return REDACTED
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(member) for member in value]
    return value
