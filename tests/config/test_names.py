"""Every name: a valid value, an invalid one, its default, and the same from the file."""

from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from llm_edge_agent.config import AppConfig, NoProvidersError, Secret
from llm_edge_agent.config.names import EXPANDED, SETTINGS
from llm_edge_agent.config.redis_address import redis_address
from tests.config.reading import KEY, problems, read, written

DOCUMENTATION = Path(__file__).parent.parent.parent / "docs" / "configuration.md"

EFFECTIVE: list[tuple[str, str, str, Any]] = [
    ("HOST", "127.0.0.1", "host", "127.0.0.1"),
    ("HOST", "[::1]", "host", "::1"),
    ("HOST", "gateway.internal.", "host", "gateway.internal."),
    ("PORT", "0", "port", 0),
    ("PORT", " 65535 ", "port", 65535),
    ("METRICS_PORT", "0", "metrics_port", 0),
    ("WORKERS", "4", "workers", 4),
    ("WORKERS", "Auto", "workers", "auto"),
    ("RESPONSE_METADATA", "HEADERS", "response_metadata", "headers"),
    ("ENABLE_L1_CACHE", "No", "cache.l1_enabled", False),
    ("L1_CACHE_SIZE", "7", "cache.l1_entries", 7),
    ("L1_CACHE_MB", "3", "cache.l1_bytes", 3 * 1024 * 1024),
    ("L1_TTL_SECONDS", "0.5", "cache.l1_ttl_s", 0.5),
    ("L1_TTI_SECONDS", "60", "cache.l1_tti_s", 60.0),
    ("ENABLE_L2_CACHE", "false", "cache.l2_enabled", False),
    ("REDIS_URL", "rediss://:p@a.test/1", "cache.redis", redis_address("rediss://:p@a.test/1")),
    ("REDIS_CLUSTER_NODES", "a.test:7000,b.test", "cache.redis", redis_address("redis+cluster://a.test:7000,b.test")),
    ("CACHE_DIR", "/var/cache/gateway", "cache.directory", "/var/cache/gateway"),
    ("L2_CACHE_MB", "32", "cache.l2_bytes", 32 * 1024 * 1024),
    ("L2_TTL_SECONDS", "60", "cache.l2_ttl_s", 60.0),
    ("L2_CONNECT_TIMEOUT_MS", "250", "cache.l2_connect_timeout_s", 0.25),
    ("L2_TIMEOUT_MS", "50", "cache.l2_timeout_s", 0.05),
    ("CACHE_POLICY", "off", "cache.policy", "off"),
    ("CACHE_SCOPE", "global", "cache.scope", "global"),
    ("SERVER_TIMEOUT_SECONDS", "60", "total_timeout_s", 60.0),
    ("UPSTREAM_TIMEOUT_SECONDS", "61", "attempt_timeout_s", 61.0),
    ("UPSTREAM_CONNECT_TIMEOUT_SECONDS", "1.5", "connect_timeout_s", 1.5),
    ("STREAM_IDLE_TIMEOUT_SECONDS", "9", "stream_idle_timeout_s", 9.0),
    ("ROUTING_STRATEGY", "Round-Robin", "strategy", "round_robin"),
    ("FALLBACKS", "gpt-5.5=gpt-5.4", "fallbacks", {"gpt-5.5": ("gpt-5.4",)}),
    ("MAX_CONCURRENCY", "7", "max_concurrency", 7),
    ("QUEUE_SIZE", "0", "queue_size", 0),
    ("QUEUE_TIMEOUT_MS", "250", "queue_timeout_ms", 250),
    ("RATE_LIMIT_ENABLED", "on", "rate_limit_enabled", True),
    ("RATE_LIMIT_RPM", "60", "rate_limit_rpm", 60),
    ("RATE_LIMIT_BURST", "5", "rate_limit_burst", 5),
    ("MAX_RETRIES", "0", "max_retries", 0),
    ("CIRCUIT_BREAKER_FAILURES", "9", "breaker_failures", 9),
    ("CIRCUIT_BREAKER_TIMEOUT_SECONDS", "1.5", "breaker_timeout_s", 1.5),
    ("CLIENT_HEADER_TIMEOUT_SECONDS", "3", "server.header_timeout_s", 3.0),
    ("CLIENT_BODY_TIMEOUT_SECONDS", "4", "server.body_timeout_s", 4.0),
    ("CLIENT_WRITE_TIMEOUT_SECONDS", "5", "server.write_timeout_s", 5.0),
    ("KEEPALIVE_TIMEOUT_SECONDS", "6", "server.keepalive_timeout_s", 6.0),
    ("MAX_REQUEST_SIZE", "1000", "server.max_body_bytes", 1000),
    ("MAX_RESPONSE_SIZE", "1001", "max_response_bytes", 1001),
    ("MAX_HEADER_BYTES", "4096", "server.max_header_bytes", 4096),
    ("MAX_JSON_DEPTH", "12", "max_json_depth", 12),
    ("MAX_CONNECTIONS", "3", "server.max_connections", 3),
    ("TRANSLATION_MODE", "strict", "translation_mode", "strict"),
    ("SHUTDOWN_TIMEOUT_SECONDS", "0", "shutdown_timeout_s", 0.0),
    ("ENABLE_METRICS", "0", "metrics_enabled", False),
    ("LEDGER_PATH", "data/ledger.db", "ledger_path", "data/ledger.db"),
    ("LEDGER_MAX_MB", "3", "ledger_max_bytes", 3 * 1024 * 1024),
    ("LEDGER_MAX_DAYS", "7", "ledger_max_days", 7),
    ("LOG_LEVEL", "WARN", "log_level", "warning"),
    ("LOG_FORMAT", "text", "log_format", "text"),
    ("RUST_LOG", "info,llm_edge_agent=debug", "log_level", "debug"),
    ("RUST_LOG", "hyper=trace,warn", "log_level", "warning"),
    ("RUST_LOG", "llm-edge-agent=off, debug", "log_level", "error"),
    ("RUST_LOG", "warn,hyper=info,llm_edge_agent::cache=trace", "log_level", "warning"),
    ("HTTPS_PROXY", "http://u:p@proxy.test:3128", "https_proxy", Secret("http://u:p@proxy.test:3128")),
    ("https_proxy", "proxy.test:3128", "https_proxy", Secret("proxy.test:3128")),
    ("PROMPT_CACHE", "off", "prompt_cache", "off"),
    ("ADMIN_API_KEY", "sk-admin", "admin_key", Secret("sk-admin")),
    ("STALE_IF_ERROR_SECONDS", "600", "cache.stale_if_error_s", 600.0),
    ("NO_PROXY", "localhost, .test  10.0.0.0/8", "no_proxy", ("localhost", ".test", "10.0.0.0/8")),
    ("ENABLE_TRACING", "false", "otel.tracing", False),
    ("OTEL_SDK_DISABLED", "true", "otel.disabled", True),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.test:4318/", "otel.endpoint", "http://collector.test:4318"),
    ("OTLP_ENDPOINT", "collector.test:4318", "otel.older_endpoint", "http://collector.test:4318"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c.test/x", "otel.traces_endpoint", "https://c.test/x"),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://c.test/y", "otel.metrics_endpoint", "https://c.test/y"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "a=b,c=d%20e", "otel.common_headers", Secret("a=b,c=d%20e")),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=b", "otel.own_traces_headers", Secret("a=b")),
    ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=b", "otel.own_metrics_headers", Secret("a=b")),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "500", "otel.timeout_ms", 500),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", "otel.compression", "gzip"),
    ("OTEL_SERVICE_NAME", "edge", "otel.service_name", "edge"),
    ("OTEL_RESOURCE_ATTRIBUTES", "a.b=c,d=e%2Cf", "otel.resource_attributes", {"a.b": "c", "d": "e,f"}),
    ("OTEL_TRACES_EXPORTER", "none", "otel.traces_exporter", "none"),
    ("OTEL_TRACES_EXPORTER", "otlp", "otel.traces_exporter", "otlp"),
    ("OTEL_METRICS_EXPORTER", "prometheus", "otel.metrics_exporter", "none"),
    ("OTEL_TRACES_SAMPLER", "traceidratio", "otel.sampler", "traceidratio"),
    ("OTEL_TRACES_SAMPLER_ARG", "0.1", "otel.sampler_ratio", 0.1),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "10", "otel.max_queue", 10),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5", "otel.max_batch", 5),
    ("OTEL_BSP_SCHEDULE_DELAY", "100", "otel.delay_ms", 100),
    ("OTEL_METRIC_EXPORT_INTERVAL", "1000", "otel.metric_interval_ms", 1000),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "99", "otel.attribute_value_length_limit", 99),
    ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY", "otel.capture_content", True),
    ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "no_content", "otel.capture_content", False),
]

