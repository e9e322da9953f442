from datetime import UTC, datetime, timedelta, timezone

import pytest

from llm_edge_agent.cli.moments import parse_moment

NOW = datetime(2026, 11, 26, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("24h", NOW - timedelta(hours=24)),
        (" 7d ", NOW - timedelta(days=7)),
        ("90 m", NOW - timedelta(minutes=90)),
        ("30s", NOW - timedelta(seconds=30)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T08:00", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("2026-11-20 08:00:30Z", datetime(2026, 11, 20, 8, 0, 30, tzinfo=UTC)),
        ("2026-11-20T08:00+02:00", datetime(2026, 11, 20, 8, tzinfo=timezone(timedelta(hours=2)))),
    ],
)
def test_moments(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "24", "h", "1y", "yesterday", "-3h", "2026-13-01", "24h ago"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match="must be 24h"):
        parse_moment(text, NOW)
