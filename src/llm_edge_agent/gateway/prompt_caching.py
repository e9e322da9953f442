"""The provider's prompt cache, used for clients that do not ask for it: whether this request shall get breakpoints, and
what its bill taught."""

from time import monotonic
from typing import NamedTuple

import msgspec

from llm_edge_agent.core.deployments import Deployment
from llm_edge_agent.core.pricing import PriceList, PromptCacheEffect, TokenUsage
from llm_edge_agent.core.prompt_caching import PromptCacheLearner, Shape, relative_gain, shape_of
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.endpoint import Call, Endpoint


class Trial(NamedTuple):
    """On whose account a request with breakpoints goes."""

    tenant: str
    shape: Shape


class PromptCaching:
    """Holds what was learnt in this process. Only chat requests that are translated for Claude are concerned: other
    providers cache unasked, and native requests stay as their clients wrote them."""

    def __init__(self, translation: TranslationOptions, *, enabled: bool) -> None:
        self._plain = msgspec.structs.replace(translation, prompt_cache=False)
        self._marked = msgspec.structs.replace(translation, prompt_cache=True)
        self._learner = PromptCacheLearner() if enabled else None

    def options(
        self, endpoint: Endpoint, call: Call, target: Deployment, tenant: str
    ) -> tuple[TranslationOptions, Trial | None]:
        """How to translate this request, and the account for `learn` if the translation sets breakpoints."""
        if self._learner is None or target.dialect != "anthropic" or endpoint.name != "chat":
            return self._plain, None
        trial = Trial(tenant, shape_of(call.body.value, target.model.id))
        if not self._learner.wants(trial.tenant, trial.shape, monotonic()):
            return self._plain, None
        return self._marked, trial

    def learn(self, trial: Trial, effect: PromptCacheEffect, prices: PriceList | None, usage: TokenUsage) -> None:
        """What a request with our breakpoints was billed. A guess of a stream that was cut teaches nothing."""
        if self._learner is None or usage.estimated:
            return
        price = prices.band(usage.prompt_tokens).input if prices is not None and not usage.off_list else None
        self._learner.learn(trial.tenant, trial.shape, relative_gain(effect, usage, price), monotonic())