HARMLESS = [
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
    ("AUTH_ENABLED", "false"),
]

INVALID = [
    ("STALE_IF_ERROR_SECONDS", "-1", "a number of seconds from 0"),
    ("HOST", "http://x", "host name"),
    ("HOST", "1.2.3", "host name"),
    ("PORT", "-1", "0 to 65535"),
    ("PORT", "65536", "0 to 65535"),
    ("PORT", "١", "whole number"),
    ("METRICS_PORT", "nine", "whole number"),
    ("SERVER_ADDRESS", "8080", "host:port"),
    ("SERVER_ADDRESS", "::1:8080", "host:port"),
    ("SERVER_ADDRESS", "a.test:x", "host:port"),
    ("WORKERS", "0", "auto or"),
    ("RESPONSE_METADATA", "both", "body, headers, off"),
    ("AUTH_ENABLED", "maybe", "true or false"),
    ("ADMIN_API_KEY", "a b", "no key has"),
    ("ENABLE_L1_CACHE", "2", "true or false"),
    ("L1_CACHE_SIZE", "0", "from 1"),
    ("L1_CACHE_MB", "0", "from 1"),
    ("L1_TTL_SECONDS", "0", "seconds"),
    ("L1_TTL_SECONDS", "inf", "seconds"),
    ("L1_TTI_SECONDS", "nan", "seconds"),
    ("CACHE_POLICY", "some", "all, deterministic, off"),
    ("CACHE_SCOPE", "user", "tenant, global"),
    ("PROMPT_CACHE", "on", "auto, off"),
    ("ENABLE_L2_CACHE", "si", "true or false"),
    ("REDIS_URL", "http://cache.test", "redis://"),
    ("REDIS_URL", "redis://user:hunter2@a.test:port", "port"),
    ("REDIS_CLUSTER_NODES", "a.test:7000/1", "host:port"),
    ("CACHE_DIR", "a\x00b", "one line"),
    ("L2_CACHE_MB", "1", "from 16"),
    ("L2_TTL_SECONDS", "-1", "seconds"),
    ("L2_CONNECT_TIMEOUT_MS", "0", "from 1"),
    ("L2_TIMEOUT_MS", "1s", "whole number"),
    ("ROUTING_STRATEGY", "random", "one of model"),
    ("SERVER_TIMEOUT_SECONDS", "ten", "seconds"),
    ("UPSTREAM_TIMEOUT_SECONDS", "0", "seconds"),
    ("UPSTREAM_CONNECT_TIMEOUT_SECONDS", "-5", "seconds"),
    ("STREAM_IDLE_TIMEOUT_SECONDS", "1e99", "seconds"),
    ("CLIENT_HEADER_TIMEOUT_SECONDS", "x", "seconds"),
    ("CLIENT_BODY_TIMEOUT_SECONDS", "x", "seconds"),
    ("CLIENT_WRITE_TIMEOUT_SECONDS", "x", "seconds"),
    ("KEEPALIVE_TIMEOUT_SECONDS", "x", "seconds"),
    ("SHUTDOWN_TIMEOUT_SECONDS", "-1", "seconds from 0"),
    ("MAX_REQUEST_SIZE", "20MB", "whole number"),
    ("MAX_RESPONSE_SIZE", "0", "from 1"),
    ("MAX_HEADER_BYTES", "10", "from 1024"),
    ("MAX_JSON_DEPTH", "100000", "to 500"),
    ("MAX_CONNECTIONS", "0", "from 1"),
    ("MAX_CONCURRENCY", "0", "from 1"),
    ("MAX_RETRIES", "-1", "from 0"),
    ("QUEUE_SIZE", "x", "whole number"),
    ("QUEUE_TIMEOUT_MS", "x", "whole number"),
    ("FALLBACKS", "gpt-4o", "model=model"),
    ("FALLBACKS", "a=b;a=c", "once"),
    ("TRANSLATION_MODE", "loose", "lenient, strict"),
    ("CIRCUIT_BREAKER_FAILURES", "0", "from 1"),
    ("CIRCUIT_BREAKER_TIMEOUT_SECONDS", "x", "seconds"),
    ("RATE_LIMIT_ENABLED", "x", "true or false"),
    ("RATE_LIMIT_RPM", "0", "from 1"),
    ("RATE_LIMIT_BURST", "0", "from 1"),
    ("ENABLE_METRICS", "x", "true or false"),
    ("ENABLE_TRACING", "x", "true or false"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector.test", "http://"),
    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", "no host"),
    ("OTLP_ENDPOINT", "http://u:p@collector.test", "user name"),
    ("OTEL_SDK_DISABLED", "x", "true or false"),
    ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "ftp://x", "http://"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "no equals", "key=value"),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=%0d%0ab", "key=value"),
    ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a b=c", "key=value"),
    ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "whole number"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "br", "none, gzip"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem", "cannot be read"),
    ("OTEL_SERVICE_NAME", "a\x07b", "one line"),
    ("OTEL_RESOURCE_ATTRIBUTES", "x", "key=value"),
    ("OTEL_TRACES_EXPORTER", "console", "otlp or none"),
    ("OTEL_METRICS_EXPORTER", "statsd", "otlp or none"),
    ("OTEL_TRACES_SAMPLER", "sometimes", "always_on"),
    ("OTEL_TRACES_SAMPLER_ARG", "1.5", "from 0 to 1"),
    ("OTEL_TRACES_SAMPLER_ARG", "half", "from 0 to 1"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "from 1"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "x", "whole number"),
    ("OTEL_BSP_SCHEDULE_DELAY", "0", "from 1"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "1", "from 100"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "0", "from 1"),
    ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "maybe", "false, true"),
    ("LEDGER_PATH", "a\tb", "text on one line"),
    ("LEDGER_MAX_MB", "0", "1 to 1048576"),
    ("LEDGER_MAX_DAYS", "1.5", "1 to 36500"),
    ("LOG_LEVEL", "loud", "debug, info"),
    ("LOG_FORMAT", "xml", "json, text"),
    ("RUST_LOG", "llm_edge_agent=loud", "levels"),
    ("RUST_LOG", "hyper", "levels"),
    ("HTTPS_PROXY", "https://proxy.test", "http://"),
    ("HTTPS_PROXY", "http://u:p@proxy.test:port", "URL"),
    ("HTTPS_PROXY", "http://", "host"),
    ("NO_PROXY", "a.test,*.", "hosts"),
    ("SSL_CERT_FILE", "/nowhere/ca.pem", "cannot be read"),
    ("SSL_CERT_FILE", __file__, "no certificate"),
    ("LLM_EDGE_CONFIG", "/nowhere/file.yaml", "no such file"),
    ("LLM_EDGE_CONFG", "x", "did you mean LLM_EDGE_CONFIG?"),
    ("LLM_EDGE_METRICS_PORT", "9090", "did you mean METRICS_PORT?"),
    ("LLM_EDGE_AGENT_PORT", "8080", "unknown"),
]


