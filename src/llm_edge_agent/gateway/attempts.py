"""One deployment after the other until one answers, as `core.walk` decides. How one is asked: `dispatch`."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from random import Random
from time import monotonic
from typing import TypeVar

from llm_edge_agent.core.deployments import Deployment
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.needs import NOTHING
from llm_edge_agent.core.plan import NO_FALLBACKS
from llm_edge_agent.core.walk import Ask, Walk
from llm_edge_agent.dialects.needs import needs_of
from llm_edge_agent.gateway.faults import let_go
from llm_edge_agent.gateway.gate import Gate
from llm_edge_agent.gateway.miss import Miss

Reply = TypeVar("Reply")

MAX_SHOWN_CHARACTERS = 128
_NOT_SHOWN = re.compile(r"[^ -:<-~]")

_chance = Random().random  # noqa: S311  spreads load and pauses: nobody gains by guessing it


class Attempts:
    """Keeps nothing of a request."""

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
