"""One server as it comes, goes, and misbehaves: what lookups and writes see of it, and how long they wait."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from llm_edge_agent.cache import codec, redis_link
from llm_edge_agent.cache.redis_connection import Place
from llm_edge_agent.cache.redis_link import LinkEvents, LinkTimes, RedisLink
from llm_edge_agent.cache.tiers import StoreError
from llm_edge_agent.config.redis_address import redis_address
from tests.cache.redis_servers import RedisServer, strange_server

BUDGET_S = 0.15
SLACK_S = 0.6
"""What a loaded machine may add."""


class Seen:
    def __init__(self) -> None:
        self.failed: list[str] = []
        self.foreign: list[str] = []
        self.moved = 0
        self.changed = 0

    def events(self) -> LinkEvents:
        def moved() -> None:
            self.moved += 1

        def changed() -> None:
            self.changed += 1

        return LinkEvents(failed=self.failed.append, foreign=self.foreign.append, moved=moved, changed=changed)


def link_to(url: str, seen: Seen, *, lookup_s: float = BUDGET_S, **more: Any) -> RedisLink:
    address = redis_address(url)

    async def locate() -> Place:
        return address.nodes[0]

    return RedisLink(locate, address, LinkTimes(connect_s=1.0, lookup_s=lookup_s), seen.events(), **more)


async def until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.01)


async def timed(lookup: Awaitable[bytes | None]) -> tuple[bytes | None, float]:
    began_s = time.monotonic()
    return await lookup, time.monotonic() - began_s


@pytest.fixture(params=[True, False], ids=["MGET", "GETs"])
def one_command(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def test_lookups_of_one_turn_share_one_command(shared_server: RedisServer) -> None:
    link = link_to(shared_server.url, Seen(), lookup_s=1.0)
    assert await link.start()
    with shared_server.client() as client:
        client.config_resetstat()
        await asyncio.gather(*(link.get(b"%d" % number) for number in range(100)))
        await link.get(b"alone")
        calls = {name: row["calls"] for name, row in client.info("commandstats").items()}
    assert calls.get("cmdstat_mget") == 1
    assert calls.get("cmdstat_get") == 1
    await link.close()


async def test_a_server_that_is_frozen_costs_its_budget_once(server: RedisServer, one_command: bool) -> None:
    seen = Seen()
    link = link_to(server.url, seen, one_command=one_command)
    assert await link.start()
    server.freeze()
    values = await asyncio.gather(*(timed(link.get(b"key")) for _ in range(5)))
    assert all(value is None and took_s < BUDGET_S + SLACK_S for value, took_s in values)
    assert not link.up
    value, took_s = await timed(link.get(b"key"))
    assert value is None
    assert took_s < BUDGET_S / 2
    await asyncio.sleep(0.3)
    assert not link.up, "a probe that is not answered in time is no success"
    server.thaw()
    await until(lambda: link.up)
    with server.client() as client:
        client.set("key", "value")
    assert await link.get(b"key") == b"value"
    assert seen.failed[0] == "timeout"
    await link.close()


async def test_killed_and_back(server: RedisServer) -> None:
    seen = Seen()
    link = link_to(server.url, seen)
    assert await link.start()
    server.kill()
    await until(lambda: not link.up)
    link.write(b"SET", b"key", b"value")
    assert await link.get(b"key") is None
    with pytest.raises(StoreError):
        await link.ask(b"PING")
    await until(lambda: "connect" in seen.failed)
    server.start()
    await until(lambda: link.up)
    link.write(b"SET", b"key", b"value")
    await until(lambda: not link._writing)
    assert await link.get(b"key") == b"value"
    assert seen.failed[0] == "closed"
    assert seen.changed == 3
    await link.close()


async def test_away_at_start_it_comes_later(server: RedisServer) -> None:
    server.kill()
    link = link_to(server.url, Seen())
    assert not await link.start()
    assert await link.get(b"key") is None
    server.start()
    await until(lambda: link.up)
    await link.close()
    assert not link.up


async def test_a_type_that_is_none_of_ours_is_deleted(server: RedisServer) -> None:
    seen = Seen()
    link = link_to(server.url, seen, lookup_s=1.0)
    assert await link.start()
    with server.client() as client:
        client.lpush("list", "x")
        assert await link.get(b"list") is None
        await until(lambda: not client.exists("list"))
        client.lpush("list", "x")
        assert await asyncio.gather(*(link.get(name) for name in (b"list", b"none"))) == [None, None]
    assert seen.foreign == ["type"]  # MGET passes over it: a plain miss
    assert link.up
    await link.close()


async def test_a_huge_value_is_not_read_and_deleted(server: RedisServer, one_command: bool) -> None:
    seen = Seen()
    link = link_to(server.url, seen, lookup_s=2.0, one_command=one_command)
    assert await link.start()
    with server.client() as client:
        client.set("huge", bytes(64 * 1024 * 1024))
        assert await link.get(b"huge") is None
        assert seen.failed[0] == "too_large"
        assert seen.foreign == ["size"]
        await until(lambda: link.up)
        await until(lambda: not client.exists("huge"))
        client.set("largest", bytes(codec.MAX_BYTES + codec.HEAD_BYTES))
    assert await link.get(b"largest") == bytes(codec.MAX_BYTES + codec.HEAD_BYTES)
    await link.close()


async def test_out_of_memory_refuses_writes_and_answers_lookups(server: RedisServer) -> None:
    seen = Seen()
    link = link_to(server.url, seen)
    assert await link.start()
    with server.client() as client:
        client.set("key", "value")
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
    for number in range(20):
        link.write(b"SET", b"%d" % number, os.urandom(100_000))
    await until(lambda: not link._writing)
    assert "oom" in seen.failed
    assert link.up
    assert await link.get(b"key") == b"value"
    await link.close()


ANSWERS: list[tuple[str, bytes | None, str, bool]] = [
    ("garbage", b"garbage\r\n", "protocol", False),
    ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n", "protocol", False),
    ("a number", b":5\r\n", "protocol", False),
    ("a list", b"*1\r\n$1\r\na\r\n", "protocol", False),
    ("an endless bulk", b"$2147483647\r\n" + bytes(8_000_000), "too_large", False),
    ("nothing", b"", "timeout", False),
    ("a closed door", None, "closed", False),
    ("MOVED", b"-MOVED 1 127.0.0.1:1\r\n", "moved", True),
    ("READONLY", b"-READONLY no\r\n", "readonly", True),
    ("LOADING", b"-LOADING soon\r\n", "loading", False),
    ("NOAUTH", b"-NOAUTH who\r\n", "auth", False),
    ("another error", b"-ERR no\r\n", "refused", True),
]


@pytest.mark.parametrize(("name", "said", "kind", "stays"), ANSWERS, ids=[row[0] for row in ANSWERS])
async def test_an_answer_that_is_none_is_a_miss_in_time(name: str, said: bytes | None, kind: str, stays: bool) -> None:
    def answer(data: bytes) -> bytes | None:
        return b"+PONG\r\n" if b"PING" in data else said

    async with strange_server(answer) as url:
        seen = Seen()
        link = link_to(url, seen)
        assert await link.start()
        value, took_s = await timed(link.get(b"key"))
        assert value is None
        assert took_s < BUDGET_S + SLACK_S
        assert seen.failed[:1] == [kind]
        assert link.up == stays
        assert seen.moved == (kind in ("moved", "readonly"))
        await link.close()


@pytest.mark.parametrize("said", [b"*1\r\n$1\r\na\r\n", b"$1\r\na\r\n", b"*3\r\n:1\r\n:2\r\n:3\r\n", b"-ERR no\r\n"])
async def test_a_list_of_another_length_or_kind(said: bytes) -> None:
    def answer(data: bytes) -> bytes | None:
        return b"+PONG\r\n" if b"PING" in data else said

    async with strange_server(answer) as url:
        link = link_to(url, Seen())
        assert await link.start()
        assert await asyncio.gather(*(link.get(b"%d" % number) for number in range(3))) == [None, None, None]
        await link.close()


async def test_writes_that_pile_up_are_dropped_and_counted(server: RedisServer) -> None:
    seen = Seen()
    link = link_to(server.url, seen)
    assert await link.start()
    for number in range(redis_link.MAX_QUEUED + 7):
        link.write(b"SET", b"%d" % number, b"x")
    assert seen.failed == ["queue_full"] * 7
    await until(lambda: not link._writing)
    with server.client() as client:
        assert client.dbsize() == redis_link.MAX_QUEUED
    for _ in range(5):
        link.write(b"SET", b"large", bytes(redis_link.MAX_QUEUED_BYTES // 4))
    assert seen.failed[7:] == ["queue_full"] * 2
    await link.close()


async def test_what_is_queued_goes_out_before_it_closes(server: RedisServer) -> None:
    link = link_to(server.url, Seen(), lookup_s=2.0)
    assert await link.start()
    for number in range(1_000):
        link.write(b"SET", b"%d" % number, b"x")
    await link.close()
    with server.client() as client:
        assert client.dbsize() == 1_000


async def test_a_pile_of_writes_does_not_stand_before_lookups(server: RedisServer) -> None:
    link = link_to(server.url, Seen(), lookup_s=1.0)
    assert await link.start()
    for _ in range(30):
        link.write(b"SET", b"large", bytes(1_000_000))
    _, took_s = await timed(link.get(b"key"))
    assert took_s < 0.5
    assert link._writing
    await link.close()
