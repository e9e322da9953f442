"""One deployment, asked once, up to the commit point: translate, pass the gate, send, and then

    a whole answer    translate back -> account -> store -> reply
    a stream          a relay, which does the same at its end

Whatever goes wrong before is a GatewayError; nothing has gone to the client then, and another may be asked.
"""

import asyncio
import time
from time import monotonic

import msgspec

from llm_edge_agent.core.deployments import Deployment, Try
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects import TRANSLATORS, estimate
from llm_edge_agent.dialects.endpoint import AnswerStream, Prepared, Translator
from llm_edge_agent.dialects.rate_limits import reset_after_s
from llm_edge_agent.gateway.exchange import Attempt, Exchange
from llm_edge_agent.gateway.fleet import Upstream
from llm_edge_agent.gateway.flight import Tee
from llm_edge_agent.gateway.gate import Gate
from llm_edge_agent.gateway.miss import Miss
from llm_edge_agent.gateway.prompt_caching import PromptCaching, Trial
from llm_edge_agent.gateway.relay import Relay, Source
from llm_edge_agent.gateway.replies import (
    ESTIMATE_HEADERS,
    JSON_HEADERS,
    SSE_HEADERS,
    TOLD,
    TRAILER_LINE,
    MetadataPlace,
    answer_lines,
    latency_line,
    metadata_object,
    relayed_headers,
    trailing_lines,
)
from llm_edge_agent.gateway.settling import Settling
from llm_edge_agent.http.answer import UpstreamAnswer
from llm_edge_agent.http.deadlines import Sweep
from llm_edge_agent.http.messages import Complete
from llm_edge_agent.http.origins import FailureReason, Timeouts, UpstreamFailure
from llm_edge_agent.http.pool import UpstreamPool, was_sent

MAX_MODEL_CHARACTERS = 128  # of a name in records, which outlive the request: a client may write megabytes
CHARACTERS_PER_TOKEN = 4  # for quotas, which are taken before anybody counts

_ACCEPT_JSON = b"accept: application/json\r\n"
_ACCEPT_EVENTS = b"accept: text/event-stream\r\n"

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


