"""One try at one provider: send, and either an answer that may be relayed or a GatewayError that says why not."""

import time
from dataclasses import dataclass

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Dialect
from llm_edge_agent.core.resilience import Health
from llm_edge_agent.dialects.endpoint import Prepared, Translator
from llm_edge_agent.gateway.exchange import Exchange
from llm_edge_agent.gateway.replies import relayed_headers
from llm_edge_agent.http.client import UpstreamAnswer
from llm_edge_agent.http.origins import FailureReason, Origin, Timeouts, UpstreamFailure
from llm_edge_agent.http.pool import UpstreamPool

_FAILURES = {
    FailureReason.DNS: (ErrorKind.UPSTREAM_CONNECTION, "could not be found (DNS)"),
    FailureReason.CONNECT: (ErrorKind.UPSTREAM_CONNECTION, "could not be reached"),
    FailureReason.CONNECT_TIMEOUT: (ErrorKind.UPSTREAM_CONNECTION, "did not accept a connection in time"),
    FailureReason.TLS: (ErrorKind.UPSTREAM_CONNECTION, "could not be reached securely"),
    FailureReason.PROXY: (ErrorKind.UPSTREAM_CONNECTION, "could not be reached through the proxy"),
    FailureReason.CLOSED: (ErrorKind.UPSTREAM_CONNECTION, "closed the connection before its answer was complete"),
    FailureReason.PROTOCOL: (ErrorKind.UPSTREAM_INVALID, "sent something that is not valid HTTP"),
    FailureReason.ENCODING: (ErrorKind.UPSTREAM_INVALID, "sent a content coding that was not asked for"),
    FailureReason.TOO_LARGE: (ErrorKind.UPSTREAM_TOO_LARGE, "sent an answer larger than MAX_RESPONSE_SIZE allows"),
    FailureReason.TIMEOUT: (ErrorKind.UPSTREAM_TIMEOUT, "did not answer in time"),
    FailureReason.IDLE_TIMEOUT: (ErrorKind.UPSTREAM_TIMEOUT, "fell silent in the middle of its answer"),
    FailureReason.SHUTDOWN: (ErrorKind.SHUTTING_DOWN, "was being answered while the gateway shut down"),
}


@dataclass(frozen=True)
class Upstream:
    """One provider account, ready to be called. `headers` are finished lines and hold the credentials."""

    name: str
    dialect: Dialect
    origin: Origin
    headers: bytes
    ask_usage: bool
    health: Health


def failure_error(provider: str, failure: UpstreamFailure) -> GatewayError:
    """A failed exchange as what the client is told."""
    kind, what = _FAILURES[failure.reason]
    return GatewayError(kind, f"The provider '{provider}' {what}.", extra={"provider": provider})


async def attempt(
    pool: UpstreamPool,
    upstream: Upstream,
    translator: Translator,
    prepared: Prepared,
    exchange: Exchange,
    timeouts: Timeouts,
    *,
    stream: bool,
) -> UpstreamAnswer:
    """Sends the request and returns the provider's 200, its body not yet read. The caller closes it.

    Raises GatewayError for everything else, and keeps the provider's health.
    """
    exchange.provider = upstream.name
    accept = b"accept: text/event-stream\r\n" if stream else b"accept: application/json\r\n"
    try:
        answer = await pool.send(
            upstream.origin,
            b"POST",
            prepared.path,
            upstream.headers + prepared.headers + accept,
            prepared.body,
            timeouts,
        )
        exchange.upstream_status = answer.status
        if answer.status == 200:
            return answer
        try:
            body = await answer.read()
        finally:
            answer.close()
    except UpstreamFailure as failure:
        upstream.health.failed()
        raise failure_error(upstream.name, failure) from failure
    exchange.refusal_headers = relayed_headers(answer.headers, refused=True)
    error = translator.error(answer.status, answer.headers, body, provider=upstream.name, now_unix_s=time.time())
    if error.kind.value.blame or error.kind is ErrorKind.UPSTREAM_AUTH:
        upstream.health.failed()
    else:
        upstream.health.succeeded()
    raise error
