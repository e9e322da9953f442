"""What the gateway would do with a request, told without calling anyone: `POST /v1/route/explain`, `route FILE`."""

import math
from time import monotonic
from typing import Any
from urllib.parse import parse_qs

import msgspec

from llm_edge_agent.core.access import Principal
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.explanation import Candidate, explain
from llm_edge_agent.core.pricing import usd
from llm_edge_agent.dialects import ENDPOINTS
from llm_edge_agent.dialects.needs import needs_of
from llm_edge_agent.gateway.admitted import Considered
from llm_edge_agent.gateway.pipeline import Pipeline
from llm_edge_agent.gateway.replies import JSON_HEADERS
from llm_edge_agent.http.messages import Complete, Request


async def explained(pipeline: Pipeline, request: Request, principal: Principal, request_id: str) -> Complete:
    """The body is a request as it would be sent; `?endpoint=messages` says by which door, chat without it. Raises
    GatewayError where the request itself would be refused."""
    endpoint = parse_qs(request.query).get("endpoint", ["chat"])[0]
    if endpoint not in ENDPOINTS:
        raise GatewayError(
            ErrorKind.INVALID_REQUEST, f"Invalid endpoint: one of {', '.join(ENDPOINTS)}.", param="endpoint"
        )
    told = await explanation(pipeline, request, endpoint, principal)
    return Complete(200, b"%bx-request-id: %b\r\n" % (JSON_HEADERS, request_id.encode()), msgspec.json.encode(told))


async def explanation(pipeline: Pipeline, request: Request, endpoint: str, principal: Principal) -> dict[str, Any]:
    """The same as a value. Raises GatewayError."""
    seen = pipeline.consider(request, endpoint, principal)
    call, group = seen.admitted.call, seen.admitted.group
    needs = needs_of(call)
    found = explain(group, needs, stream=call.stream, now_s=monotonic(), chance=0.5)
    order = sorted((each for each in found.candidates if each.place is not None), key=lambda each: each.place or 0)
    return {
        "model": call.model[:128],
        "group": group.name,
        "strategy": group.strategy,
        "needs": {
            "features": found.features,
            "prompt_tokens_estimate": needs.prompt_tokens,
            "output_tokens_estimate": needs.output_tokens,
        },
        "order": [each.deployment.name for each in order],
        "candidates": [_candidate(each) for each in found.candidates],
        "fallbacks": group.fallbacks._asdict(),
        "cache": {
            "cacheable": seen.key is not None,
            "key": seen.key.hex() if seen.key is not None else None,
            "parts": _parts(seen, principal) if seen.key is not None else None,
            "would_hit": "l1" if seen.stored else "l2" if await pipeline.is_shared(seen) else None,
        },
    }


def _parts(seen: Considered, principal: Principal) -> dict[str, Any]:
    """What the key is made of, but for the content of the members. With CACHE_SCOPE=global the tenant is left out."""
    return {
        "tenant": principal.tenant,
        "endpoint": seen.endpoint.name,
        "model": seen.admitted.group.identity,
        "namespace": seen.control.namespace,
        "members": sorted(set(seen.admitted.call.body.value) - seen.endpoint.not_keyed),
    }


def _candidate(each: Candidate) -> dict[str, Any]:
    deployment, state = each.deployment, each.deployment.state
    cost = each.estimated_picodollars
    return {
        "deployment": deployment.name,
        "provider": deployment.provider,
        "model": deployment.upstream_model,
        "place": each.place,
        "unable": each.unable,
        "held": each.held,
        "free_in_s": round(each.free_in_s, 3) if each.held is not None else None,
        "score": each.score if each.score is not None and math.isfinite(each.score) else None,
        "estimated_cost_usd": float(usd(round(cost))) if cost is not None else None,
        "weight": deployment.weight,
        "priority": deployment.priority,
        "region": deployment.region,
        "tags": deployment.tags,
        "first_token_s": round(state.first_token.value_s, 4) or None,
        "answer_s": round(state.whole.value_s, 4) or None,
        "under_way": state.outstanding,
        "failing": round(state.failing, 4),
    }
