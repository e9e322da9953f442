"""When a chat completion request has to go to OpenAI's Responses API: a decision over the request and its model."""

from collections.abc import Mapping
from typing import Any

from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.gateway_signature import kept_reasoning


def needs_responses(request: Mapping[str, Any], model: Model) -> bool:
    """Whether the model takes this chat request only there: it is served nowhere else, it refuses function tools in
    Chat Completions, or the conversation carries reasoning that only Responses gave and takes back. `request` is any
    JSON object; what is malformed in it is not this function's business."""
    if model.mode == "responses":
        return True
    rule = model.rules.tools_in_chat
    if rule == "yes":
        return False
    if _has_functions(request) and _refused(rule, request.get("reasoning_effort")):
        return True
    return _carries_reasoning(request)


def _refused(rule: str, effort: object) -> bool:
    if rule == "no":
        return True
    return effort != "none" and (rule == "effort_none" or effort is not None)


def _has_functions(request: Mapping[str, Any]) -> bool:
    tools = request.get("tools")
    named = isinstance(tools, list) and any(isinstance(tool, dict) and tool.get("type") == "function" for tool in tools)
    return named or bool(request.get("functions"))


def _carries_reasoning(request: Mapping[str, Any]) -> bool:
    messages = request.get("messages")
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict) or "thinking_blocks" not in message:
            continue
        blocks = message["thinking_blocks"]
        for block in blocks if isinstance(blocks, list) else ():
            if isinstance(block, dict) and kept_reasoning(block.get("signature")) is not None:
                return True
    return False
