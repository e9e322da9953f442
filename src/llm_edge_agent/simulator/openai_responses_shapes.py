"""The body of OpenAI's Responses API: every member, its type and its range (SDK 3.54 types)."""

from llm_edge_agent.simulator.openai_shapes import NAME
from llm_edge_agent.simulator.shapes import (
    FLAG,
    OBJECT,
    TEXT,
    Choice,
    Either,
    Integer,
    ListOf,
    MapOf,
    Nullable,
    Number,
    Record,
    Shape,
    Tagged,
    Text,
)

_ID = Text(min_length=1, max_length=64)
_STATUS = Nullable(Choice(("in_progress", "completed", "incomplete")))
_BREAKPOINT = Record({"mode": Choice(("explicit",))}, {"ttl": Choice(("30m", "12h"))})
_CACHED: dict[str, Shape] = {"prompt_cache_breakpoint": _BREAKPOINT}
_INPUT_PARTS = Tagged(
    "type",
    {
        "input_text": Record({"text": TEXT}, _CACHED),
        "input_image": Record(
            optional={
                **_CACHED,
                "detail": Choice(("auto", "low", "high", "original")),
                "file_id": Nullable(TEXT),
                "image_url": Nullable(TEXT),
            }
        ),
        "input_file": Record(
            optional={
                **_CACHED,
                "detail": Choice(("auto", "low", "high")),
                "file_data": TEXT,
                "file_id": Nullable(TEXT),
                "file_url": TEXT,
                "filename": TEXT,
            }
        ),
    },
)
_OUTPUT_PARTS = Tagged(
    "type",
    {
        "output_text": Record({"text": TEXT}, {"annotations": ListOf(OBJECT), "logprobs": Nullable(ListOf(OBJECT))}),
        "refusal": Record({"refusal": TEXT}),
    },
)


def _content(parts: Shape) -> Either:
    return Either({str: TEXT, list: ListOf(parts)}, "one of a string or array of objects")


