"""What a request needs of a model, read off its body in whichever dialect it came. Estimates, not checks."""

from collections.abc import Iterator
from typing import Any

from llm_edge_agent.core import needs
from llm_edge_agent.core.needs import Needs
from llm_edge_agent.dialects.endpoint import Call

CHARACTERS_PER_TOKEN = 4
TOKENS_PER_ATTACHMENT = 1000
"""An image, a page or some sound: their bytes in the body say nothing of it."""
MAX_PARTS = 2000
"""Content parts that are looked at: what a request needs shows early, and the filter only prefers."""

_PART_FLAGS = {
    "image_url": needs.VISION,
    "image": needs.VISION,
    "input_image": needs.VISION,
    "file": needs.PDF,
    "input_file": needs.PDF,
    "document": needs.PDF,
    "input_audio": needs.AUDIO,
}
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_SAMPLING = ("temperature", "top_p", "top_k")


def needs_of(call: Call) -> Needs:
    """The needs of a checked request."""
    body = call.body.value
    features = needs.STREAMING if call.stream else 0
    attachments, attached_bytes = 0, 0
    for part in _parts(body):
        kind = part.get("type")
        flag = _PART_FLAGS.get(kind, 0) if isinstance(kind, str) else 0
        if flag:
            features |= flag
            attachments += 1
            attached_bytes += _inline_bytes(part)
    if body.get("tools") or body.get("functions"):
        features |= needs.TOOLS
        if _forced(body.get("tool_choice")):
            features |= needs.FORCED_TOOL
    if _wants_schema(body):
        features |= needs.JSON_SCHEMA
    if any(body.get(name) is not None for name in _SAMPLING):
        features |= needs.SAMPLING
    if body.get("stop"):
        features |= needs.STOP
    text_bytes = max(0, len(call.body.raw) - attached_bytes)
    limit = next((body[name] for name in _LIMITS if isinstance(body.get(name), int)), 0)
    return Needs(
        features=features,
        prompt_tokens=text_bytes // CHARACTERS_PER_TOKEN + attachments * TOKENS_PER_ATTACHMENT,
        max_output_tokens=max(0, limit),
    )


def _parts(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The content parts of every turn, those of a tool's result among them."""
    turns = body.get("messages")
    if not isinstance(turns, list):
        turns = body.get("input")
    left = MAX_PARTS
    for turn in turns if isinstance(turns, list) else ():
        content = turn.get("content", turn.get("output")) if isinstance(turn, dict) else None
        for part in content if isinstance(content, list) else ():
            left -= 1
            if left < 0:
                return
            if isinstance(part, dict):
                yield part
                result = part.get("content")
                if isinstance(result, list):
                    inner = [each for each in result[:left] if isinstance(each, dict)]
                    left -= len(result)
                    yield from inner


def _inline_bytes(part: dict[str, Any]) -> int:
    """How much of the body an attachment takes: data URLs and base64, at any of the places dialects put them."""
    longest = 0
    for value in part.values():
        for inner in value.values() if isinstance(value, dict) else (value,):
            if isinstance(inner, str):
                longest = max(longest, len(inner))
    return longest


def _forced(choice: object) -> bool:
    """A call of some tool, or of one tool, is demanded."""
    if isinstance(choice, dict):
        return choice.get("type") not in (None, "auto", "none")
    return choice in ("required", "any")


def _wants_schema(body: dict[str, Any]) -> bool:
    """OpenAI's `response_format`, the Responses API's `text.format`, Anthropic's `output_config.format`."""
    for outer, inner in (("response_format", None), ("text", "format"), ("output_config", "format")):
        value = body.get(outer)
        if inner is not None and isinstance(value, dict):
            value = value.get(inner)
        if isinstance(value, dict) and value.get("type") == "json_schema":
            return True
    return False
