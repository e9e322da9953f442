"""Moments as people write them: so long ago, or a date."""

import re
from datetime import UTC, datetime, timedelta

_AGO = re.compile(r"(\d{1,6})\s*([smhdw])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

FORMS = "24h, 7d (also s, m, w), a date like 2026-11-20, or a date and a time like 2026-11-20T08:00"


def parse_moment(text: str, now: datetime) -> datetime:
    """The moment that `text` means at `now`. Dates and times without a zone are UTC. Raises ValueError."""
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"must be {FORMS}") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
