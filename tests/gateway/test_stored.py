from collections.abc import Callable

from llm_edge_agent.cache.memory import MemoryCache
from llm_edge_agent.dialects import CHAT
from llm_edge_agent.gateway.stored import Answers, StoredAnswer

BODY = b'{"id":"a","created":1,"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'


def answers(seen: list[str] | None = None) -> Answers:
    def observer(kind: str) -> Callable[[float], None]:
        def observe(seconds: float) -> None:
            assert 0 <= seconds < 1
            if seen is not None:
                seen.append(kind)

        return observe

    memory: MemoryCache[StoredAnswer] = MemoryCache(max_entries=100, max_bytes=100_000, ttl_s=60, tti_s=60)
    return Answers(memory, observe_get=observer("get"), observe_set=observer("set"))


def stored(body: bytes = BODY) -> StoredAnswer:
    return StoredAnswer(body, "openai", "gpt", 5, ("retired-model",))


def test_what_was_put_is_got() -> None:
    seen: list[str] = []
    tier, answer = answers(seen), stored()
    tier.put(b"k", answer, ttl_s=None)
    assert tier.get(b"k") is answer
    assert tier.get(b"other") is None
    assert seen == ["set", "get", "get"]
    assert tier.entries() == 1
    assert tier.weight() >= answer.weight_bytes


def test_a_hit_is_made_ready_once() -> None:
    answer = stored()
    replay = answer.replay(CHAT)
    assert replay is not None
    assert answer.replay(CHAT) is replay
    lines = answer.header_lines(cost=True)
    assert b"x-llm-edge-cost-usd: 0.0\r\n" in lines
    assert b"x-llm-edge-attempts: 0\r\n" in lines
    assert b"x-llm-edge-warnings: retired-model\r\n" in lines
    assert b"cost" not in stored().header_lines(cost=False)


def test_what_cannot_be_told_again_is_no_hit() -> None:
    assert stored(BODY.replace(b'"created":1', b'"created":1,"created":2')).replay(CHAT) is None
