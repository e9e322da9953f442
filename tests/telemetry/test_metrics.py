"""What each outcome of a request moves, and how it is told: Prometheus text, OpenMetrics, several workers as one."""

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as _parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import Estimated, PromptCacheEffect, TokenUsage, usd
from llm_edge_agent.core.tracing import Trace
from llm_edge_agent.telemetry.families import DURATION_BUCKETS_S
from llm_edge_agent.telemetry.metrics import Metrics
from llm_edge_agent.telemetry.spending import MOST_TOKENS
from llm_edge_agent.telemetry.traced import Traced
from tests.programs import program
from tests.telemetry.exchanges import Finished, Tried, as_protocol, failed, hit

parse_openmetrics: Callable[[str], Iterable[Metric]] = _parse_openmetrics
PROVIDERS = ("openai", "anthropic")
HISTOGRAM = re.compile(r"_(?:seconds|per_second)_(?:bucket|sum|count)")
MODELS = ("gpt-5", "claude-opus-5-5")


def series(metrics: Metrics) -> dict[str, str]:
    """Every line of the exposition but process and runtime figures: series -> value as printed."""
    lines = metrics.render(None)[0].decode().splitlines()
    pairs = [line.rpartition(" ")[::2] for line in lines if line.startswith("llm_edge_")]
    found = dict(pairs)
    assert len(found) == len(pairs)
    return found


def moved(metrics: Metrics, *exchanges: Finished) -> dict[str, str]:
    """What these exchanges changed, histograms left out."""
    before = series(metrics)
    for exchange in exchanges:
        metrics.observe(as_protocol(exchange))
    after = series(metrics)
    return {name: value for name, value in after.items() if before.get(name) != value and not HISTOGRAM.search(name)}


def test_a_cached_answer_moves_exactly_these() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    request = 'endpoint="chat",provider="openai",model="gpt-5",status="ok",stream="true",cache="hit"'
    assert moved(metrics, hit(stream=True, saved_picodollars=1_250_000)) == {
        f"llm_edge_requests_total{{{request}}}": "1",
        'llm_edge_cache_hits_total{tier="l1"}': "1",
        'llm_edge_cache_lookups_total{result="hit"}': "1",
        'llm_edge_cost_usd_total{provider="openai",model="gpt-5"}': "0.0",
        'llm_edge_cost_saved_usd_total{provider="openai",model="gpt-5"}': "0.00000125",
        'llm_edge_prompt_cache_saved_usd_total{provider="openai",model="gpt-5"}': "0.0",
        'llm_edge_prompt_cache_surcharge_usd_total{provider="openai",model="gpt-5"}': "0.0",
        'llm_edge_tokens_used_total{provider="openai",model="gpt-5"}': "0",
        'llm_edge_tokens_prompt_total{provider="openai",model="gpt-5",kind="uncached"}': "0",
        'llm_edge_tokens_prompt_total{provider="openai",model="gpt-5",kind="cache_read"}': "0",
        'llm_edge_tokens_prompt_total{provider="openai",model="gpt-5",kind="cache_write"}': "0",
        'llm_edge_tokens_completion_total{provider="openai",model="gpt-5",kind="text"}': "0",
        'llm_edge_tokens_completion_total{provider="openai",model="gpt-5",kind="reasoning"}': "0",
        'llm_edge_tokens_estimated_total{provider="openai",model="gpt-5",kind="uncached"}': "0",
        'llm_edge_tokens_estimated_total{provider="openai",model="gpt-5",kind="cache_read"}': "0",
        'llm_edge_tokens_estimated_total{provider="openai",model="gpt-5",kind="cache_write"}': "0",
        'llm_edge_tokens_estimated_total{provider="openai",model="gpt-5",kind="completion"}': "0",
        'llm_edge_cost_estimated_usd_total{provider="openai",model="gpt-5"}': "0.0",
    }


