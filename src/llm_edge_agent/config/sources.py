"""Where values come from before anybody asks what they mean: flags, environment, `.env`, secret files."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from llm_edge_agent.config.forms import Form

MAX_SECRET_FILE_BYTES = 1024 * 1024
MAX_FILE_BYTES = 16 * 1024 * 1024

KEPT_IN_FILES = ("_KEY", "_KEYS", "_URL", "_TOKEN")
"""Endings of the names that have a `NAME_FILE` form."""

_DOTENV_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class Given(NamedTuple):
    """One value as text, and where it was given: what a problem line begins with."""

    text: str
    where: str


class Problems:
    """Collects what is wrong, in order, each once."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, where: str, what: str) -> None:
        """One line. Neither part may hold a value that somebody gave."""
        self._lines[f"{where}: {what}"] = None

    def parse(self, given: Given, form: Form) -> object | None:
        """The value, or None and a problem."""
        try:
            return form(given.text)
        except ValueError as error:
            self.add(given.where, str(error))
            return None

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self._lines)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for the nearest known name, else nothing."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""


def is_there(path: Path) -> bool:
    """Whether something stands at `path`; also where that may not be asked: reading it will say why. A file that its
    reader is not allowed to see must not count as absent, it may hold the keys that close the gateway."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def read_text(path: Path, limit: int) -> str:
    """A whole small file in UTF-8. Raises ValueError that says what is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {(error.strerror or 'unknown error').lower()}") from None
    except ValueError:
        raise ValueError("cannot be read: no valid path") from None
    if len(data) > limit:
        raise ValueError(f"is larger than {limit} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("is not text in UTF-8") from None


def read_dotenv(path: Path, problems: Problems) -> dict[str, str]:
    """The variables of a `.env` file, none if there is no such file.

    `NAME=value`, with `export` before it or not; `#` begins a comment at the start of a line or after white space;
    single quotes keep everything, double quotes know backslash escapes. Nothing is expanded.
    """
    if not is_there(path):
        return {}
    try:
        text = read_text(path, MAX_FILE_BYTES)
    except ValueError as error:
        problems.add(str(path.name), str(error))
        return {}
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _DOTENV_LINE.fullmatch(line)
        value = _unquoted(match[2]) if match else None
        if match is None or value is None:
            problems.add(f"{path.name}:{number}", "must be NAME=value" if match is None else "has a quote without end")
        else:
            values[match[1]] = value
    return values


def _unquoted(text: str) -> str | None:
    """None where a quote does not end, or something but a comment follows it."""
    if text[:1] not in ("'", '"'):
        return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()
    quote, characters = text[0], iter(enumerate(text[1:], 1))
    value: list[str] = []
    for index, character in characters:
        if character == quote:
            rest = text[index + 1 :].strip()
            return "".join(value) if not rest or rest.startswith("#") else None
        if character == "\\" and quote == '"':
            _, escaped = next(characters, (0, ""))
            value.append(_ESCAPES.get(escaped, escaped))
        else:
            value.append(character)
    return None


class Variables:
    """The environment over `.env`, with `NAME_FILE` for the names that may be kept in files.

    A variable that is set but empty counts as not set, but for `given_even_empty`.
    """

    def __init__(self, environ: Mapping[str, str], from_file: Mapping[str, str], problems: Problems) -> None:
        self._environ = environ
        self._from_file = from_file
        self._problems = problems
        self._secrets: dict[str, Given | None] = {}

    def names(self) -> set[str]:
        return {*self._environ, *self._from_file}

    def get(self, name: str) -> Given | None:
        """The value of a variable that is set and not empty."""
        given = self.given_even_empty(name)
        return given if given is not None and given.text else None

    def given_even_empty(self, name: str) -> Given | None:
        """The value, without white space around it, also where it is empty; None where the variable is not set."""
        if name.endswith(KEPT_IN_FILES):
            if name not in self._secrets:
                self._secrets[name] = self._from_secret_file(name)
            if (found := self._secrets[name]) is not None:
                return found
        return self._plain(name)

    def _plain(self, name: str) -> Given | None:
        if name in self._environ:
            return Given(self._environ[name].strip(), name)
        if name in self._from_file:
            return Given(self._from_file[name].strip(), f".env: {name}")
        return None

    def _from_secret_file(self, name: str) -> Given | None:
        path = self._plain(f"{name}_FILE")
        if path is None or not path.text:
            return None
        plain = self._plain(name)
        if plain is not None and plain.text:
            self._problems.add(path.where, f"given together with {name}: use one of them")
            return None
        try:
            text = read_text(Path(path.text), MAX_SECRET_FILE_BYTES).strip()
        except ValueError as error:
            self._problems.add(path.where, f"the file {error}")
            return None
        if not text and name != "API_KEYS":
            self._problems.add(path.where, "the file is empty")
            return None
        return Given(text, path.where)
