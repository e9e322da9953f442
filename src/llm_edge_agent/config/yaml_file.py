"""The YAML file as a tree of texts that know their lines. Scalars stay text: the forms of the settings read them, so
that `off` is a policy where a policy is wanted. `${VAR}`, `${VAR:-default}` and `os.environ/VAR` are put in here."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import yaml

from llm_edge_agent.config.sources import MAX_FILE_BYTES, Given, Problems, read_text

MAX_NODES = 100_000
"""Aliases count as often as they are used: a small file can describe a huge tree."""
MAX_DEPTH = 16

_WORD = re.compile(r"[A-Za-z_-]{1,40}|l[12]")
_USERS_NAME = re.compile(r"[A-Za-z0-9._/:-]{1,64}")
_VARIABLE = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_WHOLE_VARIABLE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
_INTEGER = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d{1,3})?", re.ASCII)

Content = str | None | list["Node"] | dict[str, "Node"]


@dataclass(frozen=True, slots=True)
class Node:
    """A text, nothing (null), a list or a mapping; `where` names file, line and key."""

    where: str
    content: Content
    plain: bool = False
    """A text without quotes, which may mean a number or a truth value."""

    def given(self) -> Given | None:
        """The text as a given value; None where the node is no single text."""
        return Given(self.content.strip(), self.where) if isinstance(self.content, str) else None

    def typed(self) -> object:
        """The value as JSON would have it: what data records are made of."""
        content = self.content
        if isinstance(content, dict):
            return {key: node.typed() for key, node in content.items()}
        if isinstance(content, list):
            return [node.typed() for node in content]
        if content is None or not self.plain:
            return content
        if content in ("true", "false"):
            return content == "true"
        if _INTEGER.fullmatch(content):
            return int(content)
        if _FLOAT.fullmatch(content) and isfinite(number := float(content)):
            return number
        return content


Lookup = Callable[[str], Given | None]


def read_yaml(path: Path, lookup: Lookup, problems: Problems) -> Node:
    """The tree of the file. With a problem, an empty mapping or what could be read."""
    empty = Node(str(path), {})
    try:
        text = read_text(path, MAX_FILE_BYTES)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except ValueError as error:
        problems.add(str(path), str(error))
        return empty
    except yaml.MarkedYAMLError as error:
        # PyYAML's own text quotes the file, which may hold keys.
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        problems.add(str(path), f"is not valid YAML{place}")
        return empty
    except (yaml.YAMLError, RecursionError):
        problems.add(str(path), "is not valid YAML")
        return empty
    if root is None:
        return empty
    try:
        node = _Builder(str(path), lookup, problems).build(root, "", 0)
    except _TooMuchError:
        problems.add(str(path), "is too large or nested too deep")
        return empty
    if node.content is None:
        return empty
    if not isinstance(node.content, dict):
        problems.add(str(path), "must be a mapping")
        return empty
    return node


def _shown(key: str, path: str) -> str:
    """The dotted path of a key as a message may show it. A key that is no word may be a secret in the wrong place;
    under `providers`, `groups` and `aliases` it is a name that the user gave."""
    shown = key if (_USERS_NAME if path in ("providers", "groups", "aliases") else _WORD).fullmatch(key) else "(hidden)"
    return f"{path}.{shown}" if path else shown


class _TooMuchError(Exception):
    pass


class _Builder:
    def __init__(self, file: str, lookup: Lookup, problems: Problems) -> None:
        self._file = file
        self._lookup = lookup
        self._problems = problems
        self._nodes = 0

    def build(self, node: yaml.Node, path: str, depth: int) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise _TooMuchError
        where = f"{self._file}:{node.start_mark.line + 1}"
        if path:
            where = f"{where}: {path}"
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, where)
        if isinstance(node, yaml.SequenceNode):
            items = [self.build(child, f"{path}[{index}]", depth + 1) for index, child in enumerate(node.value)]
            return Node(where, items)
        return Node(where, dict(self._members(node, path, depth)))

    def _members(self, node: yaml.Node, path: str, depth: int) -> Iterator[tuple[str, Node]]:
        seen = set()
        for key, child in node.value:
            line = f"{self._file}:{key.start_mark.line + 1}"
            if not isinstance(key, yaml.ScalarNode) or not key.value:
                self._problems.add(line, "a key must be a word")
                continue
            name = _shown(key.value, path)
            if key.value in seen:
                self._problems.add(f"{line}: {name}", "given twice")
                continue
            seen.add(key.value)
            yield key.value, self.build(child, name, depth + 1)

    def _scalar(self, node: yaml.ScalarNode, where: str) -> Node:
        text = node.value
        plain = node.style is None
        if plain and text in ("", "~", "null"):
            return Node(where, None)
        if whole := _WHOLE_VARIABLE.fullmatch(text):
            return Node(where, self._variable(whole[1], None, where), plain)
        return Node(where, _VARIABLE.sub(lambda match: self._put_in(match, where), text), plain)

    def _put_in(self, match: re.Match[str], where: str) -> str:
        if match[1]:
            return match[0][1:]
        return self._variable(match[2], match[3], where)

    def _variable(self, name: str, default: str | None, where: str) -> str:
        given = self._lookup(name)
        if given is not None:
            return given.text
        if default is None:
            self._problems.add(where, f"the variable {name} is not set")
            return ""
        return default
