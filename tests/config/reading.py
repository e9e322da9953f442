"""The configuration of a mapping, as the tests of this folder ask for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llm_edge_agent.config import AppConfig, ConfigError

KEY = {"OPENAI_API_KEY": "sk-openai"}


def read(environ: Mapping[str, str] | None = None, **more: Any) -> AppConfig:
    """With one provider, so that nothing else is amiss."""
    return AppConfig.from_env({**KEY, **(environ or {})}, **more)


def problems(environ: Mapping[str, str] | None = None, **more: Any) -> tuple[str, ...]:
    """What is wrong, with one provider; fails where nothing is."""
    with pytest.raises(ConfigError) as caught:
        read(environ, **more)
    return caught.value.problems


def written(folder: Path, text: str) -> Path:
    """A configuration file with this text."""
    path = folder / "file.yaml"
    path.write_text(text, "utf-8")
    return path


def without_lines(found: tuple[str, ...], path: Path) -> list[str]:
    """Problem lines of the file at `path` without its name and the line number."""
    shown = []
    for line in found:
        assert line.startswith(f"{path}"), line
        shown.append(line.removeprefix(str(path)).lstrip(":0123456789").removeprefix(" "))
    return shown