def test_a_billed_answer_moves_tokens_by_kind_and_dollars() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    usage = TokenUsage(
        prompt_tokens=100, completion_tokens=30, cache_read_tokens=40, cache_write_tokens=10, cache_write_1h_tokens=5,
        reasoning_tokens=12,
    )  # fmt: skip
    effect = PromptCacheEffect(saved=36_000_000, surcharge=5_500_001)
    changes = moved(metrics, Finished(usage=usage, cost_picodollars=123_456_789_012_345, prompt_cache=effect))
    labels = 'provider="openai",model="gpt-5"'
    assert {name: value for name, value in changes.items() if "token" in name or "usd" in name} == {
        f"llm_edge_cost_usd_total{{{labels}}}": "123.456789012345",
        f"llm_edge_cost_saved_usd_total{{{labels}}}": "0.0",
        f"llm_edge_prompt_cache_saved_usd_total{{{labels}}}": "0.000036",
        f"llm_edge_prompt_cache_surcharge_usd_total{{{labels}}}": "0.000005500001",
        f"llm_edge_tokens_used_total{{{labels}}}": "130",
        f'llm_edge_tokens_prompt_total{{{labels},kind="uncached"}}': "45",
        f'llm_edge_tokens_prompt_total{{{labels},kind="cache_read"}}': "40",
        f'llm_edge_tokens_prompt_total{{{labels},kind="cache_write"}}': "15",
        f'llm_edge_tokens_completion_total{{{labels},kind="text"}}': "18",
        f'llm_edge_tokens_completion_total{{{labels},kind="reasoning"}}': "12",
        f'llm_edge_tokens_estimated_total{{{labels},kind="uncached"}}': "0",
        f'llm_edge_tokens_estimated_total{{{labels},kind="cache_read"}}': "0",
        f'llm_edge_tokens_estimated_total{{{labels},kind="cache_write"}}': "0",
        f'llm_edge_tokens_estimated_total{{{labels},kind="completion"}}': "0",
        f"llm_edge_cost_estimated_usd_total{{{labels}}}": "0.0",
    }


def test_what_is_an_estimate_is_counted_and_told_apart() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    for estimated in Estimated:
        usage = TokenUsage(
            prompt_tokens=100, completion_tokens=10, cache_read_tokens=40, cache_write_tokens=5, estimated=estimated
        )
        metrics.observe(as_protocol(Finished(usage=usage, cost_picodollars=10**12)))
    unpriced = TokenUsage(prompt_tokens=1, estimated=Estimated.ALL)
    metrics.observe(as_protocol(Finished(usage=unpriced, cost_picodollars=None)))
    labels = 'provider="openai",model="gpt-5"'
    printed = series(metrics)
    assert {name: value for name, value in printed.items() if "estimated" in name and "gpt-5" in name} == {
        f'llm_edge_tokens_estimated_total{{{labels},kind="uncached"}}': "56",
        f'llm_edge_tokens_estimated_total{{{labels},kind="cache_read"}}': "40",
        f'llm_edge_tokens_estimated_total{{{labels},kind="cache_write"}}': "5",
        f'llm_edge_tokens_estimated_total{{{labels},kind="completion"}}': "20",
        f"llm_edge_cost_estimated_usd_total{{{labels}}}": "2.0",
    }
    assert printed[f"llm_edge_cost_usd_total{{{labels}}}"] == "3.0"
    assert metrics.totals().estimated_picodollars == 2 * 10**12
    assert printed[f"llm_edge_tokens_used_total{{{labels}}}"] == "331"


