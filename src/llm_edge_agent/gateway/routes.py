"""The gateway's front door: which path leads where, who may pass, and how refusals look.

`head` sees a request before its body: unknown paths, wrong methods and callers without a valid key are turned away
there. `handle` sees the whole request.
"""

import asyncio
import re
import secrets
from collections.abc import Awaitable
from time import monotonic
from typing import NamedTuple

from llm_edge_agent.core.access import ANYONE, Keyring, Principal, presented_credentials
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.limits import RateLimiter
from llm_edge_agent.dialects import CHAT as CHAT_ENDPOINT
from llm_edge_agent.dialects import ENDPOINTS
from llm_edge_agent.dialects.endpoint import Endpoint
from llm_edge_agent.gateway import cache_admin
from llm_edge_agent.gateway.admin import Admin
from llm_edge_agent.gateway.cache_admin import CacheAdmin, tenant_of
from llm_edge_agent.gateway.exchange import Exchange, Observer
from llm_edge_agent.gateway.explaining import explained
from llm_edge_agent.gateway.faults import internal_error
from llm_edge_agent.gateway.miss import Miss
from llm_edge_agent.gateway.pipeline import Pipeline
from llm_edge_agent.gateway.replies import error_reply
from llm_edge_agent.gateway.request_ids import RequestIds
from llm_edge_agent.http.messages import Complete, Refusal, Request, Streaming
from llm_edge_agent.telemetry.traced import Tracer

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
"""Any other is a text of a client's, and kept and shown as `other`."""
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")

_REFUSALS: dict[Refusal, ErrorKind] = {
    "bad_request": ErrorKind.BAD_HTTP,
    "headers_too_large": ErrorKind.HEADERS_TOO_LARGE,
    "uri_too_long": ErrorKind.URI_TOO_LONG,
    "body_too_large": ErrorKind.TOO_LARGE,
    "unsupported_media_type": ErrorKind.UNSUPPORTED_MEDIA,
    "expectation_failed": ErrorKind.EXPECTATION_FAILED,
    "request_timeout": ErrorKind.REQUEST_TIMEOUT,
    "version_not_supported": ErrorKind.BAD_HTTP,
    "not_implemented": ErrorKind.BAD_HTTP,
    "shutting_down": ErrorKind.SHUTTING_DOWN,
    "internal_error": ErrorKind.INTERNAL,
    "client_gone": ErrorKind.CLIENT_GONE,
}
_REFUSAL_STATUS: dict[Refusal, int] = {"version_not_supported": 505, "not_implemented": 501}


class Route(NamedTuple):
    """One path. `endpoint` is the metric label; `counted` routes have an exchange."""

    endpoint: str
    template: str
    methods: tuple[str, ...]
    open_to_all: bool = False
    counted: bool = True
    admin: bool = False
    """Only for the admin key, and unknown where there is none."""


CHAT = Route("chat", "/v1/chat/completions", ("POST",))
MESSAGES = Route("messages", "/v1/messages", ("POST",))
COUNT_TOKENS = Route("count_tokens", "/v1/messages/count_tokens", ("POST",))
RESPONSES = Route("responses", "/v1/responses", ("POST",))
EMBEDDINGS = Route("embeddings", "/v1/embeddings", ("POST",))
COMPLETIONS = Route("completions", "/v1/completions", ("POST",))
MODELS = Route("models", "/v1/models", ("GET", "HEAD"))
MODEL = Route("models", "/v1/models/{id}", ("GET", "HEAD"))
EXPLAIN = Route("other", "/v1/route/explain", ("POST",))
METRICS = Route("other", "/metrics", ("GET", "HEAD"), counted=False)
HEALTH = Route("other", "/health", ("GET", "HEAD"), open_to_all=True, counted=False)
LIVE = Route("other", "/health/live", ("GET", "HEAD"), open_to_all=True, counted=False)
READY = Route("other", "/health/ready", ("GET", "HEAD"), open_to_all=True, counted=False)
HELLO = Route("other", "/api/hello", ("GET", "HEAD"), open_to_all=True, counted=False)
"""Where Claude Code warms its connection up."""
ADMIN_STATS = Route("other", cache_admin.STATS, ("GET",), counted=False, admin=True)
ADMIN_ENTRIES = Route("other", cache_admin.ENTRIES, ("POST",), counted=False, admin=True)
ADMIN_ENTRY = Route("other", cache_admin.ENTRY, ("GET",), counted=False, admin=True)
ADMIN_PURGE = Route("other", cache_admin.PURGE, ("POST",), counted=False, admin=True)
ADMIN_WARM = Route("chat", cache_admin.WARM, ("POST",), admin=True)
"""A chat completion request on behalf of a tenant."""
UNKNOWN = Route("other", "other", ())
UNKNOWN_OF_ANTHROPIC = Route("messages", "other", ())
"""Told in Anthropic's shape: `/v1/messages/batches` and what else its SDKs might ask for."""