@pytest.mark.parametrize(("name", "value", "field", "expected"), EFFECTIVE)
def test_a_valid_value_fills_its_field(name: str, value: str, field: str, expected: object) -> None:
    found = attrgetter(field)(read({name: value}))
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(("name", "value"), HARMLESS)
def test_a_value_without_effect_is_accepted(name: str, value: str) -> None:
    config = read({name: value})
    assert [line for line in config.warnings if name not in line] == []
    assert config.__class__(**{**vars(config), "warnings": ()}) == read()


@pytest.mark.parametrize(("name", "value", "wanted"), INVALID)
def test_an_invalid_value_is_one_line_that_names_the_variable_and_hides_the_value(
    name: str, value: str, wanted: str
) -> None:
    (line,) = problems({name: value})
    assert line.startswith(f"{name}: ")
    assert wanted in line
    assert len(value) < 5 or value not in line.removeprefix(name)


def test_the_tables_above_leave_out_no_name() -> None:
    names = {setting.name for setting in SETTINGS if setting.name}
    assert names == {row[0] for row in INVALID} & names
    effective = {setting.field for setting in SETTINGS if setting.name and setting.field}
    assert effective - {row[2] for row in EFFECTIVE} == {"ssl_cert_file", "otel.certificate"}
    without_field = {setting.name for setting in SETTINGS if setting.field is None}
    assert without_field - {row[0] for row in HARMLESS} == {"RUST_LOG"}


