"""What a request has used whose provider was cut off before it told: its client left, or its stream broke."""

import msgspec

from llm_edge_agent.core import needs
from llm_edge_agent.core.deployments import Deployment
from llm_edge_agent.core.needs import Needs
from llm_edge_agent.core.pricing import Estimated, TokenUsage
from llm_edge_agent.core.prompt_sizes import PromptEstimate, PromptSizes
from llm_edge_agent.dialects.chat import LIST_PRICE_TIERS
from llm_edge_agent.dialects.endpoint import Call
from llm_edge_agent.dialects.needs import needs_of
from llm_edge_agent.gateway.miss import Miss

_ATTACHMENTS = needs.VISION | needs.PDF | needs.AUDIO
_NOTHING = TokenUsage(estimated=Estimated.ALL)
_LIST_PRICE = (*LIST_PRICE_TIERS, "standard_only")


def so_far(sizes: PromptSizes, miss: Miss, target: Deployment, told: TokenUsage | None) -> TokenUsage:
    """`told`: what the provider has told and what the pieces of its answer add up to, None where nothing came. No count
    that is in it is changed; a prompt that was not told is estimated."""
    if told is None:
        told = _NOTHING
    if told.estimated is not Estimated.ALL:
        return told
    needed = needs_of(miss.call)
    prompt = _prompt(sizes, miss, target, needed)
    off_list = told.off_list or bool(needed.features & needs.AUDIO) or _off_list(miss.call)
    return msgspec.structs.replace(told, off_list=off_list, **prompt._asdict())


def _prompt(sizes: PromptSizes, miss: Miss, target: Deployment, needed: Needs) -> PromptEstimate:
    if needed.features & _ATTACHMENTS:
        return PromptEstimate(needed.prompt_tokens)  # what was learnt is of text
    return sizes.estimate(miss.endpoint.name, target.model.id, len(miss.call.body.raw))


def _off_list(call: Call) -> bool:
    """Whether the client asked for what is billed otherwise than the price list says."""
    body = call.body.value
    return body.get("service_tier") not in _LIST_PRICE or body.get("speed") not in (None, "standard")
