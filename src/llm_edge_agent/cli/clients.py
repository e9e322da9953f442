"""What a program is told so that it goes through the gateway: variables for the SDKs, and what coding agents want
beyond them."""

from collections.abc import Mapping, Sequence
from pathlib import PurePath

CODEX_PROVIDER = "llm-edge-agent"


def child_environment(program: str, environment: Mapping[str, str], address: str, key: str) -> dict[str, str]:
    """The environment in which the SDKs find the gateway at `address`, with `key` in the place of the providers' own,
    and go there past any proxy."""
    changed = {
        **environment,
        "OPENAI_BASE_URL": f"{address}/v1",
        "ANTHROPIC_BASE_URL": address,
        "OPENAI_API_KEY": key,
        "ANTHROPIC_API_KEY": key,
    }
    if _is(program, "claude"):
        # It sends a token unasked; an API key from the environment it takes only after a question.
        del changed["ANTHROPIC_API_KEY"]
        changed["ANTHROPIC_AUTH_TOKEN"] = key
    elif "ANTHROPIC_AUTH_TOKEN" in environment:
        changed["ANTHROPIC_AUTH_TOKEN"] = key
    for name in ("NO_PROXY", "no_proxy"):
        changed[name] = ",".join(filter(None, (environment.get(name), "127.0.0.1")))
    return changed


def child_command(command: Sequence[str], address: str) -> list[str]:
    """The command, with what its program reads from no environment: Codex takes a base URL from its configuration only.
    A provider of its own spares it the attempt to connect by WebSocket. Options that the user gives come later, and
    win."""
    if not _is(command[0], "codex"):
        return list(command)
    provider = f'{{name="{CODEX_PROVIDER}",base_url="{address}/v1",env_key="OPENAI_API_KEY",wire_api="responses"}}'
    options = ["-c", f"model_providers.{CODEX_PROVIDER}={provider}", "-c", f'model_provider="{CODEX_PROVIDER}"']
    return [command[0], *options, *command[1:]]


def _is(program: str, name: str) -> bool:
    return PurePath(program).name == name
