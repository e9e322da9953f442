"""What every provider's refusals have in common: how long to wait, and what of their words may be shown."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

MAX_MESSAGE_CHARACTERS = 2000
MAX_RETRY_AFTER_S = 24 * 3600.0

_KEY_LIKE = re.compile(
    r"(?i)\b(?:sk|pk|rk|gsk|xai|key|pat)[-_][A-Za-z0-9*_\-]{6,}|\bAIza[A-Za-z0-9_\-]{10,}|\bBearer\s+\S+"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def safe_message(text: str) -> str:
    """A provider's message as it may be shown to a client: no control characters, nothing that looks like a key,
    bounded length."""
    return _KEY_LIKE.sub("[redacted]", _CONTROL.sub(" ", text[: 2 * MAX_MESSAGE_CHARACTERS]))[:MAX_MESSAGE_CHARACTERS]


def retry_after_s(headers: Mapping[bytes, bytes], now_unix_s: float) -> float | None:
    """Seconds that the provider asks to wait: `retry-after-ms`, else `retry-after` in seconds or as an HTTP date
    (RFC 9110 section 10.2.3). None where absent or unreadable; never negative, at most a day."""
    milliseconds = _number(headers.get(b"retry-after-ms"))
    if milliseconds is not None:
        return min(milliseconds / 1000, MAX_RETRY_AFTER_S)
    raw = headers.get(b"retry-after")
    seconds = _number(raw)
    if seconds is not None:
        return min(seconds, MAX_RETRY_AFTER_S)
    if raw is None:
        return None
    try:
        date = parsedate_to_datetime(raw.decode("latin-1"))
        return min(max(0.0, date.timestamp() - now_unix_s), MAX_RETRY_AFTER_S)
    except (ValueError, OverflowError):
        return None


def _number(raw: bytes | None) -> float | None:
    if raw is None or re.fullmatch(rb"[0-9]{1,9}(?:\.[0-9]{1,6})?", raw.strip()) is None:
        return None
    return float(raw)
