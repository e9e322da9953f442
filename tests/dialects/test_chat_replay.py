import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.dialects.chat_replay import PIECE_CHARACTERS, Replay, fold, replayable


def chunk(delta: Any, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m"}
    return json.dumps({**head, "choices": [choice], **more}).encode()


def call(index: int, arguments: str, **identity: str) -> bytes:
    """One tool call delta; `identity` may give `id` and `name`."""
    function = {"arguments": arguments, **({"name": identity["name"]} if "name" in identity else {})}
    head = {"id": identity["id"], "type": "function"} if "id" in identity else {}
    return chunk({"tool_calls": [{"index": index, **head, "function": function}]})


def folded(payloads: list[bytes]) -> dict[str, Any]:
    body = fold(payloads)
    assert body is not None
    value: dict[str, Any] = json.loads(body)
    return value


def message(payloads: list[bytes]) -> dict[str, Any]:
    value: dict[str, Any] = folded(payloads)["choices"][0]["message"]
    return value


def test_text_is_joined_and_the_head_kept() -> None:
    answer = folded(
        [
            chunk({"role": "assistant", "content": ""}, service_tier="default", obfuscation="zz"),
            chunk({"content": "Hel"}, usage=None),
            chunk({"content": "lo 🦊"}),
            chunk({}, "stop"),
            b'{"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":1},"system_fingerprint":"fp"}',
        ]
    )
    assert answer == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "service_tier": "default",
        "system_fingerprint": "fp",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello 🦊", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1},
    }


def test_choices_are_kept_apart() -> None:
    answer = folded(
        [
            chunk({"content": "a"}),
            chunk({"content": "x"}, index=1),
            chunk({"content": "b"}, "stop"),
            chunk({"content": "y"}, "stop", index=1),
        ]
    )
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["ab", "xy"]
    assert "usage" not in answer


def test_tool_calls_find_their_index_and_keep_their_identity() -> None:
    got = message(
        [
            chunk({"role": "assistant", "content": None}),
            call(0, "", id="a", name="f"),
            call(1, "{", id="b", name="g"),
            call(0, '{"x":'),
            call(0, "1}", id="a", name="f"),
            call(1, "}"),
            chunk({}, "tool_calls"),
        ]
    )
    assert got["content"] is None
    assert got["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_members_of_other_vendors_are_folded_by_their_kind() -> None:
    got = message(
        [
            chunk({"role": "assistant", "reasoning_content": "Let me "}),
            chunk({"role": "assistant", "reasoning_content": "see", "thinking_blocks": [{"a": 1}], "flag": None}),
            chunk(
                {
                    "content": "x",
                    "thinking_blocks": [{"b": 2}],
                    "audio": {"id": "q", "data": "AA"},
                    "n": 1,
                    "tool_calls": None,
                }
            ),
            chunk({"refusal": "no", "audio": {"data": "BB"}, "n": 2, "function_call": {"name": "f", "arguments": "{"}}),
            chunk({"function_call": {"arguments": "}"}, "content": None}, "stop"),
            chunk(None),
        ]
    )
    assert got == {
        "role": "assistant",
        "content": "x",
        "refusal": "no",
        "reasoning_content": "Let me see",
        "thinking_blocks": [{"a": 1}, {"b": 2}],
        "flag": None,
        "audio": {"id": "q", "data": "AABB"},
        "n": 2,
        "tool_calls": None,
        "function_call": {"name": "f", "arguments": "{}"},
    }


def test_logprobs_grow_and_numbers_stay_as_written() -> None:
    def with_logprobs(text: str, number: str) -> bytes:
        return (
            b'{"id":"i","choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null,"logprobs":'
            b'{"content":[{"logprob":%b}],"refusal":null}}]}' % (text.encode(), number.encode())
        )

    body = fold([with_logprobs("a", "-0.10000000000000000555"), with_logprobs("b", "-2.50"), chunk({}, "stop")])
    assert body is not None
    assert b"-0.10000000000000000555" in body
    assert b"-2.50" in body
    choice = json.loads(body)["choices"][0]
    assert len(choice["logprobs"]["content"]) == 2
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "payloads",
    [
        [b"x"],
        [b"{}"],
        [b"5"],
        [b'{"choices":[5]}'],
        [b'{"choices":[{"delta":{"tool_calls":[5]}}]}'],
        [b'{"choices":[{"index":0,"delta":{"content":"\xff"}}]}'],
        [chunk({"content": [{"type": "thinking"}]}), chunk({"content": "Hel"}), chunk({"content": "lo"}, "stop")],
        [chunk({"content": "Hel"}), chunk({"content": [{"type": "text"}]}), chunk({"content": "lo"}, "stop")],
        [chunk({"audio": "x"}), chunk({"audio": 5}, "stop")],
    ],
)
def test_what_cannot_be_read_is_not_stored(payloads: list[bytes]) -> None:
    assert fold(payloads) is None or json.loads(fold(payloads) or b"")["choices"] == []


