"""One request's record: filled in by the straight line, read by observers, ended exactly once."""

from collections.abc import Callable
from time import monotonic
from typing import Literal

from llm_edge_agent.core.access import Principal
from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.telemetry import CacheStatus, FinishedExchange

Observer = Callable[[FinishedExchange], None]


class Exchange:
    """Satisfies `telemetry.FinishedExchange`. Whoever holds the reply calls `end`; a second call does nothing, so
    that every path out of a request may end it without knowing of the others."""

    __slots__ = (
        "_observers",
        "attempts",
        "cache",
        "cache_tier",
        "cost_picodollars",
        "duration_s",
        "ended",
        "endpoint",
        "error",
        "key_id",
        "method",
        "model",
        "provider",
        "request_id",
        "requested_model",
        "route",
        "saved_picodollars",
        "started_s",
        "status",
        "stream",
        "tenant",
        "ttft_s",
        "upstream_s",
        "upstream_status",
        "usage",
        "warnings",
    )

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
        self.tenant: str | None = principal.tenant
        self.key_id = principal.key_id
        self._observers = observers
        self.status = 0
        self.stream = False
        self.provider: str | None = None
        self.model: str | None = None
        self.requested_model: str | None = None
        self.cache: CacheStatus = "none"
        self.cache_tier: Literal["l1", "l2"] | None = None
        self.duration_s = 0.0
        self.ttft_s: float | None = None
        self.upstream_s: float | None = None
        self.usage: TokenUsage | None = None
        self.cost_picodollars: int | None = None
        self.saved_picodollars = 0
        self.attempts = 0
        self.error: ErrorKind | None = None
        self.upstream_status: int | None = None
        self.warnings: tuple[str, ...] = ()
        self.ended = False

    def end(self, status: int, error: ErrorKind | None = None) -> None:
        """Ends the exchange with the HTTP status that the client saw (499: it left first) and tells the observers."""
        if self.ended:
            return
        self.ended = True
        self.status = status
        self.error = error
        self.duration_s = monotonic() - self.started_s
        for observe in self._observers:
            observe(self)
