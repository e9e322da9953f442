"""One request's record: filled in by the straight line, read by observers, ended exactly once."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, Literal

from llm_edge_agent.core.access import Principal
from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import NO_EFFECT, PromptCacheEffect, TokenUsage
from llm_edge_agent.telemetry import CacheStatus, FinishedExchange
from llm_edge_agent.telemetry.traced import Address, Traced, Tracer

Observer = Callable[[FinishedExchange], None]


class Attempt:
    """One try at one deployment. Satisfies `telemetry.FinishedAttempt`."""

    __slots__ = ("address", "ended_s", "error", "provider", "span_id", "started_s", "status", "upstream_model")

    def __init__(self, provider: str, upstream_model: str, started_s: float, address: Address | None = None) -> None:
        """`address`: where the deployment is asked."""
        self.provider = provider
        self.upstream_model = upstream_model
        self.started_s = started_s
        self.address = address
        self.span_id: str | None = None
        """Of its span, where the provider was told of it."""
        self.ended_s: float | None = None
        """When its outcome was known, for a stream its end; None while it is not."""
        self.status: int | None = None
        """HTTP status of the provider, None where none came."""
        self.error: ErrorKind | None = None


class Exchange:
    """Satisfies `telemetry.FinishedExchange`. Whoever holds the reply calls `end`; a second call does nothing, so
    that every path out of a request may end it without knowing of the others.

    What most requests leave alone is a default of the class: setting two dozen attributes costs a microsecond.
    """

    status = 0
    stream = False
    provider: str | None = None
    model: str | None = None
    requested_model: str | None = None
    cache: CacheStatus = "none"
    cache_tier: Literal["l1", "l2"] | None = None
    duration_s = 0.0
    ttft_s: float | None = None
    upstream_s: float | None = None
    usage: TokenUsage | None = None
    cost_picodollars: int | None = None
    saved_picodollars = 0
    prompt_cache: PromptCacheEffect = NO_EFFECT
    attempts: Sequence[Attempt] = ()
    error: ErrorKind | None = None
    upstream_status: int | None = None
    warnings: tuple[str, ...] = ()
    refusal_headers = b""
    """Header lines of the provider's refusal that the client gets."""
    route_line = b""
    """The `x-llm-edge-route` line, where there was a choice."""
    memo: dict[str, Any] | None = None
    traced: Traced | None = None
    tracer: Tracer | None = None
    left = False
    """The client has left; the request goes on for others who asked the same."""
    ended = False

    def __init__(
        self,
        request_id: str,
        endpoint: str,
        method: str,
        route: str,
        started_s: float,
        principal: Principal,
        observers: tuple[Observer, ...],
    ) -> None:
        self.request_id = request_id
        self.endpoint = endpoint
        self.method = method
        self.route = route
        self.started_s = started_s
        self.principal = principal
        self._observers = observers

    def renewed(self, request_id: str, started_s: float) -> "Exchange":
        """A new exchange of the same request, come again: same caller, same route, and a memo that all such share."""
        again = Exchange(request_id, self.endpoint, self.method, self.route, started_s, self.principal, self._observers)
        if self.memo is None:
            self.memo = {}
        again.memo = self.memo
        if self.traced is not None and self.tracer is not None:
            again.tracer = self.tracer
            again.traced = self.tracer.again(self.traced)
        return again

    @property
    def tenant(self) -> str | None:
        return self.principal.tenant

    @property
    def key_id(self) -> str | None:
        return self.principal.key_id

    @property
    def exact_cost_picodollars(self) -> int | None:
        """As a client may be told it: never an estimate."""
        return self.cost_picodollars if self.usage is None or not self.usage.estimated else None

    @property
    def chosen(self) -> str | None:
        return self.route_line.partition(b": ")[2].decode("ascii").rstrip() or None

    def note_end(self, record: Attempt) -> None:
        """An attempt is over: observers are told of the time that went into each, so before the exchange ends."""
        record.ended_s = monotonic()
        self.upstream_s = (self.upstream_s or 0.0) + record.ended_s - record.started_s

    def end(self, status: int, error: ErrorKind | None = None) -> None:
        """Ends the exchange with the HTTP status that the client saw (499: it left first) and tells the observers."""
        if self.ended:
            return
        self.ended = True
        if self.left:
            status, error = 499, ErrorKind.CLIENT_GONE
        self.status = status
        self.error = error
        self.duration_s = monotonic() - self.started_s
        for observe in self._observers:
            observe(self)
