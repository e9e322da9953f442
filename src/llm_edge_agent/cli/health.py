"""`health` and `metrics`: what a running gateway says of itself."""

import sys
from typing import Annotated

import typer

from llm_edge_agent.cli.addresses import reachable_url
from llm_edge_agent.cli.messages import fail
from llm_edge_agent.cli.options import Options, options_of

Url = Annotated[str | None, typer.Option("--url", help="Address of the gateway.", show_default="the configured one")]


def health(context: typer.Context, url: Url = None) -> None:
    """Print the health of a running gateway as JSON; exit code 0 where it is alive, else 1."""
    address = url or _configured(options_of(context))
    (live, _), (status, verdict) = _fetched(address, "/health/live", "/health")
    if live != 200 or status != 200:
        fail(f"{address} is not a healthy gateway: it answered {live} to /health/live and {status} to /health")
    print(verdict.decode(errors="replace").rstrip("\n"))


def metrics(context: typer.Context, url: Url = None) -> None:
    """Print the metrics of a running gateway in Prometheus' text form."""
    address = url or _configured(options_of(context), metrics=True)
    ((status, body),) = _fetched(address, "/metrics")
    if status != 200:
        key = ": it asks for a key; use the metrics port, which does not" if status == 401 else ""
        fail(f"{address}/metrics answered {status}{key}")
    sys.stdout.write(body.decode(errors="replace"))


def _configured(options: Options, *, metrics: bool = False) -> str:
    """Where the gateway of this configuration listens. Its metrics need no key on a port of their own."""
    config = options.load_without_providers()
    separate = metrics and config.metrics_enabled and config.metrics_port
    return reachable_url(config.host, config.metrics_port if separate else config.port)


def _fetched(url: str, *paths: str) -> list[tuple[int, bytes]]:
    from llm_edge_agent.cli.fetching import FetchError, fetch

    try:
        return fetch(url, *paths)
    except ValueError as error:
        fail(f"--url {error}", code=2)
    except FetchError as error:
        fail(str(error))