@pytest.mark.parametrize(
    ("exchange", "expected"),
    [
        (
            failed(ErrorKind.UPSTREAM_OVERLOADED, upstream_status=529),
            {
                'requests_total{endpoint="chat",provider="openai",model="gpt-5",status="error",stream="false",cache="miss"}',
                'request_errors_total{endpoint="chat",provider="openai",error_type="overloaded"}',
                'provider_errors_total{provider="openai",error_type="overloaded",status="529"}',
                'cache_misses_total{tier="l1"}',
                'cache_lookups_total{result="miss"}',
            },
        ),
        (
            failed(ErrorKind.UPSTREAM_INVALID, upstream_status=299, cache="bypass"),
            {
                'requests_total{endpoint="chat",provider="openai",model="gpt-5",status="error",stream="false",cache="bypass"}',
                'request_errors_total{endpoint="chat",provider="openai",error_type="upstream_5xx"}',
                'provider_errors_total{provider="openai",error_type="upstream_5xx",status="other"}',
                'cache_lookups_total{result="bypass"}',
            },
        ),
        (
            failed(ErrorKind.UNAUTHENTICATED, provider=None, model=None, cache="none", upstream_s=None),
            {
                'requests_total{endpoint="chat",provider="none",model="other",status="error",stream="false",cache="bypass"}',
                'request_errors_total{endpoint="chat",provider="none",error_type="auth"}',
            },
        ),
        (
            failed(ErrorKind.CLIENT_GONE, stream=True, cache="bypass"),
            {
                'requests_total{endpoint="chat",provider="openai",model="gpt-5",status="cancelled",stream="true",cache="bypass"}',
                'request_errors_total{endpoint="chat",provider="openai",error_type="cancelled"}',
                'cache_lookups_total{result="bypass"}',
                'stream_interruptions_total{by="client"}',
            },
        ),
        (
            failed(ErrorKind.STREAM_INTERRUPTED, status=200, upstream_status=200, stream=True, cache="bypass"),
            {
                'requests_total{endpoint="chat",provider="openai",model="gpt-5",status="error",stream="true",cache="bypass"}',
                'request_errors_total{endpoint="chat",provider="openai",error_type="stream_interrupted"}',
                'provider_errors_total{provider="openai",error_type="stream_interrupted",status="200"}',
                'cache_lookups_total{result="bypass"}',
                'stream_interruptions_total{by="upstream"}',
            },
        ),
        (
            hit(cache_tier="l2"),
            {
                'requests_total{endpoint="chat",provider="openai",model="gpt-5",status="ok",stream="false",cache="hit"}',
                'cache_hits_total{tier="l2"}',
                'cache_misses_total{tier="l1"}',
                'cache_lookups_total{result="hit"}',
            },
        ),
        (
            Finished(cache="bypass", warnings=("dropped:seed", "changed:seed", "dropped:my_own", "retired-model")),
            {
                'requests_total{endpoint="chat",provider="openai",model="gpt-5",status="ok",stream="false",cache="bypass"}',
                'cache_lookups_total{result="bypass"}',
                'translation_warnings_total{field="seed"}',
                'translation_warnings_total{field="other"}',
                'translation_warnings_total{field="retired-model"}',
            },
        ),
    ],
)  # fmt: skip
def test_what_an_outcome_moves(exchange: Finished, expected: set[str]) -> None:
    changes = moved(Metrics(PROVIDERS, MODELS, tiers=("l1",)), exchange)
    assert set(changes) == {f"llm_edge_{name}" for name in expected}


def test_each_warning_counts_under_the_member_it_is_about() -> None:
    changes = moved(Metrics(PROVIDERS, MODELS), Finished(warnings=("dropped:seed", "changed:seed", "dropped:mine")))
    assert changes['llm_edge_translation_warnings_total{field="seed"}'] == "2"
    assert changes['llm_edge_translation_warnings_total{field="other"}'] == "1"


def test_a_miss_counts_every_tier_that_was_asked() -> None:
    changes = moved(Metrics(PROVIDERS, MODELS, tiers=("l1", "l2")), Finished())
    assert changes['llm_edge_cache_misses_total{tier="l1"}'] == "1"
    assert changes['llm_edge_cache_misses_total{tier="l2"}'] == "1"


@pytest.mark.parametrize(
    ("duration_s", "le"), [(0.0, 0.005), (0.005, 0.005), (0.0051, 0.01), (600.0, 600.0), (601.0, None)]
)
def test_a_duration_falls_into_the_bucket_whose_bound_it_does_not_exceed(duration_s: float, le: float | None) -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    metrics.observe(as_protocol(Finished(duration_s=duration_s)))
    labels = 'endpoint="chat",provider="openai",status_class="2xx",cache="miss"'
    found = series(metrics)
    name = "llm_edge_request_duration_seconds"
    for bound in DURATION_BUCKETS_S:
        inside = le is not None and bound >= le
        assert found[f'{name}_bucket{{{labels},le="{bound}"}}'] == ("1" if inside else "0")
    assert found[f'{name}_bucket{{{labels},le="+Inf"}}'] == found[f"{name}_count{{{labels}}}"] == "1"
    assert Decimal(found[f"{name}_sum{{{labels}}}"]) == Decimal(str(duration_s))


