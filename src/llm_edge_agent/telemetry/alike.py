"""Which exchanges are alike: those that differ in nothing but ids, times, tokens and money share a memo.

What an observer works out for one of them holds for all, and one look tells every observer which they are.
"""

from typing import Any

from llm_edge_agent.telemetry import FinishedExchange

MAX_KEPT = 4096
"""Kinds of exchange. Model names are the clients' to choose: beyond so many, all begin anew."""


class Alike:
    """The memos of all kinds that were met."""

    def __init__(self) -> None:
        self._memos: dict[tuple[object, ...], dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._memos)

    def memo(self, exchange: FinishedExchange) -> dict[str, Any]:
        """The memo of exchanges like this one."""
        usage = exchange.usage
        facts = (
            exchange.endpoint,
            exchange.method,
            exchange.route,
            exchange.status,
            exchange.stream,
            exchange.provider,
            exchange.model,
            exchange.requested_model,
            exchange.cache,
            exchange.cache_tier,
            exchange.error,
            exchange.upstream_status,
            exchange.key_id,
            exchange.warnings,
            len(exchange.attempts),
            exchange.ttft_s is None,
            None if usage is None else usage.estimated,
            # Of what has no usage the cost is no sum but a fact: nothing on a hit, else unknown.
            exchange.cost_picodollars if usage is None else None,
        )
        memo = self._memos.get(facts)
        if memo is None:
            if len(self._memos) >= MAX_KEPT:
                self._memos.clear()
            memo = self._memos[facts] = {}
        return memo
