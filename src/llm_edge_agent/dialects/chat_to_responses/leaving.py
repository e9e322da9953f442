"""A conversation that leaves the Responses API, for another model or provider: what only Responses takes, and what the
gateway itself put into the history, does not go along."""

from typing import Any

import msgspec

from llm_edge_agent.core import strict_json
from llm_edge_agent.core.strict_json import Body
from llm_edge_agent.dialects.endpoint import Call
from llm_edge_agent.dialects.gateway_signature import PREFIX, is_own

_MARK = PREFIX.encode()


def without_own_thinking(call: Call) -> Call:
    """The chat request without thinking blocks of the gateway's making, every other byte outside `messages` as it was;
    the call itself where there are none."""
    if _MARK not in call.body.raw:
        return call
    before = call.body.value["messages"]
    after = [_cleaned(message) for message in before]
    if after == before:
        return call
    raw = call.body.raw
    span = strict_json.members(raw)["messages"]
    raw = raw[: span.start] + msgspec.json.encode(after) + raw[span.end :]
    return msgspec.structs.replace(call, body=Body(raw, {**call.body.value, "messages": after}))


def _cleaned(message: dict[str, Any]) -> dict[str, Any]:
    blocks = message.get("thinking_blocks")
    if not isinstance(blocks, list):
        return message
    others = [block for block in blocks if not (isinstance(block, dict) and is_own(block.get("signature")))]
    if len(others) == len(blocks):
        return message
    rest = {key: item for key, item in message.items() if key not in ("thinking_blocks", "reasoning_content")}
    return rest | ({"thinking_blocks": others} if others else {})
