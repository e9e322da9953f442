"""A conversation that goes on with another model: thinking blocks of the gateway's own making do not go along.

They came from a translation, and only the one that made them understands them; a provider that gets them as they are
refuses the request. Requests without such blocks, which is nearly all, cost a look at each message: that is quicker
than a search through their bytes, where the mark may stand escaped.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from llm_edge_agent.core import strict_json
from llm_edge_agent.core.strict_json import Body
from llm_edge_agent.dialects.endpoint import Call
from llm_edge_agent.dialects.gateway_signature import is_own

Json = dict[str, Any]


def chat_without_own_thinking(call: Call) -> Call:
    """The chat request without them, every byte outside `messages` as it was; the call itself where there are none."""
    return _without(call, _chat_message)


def messages_without_own_thinking(call: Call) -> Call:
    """The Messages request without them, likewise. A message that was nothing else goes, too."""
    return _without(call, _message)


def _without(call: Call, clean: Callable[[Json], Json | None]) -> Call:
    before = call.body.value.get("messages")
    if not isinstance(before, list):
        return call
    after = [clean(message) if isinstance(message, dict) else message for message in before]
    if after == before:
        return call
    after = [message for message in after if message is not None]
    raw = call.body.raw
    span = strict_json.members(raw)["messages"]
    raw = raw[: span.start] + msgspec.json.encode(after) + raw[span.end :]
    return msgspec.structs.replace(call, body=Body(raw, {**call.body.value, "messages": after}))


def _others(blocks: Any) -> list[Any] | None:
    """The blocks that are not ours; None where all are others', or these are no blocks."""
    if not isinstance(blocks, list):
        return None
    others = [block for block in blocks if not (isinstance(block, dict) and _ours(block))]
    return others if len(others) < len(blocks) else None


def _ours(block: Json) -> bool:
    return block.get("type", "thinking") == "thinking" and is_own(block.get("signature"))


def _chat_message(message: Json) -> Json:
    if "thinking_blocks" not in message:
        return message
    others = _others(message["thinking_blocks"])
    if others is None:
        return message
    rest = {key: item for key, item in message.items() if key not in ("thinking_blocks", "reasoning_content")}
    return rest | ({"thinking_blocks": others} if others else {})


def _message(message: Json) -> Json | None:
    others = _others(message.get("content"))
    if others is None:
        return message
    return {**message, "content": others} if others else None
