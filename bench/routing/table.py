"""What the simulated days show: a table for each scenario and load, and which claims did not hold."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from math import comb

from bench.routing.day import IN_TIME_S, Day, calls_of
from bench.routing.rules import COMPARED, OURS
from bench.routing.scenarios import SCENARIOS, TURNING

Days = Mapping[str, Sequence[Day]]
"""By rule, one day a seed, in the same order."""

SURE = 0.95
SAME = 0.999
"""Costs that differ by less are the same: which requests were answered differs a little from rule to rule."""
HEAD = (
    "| rule | TTFT p50 s | p95 s | p99 s (lowest to highest) | p99 of `latency` to its, 95 % interval "
    f"| answered % | within {IN_TIME_S:.0f} s % | calls each | USD per 1,000 answered | USD per 1,000 in time |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def median(days: Sequence[Day], field: str) -> float:
    return statistics.median(getattr(day, field) for day in days)


def interval_of_median(values: Sequence[float]) -> tuple[float, float]:
    """Where the median of what the values are a sample of lies, SURE at least: between two of them, as many from
    either end as the binomial distribution allows."""
    count = len(values)
    found = sorted(values)
    outside, chance = 0, 2 * 0.5**count
    while chance + 2 * comb(count, outside + 1) * 0.5**count <= 1 - SURE:
        outside += 1
        chance += 2 * comb(count, outside) * 0.5**count
    return found[outside], found[-1 - outside]


def ratios(days: Days, rule: str) -> list[float]:
    """The p99 of `latency` as a share of another rule's, seed by seed."""
    return [ours.p99_s / its.p99_s for ours, its in zip(days["latency"], days[rule], strict=True)]


def places(days: Days) -> dict[str, str]:
    """Where `latency` stands against each other rule: ahead, level or behind."""
    found = {}
    for name in days:
        low, high = interval_of_median(ratios(days, name))
        found[name] = "ahead" if high < 1 else "behind" if low > 1 else "level"
    return found


def rows(days: Days) -> Iterator[str]:
    for name, each in days.items():
        p99s = [day.p99_s for day in each]
        if name == "latency":
            compared = ""
        else:
            low, high = interval_of_median(ratios(days, name))
            compared = f"{statistics.median(ratios(days, name)):.3f} ({low:.3f} to {high:.3f})"
        yield (
            f"| {f'**{name}**' if name in OURS else name} | {median(each, 'p50_s'):.2f} | {median(each, 'p95_s'):.2f} "
            f"| {median(each, 'p99_s'):.3f} ({min(p99s):.2f} to {max(p99s):.2f}) | {compared} "
            f"| {100 * median(each, 'success'):.2f} | {100 * median(each, 'in_time'):.2f} "
            f"| {median(each, 'calls'):.3f} | {median(each, 'cost'):.3f} | {median(each, 'cost_in_time'):.3f} |"
        )


def misses(scenario: str, load: str, days: Days) -> Iterator[str]:
    """What was claimed and did not hold."""
    at = f"{scenario}, {load} load"
    p99 = {name: median(each, "p99_s") for name, each in days.items()}
    cost = {name: median(each, "cost") for name, each in days.items()}
    for name in COMPARED:
        low, high = interval_of_median(ratios(days, name))
        if low > 1:
            yield f"{at}: the p99 of latency is {low:.3f} to {high:.3f} times that of {name}"
    if scenario == "one slow, one failing" and p99["weighted random"] < 5 * p99["latency"]:
        yield f"{at}: latency is not 5 times better than weighted random"
    in_time = {name: median(each, "cost_in_time") for name, each in days.items()}
    for name in days:
        if cost[name] < cost["cost"] * SAME and median(days[name], "in_time") >= median(days["cost"], "in_time"):
            yield f"{at}: {name} is cheaper than cost and not slower"
        if in_time[name] < in_time["cost"] * SAME:
            yield f"{at}: an answer in time costs {in_time['cost']:.3f} with cost, {in_time[name]:.3f} with {name}"
        if p99[name] < p99["hybrid"] and cost[name] < cost["hybrid"]:
            yield f"{at}: hybrid is behind {name} in both p99 and cost"


def cheaper(days: Days) -> list[str]:
    """Rules whose answers cost less than those of `cost`, with the share of requests that they answer in time."""
    limit = median(days["cost"], "cost") * SAME
    return [
        f"{name} ({100 * median(each, 'in_time'):.1f} % in time)"
        for name, each in days.items()
        if median(each, "cost") < limit
    ]


def turning(load: str, *, seeds: int) -> Iterator[str]:
    """How much of the traffic the deployment gets that turns slow, before, while it is, and after."""
    slow_s, well_s = TURNING.slow_from_s, TURNING.slow_until_s
    end_s = well_s + 600
    spans = {
        "before": (60, slow_s),
        "first 5 s": (slow_s, slow_s + 5),
        "5 to 10 s": (slow_s + 5, slow_s + 10),
        "10 to 30 s": (slow_s + 10, slow_s + 30),
        "30 to 90 s": (slow_s + 30, well_s),
        "well again, 0 to 60 s": (well_s, well_s + 60),
        "60 to 180 s": (well_s + 60, well_s + 180),
        "180 to 360 s": (well_s + 180, well_s + 360),
        "360 to 600 s": (well_s + 360, end_s),
    }
    yield f"| rule | {' | '.join(spans)} |\n|{'---|' * (len(spans) + 1)}"
    scenario = SCENARIOS["one turns slow"]
    for name in ("latency", "hybrid", "cost", *COMPARED):
        rule = {**OURS, **COMPARED}[name]
        shares: dict[str, list[float]] = {span: [] for span in spans}
        for seed in range(seeds):
            calls = calls_of(scenario, load, rule, seconds=end_s, seed=seed)
            for span, (from_s, until_s) in spans.items():
                within = [number for at_s, number in calls if from_s <= at_s < until_s]
                shares[span].append(100 * within.count(0) / len(within))
        shown = " | ".join(f"{statistics.median(each):.1f}" for each in shares.values())
        yield f"| {f'**{name}**' if name in OURS else name} | {shown} |"
