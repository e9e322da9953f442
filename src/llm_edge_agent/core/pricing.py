"""What a request costs: token counts as billed times prices, in integer picodollars (1e-12 USD).

Every published price is a whole number of picodollars per token (USD per million tokens x 1e6), so sums are exact and
floating point appears only where a figure is shown. An unknown price is None, never 0 and never a guess.
"""

from decimal import Decimal
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

import msgspec

PICODOLLARS_PER_USD = 10**12
_EXACT_BELOW = 10**15
"""Below 1,000 USD a double's error is under half a picodollar, so formatting one to 12 places is exact, and quick."""


MOST_TOKENS = 10**12
"""More of a kind no request has used, whatever its provider claims."""


class Estimated(IntEnum):
    """Which counts of a usage are the gateway's own estimate, because the provider was cut off before it told them."""

    NOTHING = 0
    COMPLETION = 1
    """The provider has told the prompt and its part of the cache: those are exact."""
    ALL = 2

    @property
    def label(self) -> str:
        """As logs and traces show it."""
        return "none" if self is Estimated.NOTHING else self.name.lower()


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one answer by the kinds that have prices of their own.

    `prompt_tokens` is everything that went in, cache reads and writes included (OpenAI's meaning; Anthropic's
    `input_tokens` excludes them). `completion_tokens` includes `reasoning_tokens`.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    """Written for five minutes (Anthropic) or at the provider's only write price (OpenAI)."""
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    web_searches: int = 0
    off_list: bool = False
    """True where the provider bills otherwise than its price list for plain requests says: another service tier or
    speed, tokens of a kind that has no published price here. What it costs is unknown then."""
    estimated: Estimated = Estimated.NOTHING

    @property
    def uncached_tokens(self) -> int:
        """Prompt tokens at the plain input price, never below 0."""
        return max(
            0, self.prompt_tokens - self.cache_read_tokens - self.cache_write_tokens - self.cache_write_1h_tokens
        )


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """Picodollars per token by kind. A None cache price means the provider bills that kind as plain input."""

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None


class PriceList(msgspec.Struct, frozen=True, kw_only=True):
    """Prices of one model. `long_context` replaces `base` for the whole request once the prompt exceeds
    `long_context_threshold` tokens."""

    base: Price
    long_context: Price | None = None
    long_context_threshold: int | None = None
    web_search: int = 0
    """Picodollars per search."""

    def band(self, prompt_tokens: int) -> Price:
        """The price row that rules a prompt of this many tokens."""
        if (
            self.long_context is not None
            and self.long_context_threshold is not None
            and prompt_tokens > self.long_context_threshold
        ):
            return self.long_context
        return self.base


def picodollars_per_token(usd_per_million: Decimal | int | str) -> int:
    """Converts a published price exactly. Raises ValueError where it is no whole number of picodollars a token."""
    value = Decimal(usd_per_million) * 1_000_000
    whole = int(value)
    if whole != value or whole < 0:
        raise ValueError(f"price {usd_per_million} USD per million tokens is not a whole number of picodollars a token")
    return whole


def cost_picodollars(prices: PriceList | None, usage: TokenUsage | None) -> int | None:
    """The bill for `usage`, or None where the price or the usage is unknown."""
    if prices is None or usage is None or usage.off_list or not _can_be(usage):
        return None
    price = prices.band(usage.prompt_tokens)
    cost = usage.uncached_tokens * price.input + usage.completion_tokens * price.output
    if usage.cache_read_tokens:
        cost += usage.cache_read_tokens * (price.input if price.cache_read is None else price.cache_read)
    if usage.cache_write_tokens:
        cost += usage.cache_write_tokens * (price.input if price.cache_write is None else price.cache_write)
    if usage.cache_write_1h_tokens:
        one_hour = price.cache_write_1h
        if one_hour is None:
            one_hour = price.input if price.cache_write is None else price.cache_write
        cost += usage.cache_write_1h_tokens * one_hour
    if usage.web_searches:
        cost += usage.web_searches * prices.web_search
    return cost


def _can_be(usage: TokenUsage) -> bool:
    """Whether a request can have used so much: providers may claim anything."""
    return (
        0 <= usage.prompt_tokens <= MOST_TOKENS
        and 0 <= usage.completion_tokens <= MOST_TOKENS
        and 0 <= usage.cache_read_tokens <= MOST_TOKENS
        and 0 <= usage.cache_write_tokens <= MOST_TOKENS
        and 0 <= usage.cache_write_1h_tokens <= MOST_TOKENS
        and 0 <= usage.web_searches <= MOST_TOKENS
    )


class PromptCacheEffect(NamedTuple):
    """What a provider's prompt cache changed on one bill, against the same tokens at the plain input price. The net is
    `saved - surcharge`, and may be negative."""

    saved: int = 0
    """Picodollars that tokens read from the cache cost less. A provider that charges more for a read saves nothing."""
    surcharge: int = 0
    """Picodollars that tokens written to it cost more."""


NO_EFFECT = PromptCacheEffect()


def prompt_cache_effect(prices: PriceList | None, usage: TokenUsage | None) -> PromptCacheEffect:
    """The effect on this bill; none where the bill is unknown or estimated, or no cache was in play."""
    if prices is None or usage is None or usage.off_list:
        return NO_EFFECT
    read, written, written_1h = usage.cache_read_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens
    if not (read or written or written_1h) or usage.estimated is Estimated.ALL or not _can_be(usage):
        return NO_EFFECT
    price = prices.band(usage.prompt_tokens)
    read_price = price.input if price.cache_read is None else price.cache_read
    write_price = price.input if price.cache_write is None else price.cache_write
    write_1h_price = write_price if price.cache_write_1h is None else price.cache_write_1h
    surcharge = written * (write_price - price.input) + written_1h * (write_1h_price - price.input)
    return PromptCacheEffect(max(0, read * (price.input - read_price)), max(0, surcharge))


@lru_cache(maxsize=1024)
def usd(picodollars: int) -> str:
    """Picodollars as a plain decimal number of dollars, exact, without exponent: `0.000125`, `0.0`, `12.5`.

    Remembered, because one request shows its cost in its body, its head and its log line."""
    if 0 <= picodollars < _EXACT_BELOW:
        text = ("%.12f" % (picodollars / PICODOLLARS_PER_USD)).rstrip("0")
    else:
        sign = "-" if picodollars < 0 else ""
        whole, fraction = divmod(abs(picodollars), PICODOLLARS_PER_USD)
        text = f"{sign}{whole}.{fraction:012d}".rstrip("0")
    return text + "0" if text.endswith(".") else text
