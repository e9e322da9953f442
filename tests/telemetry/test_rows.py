import random

import pytest

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.telemetry.metrics import Metrics
from llm_edge_agent.telemetry.rows import MAX_HISTOGRAM_PAIRS, MAX_PAIRS, MAX_UNPROVEN_MODELS
from tests.telemetry.exchanges import Finished, Tried, as_protocol, failed

PROVIDERS = ("openai", "anthropic", "groq")
MODELS = tuple(f"model-{i}" for i in range(900))
MAX_NEW_SERIES = 150


def names(metrics: Metrics) -> set[str]:
    lines = metrics.render(None)[0].decode().splitlines()
    return {line.rpartition(" ")[0] for line in lines if line.startswith("llm_edge_")}


def count(metrics: Metrics, prefix: str) -> int:
    lines = metrics.render(None)[0].decode().splitlines()
    return sum(int(line.rpartition(" ")[2]) for line in lines if line.startswith(prefix))


def odd(seed: int) -> Finished:
    """One of all the things that hostile traffic can be, in any combination."""
    pick = random.Random(seed)
    kind = pick.choice(list(ErrorKind))
    return Finished(
        endpoint=pick.choice(("chat", "models", "messages", "embeddings", "other", f"endpoint-{seed}")),
        method=pick.choice(("POST", f"X{seed}")),
        status=pick.choice((kind.value.status, 200, pick.randint(100, 999))),
        stream=pick.random() < 0.5,
        provider=pick.choice((*PROVIDERS, None, f"provider-{seed}")),
        model=pick.choice((None, f"invented-{seed}", pick.choice(MODELS))),
        cache=pick.choice(("hit", "miss", "bypass", "none")),
        cache_tier=pick.choice(("l1", None)),
        duration_s=pick.random() * 100,
        ttft_s=pick.choice((None, pick.random())),
        error=kind,
        upstream_status=pick.choice((None, pick.randint(100, 999))),
        attempts=tuple(_tried(pick, seed) for _ in range(pick.randint(0, 4))),
        warnings=(f"dropped:field-{seed}", pick.choice(("dropped:seed", "changed:top_p"))),
    )


def _tried(pick: random.Random, seed: int) -> Tried:
    return Tried(
        provider=pick.choice((*PROVIDERS, f"provider-{seed}")),
        upstream_model=pick.choice((f"invented-{seed}", pick.choice(MODELS))),
        ended_s=pick.choice((None, pick.random())),
        status=pick.choice((None, pick.randint(100, 999))),
        error=pick.choice((None, *ErrorKind)),
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_hostile_traffic_makes_few_series_and_every_request_counts(seed: int) -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    before = names(metrics)
    for i in range(900):
        metrics.observe(as_protocol(odd(seed * 1000 + i)))
    new = names(metrics) - before
    assert len(new) <= MAX_NEW_SERIES
    assert count(metrics, "llm_edge_requests_total") == 900
    assert count(metrics, "llm_edge_request_duration_seconds_count") == 900
    assert count(metrics, "llm_edge_request_errors_total") == 900
    assert count(metrics, "llm_edge_translation_warnings_total") == 1800
    assert not any("invented" in name or f"-{seed}0" in name for name in names(metrics))


def test_models_that_never_answered_are_named_a_few_times_only() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    before = names(metrics)
    for model in MODELS:
        metrics.observe(as_protocol(failed(ErrorKind.UPSTREAM_REJECTED, model=model, upstream_status=400)))
    named = {name for name in names(metrics) - before if 'model="model-' in name}
    assert len(named) == MAX_UNPROVEN_MODELS
    assert count(metrics, "llm_edge_requests_total") == len(MODELS)


def test_a_model_that_answered_is_named_from_then_on() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    failure = failed(ErrorKind.UPSTREAM_TIMEOUT, model="model-700", cache="bypass")
    for model in MODELS[:20]:
        metrics.observe(as_protocol(failed(ErrorKind.UPSTREAM_TIMEOUT, model=model)))
    metrics.observe(as_protocol(failure))
    assert not any("model-700" in name for name in names(metrics))
    metrics.observe(as_protocol(Finished(model="model-700", usage=TokenUsage(prompt_tokens=1))))
    metrics.observe(as_protocol(failure))
    labels = 'provider="openai",model="model-700"'
    assert count(metrics, f'llm_edge_requests_total{{endpoint="chat",{labels},status="error"') == 1
    assert count(metrics, f'llm_edge_provider_latency_seconds_count{{{labels},outcome="error"') == 1


def test_answers_of_ever_more_models_are_bounded_too() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    usage = TokenUsage(prompt_tokens=1)
    for model in MODELS:
        metrics.observe(as_protocol(Finished(model=model, usage=usage)))
    after = names(metrics)
    requests = {name for name in after if name.startswith("llm_edge_requests_total") and "model-" in name}
    assert len(requests) == MAX_PAIRS + MAX_UNPROVEN_MODELS == 200
    histograms = {
        name for name in after if name.startswith("llm_edge_provider_latency_seconds_count") and "model-" in name
    }
    assert len(histograms) == MAX_HISTOGRAM_PAIRS
    assert count(metrics, "llm_edge_tokens_used_total") == len(MODELS)
    assert count(metrics, "llm_edge_provider_latency_seconds_count") == len(MODELS)


def test_a_replaced_worker_keeps_the_bounds_and_the_names() -> None:
    block = Metrics.shared_block(PROVIDERS, MODELS, workers=1)
    first = Metrics(PROVIDERS, MODELS, block=block)
    before = names(first)
    first.observe(as_protocol(Finished(model="model-5", usage=TokenUsage(prompt_tokens=1))))
    for i in range(900):
        first.observe(as_protocol(odd(i)))
    second = Metrics(PROVIDERS, MODELS, block=block)
    for i in range(900, 1800):
        second.observe(as_protocol(odd(i)))
    second.observe(as_protocol(failed(ErrorKind.UPSTREAM_TIMEOUT, model="model-5")))
    proven = {name for name in names(second) if 'provider="openai",model="model-5"' in name}
    assert (
        count(second, 'llm_edge_requests_total{endpoint="chat",provider="openai",model="model-5",status="error"') >= 1
    )
    assert len(names(second) - before - proven) <= MAX_NEW_SERIES


def test_a_full_slot_goes_on_counting_under_other() -> None:
    providers = tuple(f"provider-{i}" for i in range(60))
    metrics = Metrics(providers, MODELS, endpoints=())
    usage = TokenUsage(prompt_tokens=1)
    streams = [(stream, cache) for stream in (True, False) for cache in ("hit", "miss", "bypass")]
    told = 0
    for provider in providers:
        for model in MODELS[:20]:
            for stream, cache in streams:
                exchange = Finished(provider=provider, model=model, usage=usage, stream=stream)
                exchange.cache = "hit" if cache == "hit" else "miss" if cache == "miss" else "bypass"
                metrics.observe(as_protocol(exchange))
                told += 1
    assert count(metrics, "llm_edge_requests_total") == told
    assert count(metrics, "llm_edge_tokens_used_total") == told


def test_what_is_kept_of_outcomes_is_bounded() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    for i in range(20_000):
        metrics.observe(as_protocol(Finished(provider=f"provider-{i}", model=f"model-of-{i}", cost_picodollars=1)))
    assert len(metrics._alike) <= 4096
    assert metrics.totals().cost_picodollars == 20_000
