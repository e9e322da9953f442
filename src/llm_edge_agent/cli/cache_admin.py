"""`cache stats | get | purge | warm`: a running gateway's cache, over its admin API."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from llm_edge_agent.cli.addresses import reachable_url
from llm_edge_agent.cli.messages import fail, fail_to_read, note
from llm_edge_agent.cli.options import options_of
from llm_edge_agent.cli.progress import progress_bar

if TYPE_CHECKING:
    from llm_edge_agent.cli.admin_client import AdminAnswer, AdminClient
    from llm_edge_agent.workloads import LoggedRequest

Url = Annotated[str | None, typer.Option("--url", help="Address of the gateway.", show_default="the configured one")]
WARMING_AT_ONCE = 8


def stats(
    context: typer.Context,
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON object.")] = False,
) -> None:
    """Show what the cache of a running gateway holds, did and saved."""
    found = _asked(context, url, "GET", "/admin/cache/stats")
    if as_json or not sys.stdout.isatty():
        _print(found)
        return
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not found["enabled"]:
        console.print("The cache is switched off.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("tier", "entries", "MiB", "hits", "misses", "hit rate"):
        table.add_column(heading, justify="left" if heading == "tier" else "right")
    for tier, figures in found["tiers"].items():
        hits, misses = figures.get("hits", 0), figures.get("misses", 0)
        rate = f"{100 * hits / (hits + misses):.1f} %" if hits + misses else "-"
        size = f"{figures['bytes'] / 2**20:.1f}" if "bytes" in figures else "-"
        entries = f"{figures['entries']:,}" if "entries" in figures else "-"
        table.add_row(tier, entries, size, f"{hits:,}", f"{misses:,}", rate)
    console.print(table)
    if found["l2_configured"] and not found["l2_healthy"]:
        console.print("[yellow]L2 is configured and does not answer.[/yellow]")
    console.print("requests: " + ", ".join(f"{count:,} {what}" for what, count in found["lookups"].items()))
    console.print(f"saved by answers from the cache: ${found['saved_usd']:,.6f}")
    net = found["prompt_cache_saved_usd"] - found["prompt_cache_surcharge_usd"]
    console.print(
        f"saved by providers' prompt caches: ${net:,.6f} "
        f"(reads ${found['prompt_cache_saved_usd']:,.6f}, writes -${found['prompt_cache_surcharge_usd']:,.6f})"
    )


def get(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(help="The key, 64 hexadecimal digits.", show_default=False)] = None,
    request: Annotated[
        Path | None,
        typer.Option("--request", help="Find the key of the request in this file instead.", show_default=False),
    ] = None,
    tenant: Annotated[str, typer.Option("--tenant", help="Whose request.")] = "default",
    answer: Annotated[bool, typer.Option("--answer", help="The stored answer too.")] = False,
    url: Url = None,
) -> None:
    """Show one entry as JSON. Exit code 1 where there is none."""
    query = {"tenant": tenant, **({"answer": "true"} if answer else {})}
    if (key is None) == (request is None):
        fail("name either a KEY or a --request", code=2)
    if request is not None:
        found = _asked(context, url, "POST", "/admin/cache/entries", query, _read(request))
    else:
        found = _asked(context, url, "GET", f"/admin/cache/entries/{key}", query)
    _print(found)
    if not found["found"]:
        raise typer.Exit(1)


def purge(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Option("--tenant", help="A tenant's entries.", show_default=False)] = None,
    model: Annotated[str | None, typer.Option("--model", help="A model's entries.", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="All entries.")] = False,
    url: Url = None,
) -> None:
    """Forget entries, in every tier and every process within a second. Name what: one of the three."""
    import msgspec

    if (tenant is not None) + (model is not None) + everything != 1:
        fail("name one of --tenant, --model and --all", code=2)
    what: dict[str, Any] = (
        {"all": True} if everything else {"tenant": tenant} if tenant is not None else {"model": model}
    )
    found = _asked(context, url, "POST", "/admin/cache/purge", {}, msgspec.json.encode(what))
    if not found["told_everywhere"]:
        fail("purged in this process; the shared tier does not answer, and will be told once it does")
    note("purged")


def warm(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Log of requests (JSON lines), as for simulate.", show_default=False)],
    url: Url = None,
) -> None:
    """Ask every different request of a log once, so that its answer is in the cache. Providers bill what is missing."""
    from llm_edge_agent.workloads.records import LogError, read_log

    try:
        with file.open("rb") as lines:
            records = list({(each.tenant, bytes(each.request)): each for each in read_log(lines)}.values())
    except OSError as error:
        fail_to_read(file, error)
    except LogError as error:
        fail(f"{file}: {error}")
    caches, failures = asyncio.run(_warm(_client(context, url), records))
    note(", ".join(f"{count} {cache}" for cache, count in sorted(caches.items())) or "nothing to ask")
    if failures:
        fail(*(f"{count} requests were answered {status}" for status, count in sorted(failures.items())))


async def _warm(client: "AdminClient", records: "list[LoggedRequest]") -> tuple[dict[str, int], dict[int, int]]:
    """How often each kind of answer, and each failing status, was given."""
    caches: dict[str, int] = {}
    failures: dict[int, int] = {}
    waiting = iter(records)

    with progress_bar("Warming", len(records)) as advance:

        async def work() -> None:
            for record in waiting:
                answer = await client.ask("POST", "/admin/cache/warm", {"tenant": record.tenant}, bytes(record.request))
                if answer.status == 200:
                    cache = answer.headers.get(b"x-llm-edge-cache", b"unknown").decode("latin-1")
                    caches[cache] = caches.get(cache, 0) + 1
                else:
                    failures[answer.status] = failures.get(answer.status, 0) + 1
                advance(1)

        try:
            await asyncio.gather(*(work() for _ in range(WARMING_AT_ONCE)))
        except client.failure as error:
            fail(str(error))
        finally:
            await client.close()
    return caches, failures


def _client(context: typer.Context, url: str | None) -> "AdminClient":
    from llm_edge_agent.cli.admin_client import AdminClient

    config = options_of(context).load_without_providers()
    if config.admin_key is None:
        fail("ADMIN_API_KEY is not set: the admin API exists only with it, and asks for it", code=2)
    try:
        return AdminClient(url or reachable_url(config.host, config.port), config.admin_key.reveal())
    except ValueError as error:
        fail(f"--url {error}", code=2)


def _asked(
    context: typer.Context,
    url: str | None,
    method: str,
    path: str,
    query: dict[str, str] | None = None,
    body: bytes = b"",
) -> dict[str, Any]:
    client = _client(context, url)

    async def once() -> "AdminAnswer":
        try:
            return await client.ask(method, path, query or {}, body)
        finally:
            await client.close()

    try:
        answer = asyncio.run(once())
    except client.failure as error:
        fail(str(error))
    if answer.status != 200:
        _explain(answer)
    return answer.json()


def _explain(answer: "AdminAnswer") -> NoReturn:
    if answer.status == 401:
        fail("the gateway has another ADMIN_API_KEY")
    if answer.status == 404:
        fail("the gateway has no admin API: it was started without ADMIN_API_KEY")
    fail(answer.error())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fail_to_read(path, error)


def _print(found: dict[str, Any]) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(found)).decode())
