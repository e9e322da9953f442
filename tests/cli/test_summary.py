from dataclasses import replace

from llm_edge_agent.cli.summary import rows
from llm_edge_agent.telemetry.totals import Totals

TOTALS = Totals(
    requests=3, cache_hits=1, cache_lookups=2, errors=1, prompt_tokens=1200, completion_tokens=50,
    cost_picodollars=1_500_000_000, estimated_picodollars=0, saved_picodollars=7_000_000,
)  # fmt: skip


def test_what_a_run_came_to() -> None:
    assert dict(rows(TOTALS)) == {
        "Requests": "3 (1 failed)",
        "Cache hits": "1 of 2 (50%)",
        "Tokens": "1,200 in, 50 out",
        "Spent": "$0.001500",
        "Saved": "$0.000007",
    }


def test_what_of_it_is_an_estimate() -> None:
    shown = dict(rows(replace(TOTALS, estimated_picodollars=500_000_000)))
    assert shown["Spent"] == "$0.001500 ($0.000500 of it estimated)"
