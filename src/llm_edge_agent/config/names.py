"""Every setting by name: one row each, with its place in the YAML file, its form and what it sets.

`docs/configuration.md` says what they mean; the test of this table holds the two together.
"""

from typing import NamedTuple

from llm_edge_agent.config import forms, otel
from llm_edge_agent.config.forms import Form
from llm_edge_agent.config.redis_address import cluster_nodes, redis_address

DAY_S = 86_400
GIB = 2**30


class Setting(NamedTuple):
    """One name. `path` None: the environment alone; `name` empty: the file alone. `field` names what it sets in
    `AppConfig` (`cache.` and `server.` reach into those); None: heeded elsewhere."""

    name: str
    path: str | None
    form: Form
    field: str | None
    secret: bool = False


SETTINGS = (
    Setting("HOST", "server.host", forms.host, "host"),
    Setting("PORT", "server.port", forms.whole(0, 65535), "port"),
    Setting("METRICS_PORT", "server.metrics_port", forms.whole(0, 65535), "metrics_port"),
    Setting("WORKERS", "server.workers", forms.workers, "workers"),
    Setting("SERVER_TIMEOUT_SECONDS", "server.timeout_seconds", forms.seconds(DAY_S), "total_timeout_s"),
    Setting(
        "SHUTDOWN_TIMEOUT_SECONDS",
        "server.shutdown_timeout_seconds",
        forms.seconds(DAY_S, zero=True),
        "shutdown_timeout_s",
    ),
    Setting(
        "CLIENT_HEADER_TIMEOUT_SECONDS",
        "server.client_header_timeout_seconds",
        forms.seconds(DAY_S),
        "server.header_timeout_s",
    ),
    Setting(
        "CLIENT_BODY_TIMEOUT_SECONDS",
        "server.client_body_timeout_seconds",
        forms.seconds(DAY_S),
        "server.body_timeout_s",
    ),
    Setting(
        "CLIENT_WRITE_TIMEOUT_SECONDS",
        "server.client_write_timeout_seconds",
        forms.seconds(DAY_S),
        "server.write_timeout_s",
    ),
    Setting(
        "KEEPALIVE_TIMEOUT_SECONDS",
        "server.keepalive_timeout_seconds",
        forms.seconds(DAY_S),
        "server.keepalive_timeout_s",
    ),
    Setting(
        "RESPONSE_METADATA",
        "server.response_metadata",
        forms.one_of("body", "headers", "off"),
        "response_metadata",
    ),
    Setting("AUTH_ENABLED", "auth.enabled", forms.boolean, None),
    Setting("ADMIN_API_KEY", "auth.admin_key", forms.key, "admin_key", secret=True),
    Setting("ENABLE_L1_CACHE", "cache.l1.enabled", forms.boolean, "cache.l1_enabled"),
    Setting("L1_CACHE_SIZE", "cache.l1.size", forms.whole(1, 10**9), "cache.l1_entries"),
    Setting("L1_CACHE_MB", "cache.l1.mb", forms.whole(1, 2**20), "cache.l1_bytes"),
    Setting("L1_TTL_SECONDS", "cache.l1.ttl_seconds", forms.seconds(365 * DAY_S), "cache.l1_ttl_s"),
    Setting("L1_TTI_SECONDS", "cache.l1.tti_seconds", forms.seconds(365 * DAY_S), "cache.l1_tti_s"),
    Setting("ENABLE_L2_CACHE", "cache.l2.enabled", forms.boolean, "cache.l2_enabled"),
    Setting("REDIS_URL", "cache.l2.redis_url", redis_address, "cache.redis"),
    Setting("REDIS_CLUSTER_NODES", "cache.l2.redis_cluster_nodes", cluster_nodes, "cache.redis"),
    Setting("CACHE_DIR", "cache.l2.dir", forms.plain_text, "cache.directory"),
    Setting("L2_CACHE_MB", "cache.l2.mb", forms.whole(16, 2**20), "cache.l2_bytes"),
    Setting("L2_TTL_SECONDS", "cache.l2.ttl_seconds", forms.seconds(365 * DAY_S), "cache.l2_ttl_s"),
    Setting(
        "L2_CONNECT_TIMEOUT_MS", "cache.l2.connect_timeout_ms", forms.milliseconds(60_000), "cache.l2_connect_timeout_s"
    ),
    Setting("L2_TIMEOUT_MS", "cache.l2.timeout_ms", forms.milliseconds(60_000), "cache.l2_timeout_s"),
    Setting("CACHE_POLICY", "cache.policy", forms.one_of("all", "deterministic", "off"), "cache.policy"),
    Setting(
        "STALE_IF_ERROR_SECONDS",
        "cache.stale_if_error_seconds",
        forms.seconds(365 * DAY_S, zero=True),
        "cache.stale_if_error_s",
    ),
    Setting("CACHE_SCOPE", "cache.scope", forms.one_of("tenant", "global"), "cache.scope"),
    Setting("TRANSLATION_MODE", "translation.mode", forms.one_of("lenient", "strict"), "translation_mode"),
    Setting("PROMPT_CACHE", "translation.prompt_cache", forms.one_of("auto", "off"), "prompt_cache"),
    Setting("", "translation.expose_thinking", forms.boolean, "expose_thinking"),
    Setting("", "translation.anthropic_version", forms.anthropic_version, "anthropic_version"),
    Setting(
        "ROUTING_STRATEGY",
        "routing.strategy",
        forms.one_of("model", "round_robin", "weighted", "failover", "cost", "latency", "hybrid"),
        "strategy",
    ),
    Setting("FALLBACKS", "routing.fallbacks", forms.fallbacks, "fallbacks"),
    Setting("MAX_REQUEST_SIZE", "limits.max_request_size", forms.whole(1, GIB), "server.max_body_bytes"),
    Setting("MAX_RESPONSE_SIZE", "limits.max_response_size", forms.whole(1, GIB), "max_response_bytes"),
    Setting("MAX_HEADER_BYTES", "limits.max_header_bytes", forms.whole(1024, 2**20), "server.max_header_bytes"),
    Setting("MAX_JSON_DEPTH", "limits.max_json_depth", forms.whole(8, 500), "max_json_depth"),
    Setting("MAX_CONNECTIONS", "limits.max_connections", forms.whole(1, 10**6), "server.max_connections"),
    Setting("MAX_CONCURRENCY", "limits.max_concurrency", forms.whole(1, 10**6), "max_concurrency"),
    Setting("QUEUE_SIZE", "limits.queue_size", forms.whole(0, 10**6), "queue_size"),
    Setting("QUEUE_TIMEOUT_MS", "limits.queue_timeout_ms", forms.whole(0, 600_000), "queue_timeout_ms"),
    Setting("RATE_LIMIT_ENABLED", "limits.rate_limit.enabled", forms.boolean, "rate_limit_enabled"),
    Setting("RATE_LIMIT_RPM", "limits.rate_limit.rpm", forms.whole(1, 10**9), "rate_limit_rpm"),
    Setting("RATE_LIMIT_BURST", "limits.rate_limit.burst", forms.whole(1, 10**9), "rate_limit_burst"),
    Setting(
        "UPSTREAM_TIMEOUT_SECONDS", "resilience.upstream_timeout_seconds", forms.seconds(DAY_S), "attempt_timeout_s"
    ),
    Setting(
        "UPSTREAM_CONNECT_TIMEOUT_SECONDS",
        "resilience.upstream_connect_timeout_seconds",
        forms.seconds(DAY_S),
        "connect_timeout_s",
    ),
    Setting(
        "STREAM_IDLE_TIMEOUT_SECONDS",
        "resilience.stream_idle_timeout_seconds",
        forms.seconds(DAY_S),
        "stream_idle_timeout_s",
    ),
    Setting("MAX_RETRIES", "resilience.max_retries", forms.whole(0, 10), "max_retries"),
    Setting(
        "CIRCUIT_BREAKER_FAILURES", "resilience.circuit_breaker.failures", forms.whole(1, 10**6), "breaker_failures"
    ),
    Setting(
        "CIRCUIT_BREAKER_TIMEOUT_SECONDS",
        "resilience.circuit_breaker.timeout_seconds",
        forms.seconds(DAY_S),
        "breaker_timeout_s",
    ),
    Setting("ENABLE_METRICS", "observability.metrics", forms.boolean, "metrics_enabled"),
    Setting("LEDGER_PATH", "observability.ledger.path", forms.plain_text, "ledger_path"),
    Setting("LEDGER_MAX_MB", "observability.ledger.max_mb", forms.mebibytes(2**20), "ledger_max_bytes"),
    Setting("LEDGER_MAX_DAYS", "observability.ledger.max_days", forms.whole(1, 36_500), "ledger_max_days"),
    Setting("ENABLE_TRACING", "observability.tracing", forms.boolean, "otel.tracing"),
    Setting("OTEL_EXPORTER_OTLP_ENDPOINT", "observability.otlp_endpoint", otel.endpoint, "otel.endpoint"),
    Setting("OTLP_ENDPOINT", None, otel.endpoint, "otel.older_endpoint"),
    Setting("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", None, otel.endpoint, "otel.traces_endpoint"),
    Setting("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", None, otel.endpoint, "otel.metrics_endpoint"),
    Setting("OTEL_EXPORTER_OTLP_HEADERS", None, otel.header_list, "otel.common_headers", secret=True),
    Setting("OTEL_EXPORTER_OTLP_TRACES_HEADERS", None, otel.header_list, "otel.own_traces_headers", secret=True),
    Setting("OTEL_EXPORTER_OTLP_METRICS_HEADERS", None, otel.header_list, "otel.own_metrics_headers", secret=True),
    Setting("OTEL_EXPORTER_OTLP_TIMEOUT", None, forms.whole(1, 600_000), "otel.timeout_ms"),
    Setting("OTEL_EXPORTER_OTLP_COMPRESSION", None, forms.one_of("none", "gzip"), "otel.compression"),
    Setting("OTEL_EXPORTER_OTLP_PROTOCOL", None, otel.protocol, None),
    Setting("OTEL_EXPORTER_OTLP_CERTIFICATE", None, forms.readable_file, "otel.certificate"),
    Setting("OTEL_SDK_DISABLED", None, forms.boolean, "otel.disabled"),
    Setting("OTEL_SERVICE_NAME", None, forms.plain_text, "otel.service_name"),
    Setting("OTEL_RESOURCE_ATTRIBUTES", None, otel.key_values, "otel.resource_attributes"),
    Setting("OTEL_TRACES_EXPORTER", None, otel.exporter, "otel.traces_exporter"),
    Setting("OTEL_METRICS_EXPORTER", None, otel.exporter, "otel.metrics_exporter"),
    Setting("OTEL_TRACES_SAMPLER", None, forms.one_of(*otel.SAMPLERS), "otel.sampler"),
    Setting("OTEL_TRACES_SAMPLER_ARG", None, otel.ratio, "otel.sampler_ratio"),
    Setting("OTEL_BSP_MAX_QUEUE_SIZE", None, forms.whole(1, 10**6), "otel.max_queue"),
    Setting("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", None, forms.whole(1, 10**5), "otel.max_batch"),
    Setting("OTEL_BSP_SCHEDULE_DELAY", None, forms.whole(1, 600_000), "otel.delay_ms"),
    Setting("OTEL_METRIC_EXPORT_INTERVAL", None, forms.whole(100, 3_600_000), "otel.metric_interval_ms"),
    Setting("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", None, forms.whole(1, 10**6), "otel.attribute_value_length_limit"),
    Setting("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", None, otel.capture, "otel.capture_content"),
    Setting("LOG_LEVEL", "observability.log_level", forms.log_level, "log_level"),
    Setting("LOG_FORMAT", "observability.log_format", forms.one_of("json", "text", "auto"), "log_format"),
    Setting("RUST_LOG", None, forms.rust_log, None),
    Setting("HTTPS_PROXY", None, forms.proxy_url, "https_proxy", secret=True),
    Setting("NO_PROXY", None, forms.no_proxy, "no_proxy"),
    Setting("SSL_CERT_FILE", None, forms.readable_file, "ssl_cert_file"),
)

EXPANDED = {"SERVER_ADDRESS": "server.address", "API_KEYS": "auth.keys"}
"""Names with rules of their own, and their places in the file."""

OWN_PREFIX = "LLM_EDGE_"
CONFIG_FILE = "LLM_EDGE_CONFIG"

FREE_SECTIONS = ("providers", "groups", "models", "aliases", "cache.policies")
"""Sections of the file with forms of their own, read elsewhere."""

OTLP_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTLP_ENDPOINT")
