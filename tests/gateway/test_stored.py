import asyncio
import math
from pathlib import Path
from time import monotonic

import msgspec
import pytest

from llm_edge_agent.cache.disk import DiskStore
from llm_edge_agent.cache.epochs import ALL, Epochs
from llm_edge_agent.cache.memory import MemoryCache
from llm_edge_agent.cache.tiers import Tiers
from llm_edge_agent.dialects import CHAT
from llm_edge_agent.gateway.stored import Answers, SharedForm, StoredAnswer

BODY = b'{"id":"a","created":1,"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}'
KEY = b"k" * 32


def memory() -> MemoryCache[StoredAnswer]:
    return MemoryCache(max_entries=100, max_bytes=100_000, ttl_s=60, tti_s=60)


def stored(body: bytes = BODY) -> StoredAnswer:
    return StoredAnswer(body, "openai", "gpt", 5, ("retired-model",))


def shared(folder: Path) -> Answers:
    store = DiskStore(folder, max_bytes=2**24)
    return Answers(Tiers(memory(), store, SharedForm()), Epochs(store, entry_ttl_s=60))


def test_what_was_put_is_got() -> None:
    answers, answer = Answers(Tiers(memory(), None, SharedForm()), Epochs(None, entry_ttl_s=60)), stored()
    answers.put(KEY, answer, ttl_s=None)
    assert answers.get(KEY) is answer
    assert answers.get(b"other") is None
    assert answers.entries() == 1
    assert answers.weight() >= answer.weight_bytes
    assert (answers.shared, answers.shared_up) == (False, False)


async def test_without_a_shared_tier_there_is_nothing_to_find() -> None:
    answers = Answers(Tiers(memory(), None, SharedForm()), Epochs(None, entry_ttl_s=60))
    await answers.start()
    assert await answers.find(KEY) is None
    await answers.close()


async def test_what_one_put_another_finds_with_its_age(tmp_path: Path) -> None:
    here, there = shared(tmp_path), shared(tmp_path)
    await here.start()
    await there.start()
    here.put(KEY, stored(), ttl_s=None)
    while (found := await there.find(KEY)) is None:
        await asyncio.sleep(0.01)
    assert (found.body, found.provider, found.model) == (BODY, "openai", "gpt")
    assert (found.cost_picodollars, found.warnings) == (5, ("retired-model",))
    assert 0 <= monotonic() - found.stored_s < 5
    assert there.get(KEY) is found
    assert (there.shared, there.shared_up) == (True, True)
    await here.close()
    await there.close()
    assert not there.shared_up


async def test_until_the_epochs_are_known_nothing_is_found(tmp_path: Path) -> None:
    here = shared(tmp_path)
    await here.start()
    here.put(KEY, stored(), ttl_s=None)
    here.epochs.current = False
    assert await here.find(KEY) is None
    await here.epochs.bump(ALL)
    assert here.epochs.current
    assert await here.find(KEY) is not None
    await here.close()


def test_the_age_of_what_was_stored_elsewhere_goes_on() -> None:
    found = SharedForm().load(SharedForm().dump(stored()), age_s=100)
    assert monotonic() - found.stored_s == pytest.approx(100, abs=1)
    assert found.fresh_until_s == math.inf
    short = StoredAnswer(BODY, "openai", "gpt", 5, (), fresh_s=150)
    found = SharedForm().load(SharedForm().dump(short), age_s=100)
    assert found.fresh_until_s - monotonic() == pytest.approx(50, abs=1)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode({"body": BODY}),
        msgspec.msgpack.encode([BODY, "openai"]),
        msgspec.msgpack.encode([BODY, "openai\r\nset-cookie: x", None, None, [], None]),
        msgspec.msgpack.encode([BODY, "openai", "gpt\x00", None, [], None]),
        msgspec.msgpack.encode([BODY, "openai", "gpt", None, ["dropped:\u00e9"], None]),
    ],
)
def test_what_is_no_stored_answer_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError):
        SharedForm().load(payload, 0.0)


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
