"""Another configuration for a running gateway: read anew on SIGHUP and when its file changes, used whole or not at all.

What was learned of deployments that stay the same is kept, requests under way go on as they began, and what was
remembered of requests is forgotten. Settings of the listeners, the cache and the log hold until a restart; where a new
file changes one of them the log says so.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable
from pathlib import Path

from watchfiles import awatch

from llm_edge_agent.app import AppState
from llm_edge_agent.config import AppConfig, ConfigError
from llm_edge_agent.core.models import ModelTable, table_from_document
from llm_edge_agent.data import model_document

Reread = Callable[[], AppConfig]
"""Reads the configuration from its sources again. Raises ConfigError; may take its time."""

RELOADED = frozenset(
    {
        "providers",
        "aliases",
        "groups",
        "strategy",
        "fallbacks",
        "model_overrides",
        "auth_enabled",
        "keys",
        "max_json_depth",
        "total_timeout_s",
        "attempt_timeout_s",
        "connect_timeout_s",
        "stream_idle_timeout_s",
        "max_retries",
        "max_concurrency",
        "queue_size",
        "queue_timeout_ms",
        "rate_limit_enabled",
        "rate_limit_rpm",
        "rate_limit_burst",
        "breaker_failures",
        "breaker_timeout_s",
        "config_file",
        "warnings",
    }
)
"""Fields of `AppConfig` that a running gateway takes over."""

LOOK_MS = 5000
"""The file is looked at so often also where nobody tells of changes, as on some network mounts."""
START_S = 1.0
"""How long a start may take from reading the file to watching it."""

_log = logging.getLogger("llm_edge_agent.reload")


def taken_over(before: AppConfig, after: AppConfig) -> tuple[AppConfig, tuple[str, ...]]:
    """The configuration that rules from now on, and the names of what `after` changes in vain."""
    fixed = [field.name for field in dataclasses.fields(AppConfig) if field.name not in RELOADED]
    in_vain = tuple(name for name in fixed if getattr(before, name) != getattr(after, name))
    return dataclasses.replace(after, **{name: getattr(before, name) for name in fixed}), in_vain


class Reloader:
    """Reloads one gateway. Belongs to the loop that the gateway runs on."""

    def __init__(self, state: AppState, reread: Reread) -> None:
        self._state = state
        self._reread = reread
        self._lock = asyncio.Lock()
        self._success = 1.0
        self._last_unix_s = time.time()
        state.metrics.gauge("llm_edge_config_reload_success", {}, lambda: self._success, merge="min")
        state.metrics.gauge("llm_edge_config_last_reload_timestamp_seconds", {}, lambda: self._last_unix_s, merge="max")

    async def reload(self) -> bool:
        """Reads, validates and swaps. False where the configuration is wrong: nothing has changed then, and the log
        says why. Reading happens in a thread: no request waits for it."""
        async with self._lock:
            try:
                config, table = await asyncio.to_thread(self._read)
                if self._state.config.auth_enabled and not config.auth_enabled:
                    return self._refused(("it would let everybody in without a key, which takes a restart",))
                config, in_vain = taken_over(self._state.config, config)
                self._state.adopt(config, table)
            except ConfigError as error:
                return self._refused(error.problems)
            except (OSError, ValueError) as error:
                return self._refused((type(error).__name__,))
            self._success, self._last_unix_s = 1.0, time.time()
            _log.info("the configuration was reloaded", extra={"event": "config_reload"})
            for warning in config.warnings:
                _log.warning("%s", warning)
            if in_vain:
                _log.warning("needs a restart to take effect: %s", ", ".join(in_vain))
            return True

    def _read(self) -> tuple[AppConfig, ModelTable]:
        config = self._reread()
        return config, table_from_document(model_document(config.model_overrides))

    def _refused(self, problems: tuple[str, ...]) -> bool:
        self._success = 0.0
        for problem in problems:
            _log.error("the configuration was not reloaded: %s", problem, extra={"event": "config_reload_failed"})
        return False

    async def watch(self, stopping: asyncio.Event) -> None:
        """Reloads whenever the content of the configuration file is another, until `stopping` is set. The folder is
        watched, since editors and volume mounts put a new file in the place of the old one."""
        if self._state.config.config_file is None:
            return
        path = Path(self._state.config.config_file)
        content = await asyncio.to_thread(_content, path)
        if await asyncio.to_thread(_changed_since, path, self._last_unix_s - START_S):
            await self.reload()  # between the start, which read it, and now
        changes = awatch(
            path.parent,
            stop_event=stopping,
            recursive=False,
            step=200,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        async for _ in changes:
            found = await asyncio.to_thread(_content, path)
            if found and found != content:
                content = found
                await self.reload()


def _content(path: Path) -> bytes | None:
    """Empty or None in the middle of a replacement, or of being written anew."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _changed_since(path: Path, unix_s: float) -> bool:
    try:
        return path.stat().st_mtime > unix_s
    except OSError:
        return False
