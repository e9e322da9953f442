"""`run`: a gateway for the length of one command, which need not know of it."""

import asyncio
import dataclasses
import os
import secrets
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from llm_edge_agent.cli.addresses import listen_failure, url
from llm_edge_agent.cli.clients import child_command, child_environment
from llm_edge_agent.cli.messages import fail, note, warn
from llm_edge_agent.cli.options import Options, options_of

if TYPE_CHECKING:
    from llm_edge_agent.app import AppState
    from llm_edge_agent.config import AppConfig
    from llm_edge_agent.telemetry.totals import Totals

NOT_EXECUTABLE, NOT_FOUND = 126, 127
"""Exit codes that shells use for the same."""

FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

PASSTHROUGH = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def run(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.", metavar="COMMAND...")],
    mock: Annotated[bool, typer.Option("--mock", help="Simulated providers instead of the configured ones.")] = False,
) -> None:
    """Run a command whose OpenAI and Anthropic SDKs go through the gateway, then say what it came to."""
    if shutil.which(command[0]) is None:
        _fail_to_start(command[0])
    import uvloop

    options = options_of(context)
    config = None if mock else _quiet(options.load(), options)
    from llm_edge_agent.gateway.exports import MissingExtraError

    try:
        code, totals = uvloop.run(_run(command, config))
    except MissingExtraError as error:
        fail(str(error))
    except OSError as error:
        fail(listen_failure(error, "127.0.0.1"))
    _summarise(totals, mock)
    raise typer.Exit(code)


def _quiet(config: "AppConfig", options: Options) -> "AppConfig":
    """The same gateway for one child: on a free loopback port, quiet unless told otherwise."""
    for warning in config.warnings:
        warn(warning)
    asked = options.log_level is not None
    return dataclasses.replace(
        config,
        host="127.0.0.1",
        port=0,
        metrics_port=0,
        log_level=config.log_level if asked else "error",
        log_requests=asked,
    )


def private(config: "AppConfig", key: str, *, simulated: bool) -> "AppConfig":
    """The gateway for those who hold `key` alone: whoever else is on this machine reaches the port, too. A provider's
    own key is as good, since a program may hold one in its code; but not the one that simulators are given."""
    from llm_edge_agent.config import GatewayKey

    accepted = [key]
    if not simulated:
        accepted += [provider.api_key.reveal() for provider in config.providers if provider.api_key is not None]
    digests = [sha256(each.encode()).digest() for each in accepted]
    keys = tuple(GatewayKey(tenant="default", digest=digest, key_id=digest.hex()[:8]) for digest in digests)
    return dataclasses.replace(config, auth_enabled=True, keys=keys)


async def _run(command: Sequence[str], config: "AppConfig | None") -> "tuple[int, Totals]":
    from llm_edge_agent.cli.inprocess import running_gateway, simulated_config, simulated_providers

    key = secrets.token_urlsafe(24)
    simulated = config is None
    async with AsyncExitStack() as opened:
        if config is None:
            config = simulated_config(await opened.enter_async_context(simulated_providers()))
        gateway = await opened.enter_async_context(running_gateway(private(config, key, simulated=simulated)))
        state: AppState = gateway.state
        address = url(config.host, gateway.port)
        code = await _child(child_command(command, address), child_environment(command[0], os.environ, address, key))
    # Read when the gateway is closed: what the child left under way is counted too.
    return code, state.totals()


async def _child(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs the command to its end. Returns its exit code, 128 + n where signal n ended it."""
    signals = _Forwarding()
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environment)
    except OSError:
        _fail_to_start(command[0])
    signals.to(process)
    code = await process.wait()
    return code if code >= 0 else 128 - code


class _Forwarding:
    """Passes signals on to the child, those that come before it exists too. From now to the end of the process."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._early: list[signal.Signals] = []
        loop = asyncio.get_running_loop()
        for number in FORWARDED:
            loop.add_signal_handler(number, self._forward, number)

    def to(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        for number in self._early:
            process.send_signal(number)

    def _forward(self, number: signal.Signals) -> None:
        # Ctrl-C and Ctrl-\ reach the whole foreground group: the child has its own copy already.
        if number in (signal.SIGINT, signal.SIGQUIT) and self._process is not None and _in_foreground():
            return
        if self._process is None:
            self._early.append(number)
        elif self._process.returncode is None:
            self._process.send_signal(number)


def _in_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _fail_to_start(program: str) -> NoReturn:
    """Ends the command as a shell would for a program that cannot be started."""
    if os.path.isdir(program) and os.sep in program:
        fail(f"{program} is a directory", code=NOT_EXECUTABLE)
    if shutil.which(program, mode=os.F_OK) is None:
        fail(f"{program}: command not found", code=NOT_FOUND)
    fail(f"{program} cannot be executed", code=NOT_EXECUTABLE)


def _summarise(totals: "Totals", simulated: bool) -> None:
    from llm_edge_agent.cli.summary import rows

    money = " (simulated money)" if simulated else ""
    note(f"\nllm-edge-agent{money}")
    for label, value in rows(totals):
        note(f"  {label:<11} {value}")
