"""The request bodies of OpenAI's endpoints: every member, its type and its range (OpenAPI file of 2026-08-21)."""

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
    MapOf,
    Nullable,
    Number,
    Path,
    Problem,
    Record,
    Shape,
    Tagged,
    Text,
)

NAME = Text(min_length=1, max_length=64, pattern="^[a-zA-Z0-9_-]+$")
_BREAKPOINT = Record({"mode": Choice(("explicit",))}, {"ttl": Choice(("30m", "12h"))})
_CACHED: dict[str, Shape] = {"prompt_cache_breakpoint": _BREAKPOINT}
_TEXT_PART = Record({"text": TEXT}, _CACHED)
_IMAGE_URL = Record({"url": TEXT}, {"detail": Choice(("auto", "low", "high", "original"))})
_USER_PARTS = Tagged(
    "type",
    {
        "text": _TEXT_PART,
        "image_url": Record({"image_url": _IMAGE_URL}, _CACHED),
        "input_audio": Record({"input_audio": Record({"data": TEXT, "format": Choice(("wav", "mp3"))})}, _CACHED),
        "file": Record({"file": Record(optional={"file_data": TEXT, "file_id": TEXT, "filename": TEXT})}, _CACHED),
    },
)
_TEXT_PARTS = Tagged("type", {"text": _TEXT_PART})
_ASSISTANT_PARTS = Tagged("type", {"text": _TEXT_PART, "refusal": Record({"refusal": TEXT})})


def _content(parts: Shape) -> Either:
    return Either({str: TEXT, list: ListOf(parts, low=1)}, "one of a string or array of objects")


_CALL = Tagged(
    "type",
    {
        "function": Record({"id": TEXT, "function": Record({"name": NAME, "arguments": TEXT})}),
        "custom": Record({"id": TEXT, "custom": Record({"name": NAME, "input": TEXT})}),
    },
)
_FUNCTION_CALL = Record({"name": NAME, "arguments": TEXT})
_MESSAGE = Tagged(
    "role",
    {
        "system": Record({"content": _content(_TEXT_PARTS)}, {"name": TEXT}),
        "developer": Record({"content": _content(_TEXT_PARTS)}, {"name": TEXT}),
        "user": Record({"content": _content(_USER_PARTS)}, {"name": TEXT}),
        "assistant": Record(
            optional={
                "content": Nullable(_content(_ASSISTANT_PARTS)),
                "refusal": Nullable(TEXT),
                "name": TEXT,
                "audio": Nullable(Record({"id": TEXT})),
                "tool_calls": Nullable(ListOf(_CALL, low=1, high=128)),
                # Part of every answer; an application that appends the SDK's message to its history sends it back.
                "annotations": Nullable(ListOf(OBJECT)),
                "function_call": Nullable(_FUNCTION_CALL),
            }
        ),
        "tool": Record({"content": _content(_TEXT_PARTS), "tool_call_id": TEXT}),
        "function": Record({"content": Nullable(TEXT), "name": NAME}),
    },
)
_FUNCTION = Record(
    {"name": NAME},
    {"description": TEXT, "parameters": OBJECT, "strict": Nullable(FLAG)},
)
_GRAMMAR = Record({"definition": TEXT, "syntax": Choice(("lark", "regex"))})
_CUSTOM_FORMAT = Tagged("type", {"text": Record(), "grammar": Record({"grammar": _GRAMMAR})})
_TOOL = Tagged(
    "type",
    {
        "function": Record({"function": _FUNCTION}),
        "custom": Record({"custom": Record({"name": NAME}, {"description": TEXT, "format": _CUSTOM_FORMAT})}),
    },
)
_NAMED = Record({"name": NAME})
_TOOL_CHOICE = Either(
    {
        str: Choice(("none", "auto", "required")),
        dict: Tagged(
            "type",
            {
                "function": Record({"function": _NAMED}),
                "custom": Record({"custom": _NAMED}),
                "allowed_tools": Record(
                    {"allowed_tools": Record({"mode": Choice(("auto", "required")), "tools": ListOf(OBJECT, low=1)})}
                ),
            },
        ),
    },
    "one of a string or object",
)
_JSON_SCHEMA = Record({"name": NAME}, {"description": TEXT, "schema": OBJECT, "strict": Nullable(FLAG)})
_RESPONSE_FORMAT = Tagged(
    "type",
    {"text": Record(), "json_object": Record(), "json_schema": Record({"json_schema": _JSON_SCHEMA})},
)
_STOP = Either({str: TEXT, list: ListOf(TEXT, low=1, high=4)}, "one of a string or array of strings")
_MODERATION_MODE = Nullable(Record({"mode": Choice(("score", "block"))}))
_LOCATION = Record(optional={"city": TEXT, "country": TEXT, "region": TEXT, "timezone": TEXT})
_VOICE = Either({str: TEXT, dict: Record({"id": TEXT})}, "one of a string or object")

