"""What of the configuration a request depends on."""

from dataclasses import dataclass
from typing import Literal

from llm_edge_agent.core.cache_policy import Policies
from llm_edge_agent.gateway.gate import Bounds
from llm_edge_agent.gateway.replies import MetadataPlace


@dataclass(frozen=True, kw_only=True)
class PipelineSettings:
    """The few values of the configuration that a request depends on."""

    max_json_depth: int
    cache_policies: Policies
    stale_if_error_s: float
    longest_ttl_s: float
    """How long any tier keeps an answer as a fresh one."""
    cache_scope: Literal["tenant", "global"]
    response_metadata: MetadataPlace
    total_timeout_s: float
    max_retries: int
    bounds: Bounds
    rate_limit: tuple[int, int] | None
    """Requests a minute and burst, per key; None: no limit."""