@pytest.mark.parametrize("name", [*(s.name for s in SETTINGS if s.name), "SERVER_ADDRESS", "LLM_EDGE_CONFIG"])
def test_an_empty_variable_counts_as_not_set(name: str) -> None:
    assert read({name: " "}) == read()


FROM_FILE = {row[0]: row for row in EFFECTIVE}


@pytest.mark.parametrize("setting", [s for s in SETTINGS if s.path and s.name in FROM_FILE], ids=lambda s: s.path)
def test_the_file_says_the_same_under_its_own_key(setting: Any, tmp_path: Path) -> None:
    name, value, field, expected = FROM_FILE[setting.name]
    *sections, key = setting.path.split(".")
    text = "".join(f"{'  ' * depth}{section}:\n" for depth, section in enumerate(sections))
    path = written(
        tmp_path, f"{text}{'  ' * len(sections)}{key}: {value.strip() if '[' not in value else repr(value)}\n"
    )
    assert attrgetter(field)(read(config_file=path)) == expected
    assert attrgetter(field)(read({name: value}, config_file=path)) == expected


def test_defaults_are_those_of_the_reference() -> None:
    config = AppConfig.from_env(KEY)
    assert (config.host, config.port, config.metrics_port) == ("0.0.0.0", 8080, 9090)
    assert (config.total_timeout_s, config.attempt_timeout_s, config.connect_timeout_s) == (600, 120, 5)
    assert (config.stream_idle_timeout_s, config.shutdown_timeout_s) == (60, 30)
    cache = config.cache
    assert (cache.l1_enabled, cache.l1_entries, cache.l1_bytes) == (True, 10000, 64 * 2**20)
    assert (cache.l1_ttl_s, cache.l1_tti_s, cache.policy, cache.scope) == (300, 120, "all", "tenant")
    assert (cache.stale_if_error_s, cache.policies) == (0, ())
    assert (cache.l2_enabled, cache.redis, cache.directory, cache.l2_bytes) == (False, None, None, 2**30)
    assert (cache.l2_ttl_s, cache.l2_connect_timeout_s, cache.l2_timeout_s) == (3600, 1, 0.1)
    server = config.server
    assert (server.max_body_bytes, server.max_header_bytes, server.max_connections) == (20971520, 32768, 20000)
    assert (server.header_timeout_s, server.body_timeout_s, server.body_bytes_per_s) == (10, 30, 16384)
    assert (server.write_timeout_s, server.keepalive_timeout_s) == (60, 75)
    assert (config.max_response_bytes, config.max_json_depth) == (67108864, 128)
    assert (config.response_metadata, config.translation_mode, config.prompt_cache) == ("body", "lenient", "auto")
    assert (config.log_level, config.log_format, config.metrics_enabled) == ("info", "auto", True)
    assert (config.auth_enabled, config.keys, config.warnings, config.config_file) == (False, (), (), None)


