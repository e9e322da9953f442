"""Messages: roles, results, ids, order, and the same prefix for the same prefix."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dialects.chat_to_messages import models
from tests.dialects.chat_to_messages.models import call, function, out, refused, translate

Json = dict[str, Any]


def user(content: Any = "Hi", **members: Any) -> Json:
    return {"role": "user", "content": content} | members


def assistant(content: Any = None, **members: Any) -> Json:
    return {"role": "assistant", "content": content} | members


def result(call_id: str = "c1", content: Any = "ok", **members: Any) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": content} | members


def messages(*turns: Any, **options: Any) -> list[Json]:
    found: list[Json] = out({"messages": list(turns)}, **options)["messages"]
    return found


def roles(*turns: Any, **options: Any) -> list[str]:
    return [message["role"] for message in messages(*turns, **options)]


def text(value: str) -> Json:
    return {"type": "text", "text": value}


@pytest.mark.parametrize(
    ("turns", "code", "param"),
    [
        ([], "empty_array", "messages"),
        ([1], "invalid_type", "messages[0]"),
        ([{}], "missing_required_parameter", "messages[0].role"),
        ([{"role": "wizard"}], "invalid_value", "messages[0].role"),
        ([user(name=1)], "invalid_type", "messages[0].name"),
        ([user(), assistant(audio={"id": "a"})], "unsupported_content", "messages[1].audio"),
        ([user(), assistant(refusal=1)], "invalid_type", "messages[1].refusal"),
        ([user(), assistant(tool_calls=[{}])], "missing_required_parameter", "messages[1].tool_calls[0].id"),
        (
            [user(), assistant(tool_calls=[{"id": "a", "type": "x"}])],
            "invalid_value",
            "messages[1].tool_calls[0].type",
        ),
        (
            [user(), assistant(tool_calls=[{"id": "a"}])],
            "missing_required_parameter",
            "messages[1].tool_calls[0].function",
        ),
        (
            [user(), assistant(tool_calls=[call("a", "a.b")])],
            "invalid_value",
            "messages[1].tool_calls[0].function.name",
        ),
        (
            [user(), assistant(tool_calls=[{"id": "a", "type": "custom", "custom": {"name": "f", "input": 1}}])],
            "invalid_type",
            "messages[1].tool_calls[0].custom.input",
        ),
        ([user(), result("nobody")], "invalid_value", "messages[1].tool_call_id"),
        ([user(), {"role": "function", "name": "f", "content": "x"}], "invalid_value", "messages[1].name"),
        ([user(), assistant(tool_calls=[call()]), result(), result()], "invalid_value", "messages[3].tool_call_id"),
        ([user(), assistant(tool_calls=[call()])], "invalid_value", "messages[1].tool_calls[0]"),
        ([user(), assistant(tool_calls=[call()]), assistant("x")], "invalid_value", "messages[1].tool_calls[0]"),
        ([user(), assistant(tool_calls=[call()]), result(is_error=1)], "invalid_type", "messages[2].is_error"),
        ([user(), assistant(thinking_blocks=[1])], "invalid_type", "messages[1].thinking_blocks[0]"),
    ],
)
def test_refused(turns: list[Any], code: str, param: str) -> None:
    error = refused({"messages": turns})
    assert (error.code, error.param) == (code, param)


def test_an_empty_user_message_holds_its_place() -> None:
    found = translate({"messages": [user("")]})
    assert json.loads(found.body)["messages"] == [user([text(".")])]
    assert found.warnings == ("changed:messages",)
    error = refused({"messages": [user("")]}, strict=True)
    assert (error.message, error.param) == ("messages: text content blocks must be non-empty", "messages[0].content")


def test_an_empty_assistant_message_says_nothing() -> None:
    assert messages(user("a"), assistant(""), user("b")) == [user([text("a"), text("b")])]
    assert messages(assistant("")) == [user([text(".")])]


def test_a_conversation_begins_with_the_user() -> None:
    assert messages(assistant("Hello"), user()) == [user([text(".")]), assistant([text("Hello")]), user([text("Hi")])]
    only_system = out({"messages": [{"role": "system", "content": "Be brief."}]})
    assert only_system["messages"] == [user([text(".")])]


def test_names_introduce_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    found = messages(user([image, {"type": "text", "text": "Look"}], name="Ann"), assistant("Nice", name=" "), user())
    assert found[0]["content"][1] == text("Ann: Look")
    assert found[1]["content"] == [text("Nice")]
    assert messages(user([image], name="Ann"))[0]["content"][0]["type"] == "image"


def test_a_refusal_is_said_as_text() -> None:
    assert messages(user(), assistant(refusal="No."), user())[1] == assistant([text("No.")])


def test_a_system_message_between_calls_and_results_waits_for_them() -> None:
    turns = (user(), assistant(tool_calls=[call()]), {"role": "system", "content": "Now."}, result(), user("b"))
    found = messages(*turns)
    assert [message["role"] for message in found] == ["user", "assistant", "user", "system", "user"]
    assert found[3]["content"] == [text("Now.")]


def test_results_stand_before_what_the_user_said_meanwhile() -> None:
    turns = (user(), assistant(tool_calls=[call("a"), call("b")]), result("b"), user("wait"), result("a"))
    content = messages(*turns)[2]["content"]
    assert [block.get("tool_use_id", block.get("text")) for block in content] == ["b", "a", "wait"]


def test_result_of_text_parts_alone_may_be_empty() -> None:
    found = messages(user(), assistant(tool_calls=[call()]), result(content=[{"type": "text", "text": ""}]))
    assert found[2]["content"] == [{"type": "tool_result", "tool_use_id": "c1"}]


def test_one_id_in_two_turns_becomes_two() -> None:
    turn = [assistant(tool_calls=[call("call_0")]), result("call_0")]
    translated = translate({"messages": [user(), *turn, *turn], "tools": [function()]})
    found = json.loads(translated.body)["messages"]
    assert [message["content"][0].get("id", message["content"][0].get("tool_use_id")) for message in found[1:]] == [
        "call_0",
        "call_0",
        "call_0_2",
        "call_0_2",
    ]
    assert translated.sent.tool_ids == {"call_0_2": "call_0"}


@settings(deadline=None)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=5))
def test_ids_are_legal_different_and_reversible(ids: list[str]) -> None:
    turns = [user(), assistant(tool_calls=[call(each) for each in ids]), *(result(each) for each in ids)]
    translated = translate({"messages": turns})
    content = json.loads(translated.body)["messages"][1]["content"]
    sent = [block["id"] for block in content]
    assert len(set(sent)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each) for each in sent)
    assert [translated.sent.tool_ids.get(each, each) for each in sent] == ids
    results = json.loads(translated.body)["messages"][2]["content"]
    assert [block["tool_use_id"] for block in results] == sent


@pytest.mark.parametrize("arguments", ["{", "[1]", "NaN", '"x"', "[" * 5000])
def test_arguments_that_are_no_object(arguments: str) -> None:
    turns = [user(), assistant(tool_calls=[call(arguments=arguments)]), result()]
    translated = translate({"messages": turns})
    assert json.loads(translated.body)["messages"][1]["content"][0]["input"] == {"_raw": arguments}
    assert translated.warnings == ("changed:messages",)
    error = refused({"messages": turns}, strict=True)
    assert error.code == "invalid_tool_call_arguments"
    assert error.param == "messages[1].tool_calls[0].function.arguments"


NATIVE = {"type": "thinking", "thinking": "t", "signature": "s"}


@pytest.mark.parametrize(
    ("block", "name", "kept", "warned"),
    [
        pytest.param(NATIVE, models.ADAPTIVE, True, False, id="native"),
        pytest.param(NATIVE, models.NO_THINKING, False, True, id="model that cannot think"),
        pytest.param({"type": "thinking", "thinking": "t"}, models.ADAPTIVE, False, True, id="without signature"),
        pytest.param({"type": "redacted_thinking", "data": 1}, models.ADAPTIVE, False, True, id="data of wrong type"),
        pytest.param({"type": "text", "text": "x"}, models.ADAPTIVE, False, True, id="something else"),
        pytest.param({"type": []}, models.ADAPTIVE, False, True, id="type of wrong type"),
        pytest.param(NATIVE | {"signature": "lea1.x"}, models.ADAPTIVE, False, False, id="the gateway's own"),
    ],
)
def test_thinking_blocks_sent_back(block: Json, name: str, kept: bool, warned: bool) -> None:
    translated = translate({"messages": [user(), assistant("x", thinking_blocks=[block]), user()]}, name=name)
    content = json.loads(translated.body)["messages"][1]["content"]
    assert content == ([block] if kept else []) + [text("x")]
    assert translated.warnings == (("dropped:thinking_blocks",) if warned else ())


def test_prefill_before_a_structured_answer_is_no_prefill() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    body = out({"messages": [user(), assistant("{")], "response_format": schema}, name=models.ENABLED)
    assert body["messages"][-1] == user([text("Continue.")])


def test_prefill_rules_manual_thinking_out() -> None:
    body = out({"messages": [user(), assistant("It ")], "reasoning_effort": "low"}, name=models.ENABLED)
    assert "thinking" not in body
    assert body["messages"][-1] == assistant([text("It")])


def test_prefill_that_ends_with_thinking_is_left_alone() -> None:
    found = messages(user(), assistant(thinking_blocks=[NATIVE]), name=models.ENABLED)
    assert found[-1] == assistant([NATIVE])


def test_a_call_of_the_old_kind_gets_an_id_that_nothing_else_has() -> None:
    old = assistant(function_call={"name": "f", "arguments": "{}"})
    answered = {"role": "function", "name": "f", "content": "x"}
    turns = [user(), assistant(tool_calls=[call("call_1")]), result("call_1"), old, answered, user()]
    translated = translate({"messages": turns})
    ids = [block["id"] for m in json.loads(translated.body)["messages"] for block in m["content"] if "id" in block]
    assert ids == ["call_1", "call_1_2"]


TURNS = st.lists(
    st.sampled_from(
        [
            [user("a"), assistant("b")],
            [user("a"), assistant("c", tool_calls=[call("x.1")]), result("x.1"), assistant("d")],
            [user("a"), {"role": "system", "content": "s"}, assistant("b")],
            [
                user("a"),
                user("b"),
                assistant(tool_calls=[call("1"), call("2")]),
                result("2"),
                result("1"),
                assistant("e"),
            ],
        ]
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(TURNS, st.data())
def test_the_same_prefix_gives_the_same_bytes(turns: list[list[Json]], data: st.DataObject) -> None:
    """What was sent before is sent again unchanged when the conversation goes on: thinking and caches depend on it."""
    kept = data.draw(st.integers(0, len(turns) - 1))
    lead = {"role": "system", "content": "Lead."}
    shorter = [lead, *(message for turn in turns[:kept] for message in turn), user("now")]
    longer = [lead, *(message for turn in turns[:kept] for message in turn), user("now"), assistant("z"), *turns[kept]]
    request = {"tools": [function()]}
    first = translate(request | {"messages": shorter}).body
    second = translate(request | {"messages": [*longer, user("end")]}).body
    prefix = first[: first.rindex(b"]")]
    assert second.startswith(prefix)
    assert translate(request | {"messages": shorter}).body == first


def test_many_calls_of_one_id_take_no_time_worth_naming() -> None:
    """Quadratic handling of this request would take minutes."""
    count = 20_000
    turns = [user(), assistant(tool_calls=[call("x")] * count), *([result("x")] * count)]
    translated = translate({"messages": turns})
    assert len(translated.sent.tool_ids) == count - 1
    assert len(json.loads(translated.body)["messages"][2]["content"]) == count


def test_results_of_the_old_kind_find_their_calls_by_name() -> None:
    answered = {"role": "function", "content": "x"}
    calls = [call("a", "f"), call("b", "g"), call("c", "f")]
    turns = [user(), assistant(tool_calls=calls), result("a"), answered | {"name": "f"}, answered | {"name": "g"}]
    content = messages(*turns)[2]["content"]
    assert [block["tool_use_id"] for block in content] == ["a", "c", "b"]