ANSWER = {
    "id": "chatcmpl-old",
    "object": "chat.completion",
    "created": 5,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "words " * 100,
                "refusal": None,
                "reasoning_content": "hm",
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            "logprobs": {"content": [], "refusal": None},
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    "system_fingerprint": "fp",
}


def replay(answer: dict[str, Any]) -> Replay:
    return Replay(json.dumps(answer).encode())


def render(answer: dict[str, Any], metadata: bytes | None, *, show_usage: bool = False) -> list[dict[str, Any]]:
    stream = replay(answer).stream(b"new", b"9", metadata, show_usage=show_usage)
    events = stream.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]


@pytest.mark.parametrize("metadata", [None, b'{"cached":true}'])
def test_whole_splices_identity_time_and_metadata(metadata: bytes | None) -> None:
    got = json.loads(replay(ANSWER).whole(b"new", b"9", metadata))
    expected = {**ANSWER, "id": "chatcmpl-new", "created": 9}
    if metadata is not None:
        expected["metadata"] = json.loads(metadata)
    assert got == expected


def test_order_and_absence_of_identity_do_not_matter() -> None:
    assert replay({"created": 5, "x": 1, "id": "a"}).whole(b"new", b"9", None) == (
        b'{"created": 9, "x": 1, "id": "chatcmpl-new"}'
    )
    assert replay({"x": 1}).whole(b"new", b"9", None) == b'{"x": 1}'


@pytest.mark.parametrize("show_usage", [True, False])
def test_a_replayed_stream_is_a_proper_chunk_sequence(show_usage: bool) -> None:
    chunks = render(ANSWER, b'{"cached":true}', show_usage=show_usage)
    assert all(
        c["id"] == "chatcmpl-new" and c["created"] == 9 and c["object"] == "chat.completion.chunk" for c in chunks
    )
    assert all(c["model"] == "m" and c["system_fingerprint"] == "fp" for c in chunks)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [c for c in chunks if "metadata" in c] == chunks[-1:]
    finish = chunks[-2] if show_usage else chunks[-1]
    assert finish["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "tool_calls"}]
    if show_usage:
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"] == ANSWER["usage"]
        assert all(c["usage"] is None for c in chunks[:-1])
    else:
        assert all("usage" not in c for c in chunks)
    assert max(len(c["choices"][0]["delta"].get("content") or "") for c in chunks if c["choices"]) <= PIECE_CHARACTERS


def test_a_stream_is_prepared_once() -> None:
    stored = replay(ANSWER)
    for show_usage in (False, True):
        first = stored.stream(b"n", b"9", None, show_usage=show_usage)
        assert stored.stream(b"n", b"9", None, show_usage=show_usage) == first


def test_a_bare_answer_replays_too() -> None:
    bare = {"choices": [{"message": {"content": None}, "finish_reason": "stop"}]}
    chunks = render(bare, None, show_usage=True)
    assert [c["choices"][0]["delta"] for c in chunks] == [{"role": "assistant", "content": None}, {}]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=600)
calls = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text(max_size=3),
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": st.text(max_size=3), "arguments": texts}),
        }
    ),
    max_size=2,
)


@given(texts, calls, st.booleans())
def test_folding_a_replayed_stream_gives_the_answer_back(text: str, tools: list[Any], show_usage: bool) -> None:
    called = {"tool_calls": tools} if tools else {}
    answer = {
        "id": "chatcmpl-x",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": text, "refusal": None, **called},
                "logprobs": None,
                "finish_reason": "stop",
            }
            for index in range(2)
        ],
        "usage": {"prompt_tokens": 1},
    }
    stream = replay(answer).stream(b"x", b"5", None, show_usage=show_usage)
    payloads = [event.removeprefix(b"data: ") for event in stream.split(b"\n\n")[:-2]]
    again = folded(payloads)
    if not show_usage:
        again["usage"] = answer["usage"]
    for choice in again["choices"]:
        choice.setdefault("logprobs", None)
    assert again == answer


@pytest.mark.parametrize(
    ("member", "kept"),
    [
        (b'"n":1', True),
        (b'"n":"' + b"9" * 6000 + b'"', True),
        (b'"n":' + b"9" * 6000, False),
        (rb'"n":"\ud800"', False),
        (b'"object":"again"', False),
    ],
    ids=["plain", "a long text", "thousands of digits", "a lone surrogate", "a member twice"],
)
def test_only_what_can_be_told_in_every_framing_is_stored(member: bytes, kept: bool) -> None:
    body = (
        b'{"id":"a","object":"chat.completion","created":1,"choices":[{"index":0,"message":{"role":"assistant",'
        b'"content":"hi"},"finish_reason":"stop"}],%b}' % member
    )
    replay = replayable(body)
    assert (replay is not None) == kept
    if replay is not None:
        assert replay.whole(b"b", b"2", None)
        assert replay.stream(b"b", b"2", None, show_usage=True)
