"""What of a Responses answer the gateway reads, and how it is written as a chat completion: usage, endings, items."""

from typing import Any

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat import LIST_PRICE_TIERS
from llm_edge_agent.dialects.fields import Json
from llm_edge_agent.dialects.gateway_signature import KeptReasoning, sign
from llm_edge_agent.dialects.provider_errors import safe_message
from llm_edge_agent.dialects.provider_json import upstream_invalid


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None


class Part(msgspec.Struct):
    """A part of a message, or of a reasoning summary."""

    type: str
    text: str | None = None
    refusal: str | None = None
    annotations: list[dict[str, Any]] | None = None


class Item(msgspec.Struct):
    """One output item of any type, with the members of the types that are translated."""

    type: str
    id: str | None = None
    content: list[Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None


class _IncompleteDetails(msgspec.Struct):
    reason: str | None = None


class Failure(msgspec.Struct):
    code: str | None = None
    message: str | None = None


class Response(msgspec.Struct):
    id: str
    model: str
    status: str | None = None
    output: list[Item] = []
    usage: Usage | None = None
    service_tier: str | None = None
    incomplete_details: _IncompleteDetails | None = None
    error: Failure | None = None

    def tokens(self) -> TokenUsage | None:
        """Token counts as billed; the prompt includes what was read from or written to the cache."""
        usage = self.usage
        if usage is None:
            return None
        given, made = usage.input_tokens_details, usage.output_tokens_details
        return TokenUsage(
            prompt_tokens=usage.input_tokens or 0,
            completion_tokens=usage.output_tokens or 0,
            cache_read_tokens=(given.cached_tokens if given is not None else None) or 0,
            cache_write_tokens=(given.cache_write_tokens if given is not None else None) or 0,
            reasoning_tokens=(made.reasoning_tokens if made is not None else None) or 0,
            off_list=self.service_tier not in LIST_PRICE_TIERS,
        )


def chat_usage(usage: TokenUsage) -> Json:
    """OpenAI's `usage` of a chat completion."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def chat_id(response_id: str) -> str:
    return "chatcmpl-" + response_id.removeprefix("resp_")


def finish_reason(response: Response, *, calls: bool) -> str:
    """Raises GatewayError: the response failed, or did not end."""
    if response.status == "failed":
        raise failed(response.error)
    if response.status == "incomplete":
        details = response.incomplete_details
        reason = details.reason if details is not None else None
        return "content_filter" if reason == "content_filter" else "length"
    if response.status != "completed":
        raise upstream_invalid("The provider's response did not end.")
    return "tool_calls" if calls else "stop"


def failed(failure: Failure | None) -> GatewayError:
    """What the provider says of a response that failed."""
    failure = failure if failure is not None else Failure()
    message = safe_message(failure.message) if failure.message else "The provider failed to make a response."
    code = safe_message(failure.code) if failure.code else None
    if code == "rate_limit_exceeded":
        return GatewayError(ErrorKind.UPSTREAM_RATE_LIMIT, message, code=code)
    return GatewayError(ErrorKind.UPSTREAM_ERROR, message, code=code)


def call_of(item: Item) -> Json | None:
    """The chat tool call that an item is; None for items of other kinds. Raises GatewayError (UPSTREAM_INVALID)."""
    if item.type not in ("function_call", "custom_tool_call"):
        return None
    if item.call_id is None or not item.name:
        raise upstream_invalid("The provider's response has a tool call without id or name.")
    if item.type == "function_call":
        inner = {"name": item.name, "arguments": item.arguments or ""}
        return {"id": item.call_id, "type": "function", "function": inner}
    return {"id": item.call_id, "type": "custom", "custom": {"name": item.name, "input": item.input or ""}}


def summary_of(item: Item) -> str:
    return "\n\n".join(part.text or "" for part in item.summary or ())


def thinking_block(item: Item, place: int, thinking: str) -> Json:
    """A reasoning item as a block that the client can send back. `place`: as in `KeptReasoning`."""
    kept = None
    if item.id is not None and item.encrypted_content is not None:
        kept = KeptReasoning(item.id, item.encrypted_content, place)
    return {"type": "thinking", "thinking": thinking, "signature": sign(kept)}


def annotation(flat: Json) -> Json | None:
    """A web citation in the form of chat completions; None for other kinds."""
    if flat.get("type") != "url_citation":
        return None
    return {"type": "url_citation", "url_citation": {key: flat[key] for key in flat if key != "type"}}