_PASSED_THROUGH: dict[str, Shape] = {"internal_chat_message_metadata_passthrough": Nullable(OBJECT)}
"""What Codex adds to the items that it sends to OpenAI itself."""
_ASKED = Record({"content": _content(_INPUT_PARTS)}, {**_PASSED_THROUGH, "id": _ID, "status": _STATUS})
_MESSAGE = Tagged(
    "role",
    {
        "user": _ASKED,
        "system": _ASKED,
        "developer": _ASKED,
        "assistant": Record(
            {"content": _content(_OUTPUT_PARTS)},
            {
                **_PASSED_THROUGH,
                "id": _ID,
                "status": _STATUS,
                "phase": Nullable(Choice(("commentary", "final_answer"))),
            },
        ),
    },
)
_CALLER = Nullable(Tagged("type", {"direct": Record(), "program": Record({"caller_id": TEXT})}))
_CALL: dict[str, Shape] = {
    **_PASSED_THROUGH,
    "id": Nullable(_ID),
    "status": _STATUS,
    "caller": _CALLER,
    "namespace": Nullable(TEXT),
}
_OUTPUT = Either({str: TEXT, list: ListOf(_INPUT_PARTS)}, "one of a string or array of objects")
_SERVER_ITEMS = (
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "compaction_trigger",
    "computer_call",
    "computer_call_output",
    "configuration_update",
    "file_search_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "program",
    "program_output",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
)
"""Items of OpenAI's own tools: taken, counted, and not looked into."""
_ITEM = Tagged(
    "type",
    {
        "message": _MESSAGE,
        "function_call": Record({"call_id": _ID, "name": NAME, "arguments": TEXT}, {**_CALL, "async": FLAG}),
        "function_call_output": Record({"call_id": _ID, "output": _OUTPUT}, {**_CALL, "name": Nullable(TEXT)}),
        "custom_tool_call": Record({"call_id": _ID, "name": NAME, "input": TEXT}, {**_CALL, "async": FLAG}),
        "custom_tool_call_output": Record(
            {"call_id": _ID, "output": _OUTPUT}, {**_PASSED_THROUGH, "id": _ID, "caller": _CALLER}
        ),
        "reasoning": Record(
            {"summary": ListOf(Tagged("type", {"summary_text": Record({"text": TEXT})}))},
            {
                **_PASSED_THROUGH,
                "id": _ID,
                "content": Nullable(ListOf(Tagged("type", {"reasoning_text": Record({"text": TEXT})}))),
                "encrypted_content": Nullable(TEXT),
                "status": _STATUS,
            },
        ),
        "item_reference": Record({"id": _ID}),
        **dict.fromkeys(_SERVER_ITEMS, Record(open=True)),
    },
    default="message",
)
_GRAMMAR = Record({"definition": TEXT, "syntax": Choice(("lark", "regex"))})
_TOOL_EXTRAS: dict[str, Shape] = {
    "allowed_callers": Nullable(ListOf(Choice(("direct", "programmatic")))),
    "async": FLAG,
    "defer_loading": FLAG,
    "description": Nullable(TEXT),
}
_SERVER_TOOLS = (
    "apply_patch",
    "code_interpreter",
    "computer",
    "computer_use_preview",
    "file_search",
    "image_generation",
    "local_shell",
    "mcp",
    "namespace",
    "programmatic_tool_calling",
    "shell",
    "tool_search",
    "web_search",
    "web_search_2025_08_26",
    "web_search_preview",
    "web_search_preview_2025_03_11",
)
"""OpenAI's own tools: their names are known, their members are not looked into, and the model never calls them."""
_TOOL = Tagged(
    "type",
    {
        "function": Record(
            {"name": NAME},
            {
                **_TOOL_EXTRAS,
                "output_schema": Nullable(OBJECT),
                "parameters": Nullable(OBJECT),
                "strict": Nullable(FLAG),
            },
        ),
        "custom": Record(
            {"name": NAME}, {**_TOOL_EXTRAS, "format": Tagged("type", {"text": Record(), "grammar": _GRAMMAR})}
        ),
        **dict.fromkeys(_SERVER_TOOLS, Record(open=True)),
    },
)
_TOOL_CHOICE = Either(
    {
        str: Choice(("none", "auto", "required")),
        dict: Tagged(
            "type",
            {
                "function": Record({"name": NAME}),
                "custom": Record({"name": NAME}),
                "allowed_tools": Record({"mode": Choice(("auto", "required")), "tools": ListOf(OBJECT, low=1)}),
                **dict.fromkeys(_SERVER_TOOLS, Record(open=True)),
            },
        ),
    },
    "one of a string or object",
)
_FORMAT = Tagged(
    "type",
    {
        "text": Record(),
        "json_object": Record(),
        "json_schema": Record({"name": NAME, "schema": OBJECT}, {"description": TEXT, "strict": Nullable(FLAG)}),
    },
)
_REASONING = Record(
    optional={
        "context": Nullable(Choice(("auto", "current_turn", "all_turns"))),
        "effort": Nullable(Choice(("none", "minimal", "low", "medium", "high", "xhigh", "max"))),
        "generate_summary": Nullable(Choice(("auto", "concise", "detailed"))),
        "mode": Nullable(Choice(("standard", "pro"))),
        "summary": Nullable(Choice(("auto", "concise", "detailed"))),
    }
)
INCLUDABLE = (
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
)
_COUNTED: dict[str, Shape] = {
    "conversation": Nullable(Either({str: TEXT, dict: Record({"id": TEXT})}, "one of a string or object")),
    "input": Either({str: TEXT, list: ListOf(_ITEM)}, "one of a string or array of objects"),
    "instructions": Nullable(TEXT),
    "model": TEXT,
    "parallel_tool_calls": Nullable(FLAG),
    "previous_response_id": Nullable(TEXT),
    "reasoning": Nullable(_REASONING),
    "text": Nullable(Record(optional={"format": _FORMAT, "verbosity": Nullable(Choice(("low", "medium", "high")))})),
    "tool_choice": Nullable(_TOOL_CHOICE),
    "tools": Nullable(ListOf(_TOOL, high=128, words="an array of objects")),
    "truncation": Nullable(Choice(("auto", "disabled"))),
}
_MODERATION_MODE = Nullable(Record({"mode": Choice(("score", "block"))}))

RESPONSES = Record(
    optional={
        **_COUNTED,
        "background": Nullable(FLAG),
        "client_metadata": Nullable(OBJECT),
        "context_management": Nullable(ListOf(Record({"type": TEXT}, {"compact_threshold": Nullable(Integer(1000))}))),
        "include": Nullable(ListOf(Choice(INCLUDABLE))),
        "max_output_tokens": Nullable(Integer(16)),
        "max_tool_calls": Nullable(Integer(1)),
        "metadata": Nullable(MapOf(Text(max_length=512), max_pairs=16, max_key_length=64)),
        "moderation": Nullable(
            Record(
                {"model": TEXT},
                {"policy": Nullable(Record(optional={"input": _MODERATION_MODE, "output": _MODERATION_MODE}))},
            )
        ),
        "prompt": Nullable(Record({"id": TEXT}, {"variables": Nullable(OBJECT), "version": Nullable(TEXT)})),
        "prompt_cache_key": Nullable(Text(max_length=1024)),
        "prompt_cache_options": Record(
            optional={
                "comparison_response_id": Nullable(TEXT),
                "mode": Choice(("implicit", "explicit")),
                "ttl": Choice(("30m", "12h")),
            }
        ),
        "prompt_cache_retention": Nullable(Choice(("in_memory", "24h"))),
        "safety_identifier": Nullable(Text(max_length=128)),
        "service_tier": Nullable(Choice(("auto", "default", "flex", "scale", "priority", "fast"))),
        "store": Nullable(FLAG),
        "stream": Nullable(FLAG),
        "stream_options": Nullable(Record(optional={"include_obfuscation": FLAG})),
        "temperature": Nullable(Number(0, 2)),
        "top_logprobs": Nullable(Integer(0, 20)),
        "top_p": Nullable(Number(0, 1)),
        "user": TEXT,
    },
)
INPUT_TOKENS = Record(optional=_COUNTED)