ROUTES = {
    "/v1/chat/completions": CHAT,
    "/chat/completions": CHAT,
    "/v1/messages": MESSAGES,
    "/v1/messages/count_tokens": COUNT_TOKENS,
    "/v1/responses": RESPONSES,
    "/responses": RESPONSES,
    "/v1/embeddings": EMBEDDINGS,
    "/embeddings": EMBEDDINGS,
    "/v1/completions": COMPLETIONS,
    "/completions": COMPLETIONS,
    "/v1/models": MODELS,
    "/models": MODELS,
    "/v1/route/explain": EXPLAIN,
    "/api/hello": HELLO,
    "/metrics": METRICS,
    "/health": HEALTH,
    "/health/live": LIVE,
    "/health/ready": READY,
    cache_admin.STATS: ADMIN_STATS,
    cache_admin.ENTRIES: ADMIN_ENTRIES,
    cache_admin.PURGE: ADMIN_PURGE,
    cache_admin.WARM: ADMIN_WARM,
}
_ADMIN_TEMPLATES = frozenset(route.template for route in (ADMIN_STATS, ADMIN_ENTRIES, ADMIN_ENTRY, ADMIN_PURGE))
_MODEL_PREFIXES = ("/v1/models/", "/models/")


def find_route(path: str) -> Route:
    """The route of a path, `UNKNOWN` where there is none. One trailing slash is forgiven, never redirected."""
    route = ROUTES.get(path)
    if route is not None:
        return route
    for prefix in _MODEL_PREFIXES:
        if path.startswith(prefix) and len(path) > len(prefix):
            return MODEL
    if path.startswith(cache_admin.ENTRY_PREFIX) and len(path) > len(cache_admin.ENTRY_PREFIX):
        return ADMIN_ENTRY
    unknown = UNKNOWN_OF_ANTHROPIC if path.startswith("/v1/messages/") else UNKNOWN
    return ROUTES.get(path.removesuffix("/"), unknown)