class Dispatch:
    """Holds the edges that a call meets; keeps nothing of a request."""

    def __init__(
        self,
        pool: UpstreamPool,
        gate: Gate,
        settling: Settling,
        prompt_caching: PromptCaching,
        sweep: Sweep,
        metadata: MetadataPlace,
        *,
        max_entry_bytes: int,
    ) -> None:
        """`max_entry_bytes`: the largest answer that the cache takes; 0 where there is none."""
        self.settling = settling
        self.sweep = sweep
        self.in_body = metadata == "body"
        self.in_headers = metadata != "off"
        self.trailers = trailing_lines if metadata == "headers" else None
        self.stream_headers = SSE_HEADERS + TRAILER_LINE if metadata == "headers" else SSE_HEADERS
        self.keep_bytes = max_entry_bytes * 4
        """How much of a stream is kept for the cache: its events are larger than the answer they make."""
        self._pool = pool
        self._gate = gate
        self._prompt_caching = prompt_caching

    async def ask(self, miss: Miss, target: Deployment, deadline_s: float) -> Complete | Relay:
        """A whole answer, or a stream that has begun; with the answer, the exchange has ended, or the relay ends it.
        Raises GatewayError where the call failed. `deadline_s`: monotonic, of the request."""
        call, exchange, endpoint = miss.call, miss.exchange, miss.endpoint
        upstream = miss.fleet.upstreams[target.account]
        translator = TRANSLATORS.get((endpoint.name, target.dialect))
        if translator is None:
            body = estimate(endpoint.name, call)
            exchange.end(200)
            cost = exchange.cost_picodollars if self.in_headers else None
            return Complete(200, ESTIMATE_HEADERS + answer_lines(exchange, endpoint, cost_picodollars=cost), body)
        options, trial = self._prompt_caching.options(endpoint, call, target, exchange.principal.tenant)
        prepared = translator.request(
            call, target.model, target.upstream_model, options, ask_usage=upstream.ask_usage, passed=miss.passed
        )
        exchange.warnings += prepared.warnings
        exchange.model = target.model.id if target.model.known else None
        if not self._gate.enter():
            await self._turn(target)
        began_s = monotonic()
        stream = call.stream
        tried = target.state.begin(began_s, stream=stream, tokens=len(call.body.raw) // CHARACTERS_PER_TOKEN)
        tried.on_end = self._gate.leave
        record = Attempt(upstream.name, target.upstream_model[:MAX_MODEL_CHARACTERS], began_s, upstream.address)
        exchange.attempts = (*exchange.attempts, record)
        exchange.provider = upstream.name
        exchange.upstream_status = None
        exchange.refusal_headers = b""
        timeouts = _timeouts_within(upstream.stream_timeouts if stream else upstream.timeouts, deadline_s - began_s)
        asked = _Asked(
            self, miss, target, upstream, translator, prepared, trial if prepared.breakpoints else None, tried, record
        )
        try:
            headers = upstream.headers[tried.key] + prepared.headers
            if upstream.trace_context and exchange.traced is not None:
                headers += _trace_lines(exchange)
            answer = await self._pool.send(
                upstream.origin,
                b"POST",
                prepared.path,
                headers + (_ACCEPT_EVENTS if stream else _ACCEPT_JSON),
                prepared.body,
                timeouts,
                whole=not stream,
            )
            try:
                exchange.upstream_status = answer.status
                told = answer.some(TOLD)
                wait_s = reset_after_s(told, time.time())
                if wait_s is not None:
                    tried.park(wait_s, monotonic())
                if answer.status != 200:
                    raise await asked.refusal(answer)
                if stream:
                    return await asked.relay(answer, told, began_s + timeouts.answer_s)
                return asked.reply(answer, told)
            except BaseException:
                answer.close()
                raise
        except UpstreamFailure as failure:
            exchange.upstream_status = failure.status or exchange.upstream_status
            raise asked.failed(_failure_error(upstream.name, failure)) from failure
        except GatewayError as error:
            asked.failed(error)
            raise
        except BaseException as error:
            tried.abandoned(monotonic())
            if was_sent(error):
                self.settling.account_cut(miss, target, asked.trial, None)
            raise
        finally:
            record.status = exchange.upstream_status
            if record.ended_s is None:
                exchange.note_end(record)

    async def _turn(self, target: Deployment) -> None:
        """Waits until the gate lets one more call in. The try that begins then must leave it. Raises GatewayError."""
        await self._gate.wait()
        if not target.state.callable(monotonic()):  # its breaker opened meanwhile, or others were quicker
            self._gate.leave(target.state)
            raise GatewayError(
                ErrorKind.NO_HEALTHY_UPSTREAM, f"'{target.provider}' cannot be called any more.", retry_after_s=1
            )


class _Asked(msgspec.Struct):
    """One call under way, and what becomes of its answer."""

    dispatch: Dispatch
    miss: Miss
    target: Deployment
    upstream: Upstream
    translator: Translator
    prepared: Prepared
    trial: Trial | None
    tried: Try
    record: Attempt

    def failed(self, error: GatewayError) -> GatewayError:
        """Ends the try with `error`, from which our own keys are taken out."""
        self.record.error = error.kind
        error.conceal(self.upstream.conceal)
        self.tried.failed(monotonic(), error)
        return error

    async def refusal(self, answer: UpstreamAnswer) -> GatewayError:
        """What an answer other than 200 says. Raises UpstreamFailure where it breaks off."""
        body = await answer.read()
        self.miss.exchange.refusal_headers = relayed_headers(answer.headers, refused=True)
        error = self.translator.error(
            answer.status, answer.headers, body, provider=self.upstream.name, now_unix_s=time.time()
        )
        if answer.headers.get(b"x-should-retry") == b"false":
            error.should_retry = False
        return error

    def reply(self, answer: UpstreamAnswer, told: dict[bytes, bytes]) -> Complete:
        """A whole answer, as the client gets it. Ends the exchange."""
        dispatch, miss, target = self.dispatch, self.miss, self.target
        exchange, endpoint, settling = miss.exchange, miss.endpoint, dispatch.settling
        exchange.note_end(self.record)
        whole = self.translator.answer(answer.body(), self.prepared, created=int(time.time()))
        self.tried.succeeded(monotonic(), whole.usage)
        settling.account(miss, target, self.trial, whole.usage)
        if exchange.traced is not None:
            exchange.traced.tell(whole.body, whole.finish_reasons)
        stored = settling.store(miss, target, whole)
        if miss.flight is not None:
            miss.flight.land(stored)
        body, cost = whole.body, exchange.cost_picodollars
        own = answer_lines(exchange, endpoint, cost_picodollars=cost if dispatch.in_headers else None)
        if dispatch.in_body and endpoint.in_body:
            latency_s = monotonic() - exchange.started_s
            body = endpoint.with_metadata(body, metadata_object(self.upstream.name, latency_s, cost))
        elif dispatch.in_headers:
            own += latency_line(exchange)
        exchange.end(200)
        return Complete(200, b"%b%b%b" % (JSON_HEADERS, own, relayed_headers(told)), body)

    async def relay(self, answer: UpstreamAnswer, told: dict[bytes, bytes], commit_by_s: float) -> Relay:
        """A stream whose first event has come."""
        if not told.get(b"content-type", b"").lower().startswith(b"text/event-stream"):
            raise GatewayError(
                ErrorKind.UPSTREAM_INVALID,
                f"The provider '{self.upstream.name}' answered a stream with something else.",
            )
        dispatch, miss, exchange = self.dispatch, self.miss, self.miss.exchange
        translator, prepared, created = self.translator, self.prepared, int(time.time())
        keep_bytes = dispatch.keep_bytes if miss.key is not None else 0
        stream = translator.stream(miss.call, prepared, created=created, keep_limit_bytes=keep_bytes)
        # A stream's head cannot know what it will cost.
        own = answer_lines(exchange, miss.endpoint, cost_picodollars=None)
        began_s = monotonic()

        def relay_of(source: Source) -> Relay:
            return Relay(
                exchange,
                source,
                stream,
                dispatch.sweep,
                miss.endpoint,
                headers=b"%b%b%b" % (dispatch.stream_headers, own, relayed_headers(told)),
                commit_by_s=commit_by_s,
                finish=lambda usage, whole: self.finish(stream, usage, began_s, whole=whole),
                on_failure=self.on_failure,
                conceal=self.upstream.conceal,
                tried=self.tried,
                trailers=dispatch.trailers,
            )

        tee = None
        if miss.flight is None:
            relay = relay_of(answer)
            answer.stream(relay)
        else:
            tee = Tee(
                miss.flight,
                answer,
                exchange,
                lambda call: translator.stream(call, prepared, created=created, keep_limit_bytes=0),
                self.on_failure,
                self.upstream.conceal,
            )
            relay = tee.lead(relay_of)
            answer.stream(tee)
        if not relay.opened.done():
            dispatch.sweep.add(relay)
        try:
            await relay.opened
        except asyncio.CancelledError:
            relay.abort("client_gone")
            raise
        if miss.flight is not None and tee is not None:
            miss.flight.opened(tee)
        return relay

    def finish(self, stream: AnswerStream, usage: TokenUsage | None, began_s: float, *, whole: bool) -> bytes | None:
        """The end of a stream that began to be relayed at `began_s`; its `metadata`, where the client gets one."""
        dispatch, miss, target, record = self.dispatch, self.miss, self.target, self.record
        exchange, settling = miss.exchange, dispatch.settling
        record.ended_s = monotonic()
        record.error = exchange.error
        exchange.upstream_s = (exchange.upstream_s or 0.0) + record.ended_s - began_s
        if stream.complete and (whole or usage is not None):
            settling.account(miss, target, self.trial, usage)
        else:  # broken off, be it between the answer's end and its usage
            settling.account_cut(miss, target, self.trial, usage if usage is not None else stream.usage_so_far())
        if exchange.error is not None:
            self.tried.failed(record.ended_s, GatewayError(exchange.error, ""))
        stored = None
        if whole:
            self.tried.succeeded(record.ended_s, usage)
            folded = stream.answer()
            if folded is not None and exchange.traced is not None:
                exchange.traced.tell(folded.body, folded.finish_reasons)
            if folded is not None and len(folded.finish_reasons) == miss.call.choices:
                stored = settling.store(miss, target, folded)
        if whole and miss.flight is not None:
            miss.flight.land(stored)
        if not (dispatch.in_body and miss.endpoint.in_body):
            return None
        latency_s = monotonic() - exchange.started_s
        return metadata_object(self.upstream.name, latency_s, exchange.exact_cost_picodollars)

    def on_failure(self, failure: UpstreamFailure) -> GatewayError:
        error = _failure_error(self.upstream.name, failure)
        if error.kind is ErrorKind.UPSTREAM_CONNECTION:
            error = GatewayError(ErrorKind.STREAM_INTERRUPTED, error.message, extra=error.extra)
        return error


def _timeouts_within(timeouts: Timeouts, remaining_s: float) -> Timeouts:
    """The same bounds, none past the end of the request."""
    if remaining_s >= timeouts.answer_s:
        return timeouts
    left_s = max(0.001, remaining_s)
    return Timeouts(connect_s=min(timeouts.connect_s, left_s), answer_s=left_s, idle_s=timeouts.idle_s)


def _failure_error(provider: str, failure: UpstreamFailure) -> GatewayError:
    """A failed exchange as what the client is told."""
    kind, what = _FAILURES[failure.reason]
    return GatewayError(kind, f"The provider '{provider}' {what}.", extra={"provider": provider})


def _trace_lines(exchange: Exchange) -> bytes:
    """W3C trace context for a provider that is told of it: the span of this attempt is its parent."""
    traced, tracer = exchange.traced, exchange.tracer
    if traced is None or tracer is None:
        return b""
    span_id = exchange.attempts[-1].span_id = tracer.new_span_id()
    lines = b"traceparent: %b\r\n" % traced.trace.traceparent(span_id)
    return lines + (b"tracestate: %b\r\n" % traced.trace.state.encode() if traced.trace.state else b"")
