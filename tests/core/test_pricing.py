from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core.pricing import (
    MOST_TOKENS,
    NO_EFFECT,
    Estimated,
    Price,
    PriceList,
    PromptCacheEffect,
    TokenUsage,
    cost_picodollars,
    picodollars_per_token,
    prompt_cache_effect,
    usd,
)

PRICES = PriceList(
    base=Price(input=3_000_000, output=15_000_000, cache_read=300_000, cache_write=3_750_000, cache_write_1h=6_000_000),
    long_context=Price(input=6_000_000, output=22_500_000),
    long_context_threshold=1000,
    web_search=10_000_000_000,
)


@pytest.mark.parametrize(
    ("published", "expected"),
    [("3", 3_000_000), ("0.025", 25_000), ("0.000001", 1), (0, 0), (Decimal("12.5"), 12_500_000)],
)
def test_published_prices_are_whole_picodollars(published: Decimal | int | str, expected: int) -> None:
    assert picodollars_per_token(published) == expected


@pytest.mark.parametrize("published", ["0.0000001", "-1"])
def test_what_is_no_price(published: str) -> None:
    with pytest.raises(ValueError, match="whole number of picodollars"):
        picodollars_per_token(published)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (TokenUsage(), 0),
        (TokenUsage(prompt_tokens=10, completion_tokens=2), 10 * 3_000_000 + 2 * 15_000_000),
        (TokenUsage(prompt_tokens=10, cache_read_tokens=4), 6 * 3_000_000 + 4 * 300_000),
        (TokenUsage(prompt_tokens=10, cache_write_tokens=4), 6 * 3_000_000 + 4 * 3_750_000),
        (TokenUsage(prompt_tokens=10, cache_write_1h_tokens=4), 6 * 3_000_000 + 4 * 6_000_000),
        (TokenUsage(prompt_tokens=3, cache_read_tokens=9), 9 * 300_000),
        (TokenUsage(web_searches=2), 20_000_000_000),
        (TokenUsage(prompt_tokens=1000), 1000 * 3_000_000),
        (TokenUsage(prompt_tokens=1001), 1001 * 6_000_000),
        (TokenUsage(prompt_tokens=1001, cache_read_tokens=1), 1001 * 6_000_000),
        (TokenUsage(prompt_tokens=1001, cache_write_tokens=1), 1001 * 6_000_000),
        (TokenUsage(prompt_tokens=1001, cache_write_1h_tokens=1), 1001 * 6_000_000),
    ],
)
def test_the_bill(usage: TokenUsage, expected: int) -> None:
    assert cost_picodollars(PRICES, usage) == expected


def test_one_hour_writes_fall_back_to_the_only_write_price() -> None:
    prices = PriceList(base=Price(input=1, output=1, cache_write=7))
    assert cost_picodollars(prices, TokenUsage(prompt_tokens=2, cache_write_1h_tokens=2)) == 14


def test_unknown_is_none_never_zero() -> None:
    assert cost_picodollars(PRICES, TokenUsage(prompt_tokens=1, off_list=True)) is None
    assert cost_picodollars(None, TokenUsage(prompt_tokens=1)) is None
    assert cost_picodollars(PRICES, None) is None
    assert cost_picodollars(PRICES, TokenUsage(prompt_tokens=-1)) is None
    assert cost_picodollars(PRICES, TokenUsage(completion_tokens=-1)) is None


def test_a_list_without_bands_has_one() -> None:
    prices = PriceList(base=Price(input=1, output=1))
    assert prices.band(10**9) is prices.base


@pytest.mark.parametrize(
    ("picodollars", "shown"),
    [(0, "0.0"), (1, "0.000000000001"), (125_000_000, "0.000125"), (12_500_000_000_000, "12.5"), (-5 * 10**11, "-0.5")],
)
def test_usd(picodollars: int, shown: str) -> None:
    assert usd(picodollars) == shown


@given(st.integers(-(10**20), 10**20))
def test_usd_is_exact(picodollars: int) -> None:
    assert Decimal(usd(picodollars)) == Decimal(picodollars) / 10**12


