"""What may not stand in a log line: keys, and characters that act on the terminal or the program that reads it.

Nothing that logs should ever hold a key; this is the second fence, at the sink.
"""

import json
import re
from collections.abc import Callable, Iterable
from functools import partial

REDACTED = "[redacted]"

MIN_SECRET_CHARACTERS = 8
"""A shorter secret is a word ("ollama", "test") that would be cut out of ordinary text."""

_KEY_SHAPES = re.compile(
    r"""
      (?P<scheme>\bbearer\s+ | \bauthorization["']?\s*[:=]\s*["']?basic\s+) [^\s"',;]+   # Authorization values
    | (?P<field>\b(?:authorization|x-api-key|api-key|api_key|apikey)["']?\s*[:=]\s*["']?)
      (?!bearer\b|basic\b|none\b|null\b|\[redacted) [^\s"',;&]+                          # header or member with a key
    | (?P<url>://) [^\s/@]+ @                                                            # credentials in a URL
    | (?P<query>[?&](?:key|token|access_token)=) [^\s&"']+                               # keys in a query string
    | (?<![A-Za-z0-9]) (?:sk|rk|gsk|csk|xai|pplx|nvapi|hf|r8|fw) [-_] [A-Za-z0-9_\-]{12,}
    | (?<![A-Za-z0-9]) sk- [A-Za-z0-9_\-]{4,}
    | sk-(?:ant|proj|svcacct|or)- [A-Za-z0-9_\-]{4,}
    | (?<![A-Za-z0-9]) AIza [A-Za-z0-9_\-]{20,}                                          # Google
    """,
    re.VERBOSE | re.IGNORECASE,
)

_ACTING = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""C0, DEL, C1, line and paragraph separators, bidirectional controls, lone surrogates."""
_ACTING_BYTES = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]|\xef\xbb\xbf"
)
"""The same in UTF-8, but for what JSON escapes by itself."""


class Redactor:
    """Replaces keys by `[redacted]`: strings shaped like one, and the given secrets wherever they stand."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._known: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """More secrets. Those from before are not forgotten: an old key is a key still."""
        self._secrets.update(secrets)
        known = sorted(
            {secret for secret in self._secrets if len(secret) >= MIN_SECRET_CHARACTERS}, key=len, reverse=True
        )
        self._known = re.compile("|".join(re.escape(secret) for secret in known)) if known else None

    def clean(self, text: str) -> str:
        """The text without keys."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        return _KEY_SHAPES.sub(_keep_prefix, text)


def concealer(secrets: Iterable[str]) -> Callable[[bytes], bytes]:
    """What takes exactly these secrets out of a provider's words, as they are and as JSON writes them, and leaves every
    other byte."""
    forms = set()
    for secret in secrets:
        if len(secret) >= MIN_SECRET_CHARACTERS:
            escaped = json.dumps(secret)[1:-1]
            forms |= {secret.encode(), escaped.encode(), escaped.replace("/", "\\/").encode()}
    if not forms:
        return bytes
    pattern = re.compile(b"|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
    return partial(pattern.sub, REDACTED.encode())


def _keep_prefix(match: re.Match[str]) -> str:
    prefix = next((group for group in match.groups() if group is not None), "")
    return f"{prefix}{REDACTED}@" if match.group("url") else f"{prefix}{REDACTED}"


def visible(text: str) -> str:
    """The text on one line, with acting characters as escapes."""
    return text if text.isprintable() else _ACTING.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    short = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(character)
    if short is not None:
        return short
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def visible_json(line: bytes) -> bytes:
    """A line of JSON with the acting characters that JSON allows in strings escaped too; its value stays the same."""
    if line.isascii() and b"\x7f" not in line:
        return line
    return _ACTING_BYTES.sub(_json_escape, line)


def _json_escape(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match.group().decode())
