"""From the options of a command to the configuration it works with."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from llm_edge_agent.cli.messages import fail, note

if TYPE_CHECKING:
    from llm_edge_agent.config import AppConfig


class Level(str, Enum):
    """Levels of the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Options:
    """What may be said before any command."""

    config_file: Path | None = None
    log_level: Level | None = None

    def load(self, flags: Mapping[str, object] | None = None) -> "AppConfig":
        """The configuration of flags, environment, `.env` and file; flags that are None were not given.

        Ends the command with exit code 2 and one line per problem where it is not valid.
        """
        from llm_edge_agent.config import AppConfig, ConfigError, NoProvidersError

        given = {"log_level": self.log_level and self.log_level.value, **(flags or {})}
        try:
            config = AppConfig.from_env(
                config_file=self.config_file,
                flags={name: value for name, value in given.items() if value is not None},
            )
        except NoProvidersError as error:
            note("Error: No providers configured")
            note(error.hint)
            raise typer.Exit(2) from None
        except ConfigError as error:
            fail(*error.problems, code=2)
        _require_certificates(config)
        return config


def options_of(context: typer.Context) -> Options:
    """The options that stood before the command."""
    found = context.find_object(Options)
    return found if found is not None else Options()


def _require_certificates(config: "AppConfig") -> None:
    if config.ssl_cert_file is None:
        return
    try:
        ssl.create_default_context(cafile=config.ssl_cert_file)
    except OSError as error:
        reason = "holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        fail(f"SSL_CERT_FILE: {config.ssl_cert_file}: {reason}", code=2)
