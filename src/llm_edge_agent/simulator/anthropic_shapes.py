"""The request bodies of Anthropic's Messages API: every member, its type and its range (SDK 2.12 types)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llm_edge_agent.simulator.shapes import (
    FLAG,
    OBJECT,
    TEXT,
    Choice,
    Either,
    Integer,
    ListOf,
    Nullable,
    Number,
    Path,
    Problem,
    Record,
    Shape,
    Tagged,
    Text,
)

TOOL_NAME = Text(min_length=1, max_length=128, pattern="^[a-zA-Z0-9_-]{1,128}$")
_TOOL_ID = Text(pattern="^[a-zA-Z0-9_-]+$")
_EPHEMERAL = Nullable(Tagged("type", {"ephemeral": Record(optional={"ttl": Choice(("5m", "1h"))})}))
_CACHED: dict[str, Shape] = {"cache_control": _EPHEMERAL}
_CITATIONS = Nullable(Record(optional={"enabled": FLAG}))
_TEXT = Record({"text": TEXT}, {**_CACHED, "citations": Nullable(ListOf(OBJECT))})
_IMAGE_TYPE = Choice(("image/jpeg", "image/png", "image/gif", "image/webp"))
_URL_SOURCE = Record({"url": TEXT})
_FILE_SOURCE = Record({"file_id": TEXT})
_IMAGE = Record(
    {
        "source": Tagged(
            "type",
            {"base64": Record({"media_type": _IMAGE_TYPE, "data": TEXT}), "url": _URL_SOURCE, "file": _FILE_SOURCE},
        )
    },
    {**_CACHED, "transformations": Nullable(OBJECT)},
)
_SOURCE_CONTENT = Either(
    {str: TEXT, list: ListOf(Tagged("type", {"text": _TEXT, "image": _IMAGE}))}, "a valid string or a valid list"
)
_DOCUMENT = Record(
    {
        "source": Tagged(
            "type",
            {
                "base64": Record({"media_type": Choice(("application/pdf",)), "data": TEXT}),
                "text": Record({"media_type": Choice(("text/plain",)), "data": TEXT}),
                "content": Record({"content": _SOURCE_CONTENT}),
                "url": _URL_SOURCE,
                "file": _FILE_SOURCE,
            },
        )
    },
    {**_CACHED, "citations": _CITATIONS, "context": Nullable(TEXT), "title": Nullable(TEXT)},
)
_SEARCH_RESULT = Record(
    {"content": ListOf(Tagged("type", {"text": _TEXT}), low=1), "source": TEXT, "title": TEXT},
    {**_CACHED, "citations": _CITATIONS},
)
_RESULT_CONTENT = Either(
    {
        str: TEXT,
        list: ListOf(
            Tagged(
                "type",
                {
                    "text": _TEXT,
                    "image": _IMAGE,
                    "document": _DOCUMENT,
                    "search_result": _SEARCH_RESULT,
                    "tool_reference": Record({"tool_name": TEXT}, _CACHED),
                },
            )
        ),
    },
    "a valid string or a valid list",
)
_SERVER_BLOCK = Record(open=True)
_SERVER_BLOCKS = (
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "container_upload",
)
_BLOCK = Tagged(
    "type",
    {
        "text": _TEXT,
        "image": _IMAGE,
        "document": _DOCUMENT,
        "search_result": _SEARCH_RESULT,
        "thinking": Record({"thinking": TEXT, "signature": TEXT}),
        "redacted_thinking": Record({"data": TEXT}),
        "tool_use": Record(
            {"id": _TOOL_ID, "name": Text(min_length=1, max_length=200), "input": OBJECT},
            {**_CACHED, "caller": OBJECT, "toolset_name": Nullable(TEXT)},
        ),
        "tool_result": Record(
            {"tool_use_id": _TOOL_ID},
            {**_CACHED, "content": _RESULT_CONTENT, "is_error": FLAG, "toolset_name": Nullable(TEXT)},
        ),
        **dict.fromkeys(_SERVER_BLOCKS, _SERVER_BLOCK),
    },
)
_MESSAGE = Record(
    {
        "role": Choice(("user", "assistant", "system")),
        "content": Either({str: TEXT, list: ListOf(_BLOCK)}, "a valid string or a valid list"),
    }
)
_INPUT_SCHEMA = Record({"type": Choice(("object",))}, open=True)
_CUSTOM_TOOL = Record(
    {"name": TOOL_NAME, "input_schema": _INPUT_SCHEMA},
    {
        **_CACHED,
        "description": TEXT,
        "strict": FLAG,
        "allowed_callers": ListOf(TEXT),
        "defer_loading": FLAG,
        "eager_input_streaming": Nullable(FLAG),
        "input_examples": ListOf(OBJECT),
    },
)
SERVER_TOOL_FAMILIES = (
    "bash",
    "browser_toolset",
    "code_execution",
    "computer_toolset",
    "memory",
    "text_editor",
    "tool_search_tool",
    "web_fetch",
    "web_search",
)


@dataclass(frozen=True, slots=True)
class ToolShape:
    """A tool of the client (type absent or custom), or one of Anthropic's, which are checked by name only."""

    words: str = "an object"

    def problem(self, value: Any, path: Path) -> Problem | None:
        if isinstance(value, dict) and value.get("type") is None:
            value = {key: each for key, each in value.items() if key != "type"} | {"type": "custom"}
        kind = value.get("type") if isinstance(value, dict) else None
        cases = {"custom": _CUSTOM_TOOL}
        if isinstance(kind, str) and kind.startswith(SERVER_TOOL_FAMILIES):
            cases[kind] = Record({"name": TEXT} if "toolset" not in kind else {}, open=True)
        return Tagged("type", cases).problem(value, path)


