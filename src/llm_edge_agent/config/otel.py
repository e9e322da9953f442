"""OpenTelemetry's standard variables as values: where traces and metrics go, how, and how much of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from llm_edge_agent.config.forms import base_url
from llm_edge_agent.config.secret import Secret
from llm_edge_agent.core.tracing import SamplerName

SAMPLERS: tuple[SamplerName, ...] = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)
_KEY = re.compile(r"[!-+\--<>-~]+")


@dataclass(frozen=True, kw_only=True)
class OtelConfig:
    """What the `OTEL_*` variables say. No endpoint: nothing is exported."""

    tracing: bool = True
    disabled: bool = False
    endpoint: str | None = None
    """Base of all signals; `/v1/traces` and `/v1/metrics` are appended."""
    older_endpoint: str | None = None
    """`OTLP_ENDPOINT`, where the standard one is not set."""
    traces_endpoint: str | None = None
    """Whole URL, taken as it is."""
    metrics_endpoint: str | None = None
    common_headers: Secret | None = None
    own_traces_headers: Secret | None = None
    own_metrics_headers: Secret | None = None
    timeout_ms: int = 10_000
    compression: Literal["none", "gzip"] = "none"
    certificate: str | None = None
    service_name: str = "llm-edge-agent"
    resource_attributes: Mapping[str, str] = field(default_factory=dict)
    traces_exporter: Literal["otlp", "none"] = "otlp"
    metrics_exporter: Literal["otlp", "none"] = "otlp"
    sampler: SamplerName = "parentbased_always_on"
    sampler_ratio: float = 1.0
    max_queue: int = 2048
    max_batch: int = 512
    delay_ms: int = 5000
    metric_interval_ms: int = 60_000
    attribute_value_length_limit: int | None = None
    capture_content: bool = False

    @property
    def exports_traces(self) -> bool:
        wanted = self.tracing and not self.disabled and self.traces_exporter == "otlp"
        return wanted and bool(self.traces_endpoint or self._base)

    @property
    def exports_metrics(self) -> bool:
        wanted = not self.disabled and self.metrics_exporter == "otlp"
        return wanted and bool(self.metrics_endpoint or self._base)

    @property
    def traces_url(self) -> str:
        return self.traces_endpoint or f"{self._base}/v1/traces"

    @property
    def metrics_url(self) -> str:
        return self.metrics_endpoint or f"{self._base}/v1/metrics"

    @property
    def traces_headers(self) -> Mapping[str, str]:
        return _headers(self.own_traces_headers or self.common_headers)

    @property
    def metrics_headers(self) -> Mapping[str, str]:
        return _headers(self.own_metrics_headers or self.common_headers)

    @property
    def _base(self) -> str | None:
        return self.endpoint or self.older_endpoint


def _headers(secret: Secret | None) -> Mapping[str, str]:
    return key_values(secret.reveal()) if secret is not None else {}


def key_values(text: str) -> dict[str, str]:
    """`key=value,key2=value2`, values percent-encoded."""
    found: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        key, equals, value = part.partition("=")
        key, value = key.strip(), unquote(value.strip())
        if not equals or not _KEY.fullmatch(key) or not value.isprintable() or not value.isascii():
            raise ValueError("must be key=value[,key=value] with percent-encoded values")
        found[key] = value
    return found


def header_list(text: str) -> str:
    """Headers for the collector: `key=value[,key=value]`."""
    key_values(text)
    return text


def endpoint(text: str) -> str:
    """Where the collector is: a URL, or host:port in clear."""
    return base_url(text if "://" in text else f"http://{text}")


def exporter(text: str) -> str:
    """Whether a signal is exported."""
    word = text.lower()
    if word in ("none", "prometheus"):  # Prometheus is served either way
        return "none"
    if word != "otlp":
        raise ValueError("must be otlp or none")
    return word


def ratio(text: str) -> float:
    """A share from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError("must be a number from 0 to 1")
    return value


def protocol(text: str) -> str:
    """How OTLP is spoken."""
    if text.lower() != "http/protobuf":
        raise ValueError("must be http/protobuf: traces go over HTTP, to the port that is usually 4318")
    return "http/protobuf"


def capture(text: str) -> bool:
    """Whether prompts and answers go into spans: the values of the Python instrumentations."""
    word = text.lower()
    if word in ("false", "no_content", "off", "0", "none"):
        return False
    if word in ("true", "span_only", "span_and_event", "1"):
        return True
    raise ValueError("must be false, true, NO_CONTENT or SPAN_ONLY")
