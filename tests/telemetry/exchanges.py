"""Finished exchanges for the tests of their observers."""

from dataclasses import dataclass
from typing import Any, Literal

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import NO_EFFECT, PromptCacheEffect, TokenUsage
from llm_edge_agent.telemetry import CacheStatus, FinishedAttempt, FinishedExchange
from llm_edge_agent.telemetry.traced import Address, Traced


@dataclass(slots=True)
class Tried:
    """An attempt that was answered."""

    provider: str = "openai"
    upstream_model: str = "gpt-5"
    started_s: float = 0.0
    ended_s: float | None = 0.2
    status: int | None = 200
    error: ErrorKind | None = None
    address: Address | None = None
    span_id: str | None = None


ATTEMPT = Tried()


@dataclass(slots=True)
class Finished:
    """A whole answer from OpenAI, unless told otherwise."""

    request_id: str = "req-1"
    endpoint: str = "chat"
    method: str = "POST"
    started_s: float = 0.0
    route: str = "/v1/chat/completions"
    status: int = 200
    stream: bool = False
    provider: str | None = "openai"
    model: str | None = "gpt-5"
    requested_model: str | None = "gpt-5"
    cache: CacheStatus = "miss"
    cache_tier: Literal["l1", "l2"] | None = None
    duration_s: float = 0.25
    ttft_s: float | None = None
    upstream_s: float | None = 0.2
    usage: TokenUsage | None = None
    cost_picodollars: int | None = None
    saved_picodollars: int = 0
    prompt_cache: PromptCacheEffect = NO_EFFECT
    attempts: tuple[FinishedAttempt, ...] = (ATTEMPT,)
    chosen: str | None = None
    error: ErrorKind | None = None
    traced: Traced | None = None
    upstream_status: int | None = 200
    key_id: str | None = None
    tenant: str | None = "default"
    warnings: tuple[str, ...] = ()
    memo: dict[str, Any] | None = None


def hit(**changes: object) -> Finished:
    """An answer from L1."""
    finished = Finished(cache="hit", cache_tier="l1", upstream_s=None, upstream_status=None, attempts=())
    finished.cost_picodollars = 0
    return changed(finished, **changes)


def failed(kind: ErrorKind, **changes: object) -> Finished:
    """A request that ended in this failure, with its status."""
    finished = Finished(status=kind.value.status, error=kind, upstream_status=None)
    return changed(finished, **changes)


def changed(finished: Finished, **changes: object) -> Finished:
    for name, value in changes.items():
        setattr(finished, name, value)
    return finished


def as_protocol(finished: Finished) -> FinishedExchange:
    """Type-checks that the sample is what observers are told."""
    return finished