def test_waiting_for_a_provider_counts_only_where_it_was_the_one_to_answer() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    metrics.observe(as_protocol(Finished(upstream_s=1.5, stream=True, ttft_s=0.3)))
    metrics.observe(as_protocol(failed(ErrorKind.UPSTREAM_TIMEOUT, upstream_s=30.0)))
    metrics.observe(as_protocol(failed(ErrorKind.CLIENT_GONE, upstream_s=2.0)))
    found = series(metrics)
    labels = 'provider="openai",model="gpt-5"'
    assert found[f'llm_edge_provider_latency_seconds_sum{{{labels},outcome="ok"}}'] == "1.500000"
    assert found[f'llm_edge_provider_latency_seconds_sum{{{labels},outcome="error"}}'] == "30.000000"
    assert found[f"llm_edge_time_to_first_token_seconds_count{{{labels}}}"] == "1"


def test_a_cache_operation_is_measured_in_nanoseconds() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    metrics.cache_observer("l1", "get")(0.00000025)
    metrics.cache_observer("l1", "get")(0.0004)
    found = series(metrics)
    labels = 'tier="l1",op="get"'
    assert found[f"llm_edge_cache_latency_seconds_sum{{{labels}}}"] == "0.000400250"
    assert found[f'llm_edge_cache_latency_seconds_bucket{{{labels},le="1e-05"}}'] == "1"
    assert found[f'llm_edge_cache_latency_seconds_bucket{{{labels},le="0.0005"}}'] == "2"


usages = st.none() | st.builds(
    TokenUsage,
    prompt_tokens=st.integers(0, 10**6),
    completion_tokens=st.integers(0, 10**6),
    cache_read_tokens=st.integers(0, 10**6),
    cache_write_tokens=st.integers(0, 10**6),
    reasoning_tokens=st.integers(0, 10**6),
)
exchanges = st.builds(
    Finished,
    endpoint=st.sampled_from(("chat", "models", "other")),
    status=st.sampled_from((200, 400, 404, 429, 499, 502)),
    stream=st.booleans(),
    provider=st.sampled_from((*PROVIDERS, None, "made-up")),
    model=st.sampled_from((*MODELS, None, "made-up")),
    cache=st.sampled_from(("hit", "miss", "bypass", "none")),
    cache_tier=st.sampled_from(("l1", "l2")),
    duration_s=st.floats(0, 2000),
    ttft_s=st.none() | st.floats(0, 100),
    upstream_s=st.none() | st.floats(0, 1000),
    usage=usages,
    cost_picodollars=st.none() | st.integers(0, 10**15),
    saved_picodollars=st.integers(0, 10**15),
    error=st.none() | st.sampled_from(ErrorKind),
    upstream_status=st.none() | st.integers(100, 999),
    warnings=st.lists(st.sampled_from(("dropped:n", "changed:x")), max_size=2).map(tuple),
)


