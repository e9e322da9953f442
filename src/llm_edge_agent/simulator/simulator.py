"""The handler: takes a request to one of the simulated providers, records it, and delivers the answer."""

import math
import random
import time
from collections import deque
from collections.abc import Awaitable
from dataclasses import replace
from typing import Protocol

from llm_edge_agent.http.messages import Complete, Refusal, Request, Streaming, header_block
from llm_edge_agent.simulator.anthropic_side import AnthropicSide
from llm_edge_agent.simulator.behaviour import Behaviour, Limits, QuotaWindow
from llm_edge_agent.simulator.canned import CannedReplies
from llm_edge_agent.simulator.catalog import shipped_catalog
from llm_edge_agent.simulator.control import PREFIX, Control
from llm_edge_agent.simulator.deferred import Deferred
from llm_edge_agent.simulator.directives import Directives
from llm_edge_agent.simulator.endpoint import Asked, Ready, State
from llm_edge_agent.simulator.exchange_log import ExchangeLog
from llm_edge_agent.simulator.openai_side import OpenAISide
from llm_edge_agent.simulator.pacing import Failure, Pace, PacedStream, Piece
from llm_edge_agent.simulator.records import Bills, Exchange, RecordedRequest, Told
from llm_edge_agent.simulator.refusals import Refused
from llm_edge_agent.simulator.settings import SimulatorSettings

