from datetime import UTC, datetime
from pathlib import Path

import pytest

from llm_edge_agent.telemetry.ledger_file import LedgerFile
from llm_edge_agent.telemetry.usage import GROUPS, read_usage
from tests.telemetry.test_ledger_file import ROW

DAY_MS = 86_400_000
MIDNIGHT_MS = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "ledger.db")
    file = LedgerFile(path)
    today = ROW._replace(ended_ms=MIDNIGHT_MS)
    file.write(
        [
            today._replace(ended_ms=MIDNIGHT_MS - 1, cost_picodollars=2**63 - 1),
            today._replace(cost_picodollars=2**63 - 1, key_id="0a1b2c3d"),
            today._replace(cache="hit", prompt_tokens=None, completion_tokens=None, cost_picodollars=0,
                           saved_picodollars=10**12 + 1),
            today._replace(cache="join", prompt_tokens=None, completion_tokens=None, cost_picodollars=0),
            today._replace(model="own", provider="vllm", cost_picodollars=None, cache="bypass"),
            today._replace(ended_ms=MIDNIGHT_MS + DAY_MS, outcome="error", status=503, model=None, provider="openai",
                           prompt_tokens=None, completion_tokens=None, cost_picodollars=None),
            today._replace(outcome="cancelled", status=499, endpoint="messages", tenant="team", estimated=2),
        ]
    )  # fmt: skip
    file.close()
    return path


def test_the_total_is_exact_where_floating_point_is_not(path: str) -> None:
    total = read_usage(path, "model").total
    assert (total.requests, total.errors, total.cancelled) == (7, 1, 1)
    assert (total.hits, total.lookups) == (2, 6)
    assert total.hit_rate == pytest.approx(1 / 3)
    assert total.cost_picodollars == 2 * (2**63 - 1) + 5
    assert total.saved_picodollars == 10**12 + 1
    assert (total.prompt_tokens, total.completion_tokens, total.unpriced) == (12, 16, 1)
    assert (total.estimated, total.estimated_picodollars) == (1, 5)


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("model", ["gpt-5", None, "own"]),
        ("key", ["0a1b2c3d", None]),
        ("tenant", ["default", "team"]),
        ("provider", ["openai", "vllm"]),
        ("endpoint", ["chat", "messages"]),
        ("day", ["2026-11-19", "2026-11-20", "2026-11-21"]),
    ],
)
def test_groups_in_order(path: str, by: str, names: list[str | None]) -> None:
    assert by in GROUPS
    found = read_usage(path, by)
    assert [name for name, _ in found.groups if name is not None] == [name for name in names if name is not None]
    assert {name for name, _ in found.groups} == set(names)
    assert sum(sums.requests for _, sums in found.groups) == found.total.requests == 7


def test_a_window_begins_with_its_first_moment_and_ends_before_its_last(path: str) -> None:
    assert read_usage(path, "day", since_ms=MIDNIGHT_MS, until_ms=MIDNIGHT_MS + DAY_MS).total.requests == 5
    assert read_usage(path, "day", since_ms=MIDNIGHT_MS + DAY_MS).total.requests == 1
    nothing = read_usage(path, "day", until_ms=5)
    assert (nothing.groups, nothing.total.requests, nothing.total.hit_rate) == ((), 0, None)
