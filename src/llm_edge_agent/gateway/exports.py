"""Traces and metrics on their way to a collector, over a connection pool of their own. Nothing of it exists where no
collector is configured."""

import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, cast

from llm_edge_agent.config import OtelConfig
from llm_edge_agent.core.tracing import Sampler
from llm_edge_agent.gateway.exchange import Observer
from llm_edge_agent.http.deadlines import Sweep
from llm_edge_agent.http.origins import Origin, Timeouts, UpstreamFailure
from llm_edge_agent.http.pool import UpstreamPool, tls_context
from llm_edge_agent.http.proxies import ProxySettings
from llm_edge_agent.http.tasks import spawn
from llm_edge_agent.telemetry.otlp import Exporter, ExportFailedError
from llm_edge_agent.telemetry.traced import OFF, ContentCapture, Tracer
from llm_edge_agent.version import __version__

SCOPE = "llm_edge_agent"
_MAX_ANSWER_BYTES = 1024 * 1024
_CLOSE_S = 2.0


class MissingExtraError(Exception):
    """Traces are asked for and what encodes them is not installed."""


@dataclass(frozen=True)
class Exports:
    """What observes exchanges for a collector. `close` it in the end."""

    tracer: Tracer
    observers: tuple[Observer, ...] = ()
    dropped: Callable[[], int] | None = None
    """Sampled requests whose spans were lost; None where nothing is exported."""
    close: Callable[[], Awaitable[None]] | None = None


def exports(
    config: OtelConfig,
    clean: Callable[[str], str],
    sweep: Sweep,
    proxy: ProxySettings | None,
    ssl_cert_file: str | None,
) -> Exports:
    """Composes what `config` asks for. `clean` takes keys out of a text.

    Raises MissingExtraError; ValueError or OSError where the collector's certificate cannot be read.
    """
    if not (config.exports_traces or config.exports_metrics):
        return Exports(Tracer(OFF))
    try:
        from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
        from opentelemetry.proto.resource.v1.resource_pb2 import Resource

        from llm_edge_agent.telemetry.genai_metrics import GenAIMetrics
        from llm_edge_agent.telemetry.spans import add_attributes
        from llm_edge_agent.telemetry.traces import Traces
    except ImportError:
        raise MissingExtraError(
            "an OTLP endpoint is set, but the package for it is missing: pip install 'llm-edge-agent[otel]'"
        ) from None
    resource = Resource()
    add_attributes(
        resource.attributes,
        {
            "service.name": config.service_name,
            "service.version": __version__,
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
            **config.resource_attributes,
        },
    )
    scope = InstrumentationScope(name=SCOPE, version=__version__)
    pool = UpstreamPool(
        sweep=sweep,
        tls=_tls(config, ssl_cert_file),
        proxy=proxy,
        max_response_bytes=_MAX_ANSWER_BYTES,
    )
    timeout_s = config.timeout_ms / 1000
    timeouts = Timeouts(connect_s=timeout_s, answer_s=timeout_s, idle_s=timeout_s)
    observers: list[Observer] = []
    closers: list[Callable[[float], Coroutine[Any, Any, None]]] = []
    tracer, dropped = Tracer(OFF), None
    if config.exports_traces:
        capture = None
        if config.capture_content:
            limit = config.attribute_value_length_limit
            capture = ContentCapture(clean) if limit is None else ContentCapture(clean, limit)
        tracer = Tracer(Sampler(config.sampler, config.sampler_ratio), capture)
        traces = Traces(
            Exporter(
                "traces",
                _post(pool, config.traces_url, timeouts),
                headers=config.traces_headers,
                gzip=config.compression == "gzip",
            ),
            resource,
            scope,
            tracer.new_span_id,
            max_queue=config.max_queue,
            max_batch=config.max_batch,
            delay_s=config.delay_ms / 1000,
            max_value_length=config.attribute_value_length_limit,
            spawn=_spawn,
        )
        observers.append(traces.observe)
        closers.append(traces.close)

        def dropped() -> int:
            return traces.dropped

    if config.exports_metrics:
        metrics = GenAIMetrics(
            Exporter(
                "metrics",
                _post(pool, config.metrics_url, timeouts),
                headers=config.metrics_headers,
                gzip=config.compression == "gzip",
            ),
            resource,
            scope,
            interval_s=config.metric_interval_ms / 1000,
            spawn=_spawn,
        )
        observers.append(metrics.observe)
        closers.append(metrics.close)

    async def close() -> None:
        for each in closers:
            await each(_CLOSE_S)
        await pool.close()

    return Exports(tracer, tuple(observers), dropped, close)


def _tls(config: OtelConfig, ssl_cert_file: str | None) -> ssl.SSLContext:
    return tls_context(config.certificate or ssl_cert_file)


def _post(pool: UpstreamPool, url: str, timeouts: Timeouts) -> Callable[[bytes, bytes], Awaitable[int]]:
    origin = Origin.from_url(url)
    path = origin.prefix.encode() or b"/"
    base = Origin(origin.tls, origin.host, origin.port)

    async def post(headers: bytes, body: bytes) -> int:
        try:
            answer = await pool.send(base, b"POST", path, headers, body, timeouts)
            try:
                await answer.read()
            finally:
                answer.close()
        except UpstreamFailure as failure:
            raise ExportFailedError(failure.detail) from failure
        return answer.status

    return post


def _spawn(work: Awaitable[None]) -> object:
    return spawn(cast(Coroutine[Any, Any, None], work))
