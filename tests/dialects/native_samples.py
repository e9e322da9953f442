"""What providers send by the native doors: streams event by event, and the answers that they amount to."""

import json
from itertools import pairwise
from typing import Any

from llm_edge_agent.dialects.endpoint import AnswerStream


def named(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, **members}, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()


def nameless(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def run(machine: AnswerStream, pieces: list[bytes]) -> bytes:
    """What the client gets of an upstream's pieces and its end."""
    out = b""
    for piece in pieces:
        if not machine.complete and machine.failure is None:
            out += machine.feed(piece)
    if not machine.complete and machine.failure is None:
        out += machine.finish()
    return out + machine.close(None) if machine.complete else out


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[start:end] for start, end in pairwise(bounds)]


# Anthropic messages.

CITATION = {"type": "char_location", "cited_text": "żółć", "document_index": 0}
CONTENT: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "Hm, 🦊.", "signature": "EqQBCgIYAhIM=="},
    {"type": "redacted_thinking", "data": "EmwKAhgBEgy3"},
    {"type": "text", "citations": [CITATION], "text": 'It says message_stop "error" żółć'},
    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"n": 1.5, "deep": [{"type": "message_stop"}]}},
    {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result"}]},
]
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": CONTENT,
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {
        "input_tokens": 5,
        "cache_creation_input_tokens": 30,
        "cache_read_input_tokens": 200,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 40,
        "service_tier": "standard",
    },
    "context_management": {"applied_edits": []},
}


def message_events(*, pings: bool = True) -> list[bytes]:
    """`MESSAGE` as Anthropic streams it."""
    start = {key: value for key, value in MESSAGE.items() if key != "context_management"}
    start |= {"content": [], "stop_reason": None, "usage": {**MESSAGE["usage"], "output_tokens": 1}}
    thinking, redacted, text, tool, bare, server, result = CONTENT

    def block(index: int, opening: dict[str, Any], *deltas: dict[str, Any]) -> list[bytes]:
        return [
            named("content_block_start", index=index, content_block=opening),
            *(named("content_block_delta", index=index, delta=delta) for delta in deltas),
            named("content_block_stop", index=index),
        ]

    def json_delta(text: str) -> dict[str, Any]:
        return {"type": "input_json_delta", "partial_json": text}

    arguments = json.dumps(tool["input"], separators=(",", ":"))
    return [
        named("message_start", message=start),
        *([b": comment\n\n", named("ping")] if pings else []),
        *block(
            0,
            {**thinking, "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Hm, "},
            {"type": "thinking_delta", "thinking": "🦊."},
            {"type": "signature_delta", "signature": thinking["signature"]},
        ),
        *block(1, redacted),
        *block(
            2,
            {**text, "text": "", "citations": []},
            {"type": "citations_delta", "citation": CITATION},
            {"type": "text_delta", "text": text["text"][:9]},
            {"type": "text_delta", "text": text["text"][9:]},
        ),
        *block(3, {**tool, "input": {}}, json_delta(""), json_delta(arguments[:7]), json_delta(arguments[7:])),
        *block(4, {**bare, "input": {}}, json_delta("")),
        *block(5, {**server, "input": {}}, json_delta(json.dumps(server["input"], separators=(",", ":")))),
        *block(6, result),
        named(
            "message_delta",
            delta={"stop_reason": "tool_use", "stop_sequence": None},
            usage={"output_tokens": 40, "cache_read_input_tokens": 200, "server_tool_use": None},
            context_management={"applied_edits": []},
        ),
        named("message_stop"),
    ]


# OpenAI responses.

OUTPUT: list[dict[str, Any]] = [
    {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "First, 🦊."}],
        "content": [{"type": "reasoning_text", "text": "hm"}],
        "encrypted_content": "gAAAA",
    },
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": "response.completed żółć", "annotations": [{"type": "url_citation"}],
             "logprobs": [{"token": "a", "logprob": -0.5}]},
            {"type": "refusal", "refusal": "no"},
            {"type": "output_new_kind", "thing": 1},
        ],
    },
    {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a":1}',
     "status": "completed"},
    {"type": "custom_tool_call", "call_id": "call_2", "name": "g", "input": "free"},
    {"id": "ws_1", "type": "some_other_call", "status": "completed"},
]  # fmt: skip
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "completed_at": 2,
    "status": "completed",
    "model": "gpt-x",
    "output": OUTPUT,
    "store": False,
    "temperature": 1.0,
    "usage": {
        "input_tokens": 50,
        "input_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 3},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 57,
    },
}


def response_events(response: dict[str, Any] | None = None) -> list[bytes]:
    """The least that a stream of `RESPONSE` holds."""
    last = RESPONSE if response is None else response
    begun = {**last, "status": "in_progress", "output": [], "usage": None, "error": None}
    at: dict[str, Any] = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
    return [
        named("response.created", sequence_number=0, response=begun),
        named("response.output_item.added", sequence_number=1, output_index=1, item={**OUTPUT[1], "content": []}),
        b": comment\n\n",
        named("response.output_text.delta", sequence_number=2, **at, delta="response.completed "),
        named("response.output_text.delta", sequence_number=3, **at, delta="żółć"),
        named("response.output_text.done", sequence_number=4, **at, text="response.completed żółć"),
        named("response.output_item.done", sequence_number=5, output_index=1, item=OUTPUT[1]),
        named(f"response.{last['status']}", sequence_number=6, response=last),
    ]


# OpenAI completions.

LOGPROBS = {"tokens": ["a", "b"], "token_logprobs": [-0.5, -1.25], "top_logprobs": None, "text_offset": [0, 1]}
COMPLETION: dict[str, Any] = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1,
    "model": "gpt-3.5-turbo-instruct",
    "choices": [
        {"text": "[DONE] żółć", "index": 0, "logprobs": LOGPROBS, "finish_reason": "stop"},
        {"text": "two", "index": 1, "logprobs": None, "finish_reason": "stop"},
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
}


def completion_chunk(text: str, index: int = 0, finish: str | None = None, **members: Any) -> bytes:
    head = {key: COMPLETION[key] for key in ("id", "object", "created", "model")}
    choice = {"text": text, "index": index, "logprobs": None, "finish_reason": finish, **members}
    return nameless({**head, "choices": [choice], "usage": None})


def completion_usage() -> bytes:
    head = {key: COMPLETION[key] for key in ("id", "object", "created", "model")}
    return nameless({**head, "choices": [], "usage": COMPLETION["usage"]})


def completion_events() -> list[bytes]:
    """`COMPLETION` as OpenAI streams it, the usage chunk last."""
    first = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": None, "text_offset": [0]}
    second = {"tokens": ["b"], "token_logprobs": [-1.25], "top_logprobs": None, "text_offset": [1]}
    return [
        completion_chunk("[DONE] ", logprobs=first),
        completion_chunk("tw", 1),
        b": comment\n\n",
        completion_chunk("żół"),
        completion_chunk("ć", logprobs=second),
        completion_chunk("o", 1),
        completion_chunk("", finish="stop"),
        completion_chunk("", 1, finish="stop"),
        completion_usage(),
        b"data: [DONE]\n\n",
    ]