CHAT = Record(
    {
        "model": TEXT,
        "messages": ListOf(_MESSAGE, low=1, words="an array of objects"),
    },
    {
        "audio": Nullable(Record({"format": Choice(("wav", "aac", "mp3", "flac", "opus", "pcm16")), "voice": _VOICE})),
        "frequency_penalty": Nullable(Number(-2, 2)),
        "function_call": Either({str: Choice(("none", "auto")), dict: _NAMED}, "one of a string or object"),
        "functions": ListOf(Record({"name": NAME}, {"description": TEXT, "parameters": OBJECT}), low=1, high=128),
        "logit_bias": Nullable(MapOf(Integer(-100, 100))),
        "logprobs": Nullable(FLAG),
        "max_completion_tokens": Nullable(Integer(1)),
        "max_tokens": Nullable(Integer(1)),
        "metadata": Nullable(MapOf(Text(max_length=512), max_pairs=16, max_key_length=64)),
        "modalities": Nullable(ListOf(Choice(("text", "audio")), low=1)),
        "moderation": Nullable(
            Record(
                {"model": TEXT},
                {"policy": Nullable(Record(optional={"input": _MODERATION_MODE, "output": _MODERATION_MODE}))},
            )
        ),
        "n": Nullable(Integer(1, 128)),
        "parallel_tool_calls": FLAG,
        "prediction": Nullable(Tagged("type", {"content": Record({"content": _content(_TEXT_PARTS)})})),
        "presence_penalty": Nullable(Number(-2, 2)),
        "prompt_cache_key": Nullable(TEXT),
        "prompt_cache_options": Record(optional={"mode": Choice(("implicit", "explicit")), "ttl": Choice(("30m",))}),
        "prompt_cache_retention": Nullable(Choice(("in_memory", "24h"))),
        "reasoning_effort": Nullable(Choice(("none", "minimal", "low", "medium", "high", "xhigh", "max"))),
        "response_format": _RESPONSE_FORMAT,
        "safety_identifier": Nullable(Text(max_length=128)),
        "seed": Nullable(Integer(-(2**63), 2**63 - 1)),
        "service_tier": Nullable(Choice(("auto", "default", "flex", "scale", "priority", "fast"))),
        "stop": Nullable(_STOP),
        "store": Nullable(FLAG),
        "stream": Nullable(FLAG),
        "stream_options": Nullable(Record(optional={"include_usage": FLAG, "include_obfuscation": FLAG})),
        "temperature": Nullable(Number(0, 2)),
        "tool_choice": _TOOL_CHOICE,
        "tools": ListOf(_TOOL, low=1, high=128, words="an array of objects"),
        "top_logprobs": Nullable(Integer(0, 20)),
        "top_p": Nullable(Number(0, 1)),
        "user": TEXT,
        "verbosity": Nullable(Choice(("low", "medium", "high"))),
        "web_search_options": Record(
            optional={
                "search_context_size": Choice(("low", "medium", "high")),
                "user_location": Nullable(Tagged("type", {"approximate": Record({"approximate": _LOCATION})})),
            }
        ),
    },
)


@dataclass(frozen=True, slots=True)
class EmbeddingInput:
    """A text, a list of texts, token ids, or a list of those: a list is told apart by its first item."""

    words: str = "one of a string, an array of strings, an array of integers, or an array of integer arrays"

    def problem(self, value: Any, path: Path) -> Problem | None:
        if isinstance(value, str):
            return Text(min_length=1).problem(value, path)
        if not isinstance(value, list):
            return Problem(path, "type", self.words, value)
        tokens = ListOf(Integer(0), low=1)
        first: object = value[0] if value else ""
        if isinstance(first, int):
            return tokens.problem(value, path)
        item: Shape = tokens if isinstance(first, list) else Text(min_length=1)
        return ListOf(item, low=1, high=2048).problem(value, path)


_TEXTS_OR_TOKENS = EmbeddingInput()

COMPLETIONS = Record(
    {"model": TEXT, "prompt": Nullable(_TEXTS_OR_TOKENS)},
    {
        "best_of": Nullable(Integer(0, 20)),
        "echo": Nullable(FLAG),
        "frequency_penalty": Nullable(Number(-2, 2)),
        "logit_bias": Nullable(MapOf(Integer(-100, 100))),
        "logprobs": Nullable(Integer(0, 5)),
        "max_tokens": Nullable(Integer(0)),
        "n": Nullable(Integer(1, 128)),
        "presence_penalty": Nullable(Number(-2, 2)),
        "seed": Nullable(Integer(-(2**63), 2**63 - 1)),
        "stop": Nullable(_STOP),
        "stream": Nullable(FLAG),
        "stream_options": Nullable(Record(optional={"include_usage": FLAG, "include_obfuscation": FLAG})),
        "suffix": Nullable(TEXT),
        "temperature": Nullable(Number(0, 2)),
        "top_p": Nullable(Number(0, 1)),
        "user": TEXT,
    },
)

EMBEDDINGS = Record(
    {"input": _TEXTS_OR_TOKENS, "model": TEXT},
    {
        "dimensions": Integer(1),
        "encoding_format": Choice(("float", "base64")),
        "user": TEXT,
    },
)