def test_without_redis_the_second_tier_has_a_folder_of_the_platform() -> None:
    on = {"ENABLE_L2_CACHE": "true"}
    assert read({**on, "XDG_CACHE_HOME": "/var/caches"}).cache.directory == "/var/caches/llm-edge-agent"
    assert str(read({**on, "HOME": "/somebody"}).cache.directory).startswith("/somebody/")
    assert read({**on, "HOME": "/somebody", "CACHE_DIR": "/elsewhere"}).cache.directory == "/elsewhere"
    assert read({**on, "REDIS_URL": "redis://a.test"}).cache.directory is None
    (line,) = problems(on)
    assert line.startswith("CACHE_DIR: must be set")


def test_two_addresses_for_one_second_tier() -> None:
    (line,) = problems({"REDIS_URL": "redis://a.test", "REDIS_CLUSTER_NODES": "b.test"})
    assert line == "REDIS_CLUSTER_NODES: given beside REDIS_URL: use one of them"


def test_every_problem_at_once() -> None:
    found = problems({"PORT": "x", "CACHE_POLICY": "y", "OPENAI_API_KEY": "a b", "API_KEYS": ",", "LLM_EDGE_X": ""})
    assert [line.split(":")[0] for line in found] == [
        "LLM_EDGE_X",
        "PORT",
        "CACHE_POLICY",
        "API_KEYS",
        "API_KEYS",
        "OPENAI_API_KEY",
    ]


