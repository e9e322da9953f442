from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.telemetry.spending import MOST_TOKENS, tokens_of

counts = st.integers(-(10**13), 10**13)


NAMES = (
    "prompt_tokens",
    "completion_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
)


@given(st.fixed_dictionaries(dict.fromkeys(NAMES, counts)))
def test_parts_never_exceed_the_whole(claimed: dict[str, Any]) -> None:
    tokens = tokens_of(TokenUsage(**claimed))
    assert min(tokens) >= 0
    assert tokens.read + tokens.written <= tokens.prompt <= MOST_TOKENS
    assert tokens.reasoning <= tokens.completion <= MOST_TOKENS


def test_what_is_sound_stays_as_it_is() -> None:
    usage = TokenUsage(
        prompt_tokens=100, completion_tokens=30, cache_read_tokens=40, cache_write_tokens=10, cache_write_1h_tokens=5,
        reasoning_tokens=12,
    )  # fmt: skip
    assert tokens_of(usage) == (100, 40, 15, 30, 12)
