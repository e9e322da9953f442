"""Prompt caching as the providers bill it."""

from typing import Any

from llm_edge_agent.simulator.prompt_cache import PrefixMemory
from llm_edge_agent.simulator.prompts import Segment
from tests.simulator.direct import CHAT, MESSAGES, ask, chat, message, simulator, tool

LONG = "word " * 4000  # 5,000 tokens
MARK: dict[str, Any] = {"type": "ephemeral"}


def system(text: str, **marker: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text, "cache_control": MARK | marker}]


async def usage(sim: Any, body: dict[str, Any]) -> tuple[int, int, int, int]:
    """Uncached, read, written for 5 minutes, written for an hour."""
    found = (await ask(sim, MESSAGES, body)).json["usage"]
    written = found["cache_creation"]
    assert found["cache_creation_input_tokens"] == sum(written.values())
    return (
        found["input_tokens"],
        found["cache_read_input_tokens"],
        written["ephemeral_5m_input_tokens"],
        written["ephemeral_1h_input_tokens"],
    )


async def test_anthropic_writes_then_reads() -> None:
    sim = simulator()
    assert await usage(sim, message("hello", system=system(LONG))) == (2, 0, 5000, 0)
    assert await usage(sim, message("other words", system=system(LONG))) == (3, 5000, 0, 0)
    assert [bill.cache_read_tokens for bill in sim.billed] == [0, 5000]
    assert await usage(sim, message("hello", "claude-opus-5", system=system(LONG))) == (2, 0, 5000, 0)
    assert await usage(sim, message("hello", system=system(LONG + "!"))) == (2, 0, 5001, 0)


async def test_anthropic_for_an_hour_and_tools_first() -> None:
    sim = simulator()
    tools = [tool(description=LONG)]
    first = await usage(sim, message("hello", system=system("be brief", ttl="1h"), tools=tools))
    assert first[3] > 5000
    assert await usage(sim, message("hello", system=system("be brief", ttl="1h"), tools=tools)) == (2, first[3], 0, 0)
    other = await usage(
        sim, message("hello", system=system("be brief", ttl="1h"), tools=[tool(description=LONG + "x")])
    )
    assert other[1] == 0


async def test_anthropic_needs_a_long_prefix() -> None:
    sim = simulator()
    short = system("word " * 800)
    assert (await usage(sim, message("hi", system=short)))[2] == 0
    assert (await usage(sim, message("hi", "claude-opus-5", system=short)))[2] == 1000


async def test_anthropic_grows_with_the_conversation() -> None:
    sim = simulator()
    body = message(LONG, cache_control=MARK)
    assert await usage(sim, body) == (0, 0, 5000, 0)
    body["messages"] += [{"role": "assistant", "content": "abcd"}, {"role": "user", "content": "efgh"}]
    assert await usage(sim, body) == (0, 5000, 2, 0)


async def test_refused_requests_write_nothing() -> None:
    sim = simulator()
    assert (await ask(sim, MESSAGES, message("[[sim: status=500]]", system=system(LONG)))).status == 500
    assert (await usage(sim, message("hello", system=system(LONG))))[1] == 0


async def test_openai_caches_long_prompts_by_itself() -> None:
    sim = simulator()

    async def cached(text: str, model: str = "gpt-4o") -> tuple[int, Any]:
        details = (await ask(sim, CHAT, chat(text, model))).json["usage"]["prompt_tokens_details"]
        return details["cached_tokens"], details.get("cache_write_tokens")

    assert await cached(LONG) == (0, None)
    assert await cached(LONG) == (4992, None)
    assert await cached(LONG[:10_000] + "and now for something else") == (2432, None)
    assert await cached("short") == (0, None)
    assert await cached("short") == (0, None)
    assert await cached(LONG, "gpt-5.6") == (0, 4992)
    assert await cached(LONG, "gpt-5.6") == (4992, 0)


def test_prefixes_expire_and_are_bounded() -> None:
    memory = PrefixMemory()
    segments = [Segment("x" * 4096, 1024, "5m"), Segment("y" * 4096, 1024, "1h")]
    use = memory.explicit("m", segments, 1024, 0.0)
    assert (use.read, use.written_5m, use.written_1h) == (0, 1024, 1024)
    memory.remember(use, 0.0)
    assert memory.explicit("m", segments, 1024, 299.0).read == 2048
    assert memory.explicit("m", segments[:1], 1024, 301.0).read == 0
    assert memory.explicit("m", segments, 1024, 301.0).read == 2048
    assert memory.explicit("m", segments, 1024, 3601.0).read == 0
    assert memory.explicit("other", segments, 1024, 1.0).read == 0
