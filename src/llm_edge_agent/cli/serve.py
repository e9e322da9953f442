"""`serve`: the gateway, until a signal ends it."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from llm_edge_agent.cli.addresses import is_loopback, listen_failure, url
from llm_edge_agent.cli.messages import alarm, fail, note, warn
from llm_edge_agent.cli.options import Level, Options, options_of

if TYPE_CHECKING:
    from llm_edge_agent.config import AppConfig
    from llm_edge_agent.serving import Listening


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API.", min=0, max=65535)] = None,
    metrics_port: Annotated[
        int | None, typer.Option(help="Port of metrics and health only; 0: none.", min=0, max=65535)
    ] = None,
    workers: Annotated[str | None, typer.Option(help="Processes that share the port; auto: one per core.")] = None,
    log_level: Annotated[Level | None, typer.Option(help="How much is logged.")] = None,
) -> None:
    """Serve the gateway until SIGTERM or Ctrl-C (the default command)."""
    options = options_of(context)
    run(
        dataclasses.replace(options, log_level=log_level or options.log_level),
        {
            "HOST": host,
            "PORT": port,
            "METRICS_PORT": metrics_port,
            "WORKERS": workers,
        },
    )


def run(options: Options, flags: Mapping[str, object]) -> None:
    """Serves with the configuration of `options` and `flags`, then ends the command."""
    from llm_edge_agent import serving

    config = options.load(flags)
    for warning in config.warnings:
        warn(warning)
    from llm_edge_agent.gateway.exports import MissingExtraError

    try:
        code = serving.serve(
            config, lambda listening: _announce(config, listening), reread=lambda: options.reread(flags)
        )
    except MissingExtraError as error:
        fail(str(error))
    except OSError as error:
        fail(listen_failure(error, config.host, config.port, config.metrics_port if config.metrics_enabled else 0))
    raise typer.Exit(code)


def _announce(config: "AppConfig", listening: "Listening") -> None:
    parts = [f"llm-edge-agent listens on {url(config.host, listening.port)}"]
    if listening.metrics_port is not None:
        parts.append(f"metrics on {url(config.host, listening.metrics_port)}/metrics")
    if config.workers != 1:
        parts.append(f"workers: {config.workers}")
    parts.append(f"providers: {', '.join(provider.name for provider in config.providers)}")
    if config.config_file is not None:
        parts.append(f"configuration: {config.config_file}")
    note("; ".join(parts))
    if not config.auth_enabled and not is_loopback(config.host):
        alarm(
            f"{config.host or '*'} is not a loopback address and API_KEYS is not set: whoever reaches this port spends"
            " your provider keys. Set API_KEYS, or listen on HOST=127.0.0.1."
        )
