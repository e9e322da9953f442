"""The command: a gateway and a simulator of its own, or running ones; a table; exit code 1 on any difference."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from llm_edge_agent.cli.messages import fail
from llm_edge_agent.cli.progress import progress_bar

if TYPE_CHECKING:
    from llm_edge_agent.cli.fidelity.sending import Outcome
    from llm_edge_agent.config import AppConfig

KEY = "key-of-the-fidelity-check"


def fidelity(
    gateway: Annotated[
        str | None,
        typer.Option(
            help="URL of a running gateway (with MAX_RETRIES=0 and CIRCUIT_BREAKER_FAILURES=1000000, since some "
            "requests are meant to fail); without it one is started for the check."
        ),
    ] = None,
    simulator: Annotated[
        str | None,
        typer.Option(
            help="URL of the simulator (mock --record --model gpt-legacy-completions) that it has for both providers."
        ),
    ] = None,
    key: Annotated[str, typer.Option(envvar="FIDELITY_KEY", help="Key for that gateway.", show_default=False)] = KEY,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON object.")] = False,
) -> None:
    """Send awkward requests through a gateway to simulated providers and compare every byte, up and down."""
    if (gateway is None) != (simulator is None):
        fail("--gateway and --simulator go together", code=2)
    try:
        outcomes = asyncio.run(_check(gateway, simulator, key))
    except ValueError as error:
        fail(str(error), code=2)
    same = all(not outcome.differences for outcome in outcomes)
    if as_json:
        _print_json(outcomes, same)
    else:
        _print(outcomes)
    raise typer.Exit(0 if same else 1)


def plain(config: "AppConfig") -> "AppConfig":
    """The gateway that sends each request once, those that fail included."""
    return replace(config, max_retries=0, breaker_failures=10**6)


async def _check(gateway: str | None, simulator: str | None, key: str) -> "list[Outcome]":
    from llm_edge_agent.cli.fidelity.cases import LEGACY_GPT, cases
    from llm_edge_agent.cli.fidelity.sending import Sender
    from llm_edge_agent.cli.inprocess import HOST, running_gateway, simulated_config
    from llm_edge_agent.http.deadlines import running_sweep
    from llm_edge_agent.http.origins import Origin, UpstreamFailure
    from llm_edge_agent.http.pool import UpstreamPool
    from llm_edge_agent.simulator import SimulatorSettings, start_simulator

    async with AsyncExitStack() as opened:
        if gateway is None or simulator is None:
            running = await start_simulator(SimulatorSettings(record=True, extra_models=(LEGACY_GPT,)), HOST)
            opened.push_async_callback(running.stop)
            server = await opened.enter_async_context(running_gateway(plain(simulated_config(running))))
            server.state.logs.close()  # requests that are meant to fail are told in the table, not as errors
            gateway, simulator = f"http://{HOST}:{server.port}", running.url_anthropic
        pool = UpstreamPool(sweep=running_sweep(), max_response_bytes=1 << 30)
        opened.push_async_callback(pool.close)
        sender = Sender(pool, Origin.from_url(gateway), Origin.from_url(simulator), key)
        awkward = cases()
        outcomes = []
        try:
            with progress_bar("Comparing", len(awkward)) as advance:
                async for outcome in sender.outcomes(awkward):
                    outcomes.append(outcome)
                    advance(1)
            return outcomes
        except UpstreamFailure as failure:
            fail(f"the simulator does not answer: {failure.detail}")


def _print_json(outcomes: "list[Outcome]", same: bool) -> None:
    import msgspec

    rows = [
        {
            "door": outcome.case.door,
            "case": outcome.case.name,
            "stream": outcome.case.stream,
            "status": outcome.status,
            "sent_bytes": outcome.sent_bytes,
            "answered_bytes": outcome.answered_bytes,
            "differences": outcome.differences,
        }
        for outcome in outcomes
    ]
    print(msgspec.json.format(msgspec.json.encode({"same": same, "requests": rows})).decode())


def _print(outcomes: "list[Outcome]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in ("door", "request", "answer", "status", "bytes up", "bytes down", "verdict"):
        table.add_column(heading, justify="right" if heading.startswith("bytes") else "left", overflow="fold")
    for outcome in outcomes:
        table.add_row(
            outcome.case.door,
            Text(outcome.case.name),
            "stream" if outcome.case.stream else "whole",
            str(outcome.status),
            f"{outcome.sent_bytes:,}",
            f"{outcome.answered_bytes:,}",
            Text("differs", "bold red") if outcome.differences else Text("same", "green"),
        )
    console = Console(highlight=False)
    console.print(table)
    for outcome in outcomes:
        for difference in outcome.differences:
            console.print(Text(f"{outcome.case.door}, {outcome.case.name}: {difference}"), soft_wrap=True)
    same = sum(not outcome.differences for outcome in outcomes)
    console.print(f"{same} of {len(outcomes)} requests arrived and were answered byte for byte.")
