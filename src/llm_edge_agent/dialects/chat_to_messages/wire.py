"""What of Anthropic's answers the gateway reads, and how it is written back: blocks, usage, stop reasons.

Structs hold only what is used; members a provider adds later are ignored.
"""

from typing import Annotated, Any

import msgspec

from llm_edge_agent.core.pricing import TokenUsage

Count = Annotated[int, msgspec.Meta(ge=0)]


class CacheCreation(msgspec.Struct):
    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class OutputTokensDetails(msgspec.Struct):
    thinking_tokens: Count | None = None


class ServerToolUse(msgspec.Struct, omit_defaults=True):
    web_search_requests: Count | None = None
    web_fetch_requests: Count | None = None


class MessageUsage(msgspec.Struct):
    """Anthropic's `usage`: of a whole answer, or so far in a stream. None means not reported (yet)."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputTokensDetails | None = None
    server_tool_use: ServerToolUse | None = None
    service_tier: str | None = None
    inference_geo: str | None = None
    speed: str | None = None

    @property
    def off_list(self) -> bool:
        """Whether the price list for plain requests does not rule: priority capacity, a guaranteed region and fast mode
        have prices of their own."""
        return (
            self.service_tier not in (None, "standard")
            or self.inference_geo not in (None, "global", "not_available")
            or self.speed not in (None, "standard")
        )

    def merge(self, newer: "MessageUsage") -> None:
        """Stream reports are cumulative: what is reported later replaces what was said before."""
        for field in self.__struct_fields__:
            value = getattr(newer, field)
            if value is not None:
                setattr(self, field, value)


class StopDetails(msgspec.Struct):
    explanation: str | None = None


class Citation(msgspec.Struct):
    type: str
    url: str | None = None
    title: str | None = None


class Block(msgspec.Struct):
    """One content block of any type, with the members of the types that are translated."""

    type: str
    text: str | None = None
    citations: list[msgspec.Raw] | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    thinking: str | None = None


class Message(msgspec.Struct):
    """A Messages answer. `content` holds each block's own bytes."""

    type: str
    id: str
    role: str
    model: str
    content: list[msgspec.Raw]
    usage: MessageUsage
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    container: Any = None
    diagnostics: Any = None


FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "stop",
}
"""Anthropic's stop reason -> OpenAI's finish reason. One that is not listed ends the answer as `stop`.

`pause_turn` (a server tool loop that wants to be resumed) is `stop` with the choice member `warnings`: resuming takes
another request, which a translation cannot send."""

REFUSAL_TEXT = "The model refused to answer this request."
"""Stands in `message.refusal` where the provider gives no explanation."""


def usage_of(usage: MessageUsage) -> TokenUsage:
    """Token counts as billed. Anthropic's `input_tokens` leaves out what was read from or written to the cache."""
    written = usage.cache_creation_input_tokens or 0
    split = usage.cache_creation
    written_1h = min(split.ephemeral_1h_input_tokens or 0, written) if split is not None else 0
    read = usage.cache_read_input_tokens or 0
    details, server_tools = usage.output_tokens_details, usage.server_tool_use
    return TokenUsage(
        prompt_tokens=(usage.input_tokens or 0) + read + written,
        completion_tokens=usage.output_tokens or 0,
        cache_read_tokens=read,
        cache_write_tokens=written - written_1h,
        cache_write_1h_tokens=written_1h,
        reasoning_tokens=(details.thinking_tokens or 0) if details is not None else 0,
        web_searches=(server_tools.web_search_requests or 0) if server_tools is not None else 0,
        off_list=usage.off_list,
    )


def chat_usage(usage: MessageUsage) -> dict[str, Any]:
    """OpenAI's `usage` object. What OpenAI has no word for keeps Anthropic's name."""
    counts = usage_of(usage)
    answer: dict[str, Any] = {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": counts.cache_read_tokens,
            "cache_write_tokens": counts.cache_write_tokens + counts.cache_write_1h_tokens,
        },
    }
    if usage.output_tokens_details is not None:
        answer["completion_tokens_details"] = {"reasoning_tokens": counts.reasoning_tokens}
    if usage.cache_creation is not None:
        answer["cache_creation"] = usage.cache_creation
    if usage.server_tool_use is not None:
        answer["server_tool_use"] = usage.server_tool_use
    return answer


def chat_service_tier(tier: str) -> str:
    """OpenAI's word for the tier that served the answer."""
    return "priority" if tier == "priority" else "default"


def chat_id(message_id: str) -> str:
    return "chatcmpl-" + message_id.removeprefix("msg_")


def annotation(citation: Citation, start: int, end: int) -> dict[str, Any]:
    """A web citation of the text from `start` to `end` (characters of the whole content)."""
    located = {"url": citation.url or "", "title": citation.title or "", "start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": located}


WEB_CITATION = "web_search_result_location"


def unwrap_custom_input(arguments: Any) -> str:
    """The free-form text of a custom tool call from the input of the tool that stands for it."""
    if type(arguments) is dict and type(arguments.get("input")) is str:
        return str(arguments["input"])
    return msgspec.json.encode(arguments).decode()
