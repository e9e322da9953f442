"""What passes from the synchronous half of the line to the half that waits."""

import msgspec

from llm_edge_agent.core.cache_policy import CacheControl
from llm_edge_agent.core.plan import Group
from llm_edge_agent.dialects.endpoint import Call, Endpoint, Passed
from llm_edge_agent.gateway.exchange import Exchange
from llm_edge_agent.gateway.fleet import Fleet
from llm_edge_agent.gateway.flight import Flight
from llm_edge_agent.gateway.stored import StoredAnswer


class Miss(msgspec.Struct):
    """What `admit` hands to `answer`: everything decided so far."""

    exchange: Exchange
    endpoint: Endpoint
    call: Call
    passed: Passed
    fleet: Fleet
    """Of the configuration that ruled when the request came: a newer one does not change its way."""
    group: Group
    control: CacheControl
    key: bytes | None
    """Cache key; None where the answer must not be stored."""
    ttl_s: float | None = None
    """Seconds for which the answer may live; None: as long as each tier keeps any."""
    stale: StoredAnswer | None = None
    """An answer that has expired, for when no provider gives another."""
    flight: Flight | None = None
    """Who else is told of the answer."""