def total(families: list[Metric], sample_name: str, **labels: str) -> Fraction:
    """The sum over every series of this name with these labels."""
    return sum(
        (
            Fraction(sample.value)
            for family in families
            for sample in family.samples
            if sample.name == sample_name and labels.items() <= sample.labels.items()
        ),
        Fraction(0),
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(exchanges, max_size=30))
def test_both_expositions_parse_and_say_what_was_observed(told: list[Finished]) -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    for exchange in told:
        metrics.observe(as_protocol(exchange))
    text, text_type = metrics.render(None)
    openmetrics, openmetrics_type = metrics.render("application/openmetrics-text")
    assert (text_type.split(";")[0], openmetrics_type.split(";")[0]) == ("text/plain", "application/openmetrics-text")
    for parse, body in ((parse_text, text), (parse_openmetrics, openmetrics)):
        families = list(parse(body.decode()))
        assert total(families, "llm_edge_requests_total") == len(told)
        assert total(families, "llm_edge_request_duration_seconds_count") == len(told)
        assert total(families, "llm_edge_request_duration_seconds_bucket", le="+Inf") == len(told)
        for stream in (True, False):
            expected = sum(exchange.stream is stream for exchange in told)
            assert total(families, "llm_edge_requests_total", stream=str(stream).lower()) == expected
        for result in ("hit", "miss", "bypass"):
            expected = sum(exchange.cache == result for exchange in told)
            assert total(families, "llm_edge_cache_lookups_total", result=result) == expected
        assert total(families, "llm_edge_cache_hits_total") == sum(exchange.cache == "hit" for exchange in told)
        by_kind = Counter(exchange.error.value.label for exchange in told if exchange.error is not None)
        for kind, count in by_kind.items():
            assert total(families, "llm_edge_request_errors_total", error_type=kind) == count
        warned = sum(len(exchange.warnings) for exchange in told)
        assert total(families, "llm_edge_translation_warnings_total") == warned
        first_tokens = sum(exchange.ttft_s is not None for exchange in told)
        assert total(families, "llm_edge_time_to_first_token_seconds_count") == first_tokens
        tokens = [exchange.usage for exchange in told if exchange.usage is not None]
        prompt, completion = sum(u.prompt_tokens for u in tokens), sum(u.completion_tokens for u in tokens)
        assert total(families, "llm_edge_tokens_used_total") == prompt + completion
        assert total(families, "llm_edge_tokens_prompt_total") == prompt
        assert total(families, "llm_edge_tokens_completion_total") == completion
        assert total(families, "process_open_fds") > 0
    printed = series(metrics)
    cost = sum(Decimal(value) for name, value in printed.items() if name.startswith("llm_edge_cost_usd_total"))
    saved = sum(Decimal(value) for name, value in printed.items() if name.startswith("llm_edge_cost_saved_usd_total"))
    assert cost * 10**12 == sum(exchange.cost_picodollars or 0 for exchange in told)
    assert saved * 10**12 == sum(exchange.saved_picodollars for exchange in told)
    totals = metrics.totals()
    assert totals.cost_picodollars == cost * 10**12
    assert totals.saved_picodollars == saved * 10**12
    assert totals.requests == sum(exchange.endpoint == "chat" for exchange in told)
    assert totals.cache_hits == sum(exchange.cache == "hit" for exchange in told)


def test_money_is_exact_where_floating_point_is_not() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    amounts = [1, 10**18 + 1, 333_333_333_333, 7]
    for amount in amounts * 50:
        metrics.observe(as_protocol(Finished(cost_picodollars=amount)))
    printed = series(metrics)['llm_edge_cost_usd_total{provider="openai",model="gpt-5"}']
    assert printed == usd(50 * sum(amounts)) == "50000016.6666666671"
    assert metrics.totals().cost_picodollars == 50 * sum(amounts)


@pytest.mark.parametrize("shared", [False, True])
def test_what_a_provider_claims_can_fill_a_counter_but_not_break_it(shared: bool) -> None:
    metrics = Metrics(PROVIDERS, MODELS, block=Metrics.shared_block(PROVIDERS, MODELS, 1) if shared else None)
    absurd = TokenUsage(prompt_tokens=10**30, completion_tokens=-5, cache_read_tokens=-1, reasoning_tokens=10**40)
    for _ in range(3):
        metrics.observe(as_protocol(Finished(usage=absurd, cost_picodollars=10**40)))
    printed = series(metrics)
    labels = 'provider="openai",model="gpt-5"'
    assert printed[f'llm_edge_tokens_prompt_total{{{labels},kind="uncached"}}'] == str(3 * MOST_TOKENS)
    assert printed[f'llm_edge_tokens_completion_total{{{labels},kind="text"}}'] == "0"
    requests = 'endpoint="chat",provider="openai",model="gpt-5",status="ok",stream="false",cache="miss"'
    assert printed[f"llm_edge_requests_total{{{requests}}}"] == "3"
    for ttft_s in (None, 0.1):
        metrics.observe(as_protocol(Finished(usage=TokenUsage(completion_tokens=10**400), ttft_s=ttft_s)))
    assert series(metrics)[f'llm_edge_tokens_completion_total{{{labels},kind="text"}}'] == str(2 * MOST_TOKENS)