def test_no_provider() -> None:
    with pytest.raises(NoProvidersError) as caught:
        AppConfig.from_env({"OPENAI_API_KEY": ""})
    assert caught.value.problems == ("No providers configured",)
    for word in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "llm-edge-agent demo"):
        assert word in caught.value.hint


def test_a_cluster_may_announce_a_service_of_our_name() -> None:
    announced = {
        "LLM_EDGE_AGENT_SERVICE_HOST": "10.0.0.1",
        "LLM_EDGE_AGENT_SERVICE_PORT_HTTP": "8080",
        "LLM_EDGE_AGENT_PORT": "tcp://10.0.0.1:8080",
        "LLM_EDGE_AGENT_PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    assert read(announced) == read()


def test_two_listeners_cannot_share_a_port() -> None:
    (line,) = problems({"PORT": "9090"})
    assert line.startswith("METRICS_PORT: is the same as PORT")
    assert read({"PORT": "9090", "ENABLE_METRICS": "false"}).port == 9090
    assert read({"PORT": "0", "METRICS_PORT": "0"}).metrics_port == 0


@pytest.mark.parametrize("url", ["http://localhost:8080/v1", "http://127.0.0.1:8080/v1", "http://[::1]:8080/v1"])
def test_a_provider_that_is_the_gateway_itself_is_a_loop(url: str) -> None:
    assert problems({"OPENAI_BASE_URL": url}) == ("OPENAI_BASE_URL: is the address of this gateway itself",)
    assert read({"OPENAI_BASE_URL": url, "PORT": "8081"}).providers[0].base_url == url


@pytest.mark.parametrize("name", ["OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
def test_an_endpoint_switches_traces_on_and_others_switch_them_off(name: str) -> None:
    endpoint = {name: "http://collector.test:4318"}
    assert not read().otel.exports_traces
    assert read(endpoint).otel.exports_traces
    for off in ({"ENABLE_TRACING": "false"}, {"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}):
        assert not read({**endpoint, **off}).otel.exports_traces


def test_where_each_signal_goes() -> None:
    base = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c.test:4318", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"}
    otel = read(base).otel
    assert (otel.traces_url, otel.metrics_url) == ("http://c.test:4318/v1/traces", "http://c.test:4318/v1/metrics")
    assert otel.traces_headers == otel.metrics_headers == {"a": "b"}
    assert otel.exports_metrics
    own = {**base, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t.test/x", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "c=d"}
    assert (read(own).otel.traces_url, read(own).otel.traces_headers) == ("http://t.test/x", {"c": "d"})
    assert read({"OTLP_ENDPOINT": "http://old.test:4318"}).otel.traces_url == "http://old.test:4318/v1/traces"
    assert not read({**base, "OTEL_METRICS_EXPORTER": "none"}).otel.exports_metrics
    assert read().otel.traces_headers == {}


def test_the_port_of_the_other_protocol_is_worth_a_warning() -> None:
    (line,) = read({"OTLP_ENDPOINT": "collector.test:4317"}).warnings
    assert "OTLP_ENDPOINT" in line
    assert "4318" in line


def test_the_documentation_names_every_variable_and_every_key() -> None:
    text = DOCUMENTATION.read_text("utf-8")
    names = [setting.name for setting in SETTINGS if setting.name] + list(EXPANDED)
    paths = [setting.path for setting in SETTINGS if setting.path] + list(EXPANDED.values())
    assert [name for name in (*names, *paths) if f"`{name}`" not in text] == []
