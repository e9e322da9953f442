from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import Estimated, PromptCacheEffect, TokenUsage
from llm_edge_agent.core.tracing import Trace
from llm_edge_agent.telemetry.alike import MAX_KEPT, Alike
from llm_edge_agent.telemetry.log_lines import JsonLines
from llm_edge_agent.telemetry.metrics import Metrics
from llm_edge_agent.telemetry.redaction import Redactor
from llm_edge_agent.telemetry.slots import SlotBlock
from llm_edge_agent.telemetry.traced import Traced
from tests.telemetry.exchanges import ATTEMPT, Finished, as_protocol, changed

USAGE = TokenUsage(prompt_tokens=5, completion_tokens=2)

SAME: dict[str, Any] = {
    "request_id": "other",
    "started_s": 5.0,
    "duration_s": 3.0,
    "upstream_s": None,
    "ttft_s": 0.5,
    "usage": TokenUsage(prompt_tokens=7),
    "cost_picodollars": 12,
    "saved_picodollars": 7,
    "prompt_cache": PromptCacheEffect(1, 2),
    "traced": Traced(Trace("ab" * 16, "cd" * 8, None, False)),
    # No observer that keeps anything in the memo shows these.
    "tenant": "another",
    "chosen": "openai/gpt-5",
}
"""Ids, times, tokens and money."""
OTHER: dict[str, Any] = {
    "endpoint": "messages",
    "method": "GET",
    "route": "/v1/messages",
    "status": 400,
    "stream": True,
    "provider": "anthropic",
    "model": "gpt-5-mini",
    "requested_model": "gpt",
    "cache": "bypass",
    "cache_tier": "l2",
    "attempts": (ATTEMPT, ATTEMPT),
    "error": ErrorKind.INTERNAL,
    "upstream_status": 503,
    "key_id": "0a1b2c3d",
    "warnings": ("dropped:n",),
}


def sample(**changes: object) -> Finished:
    return changed(Finished(usage=USAGE, ttft_s=0.1, cost_picodollars=3), **changes)


@pytest.mark.parametrize("name", [field.name for field in fields(Finished) if field.name != "memo"])
def test_what_differs_between_exchanges_that_are_alike(name: str) -> None:
    alike = Alike()
    one, another = sample(), sample(**{name: (SAME | OTHER)[name]})
    assert (alike.memo(as_protocol(one)) is alike.memo(as_protocol(another))) == (name in SAME)


def test_whether_there_are_tokens_and_a_first_one_makes_a_difference_and_so_do_estimates() -> None:
    alike = Alike()
    kinds: list[dict[str, object]] = [{}, {"ttft_s": None}, {"usage": None}, {"usage": None, "cost_picodollars": 0}]
    kinds += [{"usage": TokenUsage(estimated=estimated)} for estimated in (Estimated.COMPLETION, Estimated.ALL)]
    memos = [alike.memo(as_protocol(sample(**kind))) for kind in kinds]
    assert len({id(memo) for memo in memos}) == len(alike) == len(kinds)


def test_it_is_bounded() -> None:
    alike = Alike()
    for i in range(MAX_KEPT + 5):
        alike.memo(as_protocol(sample(requested_model=f"model-{i}")))
    assert len(alike) == 5


alikes = st.builds(
    Finished,
    endpoint=st.sampled_from(("chat", "models")),
    status=st.sampled_from((200, 400, 502)),
    stream=st.booleans(),
    provider=st.sampled_from(("openai", None)),
    model=st.sampled_from(("gpt-5", "gpt-5-mini", None)),
    cache=st.sampled_from(("hit", "miss", "join", "stale", "bypass", "none")),
    cache_tier=st.none() | st.sampled_from(("l1", "l2")),
    duration_s=st.floats(0, 20),
    ttft_s=st.none() | st.floats(0, 100),
    upstream_s=st.none() | st.floats(0, 20),
    usage=st.none() | st.builds(TokenUsage, prompt_tokens=st.integers(0, 9), estimated=st.sampled_from(Estimated)),
    cost_picodollars=st.none() | st.integers(0, 10**13),
    saved_picodollars=st.integers(0, 10**13),
    error=st.none() | st.sampled_from((ErrorKind.CLIENT_GONE, ErrorKind.UPSTREAM_TIMEOUT)),
    warnings=st.sampled_from(((), ("dropped:n",))),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(alikes, max_size=40))
def test_what_is_told_of_exchanges_is_the_same_whether_they_share_memos_or_not(told: list[Finished]) -> None:
    lists = ("openai",), ("gpt-5", "gpt-5-mini")
    together, alone = Metrics(*lists), Metrics(*lists, block=Metrics.shared_block(*lists, 1))
    lines = JsonLines(Redactor(), lambda: 1.5)
    for exchange in told:
        together.observe(as_protocol(exchange))
        assert exchange.memo is not None
        shared = lines.access(as_protocol(exchange), "info")
        exchange.memo = {}
        assert JsonLines(Redactor(), lambda: 1.5).access(as_protocol(exchange), "info") == shared
        alone.observe(as_protocol(exchange))
    assert own(together) == own(alone)


def own(metrics: Metrics) -> list[bytes]:
    """The lines that requests move."""
    return [line for line in metrics.render(None)[0].splitlines() if line.startswith(b"llm_edge_")]


def test_a_list_counts_as_shared_memory_does() -> None:
    blocks = [SlotBlock(2, 64, 7, shared=shared) for shared in (True, False)]
    for block in blocks:
        for number in range(2):
            slot = block.slot(number)
            cell = slot.add(1 << 8 | 2)
            assert cell is not None
            slot.cells[cell + 1] += 3
            assert slot.add(2 << 8 | 100) is None
            assert list(slot.rows()) == [(1 << 8 | 2, cell)]
    assert blocks[0].sums() == blocks[1].sums() == {1 << 8 | 2: [0, 6]}