class GatewayHandler:
    """`http.messages.Handler` of the API listener."""

    def __init__(
        self,
        pipeline: Pipeline,
        admin: Admin,
        keyring: Keyring | None,
        ids: RequestIds,
        observers: tuple[Observer, ...],
        tracer: Tracer,
        *,
        cache_admin: CacheAdmin,
        admin_keyring: Keyring | None,
    ) -> None:
        """`keyring` None lets everybody in, as one tenant, and ignores what credentials they send; `admin_keyring` None
        lets nobody administer."""
        self._cache_admin = cache_admin
        self._admin_keyring = admin_keyring
        self._pipeline = pipeline
        self._admin = admin
        self._keyring = keyring
        self._observers = observers
        self._ids = ids
        self._tracer = tracer
        self.draining = False

    def adopt(self, keyring: Keyring | None) -> None:
        """Other keys, from the next request on."""
        self._keyring = keyring

    def head(self, request: Request) -> Complete | None:
        route = ROUTES.get(request.path) or find_route(request.path)
        if route.admin and self._admin_keyring is None:
            route = UNKNOWN
        headers = request.headers
        given = headers.get(b"x-request-id")
        if given is not None and _REQUEST_ID.fullmatch(given) is not None:
            request_id = given.decode("ascii")
        else:
            request_id = self._ids.next()
        exchange = request.context = Exchange(
            request_id, route.endpoint, request.method, route.template, request.received_s, ANYONE, self._observers
        )
        if self._tracer.exports or b"traceparent" in headers:
            exchange.tracer = self._tracer
            exchange.traced = self._tracer.begin(headers)
        if route.admin and self._admin_keyring is not None:
            if self._admin_keyring.identify(presented_credentials(headers)) is None:
                return self._turn_away(route, exchange, _unauthenticated(request))
            exchange.principal = Principal(tenant_of(request), None)
        elif self._keyring is not None and not route.open_to_all:
            known = self._keyring.identify(presented_credentials(headers))
            if known is None:
                return self._turn_away(route, exchange, _unauthenticated(request))
            exchange.principal = known
        if request.method not in route.methods:
            return self._turn_away(route, exchange, _misplaced(route, request))
        if self.draining and route.counted:
            error = GatewayError(ErrorKind.SHUTTING_DOWN, "The gateway is shutting down.", retry_after_s=1)
            return self._turn_away(route, exchange, error)
        limiter = self._pipeline.limiter
        if limiter is not None and route.endpoint in ENDPOINTS:
            wait_s = limiter.take(exchange.key_id, request.received_s)
            if wait_s:
                return self._turn_away(route, exchange, _limited(limiter, wait_s), limiter)
        return None

    def _turn_away(
        self, route: Route, exchange: Exchange, error: GatewayError, limiter: RateLimiter | None = None
    ) -> Complete:
        if exchange.method not in _METHODS:
            exchange.method = "other"
        if route.counted:
            exchange.end(error.status, error.kind)
        lines = b""
        if error.kind is ErrorKind.METHOD_NOT_ALLOWED:
            lines = b"allow: %b\r\n" % ", ".join(route.methods).encode()
            if error.status == 426:
                lines += b"upgrade: HTTP/1.1\r\n"
        if limiter is not None:
            lines += _limit_lines(limiter, exchange)
        return error_reply(
            error,
            exchange.request_id,
            endpoint=_endpoint_of(exchange),
            extra_headers=lines,
            close=self.draining,
        )

    def handle(self, request: Request) -> Complete | Awaitable[Complete | Streaming]:
        exchange = request.context
        if not isinstance(exchange, Exchange):
            raise TypeError("handle() follows head()")
        template = exchange.route
        try:
            if exchange.endpoint in ENDPOINTS:
                outcome = self._pipeline.admit(request, exchange)
                if isinstance(outcome, Miss):
                    return self._pipeline.answer(outcome)
                if b"x-request-id" in request.headers:
                    outcome.again = None  # the client's own id belongs to one request
                return outcome
            if template == EXPLAIN.template:
                return self._explain(request, exchange)
            if template in _ADMIN_TEMPLATES:
                return self._administer(template, request, exchange)
            if template not in (MODELS.template, MODEL.template):
                return self._admin.reply(template, request, exchange.request_id)
            reply = self._admin.models(request, exchange.request_id)
        except GatewayError as error:
            exchange.end(error.status, error.kind)
            return error_reply(error, exchange.request_id, endpoint=_endpoint_of(exchange))
        except Exception as error:
            internal = internal_error(error, exchange.request_id)
            exchange.end(internal.status, internal.kind)
            return error_reply(internal, exchange.request_id, endpoint=_endpoint_of(exchange))
        exchange.end(reply.status)
        return reply

    async def _explain(self, request: Request, exchange: Exchange) -> Complete:
        try:
            reply = await explained(self._pipeline, request, exchange.principal, exchange.request_id)
        except GatewayError as error:
            exchange.end(error.status, error.kind)
            return error_reply(error, exchange.request_id)
        except asyncio.CancelledError:
            exchange.end(499, ErrorKind.CLIENT_GONE)
            raise
        except Exception as error:
            internal = internal_error(error, exchange.request_id)
            exchange.end(internal.status, internal.kind)
            return error_reply(internal, exchange.request_id)
        exchange.end(reply.status)
        return reply

    async def _administer(self, template: str, request: Request, exchange: Exchange) -> Complete:
        try:
            return await self._cache_admin.reply(template, request, exchange.request_id)
        except GatewayError as error:
            return error_reply(error, exchange.request_id)
        except Exception as error:
            return error_reply(internal_error(error, exchange.request_id), exchange.request_id)

    def refuse(self, refusal: Refusal, detail: str, request: Request | None) -> Complete:
        kind = _REFUSALS[refusal]
        error = GatewayError(
            kind,
            detail,
            status=_REFUSAL_STATUS.get(refusal),
            retry_after_s=1 if refusal == "shutting_down" else None,
        )
        exchange = request.context if request is not None else None
        if not isinstance(exchange, Exchange):
            method = request.method if request is not None and request.method in _METHODS else "other"
            request_id = self._ids.next()
            exchange = Exchange(
                request_id, UNKNOWN.endpoint, method, UNKNOWN.template, monotonic(), ANYONE, self._observers
            )
        exchange.end(error.status, kind)
        return error_reply(error, exchange.request_id, endpoint=_endpoint_of(exchange), close=True)