_JSON = ("content-type", "application/json")
_EVENTS = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
)
_RANDOM_ERRORS = {"openai": (429, 500, 503), "anthropic": (429, 500, 529)}
_NO_ANSWERS = {
    "html": ("text/html; charset=utf-8", b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"),
    "broken_json": ("application/json", b'{"id": "chatcmpl-broken", "object": "chat.comp'),
    "empty": ("application/json", b""),
    "wrong_shape": ("application/json", b'{"greeting": "this is no completion", "choices": 7, "content": 7}'),
}
_REFUSAL_STATUS: dict[Refusal, int] = {
    "bad_request": 400,
    "headers_too_large": 431,
    "uri_too_long": 414,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "expectation_failed": 417,
    "request_timeout": 408,
    "version_not_supported": 505,
    "not_implemented": 501,
    "shutting_down": 503,
    "internal_error": 500,
}


class Side(Protocol):
    """One simulated provider."""

    name: str

    def serve(self, asked: Asked) -> Ready: ...

    def error_body(self, refused: Refused, request_id: str) -> bytes: ...

    def error_event(self, request_id: str) -> bytes: ...

    def error_of_status(self, status: int) -> Refused: ...

    def headers(
        self, request_id: str, unix_s: float, requests: Limits | None, tokens: Limits | None
    ) -> list[tuple[str, str]]:
        """`requests`, `tokens`: what the rate-limit headers say; None: the usual large numbers."""
        ...

    def new_request_id(self) -> str: ...


class Simulator:
    """A `Handler` that plays OpenAI and Anthropic, and remembers what it was asked."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.calls = 0
        """Requests received, of any kind."""
        self.requests: deque[RecordedRequest] = deque(maxlen=settings.kept_requests)
        self.billed = Bills(settings.kept_bills)
        self.open_exchanges = 0
        """Requests begun and not yet ended; 0 in an idle simulator."""
        self.behaviour = Behaviour(error_rate=settings.error_rate)
        """May be replaced at any time; rules the requests that come after."""
        self.exchanges = ExchangeLog()
        """Empty unless `settings.record`."""
        self._window = QuotaWindow()
        self._control = Control(self) if settings.record else None
        self._rng = random.Random(settings.seed)  # noqa: S311  repeatable on purpose
        state = State(settings, shipped_catalog().with_extra(settings.extra_models), self._rng)
        self._openai = OpenAISide(state)
        self._anthropic = AnthropicSide(state)
        gap_s = 1 / settings.tokens_per_s if 0 < settings.tokens_per_s < math.inf else 0.0
        self._canned = CannedReplies(gap_s) if settings.canned else None

    def head(self, request: Request) -> Complete | None:
        """Reads every body: a refused request is recorded with it."""
        return None

    def handle(self, request: Request) -> Complete | Awaitable[Complete | Streaming]:
        if self._control is not None and request.path.startswith(PREFIX):
            return self._control.reply(request)
        self.calls += 1
        if self._canned is not None:
            return self._canned.reply(request)
        side = self._side(request)
        request_id = side.new_request_id()
        exchange = self._begin(request, request_id)
        try:
            reply = self._answer(request, exchange, side, request_id)
        except Refused as refused:
            reply = self._refused(exchange, side, refused, request_id)
        except BaseException:
            exchange.end(completed=False)
            raise
        return reply if self._control is None else self.exchanges.follow(request, request_id, reply)

    def behave(self, behaviour: Behaviour) -> None:
        """From now on; a quota counts anew."""
        self.behaviour = behaviour
        self._window = QuotaWindow()

    def refuse(self, refusal: Refusal, detail: str, request: Request | None) -> Complete:
        side = self._openai if request is None else self._side(request)
        status = _REFUSAL_STATUS[refusal]
        refused = side.error_of_status(status)
        refused.message = detail or refused.message
        request_id = side.new_request_id()
        pairs = [_JSON, *self._headers(side, request_id)]
        return Complete(status, header_block(pairs), side.error_body(refused, request_id))

    def _headers(self, side: Side, request_id: str) -> list[tuple[str, str]]:
        asked = self.behaviour
        requests = asked.requests
        if requests is None and asked.quota_per_minute is not None:
            requests = self._window.limits(asked.quota_per_minute, time.monotonic())
        return side.headers(request_id, time.time(), requests, asked.tokens)

    def _begin(self, request: Request, request_id: str) -> Exchange:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()}
        record = RecordedRequest(
            request.method,
            request.path,
            request.query,
            headers,
            bytes(request.body),
            time.monotonic(),
            request_id=request_id,
        )
        self.requests.append(record)
        self.open_exchanges += 1
        return Exchange(record, time.monotonic, self.billed, self._ended)

    def _ended(self) -> None:
        self.open_exchanges -= 1

    def _side(self, request: Request) -> Side:
        """Both providers listen here: the path tells them apart, on shared paths Anthropic's own headers."""
        if request.path.startswith("/v1/messages") or b"anthropic-version" in request.headers:
            return self._anthropic
        return self._anthropic if b"x-api-key" in request.headers else self._openai

    def _answer(
        self, request: Request, exchange: Exchange, side: Side, request_id: str
    ) -> Complete | Awaitable[Complete | Streaming]:
        if request.path == "/" and request.method in ("GET", "HEAD"):
            return self._deliver(exchange, side, Ready(body=b'{"simulator":"ready"}'), request_id)
        if request.method == "POST":
            self._misbehave(side)
        asked = Asked(
            method=request.method,
            path=request.path,
            query=request.query,
            headers=exchange.record.headers,
            body=exchange.record.body,
            unix_s=time.time(),
            now_s=time.monotonic(),
        )
        ready = side.serve(asked)
        if ready.on_success is not None:
            ready.on_success()
        return self._deliver(exchange, side, ready, request_id)

    def _misbehave(self, side: Side) -> None:
        """Raises Refused where the present behaviour wants this request to fail."""
        asked = self.behaviour
        quota = asked.quota_per_minute
        if quota is not None and not self._window.take(quota, time.monotonic()):
            refused = side.error_of_status(429)
            wait_s = math.ceil(self._window.limits(quota, time.monotonic()).reset_s)
            refused.headers = (("retry-after", str(wait_s)),)
            raise refused
        if asked.unlucky(self._rng):
            refused = side.error_of_status(asked.status or self._rng.choice(_RANDOM_ERRORS[side.name]))
            if asked.retry_after_s is not None:
                refused.headers = (("retry-after", f"{asked.retry_after_s:g}"),)
            elif refused.status in (429, 503, 529):
                refused.headers = (("retry-after", "1"),)
            raise refused

    def _refused(self, exchange: Exchange, side: Side, refused: Refused, request_id: str) -> Complete:
        exchange.record.status = refused.status
        exchange.bill = None
        exchange.end(completed=True)
        pairs = [_JSON, *self._headers(side, request_id), *refused.headers]
        return Complete(refused.status, header_block(pairs), side.error_body(refused, request_id))

    def _deliver(
        self, exchange: Exchange, side: Side, ready: Ready, request_id: str
    ) -> Complete | Awaitable[Complete | Streaming]:
        exchange.record.status = 200
        exchange.bill = ready.bill
        kind = ready.directives.body
        if kind is not None:
            exchange.tells = "nothing"
        if kind == "error_object":
            return self._whole(exchange, side, ready, request_id, _JSON, side.error_body(_error(side), request_id))
        if kind is not None:
            content_type, body = _NO_ANSWERS[kind]
            return self._whole(exchange, side, ready, request_id, ("content-type", content_type), body)
        if ready.pieces is None:
            return self._whole(exchange, side, ready, request_id, _JSON, ready.body)
        return Deferred(exchange, self._stream(exchange, side, ready, request_id))

    def _whole(
        self,
        exchange: Exchange,
        side: Side,
        ready: Ready,
        request_id: str,
        content_type: tuple[str, str],
        body: bytes,
    ) -> Complete | Awaitable[Complete | Streaming]:
        directives, pace = ready.directives, self._pace(ready.directives)
        headers = header_block([content_type, *self._headers(side, request_id)])
        wait_s = pace.stretched(pace.latency_s + ready.output_tokens * pace.per_token_s, self._rng)
        if directives.fail_after is not None:
            if directives.mode in ("error", "failed"):
                raise _error(side)
            if directives.mode == "stall" and directives.fail_after == 0:
                return Deferred(exchange, Complete(200, headers, body), math.inf)
            return Deferred(exchange, self._broken(exchange, directives, headers, body, wait_s))
        reply = Complete(200, headers, body)
        if wait_s > 0:
            return Deferred(exchange, reply, wait_s, ready.output_tokens)
        exchange.end(completed=True, output_tokens=ready.output_tokens)
        return reply

    def _broken(
        self, exchange: Exchange, directives: Directives, headers: bytes, body: bytes, wait_s: float
    ) -> PacedStream:
        """The first half of a whole answer (nothing of it for `fail_after=0`), then the failure."""

        def on_end(completed: bool, aborted: bool, delivered: int, told: Told) -> None:
            exchange.end(completed=completed, aborted=aborted, told=told)

        half = Piece(body[: len(body) // 2], 1)
        failure = Failure(min(directives.fail_after or 0, 1), directives.mode)
        return PacedStream(iter((half,)), Pace(latency_s=wait_s), self._rng, on_end, headers=headers, failure=failure)

    def _stream(self, exchange: Exchange, side: Side, ready: Ready, request_id: str) -> PacedStream:
        directives = ready.directives
        pairs = [*_EVENTS, *self._headers(side, request_id)]
        failure = None
        if directives.fail_after is not None:
            error = ready.error_event or (lambda: side.error_event(request_id))
            failure = Failure(directives.fail_after, directives.mode, error)

        def on_end(completed: bool, aborted: bool, delivered: int, told: Told) -> None:
            hidden = ready.hidden_tokens if delivered or completed else 0
            exchange.end(completed=completed, aborted=aborted, output_tokens=delivered + hidden, told=told)

        pieces = iter(()) if ready.pieces is None else ready.pieces()
        pace = replace(self._pace(directives), write_bytes=max(directives.split or 0, 0))
        return PacedStream(pieces, pace, self._rng, on_end, headers=header_block(pairs), failure=failure)

    def _pace(self, directives: Directives) -> Pace:
        settings, asked = self.settings, self.behaviour
        latency_s = settings.latency_s if asked.latency_s is None else asked.latency_s
        latency_s = asked.latency_factor * (latency_s if directives.latency is None else directives.latency)
        if directives.chunk_delay is not None:
            return Pace(latency_s=latency_s, per_token_s=directives.chunk_delay * asked.latency_factor)
        tokens_per_s = settings.tokens_per_s / asked.latency_factor if asked.latency_factor else 0.0
        return Pace.of(latency_s, tokens_per_s, settings.jitter, settings.one_write_per_event)


def _error(side: Side) -> Refused:
    return side.error_of_status(500)
