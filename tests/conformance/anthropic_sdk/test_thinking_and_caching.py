"""What breaks when a gateway alters a byte: thinking blocks with their signatures, and prefixes of the prompt cache."""

from typing import Any

import anthropic
import pytest

from tests.canaries import prompt
from tests.conformance.anthropic_sdk.requests_and_texts import TOOLS, calls_of, once, results, spoken, text_of, user

BUDGET: Any = {"type": "enabled", "budget_tokens": 1024}


def ask(client: anthropic.Anthropic, stream: bool, **asked: Any) -> Any:
    if not stream:
        return client.messages.create(**asked)
    with client.messages.stream(**asked) as events:
        return events.get_final_message()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("shown", [True, False])
def test_thinking_is_echoed_over_several_turns(client: anthropic.Anthropic, stream: bool, shown: bool) -> None:
    asked: dict[str, Any] = {"max_tokens": 3000, "tools": TOOLS, "system": "Think — then answer. ½ é 日本"}
    if shown:
        asked |= {"model": "claude-haiku-4-5", "thinking": BUDGET}
    else:
        asked |= {"model": "claude-opus-5"}
    messages = once("call get_weather for Paris, and mind the accents: àéîõü \U0001f600")
    for turn in range(3):
        made = ask(client, stream, **asked, messages=messages)
        thought = made.content[0]
        assert thought.type == "thinking"
        assert thought.signature
        assert bool(thought.thinking) == shown
        assert made.usage.output_tokens_details is None or made.usage.output_tokens_details.thinking_tokens > 0
        messages.append(spoken(made))
        messages.append(results(made) if calls_of(made) else user(prompt(f"And the time? call get_time, turn {turn}")))
    made = ask(client, stream, **asked, messages=messages)
    assert text_of(made) or calls_of(made)


@pytest.mark.parametrize("stream", [False, True])
def test_redacted_thinking(client: anthropic.Anthropic, stream: bool) -> None:
    asked: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 3000, "thinking": BUDGET}
    messages = once("[[sim: think=redacted]]")
    made = ask(client, stream, **asked, messages=messages)
    assert made.content[0].type == "redacted_thinking"
    again = ask(client, stream, **asked, messages=[*messages, spoken(made), user(prompt("Go on."))])
    assert text_of(again)


def test_an_altered_block_is_refused_by_the_provider(client: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 3000, "thinking": BUDGET}
    messages = once("Think hard.")
    made = client.messages.create(**asked, messages=messages)
    altered = spoken(made)
    altered["content"][0]["thinking"] += "!"
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature` in `thinking` block"):
        client.messages.create(**asked, messages=[*messages, altered, user(prompt("Go on."))])
    with pytest.raises(anthropic.BadRequestError, match="bound to a different conversation"):
        client.messages.create(**asked, messages=[*once("Another start."), spoken(made), user(prompt("Go on."))])


@pytest.mark.parametrize("stream", [False, True])
def test_prompt_caching_writes_then_reads(client: anthropic.Anthropic, stream: bool) -> None:
    unique = once("x")[0]["content"]
    system: Any = [
        {"type": "text", "text": f"{unique} " + "a" * 4000, "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "b" * 2000, "cache_control": {"type": "ephemeral"}},
    ]
    asked: dict[str, Any] = {"model": "claude-opus-5", "max_tokens": 500, "system": system, "tools": TOOLS}
    first = ask(client, stream, **asked, messages=once("One?")).usage
    second = ask(client, stream, **asked, messages=once("Two?")).usage
    written = first.cache_creation_input_tokens
    assert written > 1500
    assert first.cache_read_input_tokens == 0
    if first.cache_creation is not None:  # told at the start of a stream, and not again at its end
        split = first.cache_creation
        assert split.ephemeral_1h_input_tokens + split.ephemeral_5m_input_tokens == written
        assert split.ephemeral_5m_input_tokens == 500
    assert (second.cache_read_input_tokens, second.cache_creation_input_tokens) == (written, 0)
    assert second.input_tokens < 20


def test_a_short_prefix_is_not_cached(client: anthropic.Anthropic) -> None:
    system: Any = [{"type": "text", "text": "short", "cache_control": {"type": "ephemeral"}}]
    usage = client.messages.create(model="claude-opus-5", max_tokens=500, system=system, messages=once("Hi")).usage
    assert (usage.cache_creation_input_tokens, usage.cache_read_input_tokens) == (0, 0)


def test_five_breakpoints_are_refused_by_the_provider(client: anthropic.Anthropic) -> None:
    system: Any = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5
    with pytest.raises(anthropic.BadRequestError, match="A maximum of 4 blocks with cache_control"):
        client.messages.create(model="claude-opus-5", max_tokens=500, system=system, messages=once("Hi"))
