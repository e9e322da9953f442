import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import Estimated, TokenUsage
from llm_edge_agent.dialects.answer_stream import ChatAnswerStream
from llm_edge_agent.dialects.chat_stream import ChatStream
from llm_edge_agent.dialects.chat_to_messages.sent import Sent
from llm_edge_agent.dialects.chat_to_messages.stream import MessagesStream
from llm_edge_agent.dialects.sse import MAX_EVENT_BYTES


def chat(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


def anthropic(kind: str, **members: Any) -> bytes:
    data = json.dumps({"type": kind, **members}, ensure_ascii=False).encode()
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
CHAT = [b": hello\n\n", chat({"role": "assistant", "content": ""}), b": wait\n\n", chat({"content": "żółć 🦊"}),
        chat({}, "stop"), USAGE, DONE]  # fmt: skip
MESSAGE: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [],
           "stop_reason": None, "usage": {"input_tokens": 5, "output_tokens": 1}}  # fmt: skip
MESSAGES = [
    anthropic("ping"),
    anthropic("message_start", message=MESSAGE),
    anthropic("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    anthropic("ping"),
    anthropic("content_block_delta", index=0, delta={"type": "text_delta", "text": "żółć 🦊"}),
    anthropic("content_block_stop", index=0),
    anthropic("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4}),
    anthropic("message_stop"),
]


def stream(upstream: str, keep_limit_bytes: int = 10_000) -> ChatAnswerStream:
    chunks = ChatStream(show_usage=False, keep_limit_bytes=keep_limit_bytes)
    sent = Sent(requested_model="claude-x")
    return ChatAnswerStream(chunks, MessagesStream(sent, created=1) if upstream == "anthropic" else None)


def run(machine: ChatAnswerStream, pieces: list[bytes]) -> bytes:
    out = b""
    for piece in pieces:
        if not machine.complete and machine.failure is None:
            out += machine.feed(piece)
    if not machine.complete and machine.failure is None:
        out += machine.finish()
    return out + machine.close(b"{}") if machine.complete else out


@pytest.mark.parametrize(("upstream", "events"), [("openai", CHAT), ("anthropic", MESSAGES)])
def test_whole_byte_by_byte_and_with_crlf(upstream: str, events: list[bytes]) -> None:
    raw = b"".join(events)
    whole = run(stream(upstream), [raw])
    assert whole.endswith(b'"metadata":{}}\n\ndata: [DONE]\n\n')
    assert "żółć 🦊".encode() in whole
    assert whole.count(b": ping\n\n") == 1
    assert run(stream(upstream), [raw[i : i + 1] for i in range(len(raw))]) == whole
    assert run(stream(upstream), [raw.replace(b"\n", b"\r\n")]) == whole


def compact(delta: dict[str, Any], **members: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    chunk = {"id": "c", "choices": [choice], "usage": None, **members}
    return b"data: " + json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


BETWEEN = [
    compact({"content": "plain"}),
    compact({"content": "żółć 🦊"}, obfuscation="x1"),
    compact({"content": 'quoted \\"finish_reason\\":"stop" and "error"'}),
    compact({"content": "not ours"}, metadata={"cost_usd": 1}),
    compact({"content": "no failure"}, error=None),
    compact({"content": "counting"}, usage={"prompt_tokens": 3, "completion_tokens": 1}),
    compact({"content": "two lines"}).replace(b',"usage"', b'\ndata: ,"usage"'),
    compact({"content": "named"}).replace(b"data:", b"event: chunk\ndata:"),
    compact({"content": "half a pair"}).replace(b"half", b"\\ud83d"),
    chat({"content": "white space"}),
    chat({"content": "ended early"}, "stop"),
    b'data: {"id":"c","choices":[]}\n\n',
    b": comment\n\n",
]


@given(st.lists(st.sampled_from(BETWEEN), max_size=8), st.lists(st.integers(0, 1500), max_size=4), st.booleans())
def test_looking_at_reads_or_at_every_chunk_gives_the_same_bytes(
    between: list[bytes], cuts: list[int], carriage_returns: bool
) -> None:
    raw = b"".join([compact({"role": "assistant"}), *between, chat({}, "stop"), USAGE, DONE])
    if carriage_returns:
        raw = raw.replace(b"\n", b"\r\n")
    places = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    pieces = [raw[a:b] for a, b in pairwise(places)]
    # Of several choices every chunk is decoded.
    machines = [ChatStream(show_usage=True, choices=choices, keep_limit_bytes=100_000) for choices in (1, 2)]
    streams = [ChatAnswerStream(machine, None) for machine in machines]
    outs = [run(each, pieces) for each in streams]
    assert outs[0] == outs[1]
    assert streams[0].events == streams[1].events == len(between) + 3 - between.count(b": comment\n\n")
    assert streams[0].answer() == streams[1].answer()


@pytest.mark.parametrize("limit", [0, 100, 100_000])
def test_a_read_of_many_chunks_passes_as_it_came(limit: int) -> None:
    machine = stream("openai", limit)
    assert machine.feed(compact({"role": "assistant"})) == compact({"role": "assistant"})
    many = b"".join(compact({"content": word}) for word in ("a", "żółć", "c"))
    assert machine.feed(many) is many
    assert machine.feed(many + many[:50]) == many
    assert machine.feed(many[50:]) == many
    assert machine.events == 10
    invalid = compact({"content": "?"}).replace(b"?", b"\xff")
    machine.feed(invalid)
    assert machine.failure is not None
    assert machine.failure.kind is ErrorKind.UPSTREAM_INVALID


@given(st.sampled_from([("openai", CHAT), ("anthropic", MESSAGES)]), st.lists(st.integers(0, 1200), max_size=8))
def test_any_cut_gives_the_same_bytes(case: tuple[str, list[bytes]], cuts: list[int]) -> None:
    upstream, events = case
    raw = b"".join(events)
    places = [0, *sorted(min(cut, len(raw)) for cut in cuts), len(raw)]
    assert run(stream(upstream), [raw[a:b] for a, b in pairwise(places)]) == run(stream(upstream), [raw])


@pytest.mark.parametrize(
    ("upstream", "events", "usage"),
    [
        ("openai", CHAT, TokenUsage(prompt_tokens=3, completion_tokens=2)),
        ("openai", CHAT[:-2], None),
        ("openai", [*CHAT[:-2], CHAT[-1][:-2]], None),
        ("anthropic", MESSAGES, TokenUsage(prompt_tokens=5, completion_tokens=4)),
        ("anthropic", MESSAGES[:-1], TokenUsage(prompt_tokens=5, completion_tokens=4)),
    ],
)
def test_complete_answers_are_kept_for_the_cache(upstream: str, events: list[bytes], usage: TokenUsage | None) -> None:
    machine = stream(upstream)
    run(machine, events)
    assert machine.complete
    assert machine.usage == usage
    answer = machine.answer()
    assert answer is not None
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == "żółć 🦊"
    assert (answer.finish_reasons, answer.usage) == (("stop",), usage)
    forgetful = stream(upstream, keep_limit_bytes=0)
    run(forgetful, events)
    assert forgetful.answer() is None


def test_an_answer_that_cannot_be_folded_is_not_kept() -> None:
    machine = stream("openai")
    half = rb'data: {"choices":[{"index":0,"delta":{"content":"\ud83d"},"finish_reason":"stop"}]}' + b"\n\n"
    assert run(machine, [half, DONE]).endswith(DONE)
    assert machine.answer() is None


@pytest.mark.parametrize(
    ("upstream", "events", "kind", "first"),
    [
        ("openai", CHAT[:4], ErrorKind.STREAM_INTERRUPTED, b"data: {"),
        ("openai", [*CHAT[:4], DONE], ErrorKind.STREAM_INTERRUPTED, b"data: {"),
        ("openai", [], ErrorKind.STREAM_INTERRUPTED, b""),
        ("openai", [CHAT[1] + b'data: {"error":{"message":"x"}}\n\n'], ErrorKind.STREAM_INTERRUPTED, CHAT[1]),
        ("openai", [CHAT[1], b"data: <html>\n\n"], ErrorKind.UPSTREAM_INVALID, CHAT[1]),
        ("openai", [b"data: <html>"], ErrorKind.UPSTREAM_INVALID, b""),
        ("openai", [CHAT[1], b'data: {"choices":[{"del'], ErrorKind.STREAM_INTERRUPTED, CHAT[1]),
        ("openai", [CHAT[1], b"x" * (MAX_EVENT_BYTES + 1)], ErrorKind.UPSTREAM_TOO_LARGE, CHAT[1]),
        ("anthropic", MESSAGES[:5], ErrorKind.STREAM_INTERRUPTED, b"data: {"),
        (
            "anthropic",
            [b"".join(MESSAGES[:5]) + anthropic("error", error={"type": "overloaded_error", "message": "busy"})],
            ErrorKind.UPSTREAM_OVERLOADED,
            b"data: {",
        ),
    ],
)
def test_what_goes_wrong_does_not_swallow_what_came_before(
    upstream: str, events: list[bytes], kind: ErrorKind, first: bytes
) -> None:
    machine = stream(upstream)
    out = run(machine, events)
    assert machine.failure is not None
    assert machine.failure.kind is kind
    assert not machine.complete
    assert out.startswith(first)
    assert DONE not in out


@pytest.mark.parametrize(
    ("upstream", "events", "expected"),
    [
        ("openai", [], None),
        ("openai", CHAT[:4], TokenUsage(completion_tokens=1, estimated=Estimated.ALL)),
        ("openai", CHAT[:6], TokenUsage(prompt_tokens=3, completion_tokens=2)),
        ("anthropic", MESSAGES[:1], TokenUsage(estimated=Estimated.ALL)),
        ("anthropic", MESSAGES[:5], TokenUsage(prompt_tokens=5, completion_tokens=1, estimated=Estimated.COMPLETION)),
        (
            "anthropic",
            [*MESSAGES[:5], *MESSAGES[4:5]],
            TokenUsage(prompt_tokens=5, completion_tokens=2, estimated=Estimated.COMPLETION),
        ),
        ("anthropic", MESSAGES[:7], TokenUsage(prompt_tokens=5, completion_tokens=4)),
    ],
)
def test_what_a_cut_stream_has_cost(upstream: str, events: list[bytes], expected: TokenUsage | None) -> None:
    machine = stream(upstream)
    for event in events:
        machine.feed(event)
    assert machine.usage_so_far() == expected
