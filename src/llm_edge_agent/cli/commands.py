"""All commands of the program. Importing them loads no gateway: each loads what it needs when it runs."""

from pathlib import Path
from typing import Annotated

import typer

from llm_edge_agent.cli import serve as serving
from llm_edge_agent.cli.cache_admin import get, purge, stats, warm
from llm_edge_agent.cli.cache_simulate import generate, simulate
from llm_edge_agent.cli.check_config import check_config
from llm_edge_agent.cli.config_init import init
from llm_edge_agent.cli.demo import demo
from llm_edge_agent.cli.doctor import doctor
from llm_edge_agent.cli.fidelity.command import fidelity
from llm_edge_agent.cli.health import health, metrics
from llm_edge_agent.cli.mock import mock
from llm_edge_agent.cli.models import models
from llm_edge_agent.cli.options import Level, Options
from llm_edge_agent.cli.route import route
from llm_edge_agent.cli.run import PASSTHROUGH, run
from llm_edge_agent.cli.serve import serve
from llm_edge_agent.cli.usage import usage
from llm_edge_agent.version import __version__

application = typer.Typer(
    help="An LLM intercepting proxy: one OpenAI-compatible API for every provider. Without a command it serves.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"llm-edge-agent {__version__}")
        raise typer.Exit


@application.callback(invoke_without_command=True)
def _program(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration file (YAML).", envvar=None, show_default=False)
    ] = None,
    log_level: Annotated[Level | None, typer.Option("--log-level", help="How much is logged.")] = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = Options(config, log_level)
    if context.invoked_subcommand is None:
        serving.run(context.obj, {})


examination = typer.Typer(rich_markup_mode=None)
examination.callback(invoke_without_command=True)(doctor)
examination.command()(fidelity)

configuration = typer.Typer(help="Make a configuration.", rich_markup_mode=None, no_args_is_help=True)
configuration.command("init")(init)

caching = typer.Typer(
    help="Look into the cache, purge and warm it; find out what it would save.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
caching.command("stats")(stats)
caching.command("get")(get)
caching.command("purge")(purge)
caching.command("warm")(warm)
caching.command("generate")(generate)
caching.command("simulate")(simulate)

application.command()(serve)
application.command()(demo)
application.command()(mock)
application.command(context_settings=PASSTHROUGH)(run)
application.command("check-config")(check_config)
application.command()(models)
application.command()(route)
application.command()(usage)
application.command()(health)
application.command()(metrics)
application.add_typer(examination, name="doctor")
application.add_typer(caching, name="cache")
application.add_typer(configuration, name="config")