def test_the_series_of_known_providers_exist_at_zero() -> None:
    printed = series(Metrics(PROVIDERS, MODELS))
    for provider in PROVIDERS:
        labels = f'provider="{provider}",model="other"'
        assert printed[f"llm_edge_cost_usd_total{{{labels}}}"] == "0.0"
        assert printed[f"llm_edge_tokens_used_total{{{labels}}}"] == "0"
        assert printed[f'llm_edge_provider_latency_seconds_count{{{labels},outcome="ok"}}'] == "0"
        requests = f'endpoint="chat",{labels},status="ok",stream="false",cache="hit"'
        assert printed[f"llm_edge_requests_total{{{requests}}}"] == "0"
    assert printed['llm_edge_cache_hits_total{tier="l1"}'] == "0"
    assert {value for name, value in printed.items() if "build_info" not in name} <= {
        "0",
        "0.0",
        "0.000",
        "0.000000",
        "0.000000000",
    }


def test_totals_are_about_completions() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    usage = TokenUsage(prompt_tokens=11, completion_tokens=3)
    for exchange in (
        Finished(usage=usage, cost_picodollars=99),
        hit(saved_picodollars=99),
        failed(ErrorKind.INVALID_JSON, provider=None, model=None, cache="none"),
        failed(ErrorKind.CLIENT_GONE, cache="bypass"),
        Finished(endpoint="models", provider=None, model=None, cache="none", upstream_s=None),
        failed(ErrorKind.UNKNOWN_URL, endpoint="other", provider=None, model=None, cache="none"),
    ):
        metrics.observe(as_protocol(exchange))
    totals = metrics.totals()
    assert (totals.requests, totals.errors) == (4, 1)
    assert (totals.cache_hits, totals.cache_lookups) == (1, 2)
    assert (totals.prompt_tokens, totals.completion_tokens) == (11, 3)
    assert (totals.cost_picodollars, totals.saved_picodollars) == (99, 99)


def test_gauges_are_asked_at_each_scrape_and_replaced_by_name_and_labels() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    entries = [1]
    metrics.gauge("llm_edge_cache_entries", {"tier": "l1"}, lambda: 99)
    metrics.gauge("llm_edge_cache_entries", {"tier": "l1"}, lambda: entries[0])
    assert series(metrics)['llm_edge_cache_entries{tier="l1"}'] == "1"
    entries[0] = 5
    assert series(metrics)['llm_edge_cache_entries{tier="l1"}'] == "5"


def test_the_gateways_own_time_is_all_but_the_waiting_for_providers() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    metrics.observe(as_protocol(Finished(duration_s=0.75, upstream_s=0.5)))
    metrics.observe(as_protocol(hit(duration_s=0.00004)))
    metrics.observe(as_protocol(Finished(duration_s=0.2, upstream_s=0.2001)))  # clocks are read one after the other
    metrics.observe(as_protocol(failed(ErrorKind.UPSTREAM_TIMEOUT)))
    metrics.observe(as_protocol(Finished(cache="join", upstream_s=None)))
    metrics.observe(as_protocol(Finished(endpoint="models", provider=None, model=None, cache="none", upstream_s=None)))
    printed = series(metrics)
    name = "llm_edge_overhead_seconds"
    assert printed[f'{name}_sum{{cache="miss"}}'] == "0.250000"
    assert printed[f'{name}_count{{cache="miss"}}'] == "2"
    assert printed[f'{name}_bucket{{cache="miss",le="5e-05"}}'] == "1"
    assert printed[f'{name}_sum{{cache="hit"}}'] == "0.000040"
    assert printed[f'{name}_count{{cache="bypass"}}'] == "0"