@pytest.mark.parametrize(
    ("prices", "usage", "expected"),
    [
        (PRICES, TokenUsage(prompt_tokens=10), NO_EFFECT),
        (PRICES, None, NO_EFFECT),
        (None, TokenUsage(prompt_tokens=10, cache_read_tokens=4), NO_EFFECT),
        (PRICES, TokenUsage(prompt_tokens=10, cache_read_tokens=4, off_list=True), NO_EFFECT),
        (PRICES, TokenUsage(prompt_tokens=10, cache_read_tokens=4), (4 * 2_700_000, 0)),
        (PRICES, TokenUsage(prompt_tokens=10, cache_write_tokens=4), (0, 4 * 750_000)),
        (PRICES, TokenUsage(prompt_tokens=10, cache_write_1h_tokens=4), (0, 4 * 3_000_000)),
        (PRICES, TokenUsage(prompt_tokens=10, cache_read_tokens=1, cache_write_tokens=2), (2_700_000, 1_500_000)),
        (PRICES, TokenUsage(prompt_tokens=1001, cache_read_tokens=9, cache_write_1h_tokens=9), NO_EFFECT),
        (PriceList(base=Price(input=4, output=1, cache_read=5, cache_write=3)), TokenUsage(prompt_tokens=9,
            cache_read_tokens=1, cache_write_tokens=1), NO_EFFECT),
        (PriceList(base=Price(input=4, output=1, cache_write=5)), TokenUsage(prompt_tokens=9,
            cache_write_1h_tokens=2), (0, 2)),
    ],
)  # fmt: skip
def test_what_the_prompt_cache_changed(
    prices: PriceList | None, usage: TokenUsage | None, expected: PromptCacheEffect
) -> None:
    assert prompt_cache_effect(prices, usage) == expected


def test_what_is_an_estimate_has_a_name_and_no_effect_of_a_cache() -> None:
    assert [each.label for each in Estimated] == ["none", "completion", "all"]
    usage = {
        each: TokenUsage(prompt_tokens=100, completion_tokens=5, cache_read_tokens=90, estimated=each)
        for each in Estimated
    }
    assert len({cost_picodollars(PRICES, each) for each in usage.values()}) == 1
    effects = {each: prompt_cache_effect(PRICES, used) for each, used in usage.items()}
    assert effects[Estimated.NOTHING] == effects[Estimated.COMPLETION] != NO_EFFECT
    assert effects[Estimated.ALL] == NO_EFFECT


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000))
def test_the_net_effect_is_the_difference_to_the_bill_without_a_cache(
    uncached: int, read: int, written: int, written_1h: int
) -> None:
    total = uncached + read + written + written_1h
    usage = TokenUsage(
        prompt_tokens=total, cache_read_tokens=read, cache_write_tokens=written, cache_write_1h_tokens=written_1h
    )
    effect = prompt_cache_effect(PRICES, usage)
    plain = cost_picodollars(PRICES, TokenUsage(prompt_tokens=total))
    billed = cost_picodollars(PRICES, usage)
    assert plain is not None
    assert billed is not None
    assert effect.saved - effect.surcharge == plain - billed


@pytest.mark.parametrize(
    "kind",
    [
        "prompt_tokens",
        "completion_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "cache_write_1h_tokens",
        "web_searches",
    ],
)
def test_what_no_request_can_have_used_has_no_known_cost(kind: str) -> None:
    plausible = TokenUsage(prompt_tokens=100, completion_tokens=10, cache_read_tokens=5, cache_write_tokens=5)
    assert prompt_cache_effect(PRICES, plausible).saved > 0
    for claimed in (-1, -(10**400), MOST_TOKENS + 1, 10**4000):
        bill = msgspec.structs.replace(plausible, **{kind: claimed})
        assert cost_picodollars(PRICES, bill) is None
        assert prompt_cache_effect(PRICES, bill) is NO_EFFECT