class MetricsHandler:
    """`http.messages.Handler` of the second listener: metrics and health only, no key asked."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def head(self, request: Request) -> Complete | None:
        route = find_route(request.path)
        if route.counted or route.admin:
            route = UNKNOWN
        if request.method not in route.methods:
            return error_reply(_misplaced(route, request), secrets.token_hex(8))
        request.context = route.template
        return None

    def handle(self, request: Request) -> Complete:
        return self._admin.reply(str(request.context), request, secrets.token_hex(8))

    def refuse(self, refusal: Refusal, detail: str, request: Request | None) -> Complete:
        error = GatewayError(_REFUSALS[refusal], detail, status=_REFUSAL_STATUS.get(refusal))
        return error_reply(error, secrets.token_hex(8), close=True)


def _endpoint_of(exchange: Exchange) -> Endpoint:
    """The door whose error shape the caller understands; OpenAI's where it stands before none."""
    return ENDPOINTS.get(exchange.endpoint, CHAT_ENDPOINT)


def _unauthenticated(request: Request) -> GatewayError:
    if presented_credentials(request.headers):
        return GatewayError(ErrorKind.UNAUTHENTICATED, "Incorrect API key provided.")
    return GatewayError(
        ErrorKind.UNAUTHENTICATED,
        "You didn't provide an API key. Send it in an Authorization header: 'Authorization: Bearer YOUR_KEY'.",
        code="missing_api_key",
    )


def _limited(limiter: RateLimiter, wait_s: float) -> GatewayError:
    return GatewayError(
        ErrorKind.RATE_LIMITED,
        f"Rate limit reached for this key: {limiter.per_minute} requests a minute. Try again in {wait_s:.3f} s.",
        retry_after_s=wait_s,
    )


def _limit_lines(limiter: RateLimiter, exchange: Exchange) -> bytes:
    """As OpenAI tells its own."""
    full_in_s = limiter.full_in_s(exchange.key_id, exchange.started_s)
    return (
        b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: %dms\r\n"
        % (limiter.per_minute, full_in_s * 1000)
    )


def _misplaced(route: Route, request: Request) -> GatewayError:
    shown = f"{request.method[:16]} {request.path[:256]}"
    if not route.methods:
        return GatewayError(ErrorKind.UNKNOWN_URL, f"Invalid URL ({shown})")
    if route is RESPONSES and request.headers.get(b"upgrade", b"").lower() == b"websocket":
        # The status that makes Codex fall back at once; after a 405 it tries five times more.
        return GatewayError(
            ErrorKind.METHOD_NOT_ALLOWED, "Responses are not served over WebSocket: send them as POST.", status=426
        )
    return GatewayError(
        ErrorKind.METHOD_NOT_ALLOWED, f"Not allowed: {shown}. This path takes {' and '.join(route.methods)}."
    )
