"""`cache generate` and `cache simulate`: what a cache would save, before it is switched on."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_edge_agent.cli.messages import fail, fail_to_read, note
from llm_edge_agent.cli.options import options_of
from llm_edge_agent.cli.progress import progress_bar

if TYPE_CHECKING:
    from llm_edge_agent.config import AppConfig
    from llm_edge_agent.workloads.simulation import Log, Outcome

PICODOLLARS_PER_USD = 10**12
DEFAULT_ENTRIES = "100,1000,10000,100000"
DEFAULT_TTLS = "60,300,3600,86400"


class Workload(StrEnum):
    """The generators by name."""

    SUPPORT_BOT = "support-bot"
    AGENT_LOOP = "agent-loop"
    OPEN_CHAT = "open-chat"


def generate(
    workload: Annotated[Workload, typer.Argument(help="Which workload.")],
    requests: Annotated[int, typer.Option("--requests", min=1, help="How many requests.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same log.")] = 1,
) -> None:
    """Write a made-up log of requests to stdout, for `cache simulate`, one JSON object a line."""
    from llm_edge_agent.workloads import generate as generated
    from llm_edge_agent.workloads.records import write_line

    out = sys.stdout.buffer
    for record in generated(workload.value, requests, seed):
        out.write(write_line(record))
    out.flush()


def simulate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Log of requests (JSON lines); - reads stdin.", show_default=False)],
    entries: Annotated[str, typer.Option("--entries", help="Sizes of the cache, in entries.")] = DEFAULT_ENTRIES,
    ttl: Annotated[str, typer.Option("--ttl", help="Times to live, in seconds.")] = DEFAULT_TTLS,
    idle: Annotated[
        float | None,
        typer.Option("--idle", min=0.001, help="Seconds an entry lives unread.", show_default="its time to live"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON object.")] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw the saved share as SVG into this file.", show_default=False)
    ] = None,
) -> None:
    """Replay a log of requests through the cache's own code: hit rate and dollars saved by size and time to live.

    Policy, scope, bytes, prices and aliases are those of the configuration.
    """
    sizes, ttls_s = _numbers("--entries", entries), _numbers("--ttl", ttl)
    config = options_of(context).load_without_providers()
    log = _prepared(file, config)
    if not log.asked:
        fail(f"{file} holds no chat completion request")
    from llm_edge_agent.workloads import simulation

    grid: dict[int, dict[int, Outcome]] = {}
    with progress_bar("Simulating", len(log.asked) * len(sizes) * len(ttls_s)) as advance:
        for size in sizes:
            for ttl_s in ttls_s:
                grid.setdefault(size, {})[ttl_s] = simulation.replay(
                    log.asked,
                    max_entries=size,
                    max_bytes=config.cache.l1_bytes,
                    ttl_s=float(ttl_s),
                    idle_s=float(ttl_s) if idle is None else idle,
                    progress=advance,
                )
    best = simulation.repeats(log.asked)
    _say_what_was_assumed(log)
    if as_json:
        _print_json(log, best, grid)
    else:
        _print_table(best, grid)
    if plot is not None:
        _draw(plot, grid)


def _numbers(option: str, text: str) -> list[int]:
    values = [part.strip() for part in text.split(",")]
    if not all(value.isascii() and value.isdigit() and 0 < int(value) < 10**9 for value in values):
        fail(f"{option}: must be whole numbers above 0, separated by commas", code=2)
    return sorted({int(value) for value in values})


def _prepared(file: Path, config: "AppConfig") -> "Log":
    from llm_edge_agent.core.cache_policy import Policies
    from llm_edge_agent.core.models import table_from_document
    from llm_edge_agent.core.routing import Account, Directory
    from llm_edge_agent.data import model_document
    from llm_edge_agent.workloads import simulation
    from llm_edge_agent.workloads.records import LogError, read_log

    # As if both were configured: what is asked of others is found by its prefix, or where the file lists it.
    known = {"openai": Account("openai", "openai"), "anthropic": Account("anthropic", "anthropic")}
    known |= {each.name: Account(each.name, each.dialect, each.models) for each in config.providers}
    directory = Directory(
        table_from_document(model_document(config.model_overrides)), tuple(known.values()), config.aliases
    )
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as lines:
            return simulation.prepare(
                read_log(lines),
                directory,
                policies=Policies(config.cache.policy, config.cache.policies),
                scope=config.cache.scope,
            )
    except OSError as error:
        fail_to_read(file, error)
    except LogError as error:
        fail(f"{file}: {error}")


def _say_what_was_assumed(log: "Log") -> None:
    if log.refused:
        note(f"{log.refused} requests are not counted: the gateway would refuse them, or knows no provider for them")
    if log.unpriced:
        note(f"{log.unpriced} requests count without cost: the price of their model is not known")
    if log.estimated:
        note(f"{log.estimated} requests have an estimated cost: the log tells no usage")
    if not log.timed:
        note("the log tells no times: nothing expires, so that the time to live makes no difference")


def _print_table(best: "Outcome", grid: "dict[int, dict[int, Outcome]]") -> None:
    ttls_s = list(next(iter(grid.values())))
    if not sys.stdout.isatty():
        print("entries\tttl_seconds\thit_rate\tsaved_usd\tsaved_share")
        for size, row in grid.items():
            for ttl_s, found in row.items():
                print(f"{size}\t{ttl_s}\t{found.hit_rate:.4f}\t{_usd(found):.6f}\t{found.saved_share:.4f}")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Hits, and dollars saved", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("entries", justify="right")
    for ttl_s in ttls_s:
        table.add_column(f"{_duration(ttl_s)} to live", justify="right")
    for size, row in grid.items():
        cells = [
            f"{100 * each.hit_rate:.1f} %\n[dim]${_usd(each):,.2f} ({100 * each.saved_share:.1f} %)[/dim]"
            for each in row.values()
        ]
        table.add_row(f"{size:,}", *cells)
    console = Console(highlight=False)
    console.print(table)
    cost = best.cost_picodollars / PICODOLLARS_PER_USD
    console.print(
        f"{best.requests:,} requests for ${cost:,.2f}; {best.cacheable:,} may be cached; "
        f"{100 * best.hit_rate:.1f} % repeat: no cache saves more than ${_usd(best):,.2f}."
    )


def _print_json(log: "Log", best: "Outcome", grid: "dict[int, dict[int, Outcome]]") -> None:
    import msgspec

    found: dict[str, Any] = {
        "requests": best.requests,
        "cacheable": best.cacheable,
        "refused": log.refused,
        "cost_usd": best.cost_picodollars / PICODOLLARS_PER_USD,
        "repeats": _figures(best),
        "caches": [
            {"entries": size, "ttl_seconds": ttl_s, **_figures(each)}
            for size, row in grid.items()
            for ttl_s, each in row.items()
        ],
    }
    print(msgspec.json.format(msgspec.json.encode(found)).decode())


def _figures(outcome: "Outcome") -> dict[str, float]:
    return {"hit_rate": outcome.hit_rate, "saved_usd": _usd(outcome), "saved_share": outcome.saved_share}


def _draw(path: Path, grid: "dict[int, dict[int, Outcome]]") -> None:
    from llm_edge_agent.workloads.plot import line_chart

    ttls_s = list(next(iter(grid.values())))
    lines = {f"{_duration(ttl_s)} to live": [row[ttl_s].saved_share for row in grid.values()] for ttl_s in ttls_s}
    chart = line_chart("Share of the cost saved", "entries", [f"{size:,}" for size in grid], lines)
    try:
        path.write_text(chart, encoding="utf-8")
    except OSError as error:
        fail(f"{path}: {error.strerror}")


def _usd(outcome: "Outcome") -> float:
    return outcome.saved_picodollars / PICODOLLARS_PER_USD


def _duration(seconds: int) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