def test_speed_is_of_tokens_while_they_came() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    usage = TokenUsage(prompt_tokens=5, completion_tokens=101)
    metrics.observe(as_protocol(Finished(stream=True, ttft_s=0.5, duration_s=2.5, upstream_s=2.4, usage=usage)))
    metrics.observe(as_protocol(Finished(duration_s=2.1, upstream_s=2.0, usage=usage)))
    one = TokenUsage(prompt_tokens=5, completion_tokens=1)
    metrics.observe(as_protocol(Finished(stream=True, ttft_s=0.5, duration_s=0.5, usage=one)))
    metrics.observe(as_protocol(failed(ErrorKind.STREAM_INTERRUPTED, status=200, ttft_s=0.1, usage=usage)))
    metrics.observe(as_protocol(Finished(usage=TokenUsage(prompt_tokens=1, completion_tokens=10**30))))
    printed = series(metrics)
    labels = 'provider="openai",model="gpt-5"'
    assert printed[f"llm_edge_tokens_per_second_count{{{labels}}}"] == "3"
    assert printed[f"llm_edge_tokens_per_second_sum{{{labels}}}"] == "1000100.500"
    assert printed[f'llm_edge_tokens_per_second_bucket{{{labels},le="60.0"}}'] == "2"


def test_every_attempt_counts_as_its_providers_and_says_where_the_next_one_went() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    attempts = (
        Tried("openai", "gpt-5", 0.0, 0.1, 503, ErrorKind.UPSTREAM_OVERLOADED),
        Tried("openai", "gpt-5", 0.2, 0.5, None, ErrorKind.UPSTREAM_CONNECTION),
        Tried("anthropic", "claude-opus-5-5", 0.5, 1.5, 200),
    )
    answer = Finished(
        provider="anthropic", model="claude-opus-5-5", duration_s=1.6, upstream_s=1.0, attempts=attempts,
        usage=TokenUsage(prompt_tokens=1, completion_tokens=10),
    )  # fmt: skip
    metrics.observe(as_protocol(answer))
    printed = series(metrics)
    assert printed['llm_edge_provider_errors_total{provider="openai",error_type="overloaded",status="503"}'] == "1"
    assert printed['llm_edge_provider_errors_total{provider="openai",error_type="connect",status="none"}'] == "1"
    assert printed['llm_edge_retries_total{provider="openai",reason="overloaded"}'] == "1"
    assert printed['llm_edge_fallbacks_total{from="openai",to="anthropic"}'] == "1"
    latency = "llm_edge_provider_latency_seconds"
    assert printed[f'{latency}_sum{{provider="openai",model="other",outcome="error"}}'] == "0.400000"
    claude = 'provider="anthropic",model="claude-opus-5-5"'
    assert printed[f'{latency}_sum{{{claude},outcome="ok"}}'] == "1.000000"
    assert printed['llm_edge_overhead_seconds_sum{cache="miss"}'] == "0.200000"
    assert printed[f"llm_edge_tokens_per_second_sum{{{claude}}}"] == "10.000"
    assert not any(name.startswith("llm_edge_request_errors_total") and value != "0" for name, value in printed.items())


def test_openmetrics_leads_from_a_bucket_to_the_last_trace_in_it() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    for number, (duration_s, sampled) in enumerate(((0.3, True), (0.4, True), (0.45, False), (30.0, True))):
        traced = Traced(Trace(f"{number:032x}", "cd" * 8, None, sampled))
        metrics.observe(as_protocol(Finished(duration_s=duration_s, traced=traced)))
    began_s = time.time()
    found = {
        sample.labels["le"]: sample.exemplar
        for family in parse_openmetrics(metrics.render("application/openmetrics-text")[0].decode())
        for sample in family.samples
        if sample.name == "llm_edge_request_duration_seconds_bucket" and sample.exemplar is not None
    }
    assert {le: (each.labels["trace_id"], each.value) for le, each in found.items()} == {
        "0.5": (f"{1:032x}", 0.4),
        "40.0": (f"{3:032x}", 30.0),
    }
    assert all(each.timestamp is not None and abs(float(each.timestamp) - began_s) < 5 for each in found.values())
    assert b"trace_id" not in metrics.render(None)[0]


