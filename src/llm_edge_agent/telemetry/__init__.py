"""What observers are told: one finished exchange, read-only but for its memo. They never see a prompt, an answer or a
key."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import PromptCacheEffect, TokenUsage
from llm_edge_agent.telemetry.traced import Address, Traced

CacheStatus = Literal["hit", "stale", "join", "miss", "bypass", "none"]
"""`none`: the endpoint has no cache. `bypass`: it has, but policy or the client's headers kept it out. `join`: another
request was being answered the same. `stale`: an expired answer, since no provider gave another."""


class FinishedAttempt(Protocol):
    """One try at one deployment. Times are monotonic seconds."""

    @property
    def provider(self) -> str: ...
    @property
    def upstream_model(self) -> str:
        """The model's name as the provider was given it."""
        ...

    @property
    def started_s(self) -> float: ...
    @property
    def address(self) -> Address | None:
        """Where it was asked; None where that is not known."""
        ...

    @property
    def span_id(self) -> str | None:
        """Of its span, where the provider was told of it."""
        ...

    @property
    def ended_s(self) -> float | None:
        """When its outcome was known; None where the exchange ended before."""
        ...

    @property
    def status(self) -> int | None:
        """HTTP status of the provider, None where none came."""
        ...

    @property
    def error(self) -> ErrorKind | None: ...


class FinishedExchange(Protocol):
    """One request, ended. Times are monotonic seconds; money is integer picodollars."""

    @property
    def request_id(self) -> str: ...
    @property
    def endpoint(self) -> str:
        """From the closed list: chat, messages, embeddings, responses, models, count_tokens, completions, other."""
        ...

    @property
    def method(self) -> str: ...
    @property
    def route(self) -> str:
        """The route template, never the raw path."""
        ...

    @property
    def started_s(self) -> float:
        """When it arrived, monotonic."""
        ...

    @property
    def status(self) -> int:
        """HTTP status sent, 499 where the client left first."""
        ...

    @property
    def stream(self) -> bool: ...
    @property
    def provider(self) -> str | None:
        """Name of the provider that answered (on a hit: that made the answer) or was tried last."""
        ...

    @property
    def model(self) -> str | None:
        """Canonical id where the model is known, else None (metrics say `other`)."""
        ...

    @property
    def requested_model(self) -> str | None:
        """As the client wrote it, cut to 128 characters; for logs only."""
        ...

    @property
    def cache(self) -> CacheStatus: ...
    @property
    def cache_tier(self) -> Literal["l1", "l2"] | None: ...
    @property
    def duration_s(self) -> float: ...
    @property
    def ttft_s(self) -> float | None:
        """From the request's arrival to the first content byte of a stream."""
        ...

    @property
    def upstream_s(self) -> float | None:
        """Time spent waiting for the provider; None if none was asked."""
        ...

    @property
    def usage(self) -> TokenUsage | None:
        """Tokens billed for this request by the provider; None where unknown, and on a cache hit."""
        ...

    @property
    def cost_picodollars(self) -> int | None:
        """Billed for this request: 0 on a hit, None where the price is unknown."""
        ...

    @property
    def saved_picodollars(self) -> int:
        """What a cache hit saved; else 0."""
        ...

    @property
    def prompt_cache(self) -> PromptCacheEffect:
        """What the provider's own prompt cache changed on this bill."""
        ...

    @property
    def attempts(self) -> Sequence[FinishedAttempt]:
        """In order; empty where no provider was asked."""
        ...

    @property
    def chosen(self) -> str | None:
        """Who was asked last and by what, as `x-llm-edge-route` tells it; None where there was no choice."""
        ...

    @property
    def error(self) -> ErrorKind | None: ...
    @property
    def upstream_status(self) -> int | None: ...
    @property
    def key_id(self) -> str | None: ...
    @property
    def tenant(self) -> str | None: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...

    @property
    def traced(self) -> Traced | None:
        """Its part of a trace, with what it gathered for its spans; None where nobody traces."""
        ...

    memo: dict[str, Any] | None
    """Shared by exchanges that differ in nothing but ids, times, tokens and money (see `alike`); observers keep there
    what they worked out. None: nobody has looked yet which those are."""
