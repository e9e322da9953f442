"""`usage`: what the ledger says was asked, answered and spent."""

import sqlite3
import sys
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_edge_agent.cli.messages import fail, note
from llm_edge_agent.cli.moments import parse_moment
from llm_edge_agent.cli.options import options_of

if TYPE_CHECKING:
    from llm_edge_agent.telemetry.usage import Sums, Usage

COUNTS = (
    "requests",
    "errors",
    "cancelled",
    "hits",
    "lookups",
    "prompt_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "unpriced",
    "estimated",
)
MACHINE_HEADINGS = (*COUNTS, "hit_rate", "cost_usd", "estimated_usd", "saved_usd")
HEADINGS = ("requests", "errors", "hit rate", "prompt", "completion", "cost $", "saved $")


class Grouping(StrEnum):
    """What requests are put together by."""

    MODEL = "model"
    KEY = "key"
    DAY = "day"
    PROVIDER = "provider"
    ENDPOINT = "endpoint"
    TENANT = "tenant"


def usage(
    context: typer.Context,
    by: Annotated[Grouping, typer.Option("--by", help="What requests are put together by.")] = Grouping.MODEL,
    since: Annotated[
        str | None, typer.Option("--since", help="Only requests since: 24h, 7d, 2026-11-20, 2026-11-20T08:00 (UTC).")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Only requests before that moment.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV.")] = False,
    file: Annotated[Path | None, typer.Option("--file", help="The ledger to read, instead of LEDGER_PATH.")] = None,
) -> None:
    """Show requests, tokens and dollars by model, key, day, provider, endpoint or tenant, from the ledger."""
    if as_json and as_csv:
        fail("--json and --csv exclude each other", code=2)
    now = datetime.now(UTC)
    since_ms, until_ms = _milliseconds("--since", since, now), _milliseconds("--until", until, now)
    if since_ms is not None and until_ms is not None and until_ms <= since_ms:
        fail("--until: must be later than --since", code=2)
    path = str(file) if file is not None else options_of(context).load_without_providers().ledger_path
    if path is None:
        fail(
            "no ledger is kept", hint="Set LEDGER_PATH to a file, restart the gateway, and requests are written there."
        )
    found = _read(path, by.value, since_ms, until_ms)
    if as_json:
        _print_json(found, by.value, since_ms, until_ms)
    elif as_csv:
        _print_csv(found, by.value)
    else:
        _print_table(found, by.value)
        if found.total.unpriced:
            note(f"{found.total.unpriced} requests went to models without a known price: their cost is not included.")
        if found.total.estimated:
            money = _money(found.total.estimated_picodollars, rounded=sys.stdout.isatty())
            note(
                f"{found.total.estimated} requests were broken off: part of their tokens, and ${money}, is an estimate."
            )


def _milliseconds(option: str, text: str | None, now: datetime) -> int | None:
    if text is None:
        return None
    try:
        return int(parse_moment(text, now).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        fail(f"{option}: {error}", code=2)


def _read(path: str, by: str, since_ms: int | None, until_ms: int | None) -> "Usage":
    from llm_edge_agent.telemetry.ledger_file import NoLedgerError
    from llm_edge_agent.telemetry.usage import read_usage

    try:
        return read_usage(path, by, since_ms, until_ms)
    except FileNotFoundError:
        fail(f"{path}: there is no ledger yet: no gateway has written one")
    except OSError as error:
        fail(f"{path}: cannot be read: {error.strerror}")
    except (NoLedgerError, sqlite3.Error) as error:
        fail(f"{path}: cannot be read: {error}")


def _record(sums: "Sums") -> dict[str, Any]:
    """Money as exact decimals in text."""
    from llm_edge_agent.core.pricing import usd

    counts: dict[str, Any] = {name: getattr(sums, name) for name in COUNTS}
    rate = sums.hit_rate
    return {
        **counts,
        "hit_rate": None if rate is None else round(rate, 6),
        "cost_usd": usd(sums.cost_picodollars),
        "estimated_usd": usd(sums.estimated_picodollars),
        "saved_usd": usd(sums.saved_picodollars),
    }


def _print_json(found: "Usage", by: str, since_ms: int | None, until_ms: int | None) -> None:
    import msgspec

    def exact(sums: "Sums") -> dict[str, Any]:
        record = _record(sums)
        return {name: msgspec.Raw(text.encode()) if name.endswith("_usd") else text for name, text in record.items()}

    document = {
        "since": _iso(since_ms),
        "until": _iso(until_ms),
        "by": by,
        "groups": [{by: name, **exact(sums)} for name, sums in found.groups],
        "total": exact(found.total),
    }
    print(msgspec.json.format(msgspec.json.encode(document)).decode())


def _iso(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _print_csv(found: "Usage", by: str) -> None:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow((by, *MACHINE_HEADINGS))
    for name, sums in found.groups:
        record = _record(sums)
        writer.writerow((name or "", *("" if record[each] is None else record[each] for each in MACHINE_HEADINGS)))


def _print_table(found: "Usage", by: str) -> None:
    from llm_edge_agent.telemetry.redaction import visible

    terminal = sys.stdout.isatty()
    rows = [(visible(name or "–"), *_cells(sums, rounded=terminal)) for name, sums in found.groups]
    total = ("total", *_cells(found.total, rounded=terminal))
    if not terminal:
        # For cut and awk: one group a line, whatever the width of the screen.
        for row in ((by, *HEADINGS), *rows, total):
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), show_footer=True)
    table.add_column(by, footer=total[0], overflow="fold", min_width=10)
    for heading, sum_ in zip(HEADINGS, total[1:], strict=True):
        table.add_column(heading, footer=sum_, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)


def _cells(sums: "Sums", *, rounded: bool) -> tuple[str, ...]:
    rate = sums.hit_rate
    return (
        str(sums.requests),
        str(sums.errors),
        "–" if rate is None else f"{100 * rate:.1f} %",
        str(sums.prompt_tokens),
        str(sums.completion_tokens),
        _money(sums.cost_picodollars, rounded=rounded),
        _money(sums.saved_picodollars, rounded=rounded),
    )


def _money(picodollars: int, *, rounded: bool) -> str:
    """`rounded`: to a millionth of a dollar, so that a line fits a screen."""
    from llm_edge_agent.core.pricing import usd

    return f"{Decimal(picodollars).scaleb(-12):.6f}" if rounded else usd(picodollars)
