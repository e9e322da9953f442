"""What a run came to: requests, hit rate, tokens, money."""

from decimal import Decimal
from typing import TYPE_CHECKING

from llm_edge_agent.core.pricing import PICODOLLARS_PER_USD

if TYPE_CHECKING:
    from llm_edge_agent.telemetry.totals import Totals


def dollars(picodollars: int) -> str:
    """An amount to the nearest millionth of a dollar; six decimals, since one answer costs that little."""
    return f"${Decimal(picodollars) / PICODOLLARS_PER_USD:.6f}"


def rows(totals: "Totals") -> list[tuple[str, str]]:
    """Label and value of each figure, in the order of reading."""
    rate = f"{totals.cache_hits / totals.cache_lookups:.0%}" if totals.cache_lookups else "none asked"
    guess = totals.estimated_picodollars
    return [
        ("Requests", f"{totals.requests:,}" + (f" ({totals.errors:,} failed)" if totals.errors else "")),
        ("Cache hits", f"{totals.cache_hits:,} of {totals.cache_lookups:,} ({rate})"),
        ("Tokens", f"{totals.prompt_tokens:,} in, {totals.completion_tokens:,} out"),
        ("Spent", dollars(totals.cost_picodollars) + (f" ({dollars(guess)} of it estimated)" if guess else "")),
        ("Saved", dollars(totals.saved_picodollars)),
    ]
