"""What a provider's answer says of the rate limits that are left, by OpenAI's headers and by Anthropic's.

OpenAI: `x-ratelimit-remaining-requests`, `-tokens`, and `x-ratelimit-reset-*` as a duration (`1s`, `6m0s`, `350ms`).
Anthropic: `anthropic-ratelimit-requests-remaining`, `-tokens-`, `-input-tokens-`, `-output-tokens-`, and `-reset` as a
time (RFC 3339).
"""

import re
from collections.abc import Mapping
from datetime import datetime

TOKENS_SHARE = 100
"""Fewer tokens left than the limit divided by this: the next request will hardly fit."""
UNKNOWN_S = 5.0
LONGEST_S = 3600.0

_OPENAI = tuple(
    (
        b"x-ratelimit-remaining-%b" % what,
        b"x-ratelimit-limit-%b" % what,
        b"x-ratelimit-reset-%b" % what,
    )
    for what in (b"requests", b"tokens")
)
_ANTHROPIC = tuple(
    (
        b"anthropic-ratelimit-%b-remaining" % what,
        b"anthropic-ratelimit-%b-limit" % what,
        b"anthropic-ratelimit-%b-reset" % what,
    )
    for what in (b"requests", b"tokens", b"input-tokens", b"output-tokens")
)
_PART = re.compile(rb"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h|d)")
_SECONDS = {b"ms": 0.001, b"s": 1.0, b"m": 60.0, b"h": 3600.0, b"d": 86400.0}


def reset_after_s(headers: Mapping[bytes, bytes], now_unix_s: float) -> float | None:
    """For how long the next request would be refused, by what the answer's head says is left; None where there is
    enough, or nothing is said."""
    if b"x-ratelimit-remaining-requests" in headers or b"x-ratelimit-remaining-tokens" in headers:
        names = _OPENAI
    elif b"anthropic-ratelimit-requests-remaining" in headers or b"anthropic-ratelimit-tokens-remaining" in headers:
        names = _ANTHROPIC
    else:
        return None
    longest_s: float | None = None
    for remaining_name, limit_name, reset_name in names:
        remaining = _count(headers.get(remaining_name))
        if remaining is None or remaining * TOKENS_SHARE > (_count(headers.get(limit_name)) or 0):
            continue
        if remaining and remaining_name.find(b"requests") >= 0:
            continue
        wait_s = _wait_s(headers.get(reset_name), now_unix_s)
        longest_s = wait_s if longest_s is None else max(longest_s, wait_s)
    return longest_s


def _count(raw: bytes | None) -> int | None:
    return int(raw) if raw is not None and raw.isdigit() and len(raw) < 16 else None


def _wait_s(raw: bytes | None, now_unix_s: float) -> float:
    """A duration or a time as seconds from now."""
    if raw is None:
        return UNKNOWN_S
    if b"T" in raw:
        try:
            return min(max(0.0, datetime.fromisoformat(raw.decode("ascii")).timestamp() - now_unix_s), LONGEST_S)
        except (ValueError, OverflowError):
            return UNKNOWN_S
    parts = _PART.findall(raw)
    if not parts or b"".join(number + unit for number, unit in parts) != raw:
        return UNKNOWN_S
    return min(sum(float(number) * _SECONDS[unit] for number, unit in parts), LONGEST_S)
