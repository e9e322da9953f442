"""Tries at deployments: one after the other until one answers, and one by itself, which ends in an answer that may be
relayed or in a GatewayError that says why not."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic
from typing import TypeVar

from llm_edge_agent.core.deployments import Deployment, Try
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.needs import NOTHING
from llm_edge_agent.core.plan import NO_FALLBACKS
from llm_edge_agent.core.walk import Ask, Walk
from llm_edge_agent.dialects.endpoint import Prepared, Translator
from llm_edge_agent.dialects.needs import needs_of
from llm_edge_agent.dialects.rate_limits import reset_after_s
from llm_edge_agent.gateway.exchange import Exchange
from llm_edge_agent.gateway.faults import let_go
from llm_edge_agent.gateway.fleet import Upstream
from llm_edge_agent.gateway.gate import Gate
from llm_edge_agent.gateway.miss import Miss
from llm_edge_agent.gateway.replies import relayed_headers
from llm_edge_agent.http.client import UpstreamAnswer
from llm_edge_agent.http.origins import FailureReason, Timeouts, UpstreamFailure
from llm_edge_agent.http.pool import UpstreamPool

Reply = TypeVar("Reply")

MAX_SHOWN_CHARACTERS = 128
_NOT_SHOWN = re.compile(r"[^ -:<-~]")

_chance = Random().random  # noqa: S311  spreads load and pauses: nobody gains by guessing it

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


def timeouts_within(timeouts: Timeouts, remaining_s: float) -> Timeouts:
    """The same bounds, none past the end of the request."""
    if remaining_s >= timeouts.answer_s:
        return timeouts
    left_s = max(0.001, remaining_s)
    return Timeouts(connect_s=min(timeouts.connect_s, left_s), answer_s=left_s, idle_s=timeouts.idle_s)


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
    tried: Try,
    timeouts: Timeouts,
) -> UpstreamAnswer:
    """Sends the request and returns the provider's 200: whole, or where a `stream` was asked for, its body not yet
    read. The caller closes it.

    Raises GatewayError for everything else. What the answer's head says of rate limits is told to `tried`, which the
    caller ends.
    """
    exchange.provider = upstream.name
    exchange.upstream_status = None
    exchange.refusal_headers = b""
    headers = upstream.headers[tried.key] + prepared.headers
    if upstream.trace_context and exchange.traced is not None:
        headers += _trace_lines(exchange)
    accept = b"accept: text/event-stream\r\n" if tried.stream else b"accept: application/json\r\n"
    try:
        answer = await pool.send(
            upstream.origin,
            b"POST",
            prepared.path,
            headers + accept,
            prepared.body,
            timeouts,
            whole=not tried.stream,
        )
        exchange.upstream_status = answer.status
        wait_s = reset_after_s(answer.headers, time.time())
        if wait_s is not None:
            tried.park(wait_s, monotonic())
        if answer.status == 200:
            return answer
        try:
            body = await answer.read()
        finally:
            answer.close()
    except UpstreamFailure as failure:
        exchange.upstream_status = failure.status or exchange.upstream_status
        raise failure_error(upstream.name, failure) from failure
    exchange.refusal_headers = relayed_headers(answer.headers, refused=True)
    error = translator.error(answer.status, answer.headers, body, provider=upstream.name, now_unix_s=time.time())
    if answer.headers.get(b"x-should-retry") == b"false":
        error.should_retry = False
    raise error


def _trace_lines(exchange: Exchange) -> bytes:
    """W3C trace context for a provider that is told of it: the span of this attempt is its parent."""
    traced, tracer = exchange.traced, exchange.tracer
    if traced is None or tracer is None:
        return b""
    span_id = exchange.attempts[-1].span_id = tracer.new_span_id()
    lines = b"traceparent: %b\r\n" % traced.trace.traceparent(span_id)
    return lines + (b"tracestate: %b\r\n" % traced.trace.state.encode() if traced.trace.state else b"")


class Attempts:
    """Tries one deployment after the other until one answers, as `core.walk` decides."""

    def __init__(self, gate: Gate, *, max_retries: int) -> None:
        self._gate = gate
        self._max_retries = max_retries

    async def until_answered(
        self, miss: Miss, try_one: Callable[[Miss, Deployment, float], Awaitable[Reply]], deadline_s: float
    ) -> Reply:
        """`try_one(miss, deployment, deadline_s)` raises GatewayError where it failed and nothing has gone to the
        client. Raises the last such error. A single deployment that is well costs no more than its own call."""
        exchange, group = miss.exchange, miss.group
        warnings = exchange.warnings
        walk: Walk | None = None
        target = group.deployments[0]
        if len(group.deployments) == 1 and target.state.free(monotonic()):
            target.state.budget.called()
        else:
            walk = self._walk(miss, deadline_s)
            target = await self._first(walk)
            exchange.route_line = route_line(walk, target)
        while True:
            try:
                return await try_one(miss, target, deadline_s)
            except GatewayError as error:
                if walk is None:
                    walk = self._walk(miss, deadline_s)
                    walk.began_with(target)
                ask = await self._next(walk, error)
                if ask is None:
                    if walk.spent(error):
                        error.should_retry = False
                    raise
                let_go(error)
            target = ask.deployment
            exchange.route_line = route_line(walk, target)
            exchange.warnings = warnings
            exchange.ttft_s = None

    async def enter(self, target: Deployment) -> None:
        """Waits until the gate lets one more call in. The try that begins then must leave it. Raises GatewayError."""
        if self._gate.enter():
            return
        await self._gate.wait()
        if not target.state.callable(monotonic()):  # its breaker opened meanwhile, or others were quicker
            self._gate.leave(target.state)
            raise GatewayError(
                ErrorKind.NO_HEALTHY_UPSTREAM, f"'{target.provider}' cannot be called any more.", retry_after_s=1
            )

    async def _first(self, walk: Walk) -> Deployment:
        """Whom to ask first; where all are at their bounds, as soon as one is not."""
        until_s = self._gate.until_s()
        while True:
            try:
                return walk.first(monotonic(), _chance()).deployment
            except GatewayError as error:
                if error.kind is not ErrorKind.OVERLOADED:
                    raise
            await self._gate.room([each.state for each in walk.group.deployments], until_s)

    async def _next(self, walk: Walk, error: GatewayError) -> Ask | None:
        """Whom to ask after `error`, once it is time."""
        ask = walk.after(error, monotonic(), _chance())
        while ask is not None and ask.pause_s:
            await asyncio.sleep(ask.pause_s)
            if ask.deployment.state.callable(monotonic()):
                break
            ask = walk.after(error, monotonic(), _chance())
        return ask

    def _walk(self, miss: Miss, deadline_s: float) -> Walk:
        group = miss.group
        several = len(group.deployments) > 1 or group.fallbacks is not NO_FALLBACKS
        return Walk(
            group,
            needs_of(miss.call) if several else NOTHING,
            miss.fleet.directory.resolve,
            stream=miss.call.stream,
            max_retries=self._max_retries,
            deadline_s=deadline_s,
        )


def route_line(walk: Walk, target: Deployment) -> bytes:
    """The `x-llm-edge-route` line: who is asked, for which name, and by what: the strategy's choice, a failover, a
    repeat, or a fallback."""
    group = walk.plan.group
    if walk.asked == 1 and not walk.fallback:
        by: str = group.strategy
    elif walk.repeating:
        by = "repeat"
    else:
        by = "fallback" if walk.fallback else "failover"
    return (
        f"x-llm-edge-route: {_shown(target.name)}; group={_shown(group.name)}; by={by}; try={walk.asked}\r\n".encode()
    )


def _shown(name: str) -> str:
    """A name as it may stand in a header: it may be the model's, as a client wrote it."""
    return _NOT_SHOWN.sub("?", name[:MAX_SHOWN_CHARACTERS])