_NO_PARALLEL: dict[str, Shape] = {"disable_parallel_tool_use": FLAG}
_TOOL_CHOICE = Tagged(
    "type",
    {
        "auto": Record(optional=_NO_PARALLEL),
        "any": Record(optional=_NO_PARALLEL),
        "tool": Record({"name": TEXT}, _NO_PARALLEL),
        "none": Record(),
    },
)
_DISPLAY: dict[str, Shape] = {"display": Nullable(Choice(("summarized", "omitted")))}
_THINKING = Tagged(
    "type",
    {
        "enabled": Record({"budget_tokens": Integer(1024)}, _DISPLAY),
        "adaptive": Record(optional=_DISPLAY),
        "disabled": Record(),
        "between_tools": Record(),
    },
)
_OUTPUT_CONFIG = Record(
    optional={
        "effort": Nullable(Choice(("low", "medium", "high", "xhigh", "max"))),
        "format": Nullable(Tagged("type", {"json_schema": Record({"schema": OBJECT})})),
    }
)
_SYSTEM = Either({str: TEXT, list: ListOf(Tagged("type", {"text": _TEXT}))}, "a valid string or a valid list")

_COUNTED: dict[str, Shape] = {
    "cache_control": _EPHEMERAL,
    "output_config": _OUTPUT_CONFIG,
    "speed": Nullable(Choice(("standard", "fast"))),
    "system": _SYSTEM,
    "thinking": _THINKING,
    "tool_choice": _TOOL_CHOICE,
    "tools": ListOf(ToolShape()),
    "user_profile_id": TEXT,
}
_REQUIRED: dict[str, Shape] = {"model": Text(min_length=1), "messages": ListOf(_MESSAGE, high=100_000)}

MESSAGES = Record(
    {**_REQUIRED, "max_tokens": Integer(0)},
    {
        **_COUNTED,
        "container": Nullable(
            Either({str: TEXT, dict: Record(optional={"id": Nullable(TEXT), "skills": Nullable(ListOf(OBJECT))})}, "")
        ),
        "diagnostics": Nullable(Record(optional={"previous_message_id": Nullable(TEXT)})),
        "inference_geo": Nullable(TEXT),
        "metadata": Record(optional={"user_id": Nullable(Text(max_length=256))}),
        "service_tier": Choice(("auto", "standard_only")),
        "stop_sequences": ListOf(TEXT),
        "stream": FLAG,
        "temperature": Number(0, 1),
        "top_p": Number(0, 1),
        "top_k": Integer(0),
    },
)
COUNT_TOKENS = Record(_REQUIRED, _COUNTED)

_MCP_SERVER = Record(
    {"type": Choice(("url",)), "url": TEXT, "name": TEXT},
    {"authorization_token": Nullable(TEXT), "tool_configuration": Nullable(OBJECT)},
)
_EDIT = Record({"type": TEXT}, open=True)
BETA_MEMBERS: Mapping[str, tuple[str, Shape]] = {
    "compaction": ("compact-", Nullable(OBJECT)),
    "context_management": ("context-management-", Nullable(Record(optional={"edits": ListOf(_EDIT)}))),
    "fallback_credit_token": ("fallback-credit-", Nullable(OBJECT)),
    "fallbacks": ("server-side-fallback-", Nullable(Either({list: ListOf(OBJECT), dict: OBJECT}, "a valid list"))),
    "mcp_servers": ("mcp-client-", ListOf(_MCP_SERVER, high=20)),
    "output_format": ("structured-outputs-", Nullable(OBJECT)),
    "thread": ("message-threads-", Nullable(OBJECT)),
}
"""Top-level members that exist only beside a value of `anthropic-beta` that starts so, and their shapes."""
