"""`route`: what the gateway would do with a request, without calling anyone."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_edge_agent.cli.messages import fail, fail_to_read
from llm_edge_agent.cli.options import options_of

if TYPE_CHECKING:
    from llm_edge_agent.config import AppConfig

HEADINGS = ("place", "deployment", "cost $", "score", "why not")


def route(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A request body (JSON); - for standard input.", show_default=False)],
    endpoint: Annotated[str, typer.Option(help="The door it would come in by.")] = "chat",
    as_json: Annotated[bool, typer.Option("--json", help="All that is known, as JSON.")] = False,
) -> None:
    """Tell where a request would go and why: candidates, order, estimated cost. Nothing is sent.

    A process of its own has learned nothing of latencies and failures; a running gateway tells with those at
    POST /v1/route/explain.
    """
    import asyncio

    import msgspec

    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        fail_to_read(file, error)
    told = asyncio.run(_explanation(context, raw, endpoint))
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(told)).decode())
    else:
        _print(told)


def _looking_only(config: "AppConfig") -> "AppConfig":
    """The same gateway without ledger, collector and shared cache: a look makes no file and calls nobody."""
    return dataclasses.replace(
        config,
        log_level="error",
        ledger_path=None,
        otel=type(config.otel)(),
        cache=dataclasses.replace(config.cache, l2_enabled=False),
    )


async def _explanation(context: typer.Context, raw: bytes, endpoint: str) -> dict[str, Any]:
    from llm_edge_agent.app import initialize_app_state
    from llm_edge_agent.core.access import ANYONE
    from llm_edge_agent.core.errors import GatewayError
    from llm_edge_agent.dialects import ENDPOINTS
    from llm_edge_agent.gateway.explaining import explanation
    from llm_edge_agent.http.messages import Request

    if endpoint not in ENDPOINTS:
        fail(f"--endpoint: must be one of {', '.join(ENDPOINTS)}", code=2)
    state = await initialize_app_state(_looking_only(options_of(context).load()))
    try:
        request = Request("POST", "/v1/route/explain", "", {}, body=raw)
        return await explanation(state.pipeline, request, endpoint, ANYONE)
    except GatewayError as error:
        fail(f"the request would be refused with {error.status}: {error.message}")
    finally:
        await state.close()


def _print(told: dict[str, Any]) -> None:
    rows = sorted(told["candidates"], key=lambda each: (each["place"] is None, each["place"] or 0))
    cells = [
        (
            str(each["place"] or "-"),
            str(each["deployment"]),
            "" if each["estimated_cost_usd"] is None else f"{each['estimated_cost_usd']:.6f}",
            "" if each["score"] is None else f"{each['score']:g}",
            ", ".join(reason for reason in (each["unable"], each["held"]) if reason),
        )
        for each in rows
    ]
    if not sys.stdout.isatty():
        for row in (HEADINGS, *cells):
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    needs = told["needs"]
    console = Console(highlight=False)
    console.print(
        f"{told['model']}: group {told['group']}, strategy {told['strategy']}; about {needs['prompt_tokens_estimate']} "
        f"tokens in, {needs['output_tokens_estimate']} out; needs: {', '.join(needs['features']) or 'nothing special'}"
    )
    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in ("place", "cost $", "score") else "left")
    for row in cells:
        table.add_row(*row)
    console.print(table)
    if told["cache"]["cacheable"]:
        console.print("may be answered from the cache")
