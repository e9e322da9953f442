"""What a command tells a person, on stderr."""

import contextlib
import os
import sys
from pathlib import Path
from typing import NoReturn

import typer

_RED, _YELLOW, _BOLD_YELLOW = "31", "33", "1;33"


def note(message: str) -> None:
    """Says it where it can be said. A closed stderr, a full disk or a reader that left must not end a gateway."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(message, file=sys.stderr, flush=True)


def warn(message: str) -> None:
    note(f"{_styled('Warning:', _YELLOW)} {message}")


def alarm(message: str) -> None:
    """A warning that must not be overlooked: all of it stands out."""
    note(_styled(f"WARNING: {message}", _BOLD_YELLOW))


def fail(*problems: str, hint: str | None = None, code: int = 1) -> NoReturn:
    """Says each problem on a line of its own, then the hint, and ends the command with `code`."""
    for problem in problems:
        note(f"{_styled('Error:', _RED)} {problem}")
    if hint is not None:
        note(hint)
    raise typer.Exit(code)


def fail_to_read(path: Path, error: OSError) -> NoReturn:
    """A file that was named and cannot be read is a mistake of the call."""
    fail(f"{path}: {(error.strerror or 'cannot be read').lower()}", code=2)


def _styled(text: str, style: str) -> str:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not _on_a_terminal():
        return text
    return f"\x1b[{style}m{text}\x1b[0m"


def _on_a_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
