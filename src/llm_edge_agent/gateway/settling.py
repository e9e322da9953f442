"""What follows from a provider's answer: its bill, what the bill taught, and its place in the cache."""

import math

from llm_edge_agent.core import cache_policy
from llm_edge_agent.core.deployments import Deployment
from llm_edge_agent.core.pricing import TokenUsage, cost_picodollars, prompt_cache_effect
from llm_edge_agent.core.prompt_sizes import PromptSizes
from llm_edge_agent.dialects.endpoint import Answer
from llm_edge_agent.gateway.estimates import so_far
from llm_edge_agent.gateway.miss import Miss
from llm_edge_agent.gateway.prompt_caching import PromptCaching, Trial
from llm_edge_agent.gateway.stored import Answers, StoredAnswer


class Settling:
    """Keeps nothing of a request but what the cache and the learners keep."""

    def __init__(
        self, prompt_caching: PromptCaching, answers: Answers | None, *, longest_ttl_s: float, stale_if_error_s: float
    ) -> None:
        """`longest_ttl_s`: how long any tier keeps an answer as a fresh one. `stale_if_error_s`: how long beyond."""
        self._prompt_caching = prompt_caching
        self._sizes = PromptSizes()
        self._answers = answers
        self._longest_ttl_s = longest_ttl_s
        self._stale_s = stale_if_error_s

    def account(self, miss: Miss, target: Deployment, trial: Trial | None, usage: TokenUsage | None) -> None:
        """Writes the bill into the exchange, and learns from it where it is one."""
        exchange, prices = miss.exchange, target.prices
        if usage is not None and not usage.estimated:
            self._sizes.learn(miss.endpoint.name, target.model.id, len(miss.call.body.raw), usage)
        exchange.usage = usage
        exchange.cost_picodollars = cost_picodollars(prices, usage)
        exchange.prompt_cache = prompt_cache_effect(prices, usage)
        if trial is not None and usage is not None:
            self._prompt_caching.learn(trial, exchange.prompt_cache, prices, usage)

    def account_cut(self, miss: Miss, target: Deployment, trial: Trial | None, told: TokenUsage | None) -> None:
        """The same of a request that went to the provider and was broken off there; `told`: what is known of its usage.
        The rest is estimated, and marked as such."""
        self.account(miss, target, trial, so_far(self._sizes, miss, target, told))

    def store(self, miss: Miss, target: Deployment, answer: Answer) -> StoredAnswer | None:
        """The answer as it can be told again, put into the cache where it may be. None where nobody would ask."""
        if miss.key is None or self._answers is None:
            return None
        exchange = miss.exchange
        ttl_s, fresh_s = miss.ttl_s, math.inf
        if self._stale_s:
            fresh_s = self._longest_ttl_s if ttl_s is None else min(ttl_s, self._longest_ttl_s)
            ttl_s = fresh_s + self._stale_s
        stored = StoredAnswer(
            answer.body,
            target.provider,
            exchange.model,
            exchange.cost_picodollars,
            exchange.warnings,
            fresh_s=fresh_s,
        )
        own = target in miss.group.deployments  # another model's answer is not what the next client asks for
        if own and cache_policy.is_cacheable_answer(200, answer.finish_reasons):
            self._answers.put(miss.key, stored, ttl_s=ttl_s)
        return stored
