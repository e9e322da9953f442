"""The cheapest possible upstream, for benchmarks: answers prepared once and sent without looking at the request."""

import asyncio
from collections.abc import Callable, Generator
from typing import Any

from llm_edge_agent.http.messages import AbortReason, Complete, Request, Sink, header_block
from llm_edge_agent.simulator.wire import data_event, named_event, to_json

CHUNKS = 50
WHOLE_BYTES = 860
_WORD = "token "
_TEXT = (
    "A gateway stands between applications and model providers. It gives every application one address and one API, "
    "keeps the provider keys in one place, answers repeated questions from its cache, and tells what each answer cost."
)
_USAGE = {
    "prompt_tokens": 120,
    "completion_tokens": 56,
    "total_tokens": 176,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
_JSON = header_block([("content-type", "application/json"), ("x-request-id", "req_canned")])
_EVENTS = header_block([("content-type", "text/event-stream; charset=utf-8"), ("x-request-id", "req_canned")])


class CannedStream:
    """Every event in a write of its own, `gap_s` seconds apart (0: on the next round of the event loop); 50 of them
    hold content."""

    __slots__ = ("_events", "_gap_s", "_next", "_sink", "_timer")

    status = 200
    headers = _EVENTS

    def __init__(self, events: tuple[bytes, ...], gap_s: float) -> None:
        self._events = events
        self._gap_s = gap_s
        self._next = 0
        self._timer: asyncio.Handle | None = None

    def start(self, sink: Sink) -> None:
        self._sink = sink
        self._write_one()

    def _write_one(self) -> None:
        self._sink.write(self._events[self._next])
        self._next += 1
        if self._next < len(self._events):
            loop = asyncio.get_running_loop()
            if self._gap_s:
                self._timer = loop.call_later(self._gap_s, self._write_one)
            else:
                self._timer = loop.call_soon(self._write_one)
        else:
            self._timer = None
            self._sink.end()

    def pause(self) -> None:
        """The whole stream is about 10 KiB: there is nothing to hold back."""

    def resume(self) -> None:
        """See `pause`."""

    def abort(self, reason: AbortReason) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Now:
    """An awaitable that is there already."""

    __slots__ = ("_reply",)

    def __init__(self, reply: CannedStream) -> None:
        self._reply = reply

    def __await__(self) -> Generator[Any, None, CannedStream]:
        yield from ()
        return self._reply


class CannedReplies:
    """Whole answers of about 860 bytes and streams of 50 content events, for both dialects."""

    def __init__(self, gap_s: float) -> None:
        """`gap_s`: seconds between the events of a stream."""
        self._gap_s = gap_s
        self._openai = Complete(200, _JSON, _whole(_completion))
        self._openai_events = tuple(_chunks())
        self._anthropic = Complete(200, _JSON, _whole(_message))
        self._anthropic_events = tuple(_message_events())

    def reply(self, request: Request) -> Complete | Now:
        body = request.body
        streamed = b'"stream":true' in body or b'"stream": true' in body
        anthropic = request.path == "/v1/messages"
        if streamed:
            return Now(CannedStream(self._anthropic_events if anthropic else self._openai_events, self._gap_s))
        return self._anthropic if anthropic else self._openai


def _whole(make: Callable[[str], dict[str, object]]) -> bytes:
    """The answer with its text repeated until the body has its size."""
    room = WHOLE_BYTES - len(to_json(make("")))
    return to_json(make((_TEXT + " " + _TEXT + " " + _TEXT)[:room]))


def _completion(text: str) -> dict[str, object]:
    return {
        "id": "chatcmpl-canned0000000000000000000000",
        "object": "chat.completion",
        "created": 1_764_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": _USAGE,
        "service_tier": "default",
        "system_fingerprint": "fp_0000000000",
    }


def _chunks() -> list[bytes]:
    def chunk(delta: dict[str, object], finish: str | None = None) -> bytes:
        return data_event(
            {
                "id": "chatcmpl-canned0000000000000000000000",
                "object": "chat.completion.chunk",
                "created": 1_764_000_000,
                "model": "gpt-4o-mini-2024-07-18",
                "service_tier": "default",
                "system_fingerprint": "fp_0000000000",
                "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
            }
        )

    return [
        chunk({"role": "assistant", "content": "", "refusal": None}),
        *(chunk({"content": _WORD}) for _ in range(CHUNKS)),
        chunk({}, "stop"),
        b"data: [DONE]\n\n",
    ]


def _message(text: str) -> dict[str, object]:
    return {
        "id": "msg_01canned000000000000000",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5-20251001",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 120,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 56,
            "service_tier": "standard",
        },
    }


def _message_events() -> list[bytes]:
    start = {**_message(""), "content": [], "stop_reason": None}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": _WORD}}
    return [
        named_event({"type": "message_start", "message": start}),
        named_event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        named_event({"type": "ping"}),
        *(named_event(delta) for _ in range(CHUNKS)),
        named_event({"type": "content_block_stop", "index": 0}),
        named_event(
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": 56},
            }
        ),
        named_event({"type": "message_stop"}),
    ]
