"""Ready replies: header lines, the `metadata` object, errors in OpenAI's shape."""

import math
import re
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Literal

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.pricing import usd
from llm_edge_agent.dialects import CHAT
from llm_edge_agent.dialects.endpoint import Endpoint
from llm_edge_agent.gateway.exchange import Exchange
from llm_edge_agent.http.messages import Complete
from llm_edge_agent.http.plain_heads import WantedFields

JSON_HEADERS = b"content-type: application/json\r\nx-content-type-options: nosniff\r\n"
ESTIMATE_HEADERS = JSON_HEADERS + b"x-llm-edge-estimated: true\r\n"
SSE_HEADERS = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache, no-transform\r\n"
    b"x-accel-buffering: no\r\nx-content-type-options: nosniff\r\n"
)

MetadataPlace = Literal["body", "headers", "off"]
"""Where `metadata` is told. `headers`: of a stream, whose head comes before anything of it is known, its trailers. By
doors whose bodies stay as they came, `body` means the head of a whole answer, and no trailers."""

TRAILER_LINE = b"trailer: x-llm-edge-cost-usd, x-llm-edge-latency-ms\r\n"

MAX_WARNINGS = 32
MAX_WARNING_CHARACTERS = 96
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9_.:\[\]/-]")

_RELAYED_PREFIXES = (b"x-ratelimit-", b"anthropic-ratelimit-")
_RELAYED = frozenset({b"openai-processing-ms", b"retry-after", b"retry-after-ms", b"x-should-retry"})
_UPSTREAM_ID_FIELDS = (b"x-request-id", b"request-id")

TOLD = WantedFields(
    "content-type x-ratelimit-* anthropic-ratelimit-* openai-processing-ms retry-after retry-after-ms x-should-retry"
    " x-request-id request-id"
)
"""The fields of a provider's answer that the gateway reads, or gives to the client."""


def hit_metadata(provider: str, tier: str, latency_s: float) -> bytes:
    """`metadata_object` of a hit, which costs nothing. On the hottest path, so spelled out."""
    return b'{"provider":"%b","cached":true,"cache_tier":"%b","latency_ms":%.3f,"cost_usd":0.0}' % (
        provider.encode(),
        tier.encode(),
        latency_s * 1000,
    )


def joined_metadata(provider: str, latency_s: float) -> bytes:
    """`metadata_object` of an answer that was made for somebody else: free, and from no tier to be counted on."""
    return b'{"provider":"%b","cached":true,"cache_tier":null,"latency_ms":%.3f,"cost_usd":0.0}' % (
        provider.encode(),
        latency_s * 1000,
    )


def metadata_object(provider: str, latency_s: float, cost_picodollars: int | None) -> bytes:
    """The `metadata` member of a completion that a provider was asked for, encoded. An unknown cost is null."""
    cost = "null" if cost_picodollars is None else usd(cost_picodollars)
    return (
        f'{{"provider":"{provider}","cached":false,"cache_tier":null,'
        f'"latency_ms":{latency_s * 1000:.3f},"cost_usd":{cost}}}'
    ).encode()


def warnings_line(warnings: Sequence[str]) -> str:
    """The `x-llm-edge-warnings` line, or nothing. Names of members that a client made up may stand in it, so anything
    that is not plain is replaced."""
    if not warnings:
        return ""
    plain = [_NOT_PLAIN.sub("_", warning[:MAX_WARNING_CHARACTERS]) for warning in warnings[:MAX_WARNINGS]]
    return f"x-llm-edge-warnings: {', '.join(plain)}\r\n"


def own_lines(
    cache: str, provider: str | None, model: str | None, cost_picodollars: int | None, warnings: Sequence[str]
) -> bytes:
    """The `x-llm-edge-*` lines of an answer that do not change from one reply to the next."""
    lines = f"x-llm-edge-cache: {cache}\r\nx-llm-edge-provider: {provider}\r\n"
    if model is not None:
        lines += f"x-llm-edge-model: {model}\r\n"
    if cost_picodollars is not None:
        lines += f"x-llm-edge-cost-usd: {usd(cost_picodollars)}\r\n"
    return (lines + warnings_line(warnings)).encode("ascii")


def answer_lines(exchange: Exchange, endpoint: Endpoint, *, cost_picodollars: int | None) -> bytes:
    """The gateway's own lines of an answer that was made for this request, or that it joined."""
    shared = own_lines(exchange.cache, exchange.provider, exchange.model, cost_picodollars, exchange.warnings)
    return b"%b%bx-llm-edge-attempts: %d\r\n%b" % (
        shared,
        endpoint.request_id_lines(exchange.request_id.encode()),
        len(exchange.attempts),
        exchange.route_line,
    )


def latency_line(exchange: Exchange) -> bytes:
    return b"x-llm-edge-latency-ms: %.3f\r\n" % ((monotonic() - exchange.started_s) * 1000)


def trailing_lines(exchange: Exchange) -> bytes:
    """What a stream's head could not tell."""
    cost = exchange.exact_cost_picodollars
    lines = b"" if cost is None else b"x-llm-edge-cost-usd: %b\r\n" % usd(cost).encode("ascii")
    return lines + latency_line(exchange)


def relayed_headers(upstream: Mapping[bytes, bytes], *, refused: bool = False) -> bytes:
    """The lines of a provider's answer that the client gets: rate limits, retry advice, and the provider's request id
    under our own name. Everything else (cookies, organisation ids, hop-by-hop fields) stays here. `refused`: the answer
    is an error; its retry advice is read and given by `error_reply`."""
    lines = []
    for name, value in upstream.items():
        if (name in _RELAYED and not refused) or name.startswith(_RELAYED_PREFIXES):
            lines.append(b"%b: %b\r\n" % (name, value))
    for name in _UPSTREAM_ID_FIELDS:
        if name in upstream:
            lines.append(b"x-llm-edge-upstream-id: %b\r\n" % upstream[name])
            break
    return b"".join(lines)


def error_reply(
    error: GatewayError,
    request_id: str,
    *,
    endpoint: Endpoint = CHAT,
    extra_headers: bytes = b"",
    close: bool = False,
) -> Complete:
    """A failure as a whole reply: the endpoint's error object, the request id, retry advice."""
    headers = b"%b%b%b" % (JSON_HEADERS, endpoint.request_id_lines(request_id.encode()), extra_headers)
    if error.retry_after_s is not None:
        headers += b"retry-after: %d\r\n" % math.ceil(error.retry_after_s)
    if error.should_retry is not None:
        headers += b"x-should-retry: %b\r\n" % (b"true" if error.should_retry else b"false")
    if error.status == 401:
        headers += b"www-authenticate: Bearer\r\n"
    return Complete(error.status, headers, endpoint.error_body(error), close=close)
