"""Breakpoints that the gateway sets: where, when, and above all when not."""

import json
from typing import Any

import pytest

from tests.dialects.chat_to_messages.models import ADAPTIVE, call, function, model, out, translate

MARK = {"type": "ephemeral"}
LONG = "The terms of the warranty are as follows. " * 400
MINIMUM_BYTES = 4 * model(ADAPTIVE).rules.min_cacheable_tokens


def said(role: str, content: Any, **members: Any) -> dict[str, Any]:
    return {"role": role, "content": content} | members


def agent(turns: int) -> dict[str, Any]:
    """The request of an agent's loop after so many tool calls."""
    messages = [said("system", LONG), said("user", "Find it.")]
    for turn in range(turns):
        messages.append(said("assistant", None, tool_calls=[call(f"c{turn}", "search")]))
        messages.append(said("tool", f"result {turn}", tool_call_id=f"c{turn}"))
    return {"messages": messages, "tools": [function("search"), function("read")]}


def marked(body: dict[str, Any]) -> list[str]:
    """Places of all breakpoints."""
    places = [f"tools.{i}" for i, tool in enumerate(body.get("tools", ())) if "cache_control" in tool]
    places += [f"system.{i}" for i, block in enumerate(body.get("system", ())) if "cache_control" in block]
    for i, message in enumerate(body["messages"]):
        places += [f"messages.{i}.{j}" for j, block in enumerate(message["content"]) if "cache_control" in block]
    return places


def cached(request: dict[str, Any], **options: Any) -> dict[str, Any]:
    return out(request, prompt_cache=True, **options)


def test_tools_system_and_the_users_last_two_turns() -> None:
    assert marked(cached(agent(0))) == ["tools.1", "system.0", "messages.0.0"]
    assert marked(cached(agent(1))) == ["tools.1", "system.0", "messages.0.0", "messages.2.0"]
    assert marked(cached(agent(5))) == ["tools.1", "system.0", "messages.8.0", "messages.10.0"]
    assert cached(agent(1))["messages"][-1]["content"][-1]["cache_control"] == MARK


def test_a_turn_ends_where_the_turn_before_began_to_read() -> None:
    """What the last turn wrote up to, this turn marks again: the provider need not look back for it."""
    for turns in range(6):
        before, after = cached(agent(turns)), cached(agent(turns + 1))
        assert marked(before)[-1] in marked(after)


def test_nothing_but_the_breakpoints_is_added() -> None:
    plain, with_marks = out(agent(3)), cached(agent(3))

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(each) for key, each in value.items() if key != "cache_control"}
        return [without(each) for each in value] if isinstance(value, list) else value

    assert without(with_marks) == plain
    assert translate(agent(3), prompt_cache=True).breakpoints
    assert not translate(agent(3)).breakpoints


def test_a_conversation_without_tools_is_marked_once_the_model_has_spoken() -> None:
    first = [said("system", LONG), said("user", "Hi")]
    assert marked(cached({"messages": first})) == []
    then = [*first, said("assistant", "Hello."), said("user", [{"type": "text", "text": t} for t in ("And", "so?")])]
    assert marked(cached({"messages": then})) == ["system.0", "messages.0.0", "messages.2.1"]


def test_deferred_tools_are_no_part_of_the_prefix() -> None:
    request = agent(0)
    request["tools"][1]["defer_loading"] = True
    assert marked(cached(request))[0] == "tools.0"
    request["tools"][0]["defer_loading"] = True
    assert marked(cached(request)) == ["system.0", "messages.0.0"]


@pytest.mark.parametrize(
    "change",
    [
        lambda request: request["messages"][1].update(cache_control=MARK),
        lambda request: request["messages"][0].update(content=[{"type": "text", "text": LONG, "cache_control": MARK}]),
        lambda request: request["tools"][0].update(cache_control=MARK),
        lambda request: request.update(cache_control=MARK),
        lambda request: request["messages"][1].update(
            content=[{"type": "text", "text": "Find it.", "prompt_cache_breakpoint": {}}]
        ),
    ],
)
def test_the_clients_own_markers_are_left_alone(change: Any) -> None:
    request = agent(2)
    change(request)
    assert cached(request) == out(request)
    assert not translate(request, prompt_cache=True).breakpoints


def test_a_client_that_wants_only_its_own_gets_no_others() -> None:
    assert marked(cached(agent(2) | {"prompt_cache_options": {"mode": "explicit"}})) == []
    assert marked(cached(agent(2) | {"prompt_cache_options": {"mode": "implicit"}})) != []


@pytest.mark.parametrize(("size", "expected"), [(MINIMUM_BYTES - 1, False), (MINIMUM_BYTES, True)])
def test_below_the_models_minimum_there_is_nothing_to_cache(size: int, expected: bool) -> None:
    request = {"model": ADAPTIVE, **agent(0)}
    request["messages"] = [said("user", "")]
    request["messages"][0]["content"] = "x" * (size - len(json.dumps(request)))
    assert len(json.dumps(request)) == size
    assert bool(marked(cached(request))) is expected
