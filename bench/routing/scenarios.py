"""The days that are simulated: who can be asked, how well each is, how many gateways there are, how much is asked."""

from typing import NamedTuple

from bench.routing.world import TOKENS_PER_S, Provider

PROMPT_TOKENS, OUTPUT_TOKENS = 1200, 240
LOADS = {"low": 0.3, "middle": 0.6, "high": 0.85}
"""Requests per second as a share of what the well providers can serve."""


class Scenario(NamedTuple):
    providers: tuple[Provider, ...]
    gateways: int = 4
    """Processes that share nothing; each request comes to one of them by chance."""

    def per_s(self, load: str) -> float:
        """Requests per second: the load's share of what those can serve that are neither slow, failing, limited nor
        gray."""
        well = [
            each
            for each in self.providers
            if each.slowness == 1 and not each.failing and not each.rpm and not each.stalls
        ]
        return LOADS[load] * sum(each.slots / (each.first_token_s + OUTPUT_TOKENS / TOKENS_PER_S) for each in well)


def _well(count: int, *, spread: float = 0.35) -> tuple[Provider, ...]:
    return tuple(Provider(name=f"d{number}", price=1 + number / 5, spread=spread) for number in range(count))


_SLOW_AND_FAILING = (
    Provider(name="slow", slowness=8, price=0.8),
    Provider(name="failing", failing=1.0, price=0.9),
    *_well(4),
)

TURNING = Provider(name="turning", slowness=8, slow_from_s=120, slow_until_s=210)
"""Well, then eight times slower, then well again."""

SCENARIOS: dict[str, Scenario] = {
    "all well": Scenario(_well(6)),
    "one slow, one failing": Scenario(_SLOW_AND_FAILING),
    "worst day": Scenario(
        (
            Provider(name="slow8", slowness=8, price=0.8),
            Provider(name="slow4", slowness=4, price=1.2),
            Provider(name="failing", failing=1.0, price=0.9),
            Provider(name="limited", rpm=60, price=0.7),
            Provider(name="d0", price=1.0),
            Provider(name="d1", price=1.5),
        )
    ),
    "gray": Scenario(
        (
            Provider(name="flaky", failing=0.3, price=0.8),
            Provider(name="stalling", stalls=0.1, price=0.9),
            Provider(name="slow2", slowness=2, price=0.7),
            *_well(3),
        )
    ),
    "noisy": Scenario((Provider(name="slow", slowness=4, price=0.8, spread=0.7), *_well(5, spread=0.7))),
    "unequal": Scenario(
        tuple(
            Provider(name=f"d{number}", first_token_s=seconds, price=2 - number / 5)
            for number, seconds in enumerate((0.3, 0.4, 0.5, 0.6, 0.8, 1.0))
        )
    ),
    "sixteen gateways": Scenario(_SLOW_AND_FAILING, gateways=16),
    "one turns slow": Scenario((TURNING, *_well(5))),
}
