"""What telemetry costs each request: nanoseconds of CPU per observation, everything a request of that kind moves.

    python bench/micro/telemetry.py

The log is written to /dev/null by its own thread, whose work is in the figure. Best of several rounds. Metrics come
first, as in the gateway: they find out which exchanges are alike, and the log uses that. Only an answer that is told
once more (`cached again`) is known to be like the one before without a look.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import NO_EFFECT, PromptCacheEffect, TokenUsage
from llm_edge_agent.gateway.exchange import Attempt
from llm_edge_agent.telemetry import CacheStatus, FinishedExchange
from llm_edge_agent.telemetry.ledger import Ledger
from llm_edge_agent.telemetry.logs import configure
from llm_edge_agent.telemetry.metrics import Metrics
from llm_edge_agent.telemetry.redaction import Redactor

ROUNDS = 9
PER_ROUND = 2_000
PAUSE_S = 0.12
"""Between rounds, so that the log's thread writes what the round made, as it does under load."""

BUDGET_NS = 5_000
"""What a request may pay for all metrics."""

MODELS = tuple(f"model-{i}" for i in range(120))
PROVIDERS = ("openai", "anthropic")


@dataclass(slots=True)
class Sample:
    """A finished exchange made up for the measurement."""

    request_id: str = "5f0e9b2c7d1a00000042"
    endpoint: str = "chat"
    method: str = "POST"
    started_s: float = 0.0
    traced: None = None
    route: str = "/v1/chat/completions"
    status: int = 200
    stream: bool = False
    provider: str | None = "openai"
    model: str | None = "model-7"
    requested_model: str | None = "model-7"
    cache: CacheStatus = "miss"
    cache_tier: Literal["l1", "l2"] | None = None
    duration_s: float = 0.812
    ttft_s: float | None = None
    upstream_s: float | None = 0.811
    usage: TokenUsage | None = None
    cost_picodollars: int | None = None
    saved_picodollars: int = 0
    prompt_cache: PromptCacheEffect = NO_EFFECT
    attempts: tuple[Attempt, ...] = (Attempt("openai", "gpt-5", 0.0),)
    memo: dict[str, Any] | None = None
    error: ErrorKind | None = None
    upstream_status: int | None = 200
    key_id: str | None = "0a1b2c3d"
    tenant: str | None = "default"
    warnings: tuple[str, ...] = ()


USAGE = TokenUsage(prompt_tokens=412, completion_tokens=96, cache_read_tokens=256)
CACHED = Sample(
    cache="hit",
    cache_tier="l1",
    duration_s=0.000021,
    upstream_s=None,
    cost_picodollars=0,
    saved_picodollars=1_475_000_000,
    attempts=(),
)
SAMPLES = {
    "cached again": replace(CACHED, memo={}),
    "cached answer": CACHED,
    "whole answer": Sample(usage=USAGE, cost_picodollars=1_475_000_000),
    "streamed answer": Sample(stream=True, ttft_s=0.21, usage=USAGE, cost_picodollars=1_475_000_000),
    "provider's failure": Sample(error=ErrorKind.UPSTREAM_OVERLOADED, status=503, upstream_status=529),
}


def nanoseconds(observe: Callable[[FinishedExchange], None], sample: Sample) -> float:
    """CPU of the whole process per call, the log's thread included."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        for _ in range(PER_ROUND):
            observe(sample)
        time.sleep(PAUSE_S)
        best = min(best, (time.process_time_ns() - started) / PER_ROUND)
    return best


def unlike_any(observe: Callable[[FinishedExchange], None]) -> Callable[[FinishedExchange], None]:
    """The observer of an exchange of which is not known which others it is like."""

    def observe_anew(exchange: FinishedExchange) -> None:
        exchange.memo = None
        observe(exchange)

    return observe_anew


def ledger_costs(sample: Sample) -> tuple[float, float]:
    """Nanoseconds of CPU per request: all of it, the thread that writes included; and what the request itself pays."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"{folder}/ledger.db", max_bytes=2**30, max_days=30, clean=Redactor().clean)
        began = time.process_time_ns()
        noting = 0
        for _ in range(ROUNDS):
            started = time.thread_time_ns()
            for _ in range(PER_ROUND):
                ledger.observe(sample)
            noting += time.thread_time_ns() - started
            time.sleep(0.3)
        ledger.close()
        requests = ROUNDS * PER_ROUND
        return (time.process_time_ns() - began) / requests, noting / requests


def main() -> None:
    """Prints one row per kind of request and the time of one scrape."""
    metrics = Metrics(PROVIDERS, MODELS)
    with open(os.devnull, "wb") as sink_file:
        json_log = configure("info", "json", fd=sink_file.fileno())
        quiet_log = configure("warning", "json", fd=sink_file.fileno())
        headings = (("metrics", 10), ("json log", 10), ("log above info", 16), ("ledger", 10), ("noting it", 11))
        print(f"{'ns per request':<20}" + "".join(f"{heading:>{width}}" for heading, width in headings))
        worst = 0.0
        for name, sample in SAMPLES.items():
            count = metrics.observe if sample.memo is not None else unlike_any(metrics.observe)
            figures = [nanoseconds(each, sample) for each in (count, json_log.access, quiet_log.access)]
            worst = max(worst, figures[0])
            print(f"{name:<20}{figures[0]:>10.0f}{figures[1]:>10.0f}{figures[2]:>16.0f}", end="")
            print(
                "".join(f"{figure:>{width}.0f}" for figure, width in zip(ledger_costs(sample), (10, 11), strict=True))
            )
        verdict = "kept" if worst <= BUDGET_NS else "EXCEEDED"
        print(f"metrics cost at most {worst:.0f} ns of the {BUDGET_NS} ns that a request may pay for them: {verdict}")
        observe_get = metrics.cache_observer("l1", "get")
        lookup = nanoseconds(lambda _: observe_get(0.0000012), SAMPLES["cached answer"])
        print(f"{'cache operation':<20}{lookup:>10.0f}")
        json_log.close()
        quiet_log.close()
    metrics.render(None)
    started = time.perf_counter()
    body, _ = metrics.render(None)
    lines = body.count(b"\n")
    print(f"one scrape: {(time.perf_counter() - started) * 1000:.2f} ms, {lines} lines, {len(body)} bytes")


if __name__ == "__main__":
    main()
