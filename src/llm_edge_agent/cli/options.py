"""From the options of a command to the configuration it works with."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from llm_edge_agent.cli.messages import fail

if TYPE_CHECKING:
    from llm_edge_agent.config import AppConfig


class Level(StrEnum):
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
        """The configuration of flags (named like variables; None: not given), environment, `.env` and file.

        Ends the command with exit code 2 and one line per problem where it is not valid.
        """
        from llm_edge_agent.config import NoProvidersError

        try:
            return self._read(flags or {}, require_provider=True)
        except NoProvidersError as error:
            fail(str(error), hint=error.hint, code=2)

    def reread(self, flags: Mapping[str, object]) -> "AppConfig":
        """The same again for a gateway that runs. Raises ConfigError."""
        return self._from_env(flags, require_provider=True)

    def load_without_providers(self) -> "AppConfig":
        """The same for commands that call no provider, which therefore need none."""
        return self._read({}, require_provider=False)

    def _read(self, flags: Mapping[str, object], *, require_provider: bool) -> "AppConfig":
        """Raises NoProvidersError."""
        from llm_edge_agent.config import ConfigError, NoProvidersError

        try:
            config = self._from_env(flags, require_provider=require_provider)
        except NoProvidersError:
            raise
        except ConfigError as error:
            fail(*error.problems, code=2)
        _require_certificates(config)
        return config

    def _from_env(self, flags: Mapping[str, object], *, require_provider: bool) -> "AppConfig":
        from llm_edge_agent.config import AppConfig

        level = self.log_level.value if self.log_level is not None else None
        return AppConfig.from_env(
            config_file=self.config_file, flags={"LOG_LEVEL": level, **flags}, require_provider=require_provider
        )


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
