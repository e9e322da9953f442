"""What a test or a demo asks of the simulator in the text of the last user message: `[[sim: key=value, key]]`."""

import random
import re
from typing import Any, Literal, get_args

import msgspec

FailureMode = Literal["rst", "fin", "error", "failed", "stall", "eof_tidy"]
BodyKind = Literal["html", "broken_json", "empty", "wrong_shape", "error_object"]
Finish = Literal["stop", "length", "content_filter", "refusal", "pause_turn", "model_context_window_exceeded"]

_DIRECTIVE = re.compile(r"\[\[sim:([^\]]*)\]\]")


class Directives(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Absent: the ordinary behaviour. Times in seconds."""

    status: int | None = None
    """Answer with this error status, in the dialect's own body."""
    error: str | None = None
    """Answer with this error, by its name in the dialect: `insufficient_quota`, `ramp_limit_exceeded`, ..."""
    error_rate: float = 1.0
    """Part of such requests (0..1) that get the error; without one named, a 429, 500 or 503."""
    retry_after: float | None = None
    latency: float | None = None
    tokens: int | None = None
    """Length of the answer's text."""
    chunk_delay: float | None = None
    """Wait before each token, in place of the pace of the settings."""
    split: int | None = None
    """A stream is written so many bytes at a time, whatever they cut."""
    fail_after: int | None = None
    """Tokens delivered before the failure; 0: nothing of the body is."""
    mode: FailureMode = "rst"
    """How it fails: rst and fin cut the connection, error sends an error in-band (failed: as `response.failed` where
    the dialect has it), stall stops writing, eof_tidy ends the body properly but without the end of the answer."""
    finish: Finish | None = None
    body: BodyKind | None = None
    """A reply with status 200 that is no answer."""
    tool: str | None = None
    """Tools to call, joined by `+`."""
    think: Literal["redacted"] | None = None
    pings: int = 0
    """Pings before each piece of text, where the dialect has them."""
    echo: bool = False
    """The answer is the whole last user text, this directive included."""
    surrogate: bool = False
    """The answer holds a surrogate pair cut in two between two tokens, and a lone surrogate."""

    def unlucky(self, rng: random.Random) -> bool:
        """Whether this request gets the error that the directives ask for."""
        asked = self.status is not None or self.error is not None or self.error_rate < 1
        return asked and (self.error_rate >= 1 or rng.random() < self.error_rate)

    def retry_headers(self) -> tuple[tuple[str, str], ...]:
        return () if self.retry_after is None else (("retry-after", f"{self.retry_after:g}"),)


NONE = Directives()


class BadDirective(ValueError):
    """The directive has an unknown key or a value that does not fit; the message says which."""


def parse(text: str) -> tuple[Directives, str]:
    """The directives of a text, and the text without them. Raises BadDirective."""
    given: dict[str, Any] = {}
    for found in _DIRECTIVE.finditer(text):
        for part in found[1].split(","):
            key, equals, value = part.partition("=")
            if key.strip():
                given[key.strip()] = value.strip() if equals else "1"
    if not given:
        return NONE, text
    if "mode" in given and given["mode"] not in get_args(FailureMode):
        raise BadDirective(f"sim directive: mode is one of {', '.join(get_args(FailureMode))}")
    if "mode" in given:
        given.setdefault("fail_after", "0")
    try:
        return msgspec.convert(given, Directives, strict=False), _DIRECTIVE.sub("", text).strip()
    except msgspec.ValidationError as error:
        raise BadDirective(f"sim directive: {error}") from None
