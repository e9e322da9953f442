"""Where the provider's prompt cache shall remember: breakpoints on a translated request whose client set none.

Anthropic caches nothing unasked. It writes the prompt up to each breakpoint and reads the longest such prefix it knows,
looking back some twenty blocks from a breakpoint. The places are the same for the same conversation, turn after turn:

- the last tool, and the last block of the system prompt: what all conversations of an application share;
- the last block of the user's last message: what the next turn will read;
- the last block of the user's message before it: what the last turn wrote there, found however much came since.
"""

from collections.abc import Sequence

from llm_edge_agent.dialects.fields import Json

BYTES_PER_TOKEN = 4
"""An estimate on the large side, since JSON's own characters count: a breakpoint on a prompt that is still below the
model's minimum is ignored by the provider, and costs nothing."""

USER_TURNS = 2


def worth_marking(body_bytes: int, minimum_tokens: int, tools: Sequence[Json], messages: Sequence[Json]) -> bool:
    """Whether a request is of the kind whose prefix comes again (it carries tools, or the model has spoken before), and
    long enough for the provider to cache at all. `body_bytes`: size of the client's body."""
    if body_bytes < minimum_tokens * BYTES_PER_TOKEN:
        return False
    return bool(tools) or any(message["role"] == "assistant" for message in messages)


def place(tools: Sequence[Json], system: Sequence[Json], messages: Sequence[Json]) -> None:
    """Sets the breakpoints, at most four, on blocks that carry none."""
    loaded = [tool for tool in tools if not tool.get("defer_loading")]  # others are no part of the prefix
    holders = [group[-1] for group in (loaded, system) if group]
    turns = [message for message in messages if message["role"] == "user"]
    holders += [turn["content"][-1] for turn in turns[-USER_TURNS:]]
    for holder in holders:
        holder["cache_control"] = {"type": "ephemeral"}
