"""`models`: the models that the gateway knows, with prices and dates."""

import sys
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_edge_agent.cli.options import options_of

if TYPE_CHECKING:
    from llm_edge_agent.core.models import Model

HEADINGS = ("id", "provider", "window", "in $", "out $", "status", "shutdown")

PICODOLLARS_PER_TOKEN_PER_USD_PER_MTOK = 10**6


def models(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Retired models too.")] = False,
) -> None:
    """List the known models with their prices in dollars per million tokens and their shutdown dates."""
    import msgspec

    from llm_edge_agent.core.models import table_from_document
    from llm_edge_agent.data import model_document

    table = table_from_document(model_document(options_of(context).load_without_providers().model_overrides))
    records = [_record(model) for model in table.models if everything or model.status != "retired"]
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(records)).decode())
    else:
        _print_table(records)


def _record(model: "Model") -> dict[str, Any]:
    base = model.prices.base if model.prices is not None else None
    return {
        "id": model.id,
        "provider": model.provider,
        "mode": model.mode,
        "aliases": model.aliases,
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "input_usd_per_mtok": None if base is None else _usd(base.input),
        "output_usd_per_mtok": None if base is None else _usd(base.output),
        "status": model.status,
        "shutdown_date": model.shutdown_date,
    }


def _usd(picodollars_per_token: int) -> float:
    return float(Decimal(picodollars_per_token) / PICODOLLARS_PER_TOKEN_PER_USD_PER_MTOK)


def _print_table(records: list[dict[str, Any]]) -> None:
    if not sys.stdout.isatty():
        # For cut and awk: one model a line, whatever the width of the screen.
        print("\t".join((*HEADINGS, "aliases")))
        for record in records:
            print("\t".join((*_cells(record, str), ",".join(record["aliases"]))))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0))
    for heading in HEADINGS:
        right = heading in ("window", "in $", "out $")
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    for record in records:
        name, *others = _cells(record, _short)
        # Under the id: a column of their own would leave the ids no room on a narrow screen.
        table.add_row("\n".join((name, *(f"  [dim]{alias}[/dim]" for alias in record["aliases"]))), *others)
    Console(highlight=False).print(table)


def _cells(record: dict[str, Any], size: Callable[[int], str]) -> tuple[str, ...]:
    return (
        str(record["id"]),
        str(record["provider"]),
        size(record["context_window"]) if record["context_window"] is not None else "",
        _dollars(record["input_usd_per_mtok"]),
        _dollars(record["output_usd_per_mtok"]),
        str(record["status"]),
        record["shutdown_date"] or "",
    )


def _short(count: int) -> str:
    """A number of tokens as people say it, where that is exact: 200k, 1M."""
    if count % 1_000_000 == 0:
        return f"{count // 1_000_000}M"
    return f"{count // 1000}k" if count % 1000 == 0 else str(count)


def _dollars(usd: float | None) -> str:
    return "" if usd is None else f"{usd:g}"