def test_counts_kept_elsewhere_outlive_who_kept_them() -> None:
    block = Metrics.shared_block(PROVIDERS, MODELS, workers=2)
    kept = [3]
    first = Metrics(PROVIDERS, MODELS, block=block, slot=0)
    first.mirror("llm_edge_accept_errors_total", lambda: kept[0])
    first.mirror_evictions("l1", "size", lambda: 10 * kept[0])
    first.gauge_values()
    kept[0] = 5
    first.gauge_values()
    second = Metrics(PROVIDERS, MODELS, block=block, slot=0)  # takes the dead one's place, and begins at 0
    second.mirror("llm_edge_accept_errors_total", lambda: 1)
    assert series(second)["llm_edge_accept_errors_total"] == "6"
    assert series(second)["llm_edge_accept_errors_total"] == "6"
    assert series(second)['llm_edge_cache_evictions_total{tier="l1",reason="size"}'] == "50"


def test_promtool_has_nothing_to_say() -> None:
    metrics = Metrics(PROVIDERS, MODELS)
    metrics.gauge("llm_edge_event_loop_lag_seconds", {}, lambda: 0.25)
    for exchange in (Finished(usage=TokenUsage(prompt_tokens=1), cost_picodollars=1), hit(saved_picodollars=1)):
        metrics.observe(as_protocol(exchange))
    found = subprocess.run(
        [program("promtool"), "check", "metrics"], input=metrics.render(None)[0], capture_output=True, check=False
    )
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")


FORKED = """
import os
from llm_edge_agent.telemetry.metrics import Metrics
from llm_edge_agent.telemetry.spending import MOST_TOKENS
from llm_edge_agent.telemetry.traced import Traced
from tests.telemetry.exchanges import Finished, hit

LISTS = (("openai", "anthropic"), ("gpt-5", "claude-opus-5-5"))
block = Metrics.shared_block(*LISTS, workers=2)

def worker(slot, exchanges):
    child = os.fork()
    if child == 0:
        metrics = Metrics(*LISTS, block=block, slot=slot)
        for exchange in exchanges:
            metrics.observe(exchange)
        os.kill(os.getpid(), 9)
    os.waitpid(child, 0)

worker(0, [Finished(cost_picodollars=3), hit(), hit()])
worker(1, [Finished(provider="anthropic", model="claude-opus-5-5", cost_picodollars=5), Finished(cost_picodollars=2)])
worker(0, [hit()])
totals = Metrics(*LISTS, block=block, slot=1).totals()
print(totals.requests, totals.cache_hits, totals.cost_picodollars)
"""


def test_one_scrape_speaks_for_all_workers_the_dead_included() -> None:
    found = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["6", "3", "10"]


def test_a_shared_memo_changes_no_count() -> None:
    with_memo, without = Metrics(PROVIDERS, MODELS), Metrics(PROVIDERS, MODELS)
    memo: dict[str, Any] = {}
    for number in range(5):
        with_memo.observe(hit(saved_picodollars=number, memo=memo))
        without.observe(hit(saved_picodollars=number))
    assert memo
    # The model proves itself: from now on it has series of its own, whatever was kept before.
    for metrics in (with_memo, without):
        metrics.observe(Finished(usage=TokenUsage(prompt_tokens=1)))
    with_memo.observe(hit(memo=memo))
    without.observe(hit())
    assert series(with_memo) == series(without)


@pytest.mark.parametrize("number", [1, 63, 64, 65, 300])
def test_all_are_counted_however_many_there_were_since_somebody_looked(number: int) -> None:
    alone = Metrics(PROVIDERS, MODELS)
    worker = Metrics(PROVIDERS, MODELS, block=Metrics.shared_block(PROVIDERS, MODELS, 1))
    for metrics in (alone, worker):
        for i in range(1, number + 1):
            usage = TokenUsage(prompt_tokens=i, completion_tokens=2)
            finished = Finished(usage=usage, cost_picodollars=10**6 + i, duration_s=0.001 * i, stream=i % 3 == 0)
            metrics.observe(as_protocol(finished if i % 4 else hit(saved_picodollars=i)))
        told = sum(i for i in range(1, number + 1) if i % 4)
        assert metrics.totals().requests == number
        printed = series(metrics)
        assert printed['llm_edge_tokens_prompt_total{provider="openai",model="gpt-5",kind="uncached"}'] == str(told)
    assert series(alone) == series(worker)
