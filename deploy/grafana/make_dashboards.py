"""Writes the dashboards beside it from the tables below: `python deploy/grafana/make_dashboards.py`.

A panel is a title, a unit and its queries; everything else that Grafana wants is the same for all of them.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "dashboards"
SCHEMA_VERSION = 41
HEIGHT, WIDTH = 8, 8
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

PROVIDER = 'provider=~"$provider"'
WINDOW = "$__rate_interval"


class Panel(NamedTuple):
    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    """Expression and legend."""
    kind: str = "timeseries"
    description: str = ""


def quantiles(metric: str, by: str, selector: str = "") -> tuple[tuple[str, str], ...]:
    """The 50th, 95th and 99th percentile of a histogram."""
    legend = f"{{{{{by}}}}} " if by else ""
    labels = f"le, {by}" if by else "le"
    return tuple(
        (
            f"histogram_quantile({quantile}, sum by ({labels}) (rate({metric}_bucket{{{selector}}}[{WINDOW}])))",
            f"{legend}p{quantile * 100:.0f}",
        )
        for quantile in (0.5, 0.95, 0.99)
    )


def per_second(metric: str, by: str, selector: str = "") -> tuple[tuple[str, str], ...]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    return ((f"sum by ({by}) (rate({metric}{{{selector}}}[{WINDOW}]))", legend),)


OVERVIEW = (
    Panel("Requests", "reqps", per_second("llm_edge_requests_total", "endpoint, status")),
    Panel(
        "Errors",
        "percentunit",
        (
            (
                f'sum(rate(llm_edge_requests_total{{status="error"}}[{WINDOW}]))'
                f" / sum(rate(llm_edge_requests_total[{WINDOW}]))",
                "of all requests",
            ),
        ),
    ),
    Panel("Errors by kind", "reqps", per_second("llm_edge_request_errors_total", "error_type")),
    Panel(
        "Duration, asked of a provider",
        "s",
        quantiles("llm_edge_request_duration_seconds", "", 'cache!="hit",status_class="2xx"'),
    ),
    Panel("Duration, from the cache", "s", quantiles("llm_edge_request_duration_seconds", "", 'cache="hit"')),
    Panel("Time to first token", "s", quantiles("llm_edge_time_to_first_token_seconds", "")),
    Panel("The gateway's own time", "s", quantiles("llm_edge_overhead_seconds", "")),
    Panel("Requests being served", "short", (("sum by (endpoint) (llm_edge_active_requests)", "{{endpoint}}"),)),
    Panel("Connections to providers", "short", (("sum by (state) (llm_edge_upstream_connections)", "{{state}}"),)),
    Panel("Memory", "bytes", (('process_resident_memory_bytes{job="llm-edge-agent"}', "{{instance}}"),)),
    Panel(
        "CPU",
        "percentunit",
        ((f'rate(process_cpu_seconds_total{{job="llm-edge-agent"}}[{WINDOW}])', "{{instance}}"),),
    ),
    Panel("Event loop lag", "s", (("llm_edge_event_loop_lag_seconds", "{{instance}}"),)),
    Panel(
        "Workers",
        "short",
        (("llm_edge_workers", "serving"), ("increase(llm_edge_worker_restarts_total[1h])", "replaced within an hour")),
    ),
    Panel("Log lines and traces lost", "short", (("llm_edge_log_lines_dropped", "log lines"),)),
)

PROVIDERS = (
    Panel("Requests", "reqps", per_second("llm_edge_requests_total", "provider, model", PROVIDER)),
    Panel(
        "Calls that fail",
        "percentunit",
        (
            (
                f'sum by (provider) (rate(llm_edge_provider_latency_seconds_count{{outcome="error",{PROVIDER}}}'
                f"[{WINDOW}])) / sum by (provider) (rate(llm_edge_provider_latency_seconds_count{{{PROVIDER}}}"
                f"[{WINDOW}]))",
                "{{provider}}",
            ),
        ),
    ),
    Panel("Failures by kind", "reqps", per_second("llm_edge_provider_errors_total", "provider, error_type", PROVIDER)),
    Panel("Latency", "s", quantiles("llm_edge_provider_latency_seconds", "provider", PROVIDER)),
    Panel("Time to first token", "s", quantiles("llm_edge_time_to_first_token_seconds", "provider", PROVIDER)),
    Panel("Tokens per second of an answer", "short", quantiles("llm_edge_tokens_per_second", "provider", PROVIDER)),
    Panel(
        "Circuit breakers",
        "short",
        ((f"max by (provider) (llm_edge_circuit_state{{{PROVIDER}}})", "{{provider}}"),),
        description="0 closed, 1 half open, 2 open",
    ),
    Panel("Repeated on the same deployment", "reqps", per_second("llm_edge_retries_total", "provider", PROVIDER)),
    Panel("Gone on to another", "reqps", per_second("llm_edge_fallbacks_total", "from, to")),
    Panel("Streams broken off", "reqps", per_second("llm_edge_stream_interruptions_total", "by")),
    Panel("Dropped or changed in translation", "reqps", per_second("llm_edge_translation_warnings_total", "field")),
    Panel(
        "Connections",
        "short",
        (("sum by (state) (llm_edge_upstream_connections)", "{{state}}"),),
    ),
)

CACHE = (
    Panel(
        "Hit ratio",
        "percentunit",
        (
            (
                f'sum(rate(llm_edge_cache_lookups_total{{result="hit"}}[{WINDOW}]))'
                f' / sum(rate(llm_edge_cache_lookups_total{{result=~"hit|miss"}}[{WINDOW}]))',
                "all tiers",
            ),
        ),
    ),
    Panel(
        "Hit ratio by tier",
        "percentunit",
        (
            (
                f"sum by (tier) (rate(llm_edge_cache_hits_total[{WINDOW}])) / (sum by (tier)"
                f" (rate(llm_edge_cache_hits_total[{WINDOW}])) + sum by (tier)"
                f" (rate(llm_edge_cache_misses_total[{WINDOW}])))",
                "{{tier}}",
            ),
        ),
    ),
    Panel("What the cache did", "reqps", per_second("llm_edge_cache_lookups_total", "result")),
    Panel("Time of a read", "s", quantiles("llm_edge_cache_latency_seconds", "tier", 'op="get"')),
    Panel("Time of a write", "s", quantiles("llm_edge_cache_latency_seconds", "tier", 'op="set"')),
    Panel("Answers held", "short", (("sum by (tier) (llm_edge_cache_entries)", "{{tier}}"),)),
    Panel("Bytes held", "bytes", (("sum by (tier) (llm_edge_cache_bytes)", "{{tier}}"),)),
    Panel("Evictions", "reqps", per_second("llm_edge_cache_evictions_total", "tier, reason")),
    Panel(
        "Dollars saved per hour",
        "currencyUSD",
        (
            ("sum(increase(llm_edge_cost_saved_usd_total[1h]))", "answers from the cache"),
            (
                "sum(increase(llm_edge_prompt_cache_saved_usd_total[1h]))"
                " - sum(increase(llm_edge_prompt_cache_surcharge_usd_total[1h]))",
                "providers' prompt caches",
            ),
        ),
    ),
)

COST = (
    Panel(
        "Dollars per hour by model",
        "currencyUSD",
        (("sum by (model) (increase(llm_edge_cost_usd_total[1h]))", "{{model}}"),),
    ),
    Panel(
        "Dollars per hour by provider",
        "currencyUSD",
        (("sum by (provider) (increase(llm_edge_cost_usd_total[1h]))", "{{provider}}"),),
    ),
    Panel(
        "Spent and saved within a day",
        "currencyUSD",
        (
            ("sum(increase(llm_edge_cost_usd_total[1d]))", "spent"),
            ("sum(increase(llm_edge_cost_saved_usd_total[1d]))", "saved by the cache"),
        ),
        "stat",
    ),
    Panel("Prompt tokens", "short", per_second("llm_edge_tokens_prompt_total", "model, kind")),
    Panel("Completion tokens", "short", per_second("llm_edge_tokens_completion_total", "model, kind")),
    Panel(
        "Prompt tokens read from providers' caches",
        "percentunit",
        (
            (
                f'sum by (model) (rate(llm_edge_tokens_prompt_total{{kind="cache_read"}}[{WINDOW}]))'
                f" / sum by (model) (rate(llm_edge_tokens_prompt_total[{WINDOW}]))",
                "{{model}}",
            ),
        ),
    ),
)

DASHBOARDS: dict[str, tuple[str, tuple[Panel, ...]]] = {
    "overview": ("LLM edge: overview", OVERVIEW),
    "providers": ("LLM edge: providers", PROVIDERS),
    "cache": ("LLM edge: cache", CACHE),
    "cost": ("LLM edge: cost", COST),
}


def dashboard(name: str, title: str, panels: tuple[Panel, ...]) -> dict[str, Any]:
    per_row = 24 // WIDTH
    return {
        "uid": f"llm-edge-{name}",
        "title": title,
        "tags": ["llm-edge-agent"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": _variables()},
        "links": [{"type": "dashboards", "tags": ["llm-edge-agent"], "title": "LLM edge", "asDropdown": True}],
        "panels": [
            {
                "id": number + 1,
                "type": panel.kind,
                "title": panel.title,
                "description": panel.description,
                "datasource": DATASOURCE,
                "gridPos": {
                    "x": number % per_row * WIDTH,
                    "y": number // per_row * HEIGHT,
                    "w": WIDTH,
                    "h": HEIGHT,
                },
                "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
                "targets": [
                    {
                        "refId": chr(ord("A") + index),
                        "datasource": DATASOURCE,
                        "expr": expression,
                        "legendFormat": legend,
                        "exemplar": panel.unit == "s",
                    }
                    for index, (expression, legend) in enumerate(panel.queries)
                ],
            }
            for number, panel in enumerate(panels)
        ],
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {
            "name": "datasource",
            "type": "datasource",
            "query": "prometheus",
            "current": {"text": "Prometheus", "value": "prometheus"},
        },
        {
            "name": "provider",
            "type": "query",
            "datasource": DATASOURCE,
            "query": "label_values(llm_edge_requests_total, provider)",
            "refresh": 2,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def rendered(name: str) -> str:
    """The text of one dashboard's file."""
    return json.dumps(dashboard(name, *DASHBOARDS[name]), indent=1) + "\n"


def main() -> None:
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(rendered(name), "utf-8")


if __name__ == "__main__":
    main()
