"""A small language for the shape of a JSON value, and the first thing wrong with one.

A shape says what is wrong as a `Problem`; each dialect words problems in its own way (`openai_errors`,
`anthropic_errors`). `Tag` elements of a path name the branch of a union: Anthropic shows them, OpenAI does not.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

ProblemKind = Literal[
    "type",
    "missing",
    "unknown",
    "value",
    "tag",
    "below",
    "above",
    "too_short",
    "too_long",
    "too_few",
    "too_many",
    "too_many_pairs",
    "pattern",
]


class Tag(str):
    """The branch of a union, as an element of a path."""

    __slots__ = ()


Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    path: Path
    kind: ProblemKind
    expected: Any = None
    """type: the words for what was expected; value, tag: the allowed values; bounds: the bound; pattern: the regex."""
    got: Any = None


class Shape(Protocol):
    @property
    def words(self) -> str:
        """What is expected, as OpenAI says it: `a string`, `an array of objects`."""
        ...

    def problem(self, value: Any, path: Path) -> Problem | None:
        """The first thing wrong with the value, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    min_length: int = 0
    max_length: int | None = None
    pattern: str | None = None
    words: str = "a string"

    def problem(self, value: Any, path: Path) -> Problem | None:
        if not isinstance(value, str):
            return Problem(path, "type", self.words, value)
        if len(value) < self.min_length:
            return Problem(path, "too_short", self.min_length, len(value))
        if self.max_length is not None and len(value) > self.max_length:
            return Problem(path, "too_long", self.max_length, len(value))
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            return Problem(path, "pattern", self.pattern, value)
        return None


@dataclass(frozen=True, slots=True)
class Integer:
    low: int | None = None
    high: int | None = None
    words: str = "an integer"

    def problem(self, value: Any, path: Path) -> Problem | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return Problem(path, "type", self.words, value)
        return _bounds(value, path, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Number:
    low: float | None = None
    high: float | None = None
    words: str = "a decimal"

    def problem(self, value: Any, path: Path) -> Problem | None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return Problem(path, "type", self.words, value)
        return _bounds(float(value), path, self.low, self.high)


def _bounds(value: float, path: Path, low: float | None, high: float | None) -> Problem | None:
    if low is not None and value < low:
        return Problem(path, "below", low, value)
    if high is not None and value > high:
        return Problem(path, "above", high, value)
    return None


@dataclass(frozen=True, slots=True)
class Flag:
    words: str = "a boolean"

    def problem(self, value: Any, path: Path) -> Problem | None:
        return None if isinstance(value, bool) else Problem(path, "type", self.words, value)


@dataclass(frozen=True, slots=True)
class Choice:
    values: tuple[str, ...]
    words: str = "a string"

    def problem(self, value: Any, path: Path) -> Problem | None:
        if not isinstance(value, str):
            return Problem(path, "type", self.words, value)
        return None if value in self.values else Problem(path, "value", self.values, value)


@dataclass(frozen=True, slots=True)
class ListOf:
    item: Shape
    low: int = 0
    high: int | None = None
    words: str = "an array"

    def problem(self, value: Any, path: Path) -> Problem | None:
        if not isinstance(value, list):
            return Problem(path, "type", self.words, value)
        if len(value) < self.low:
            return Problem(path, "too_few", self.low, len(value))
        if self.high is not None and len(value) > self.high:
            return Problem(path, "too_many", self.high, len(value))
        for index, each in enumerate(value):
            if (found := self.item.problem(each, (*path, index))) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class MapOf:
    value: Shape
    max_pairs: int | None = None
    max_key_length: int | None = None
    words: str = "an object"

    def problem(self, value: Any, path: Path) -> Problem | None:
        if not isinstance(value, dict):
            return Problem(path, "type", self.words, value)
        if self.max_pairs is not None and len(value) > self.max_pairs:
            return Problem(path, "too_many_pairs", self.max_pairs, len(value))
        for key, each in value.items():
            if self.max_key_length is not None and len(key) > self.max_key_length:
                return Problem((*path, key), "too_long", self.max_key_length, len(key))
            if (found := self.value.problem(each, (*path, key))) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class Record:
    required: Mapping[str, Shape] = field(default_factory=dict)
    optional: Mapping[str, Shape] = field(default_factory=dict)
    open: bool = False
    """Unknown members are let through."""
    words: str = "an object"

    def problem(self, value: Any, path: Path) -> Problem | None:
        if not isinstance(value, dict):
            return Problem(path, "type", self.words, value)
        if not self.open:
            for name in value:
                if name not in self.required and name not in self.optional:
                    return Problem((*path, name), "unknown")
        for name in self.required:
            if name not in value:
                return Problem((*path, name), "missing")
        for name, each in value.items():
            shape = self.required.get(name) or self.optional.get(name)
            if shape is not None and (found := shape.problem(each, (*path, name))) is not None:
                return found
        return None


@dataclass(frozen=True, slots=True)
class Tagged:
    """A union told apart by one member; `cases` shapes need not repeat it."""

    key: str
    cases: Mapping[str, Shape]
    default: str | None = None
    """The case of a value without the key."""
    words: str = "an object"

    def problem(self, value: Any, path: Path) -> Problem | None:
        if not isinstance(value, dict):
            return Problem(path, "type", self.words, value)
        tag = value.get(self.key, self.default)
        if tag is None:
            return Problem((*path, self.key), "missing")
        if not isinstance(tag, str):
            return Problem((*path, self.key), "type", "a string", tag)
        case = self.cases.get(tag)
        if case is None:
            return Problem((*path, self.key), "tag", tuple(self.cases), tag)
        rest = {name: each for name, each in value.items() if name != self.key}
        return case.problem(rest, (*path, Tag(tag)))


@dataclass(frozen=True, slots=True)
class Either:
    """A union told apart by the JSON type of the value."""

    by_type: Mapping[type, Shape]
    words: str

    def problem(self, value: Any, path: Path) -> Problem | None:
        shape = self.by_type.get(type(value))
        if shape is None:
            return Problem(path, "type", self.words, value)
        return shape.problem(value, path)


@dataclass(frozen=True, slots=True)
class Nullable:
    shape: Shape

    @property
    def words(self) -> str:
        return self.shape.words

    def problem(self, value: Any, path: Path) -> Problem | None:
        return None if value is None else self.shape.problem(value, path)


OBJECT = Record(open=True)
TEXT = Text()
FLAG = Flag()
