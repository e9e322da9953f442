"""The shared tier in every bad state: no request fails for it, none waits beyond its budget, and metrics show it."""

import asyncio
import pickle
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from llm_edge_agent.cache.redis import PREFIX
from llm_edge_agent.config import CacheConfig
from llm_edge_agent.config.redis_address import redis_address
from tests.cache.redis_servers import RedisServer, redis_cluster, redis_sentinels, redis_server, strange_server
from tests.canaries import key_of
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import RunningGateway, ask, eventually
from tests.e2e.scripted_upstream import completion, either, reply, whole_stream
from tests.faults.conftest import Bench

ANSWERS = either(reply(completion()), whole_stream())
BUDGET_S = 0.1
SLACK_S = 0.4
"""What a loaded machine may add to a request."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


def shared(url: str, **changes: Any) -> CacheConfig:
    return CacheConfig(l2_enabled=True, redis=redis_address(url), l2_timeout_s=BUDGET_S, **changes)


PASSWORD = key_of("the-cache")


async def asked(gateway: RunningGateway, text: str) -> tuple[str, float]:
    """What the cache did for a request that must be answered, and how long that took."""
    began_s = time.monotonic()
    answer = await gateway.chat(ask(text))
    assert answer.status == 200
    return answer.headers["x-llm-edge-cache"], time.monotonic() - began_s


async def health(gateway: RunningGateway) -> dict[str, Any]:
    assert (await gateway.get("/health/ready")).status == 200
    found: dict[str, Any] = (await gateway.get("/health")).json
    return found


def corrupt(gateway: RunningGateway) -> float:
    return gateway.metric("llm_edge_l2_corrupt_total")


def keys(client: Redis) -> list[bytes]:
    """The entries, without the epochs."""
    found: Any = client.keys("*")
    return [key for key in found if len(key) == len(PREFIX) + 64]


async def stored(gateway: RunningGateway, client: Redis, text: str) -> bytes:
    """Asks something and returns the key under which its answer lies in Redis."""
    before = set(keys(client))
    await asked(gateway, text)
    await eventually(lambda: len(keys(client)) > len(before))
    (key,) = set(keys(client)) - before
    return key


async def test_what_one_gateway_learned_another_knows(bench: Bench, redis: RedisServer) -> None:
    upstream, first = await bench.pair(ANSWERS, cache=shared(redis.url))
    with redis.client() as client:
        await stored(first, client, "question")
        second = await bench.gateway(upstream, cache=shared(redis.url))
        answer = await second.chat(ask("question"))
        assert answer.headers["x-llm-edge-cache"] == "hit-l2"
        assert answer.json["metadata"] == {
            **answer.json["metadata"],
            "cached": True,
            "cache_tier": "l2",
            "provider": "openai",
            "cost_usd": 0.0,
        }
        assert (await asked(second, "question"))[0] == "hit-l1"
        streamed = await second.chat(ask("question", stream=True))
        assert streamed.headers["x-llm-edge-cache"] == "hit-l1"
        assert upstream.calls == 1
        for key in keys(client):
            assert 0 < client.pttl(key) <= 3_600_000
    assert second.metric("llm_edge_cache_hits_total", tier="l2") == 1
    assert second.metric("llm_edge_cache_misses_total", tier="l1") == 1
    assert second.metric("llm_edge_cache_latency_seconds_count", tier="l2", op="get") == 1
    assert first.metric("llm_edge_cache_misses_total", tier="l2") == 1
    assert second.metric("llm_edge_l2_up") == 1
    assert (await health(second))["cache"] == {"l1_healthy": True, "l2_healthy": True, "l2_configured": True}


async def test_embedded_it_survives_a_restart_and_is_shared(bench: Bench, tmp_path: Path) -> None:
    cache = CacheConfig(l2_enabled=True, directory=str(tmp_path / "cache"), l1_enabled=False)
    upstream, first = await bench.pair(ANSWERS, cache=cache)
    second = await bench.gateway(upstream, cache=cache)
    assert (await asked(first, "question"))[0] == "miss"
    await asyncio.sleep(0.3)  # it is written in the background
    assert (await asked(second, "question"))[0] == "hit-l2"
    await first.server.stop(0)
    await second.server.stop(0)
    third = await bench.gateway(upstream, cache=cache)
    assert (await asked(third, "question"))[0] == "hit-l2"
    assert third.metric("llm_edge_cache_misses_total", tier="l1") == 0
    assert upstream.calls == 1


async def test_a_purge_reaches_the_other_gateway_within_a_second(bench: Bench, redis: RedisServer) -> None:
    upstream, first = await bench.pair(ANSWERS, cache=shared(redis.url))
    second = await bench.gateway(upstream, cache=shared(redis.url))
    with redis.client() as client:
        await stored(first, client, "question")
    assert (await asked(second, "question"))[0] == "hit-l2"
    assert first.state.answers is not None
    assert await first.state.answers.epochs.bump("all")
    assert (await asked(first, "question"))[0] == "miss"
    await asyncio.sleep(1.0)
    assert (await asked(second, "question"))[0] == "hit-l2", "what the first has stored anew"
    assert upstream.calls == 2


async def test_killed_and_back(bench: Bench, redis: RedisServer) -> None:
    _, gateway = await bench.pair(ANSWERS, cache=shared(redis.url))
    await asked(gateway, "before")
    redis.kill()
    for number in range(5):
        _, took_s = await asked(gateway, f"while it is away {number}")
        assert took_s < BUDGET_S + SLACK_S
    await eventually(lambda: gateway.metric("llm_edge_l2_up") == 0)
    found = await health(gateway)
    assert (found["status"], found["cache"]["l2_healthy"]) == ("degraded", False)
    assert (await asked(gateway, "before"))[0] == "hit-l1"
    redis.start()
    await eventually(lambda: gateway.metric("llm_edge_l2_up") == 1)
    with redis.client() as client:
        await stored(gateway, client, "after")
    assert (await health(gateway))["status"] == "healthy"
    assert gateway.metric("llm_edge_l2_errors_total", kind="closed") >= 1


async def test_frozen_it_costs_its_budget_once(bench: Bench, redis: RedisServer) -> None:
    _, gateway = await bench.pair(ANSWERS, cache=shared(redis.url))
    await asked(gateway, "before")
    redis.freeze()
    _, first_s = await asked(gateway, "first")
    assert first_s < BUDGET_S + SLACK_S
    took_s = [(await asked(gateway, f"later {number}"))[1] for number in range(10)]
    assert sorted(took_s)[5] < BUDGET_S / 2
    assert gateway.metric("llm_edge_l2_errors_total", kind="timeout") >= 1
    assert (await health(gateway))["cache"]["l2_healthy"] is False
    redis.thaw()
    await eventually(lambda: gateway.metric("llm_edge_l2_up") == 1)
    assert (await asked(gateway, "after"))[0] == "miss"


async def test_explain_keeps_to_purges_and_to_the_budget(bench: Bench, redis: RedisServer) -> None:
    upstream, first = await bench.pair(ANSWERS, cache=shared(redis.url))
    second = await bench.gateway(upstream, cache=shared(redis.url))
    with redis.client() as client:
        await stored(first, client, "question")
    question = request_bytes(ask("question"), path="/v1/route/explain")

    async def would_hit() -> object:
        return (await second.exchange(question)).json["cache"]["would_hit"]

    assert await would_hit() == "l2"
    assert first.state.answers is not None
    assert await first.state.answers.epochs.bump("all")
    await asyncio.sleep(1.0)
    assert await would_hit() is None
    assert (await asked(first, "question"))[0] == "miss"
    await eventually_told(would_hit, "l2")
    redis.freeze()
    async with second.connect() as wire:
        await wire.send(question)
        await asyncio.sleep(BUDGET_S / 4)
        wire.reset()
    assert (await second.logged('"status":499'))[0]["route"] == "/v1/route/explain"
    began_s = time.monotonic()
    assert await would_hit() is None
    assert time.monotonic() - began_s < BUDGET_S + SLACK_S
    redis.thaw()


async def eventually_told(tell: Callable[[], Awaitable[object]], what: object) -> None:
    for _ in range(100):
        if await tell() == what:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(what)


async def test_away_at_start_it_is_one_warning_and_l1_alone(bench: Bench, redis: RedisServer) -> None:
    redis.kill()
    url = redis.url.replace("redis://", f"redis://user:{PASSWORD}@")
    _, gateway = await bench.pair(ANSWERS, cache=shared(url))
    assert (await asked(gateway, "question"))[0] == "miss"
    assert (await asked(gateway, "question"))[0] == "hit-l1"
    await gateway.logged("Warning: L2 cache enabled but connection failed")
    await asyncio.sleep(0.5)
    assert gateway.log().count("Warning: L2 cache enabled but connection failed") == 1
    assert f"redis://127.0.0.1:{redis.port}" in gateway.log()
    assert gateway.metric("llm_edge_l2_errors_total", kind="connect") >= 1


async def test_the_wrong_password(bench: Bench, tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass", "right") as server:
        url = server.url.replace("redis://", f"redis://:{PASSWORD}@")
        _, gateway = await bench.pair(ANSWERS, cache=shared(url))
        assert (await asked(gateway, "question"))[0] == "miss"
        assert gateway.metric("llm_edge_l2_errors_total", kind="auth") >= 1
        assert (await health(gateway))["status"] == "degraded"
        with server.client(password="right") as client:
            client.config_set("requirepass", PASSWORD)
        await eventually(lambda: gateway.metric("llm_edge_l2_up") == 1)
    await gateway.logged("connection failed")


async def test_out_of_memory(bench: Bench, redis: RedisServer) -> None:
    _, gateway = await bench.pair(ANSWERS, cache=shared(redis.url))
    with redis.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
    for number in range(5):
        _, took_s = await asked(gateway, f"question {number}")
        assert took_s < BUDGET_S + SLACK_S
    await eventually(lambda: gateway.metric("llm_edge_l2_errors_total", kind="oom") >= 1)
    assert gateway.metric("llm_edge_l2_up") == 1


NONSENSE: list[tuple[str, bytes | None, str]] = [
    ("garbage", b"garbage\r\n", "protocol"),
    ("a huge list", b"*2147483647\r\n", "protocol"),
    ("an endless bulk", b"$2147483647\r\n" + bytes(8_000_000), "too_large"),
    ("MOVED", b"-MOVED 1 127.0.0.1:1\r\n", "moved"),
    ("LOADING", b"-LOADING soon\r\n", "loading"),
    ("READONLY", b"-READONLY no\r\n", "readonly"),
    ("silence", b"", "timeout"),
    ("a closed door", None, "closed"),
]


@pytest.mark.parametrize(("name", "said", "kind"), NONSENSE, ids=[row[0] for row in NONSENSE])
async def test_nonsense(name: str, said: bytes | None, kind: str, bench: Bench) -> None:
    def answer(data: bytes) -> bytes | None:
        if b"PING" in data:
            return b"+PONG\r\n"
        return b"$-1\r\n" if b"HGET" in data else said

    async with strange_server(answer) as url:
        _, gateway = await bench.pair(ANSWERS, cache=shared(url))
        for number in range(3):
            found, took_s = await asked(gateway, f"question {number}")
            assert found == "miss"
            assert took_s < BUDGET_S + SLACK_S
        await eventually(lambda: gateway.metric("llm_edge_l2_errors_total", kind=kind) >= 1)


class Payload:
    """What would run if anybody unpickled it."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("unpickled",)


@pytest.mark.parametrize(
    ("what", "reason"),
    [("foreign", "foreign"), ("truncated", "seal"), ("altered", "seal"), ("pickled", "foreign"), ("huge", "size")],
)
async def test_a_value_that_somebody_spoilt_is_a_miss_and_goes(
    what: str, reason: str, bench: Bench, redis: RedisServer
) -> None:
    _, first = await bench.pair(ANSWERS, cache=shared(redis.url, l1_enabled=False))
    with redis.client() as client:
        key = await stored(first, client, "question")
        value: bytes = client.get(key)
        spoilt = {
            "foreign": b"not of ours" * 10,
            "truncated": value[:-3],
            "altered": value[:-1] + bytes((value[-1] ^ 1,)),
            "pickled": pickle.dumps(Payload()),
            "huge": bytes(16 * 1024 * 1024),
        }[what]
        client.set(key, spoilt, px=60_000)
        assert (await asked(first, "question"))[0] == "miss"
        assert first.metric("llm_edge_l2_corrupt_total", reason=reason) == 1
        await eventually(lambda: client.get(key) != spoilt)
        await eventually(lambda: first.metric("llm_edge_l2_up") == 1)
        await asked(first, "question")
        await eventually(lambda: bool(client.exists(key)))
        assert (await asked(first, "question"))[0] == "hit-l2"


async def test_a_list_where_a_value_was(bench: Bench, redis: RedisServer) -> None:
    _, gateway = await bench.pair(ANSWERS, cache=shared(redis.url, l1_enabled=False))
    with redis.client() as client:
        key = await stored(gateway, client, "question")
        client.delete(key)
        client.lpush(key, "x")
        assert (await asked(gateway, "question"))[0] == "miss"
        assert gateway.metric("llm_edge_l2_corrupt_total", reason="type") == 1
        await eventually(lambda: client.type(key) == b"string")


async def test_swapped_values_are_nobodys_answers(bench: Bench, redis: RedisServer) -> None:
    _, gateway = await bench.pair(ANSWERS, cache=shared(redis.url, l1_enabled=False))
    with redis.client() as client:
        one, other = await stored(gateway, client, "one"), await stored(gateway, client, "other")
        first, second = client.get(one), client.get(other)
        client.set(one, second, px=60_000)
        client.set(other, first, px=60_000)
        for text in ("one", "other"):
            assert (await asked(gateway, text))[0] == "miss"
        assert gateway.metric("llm_edge_l2_corrupt_total", reason="seal") == 2
        await eventually(lambda: client.get(one) not in (first, second))


async def test_flushed_or_evicted_is_a_plain_miss(bench: Bench, redis: RedisServer) -> None:
    _, gateway = await bench.pair(ANSWERS, cache=shared(redis.url, l1_enabled=False))
    with redis.client() as client:
        await stored(gateway, client, "question")
        client.flushall()
    assert (await asked(gateway, "question"))[0] == "miss"
    assert corrupt(gateway) == 0


async def ask_on(gateway: RunningGateway, stop: asyncio.Event, worker: int) -> tuple[int, float]:
    """Asks until it is told to stop; how many requests that were, all answered, and the longest of them."""
    count, longest_s = 0, 0.0
    while not stop.is_set():
        _, took_s = await asked(gateway, f"question {worker} {count % 50}")
        count += 1
        longest_s = max(longest_s, took_s)
    return count, longest_s


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
async def test_a_fail_over_under_load_loses_no_request(kind: str, bench: Bench, tmp_path: Path) -> None:
    with redis_cluster(tmp_path, replicas=True) if kind == "cluster" else redis_sentinels(tmp_path) as servers:
        if isinstance(servers, list):
            url, victim = f"redis+cluster://127.0.0.1:{servers[1].port}", servers[0]
        else:
            url, victim = servers.url, servers.master
        _, gateway = await bench.pair(ANSWERS, cache=shared(url, l1_enabled=False))
        stop = asyncio.Event()
        clients = [asyncio.ensure_future(ask_on(gateway, stop, worker)) for worker in range(8)]
        await asyncio.sleep(1.0)
        hits_before = gateway.metric("llm_edge_cache_hits_total", tier="l2")
        assert hits_before > 0
        victim.kill()
        await asyncio.sleep(0.5)
        await eventually(lambda: gateway.state.admin.health()["cache"]["l2_healthy"], timeout_s=20)
        hits_after = gateway.metric("llm_edge_cache_hits_total", tier="l2")
        await eventually(lambda: gateway.metric("llm_edge_cache_hits_total", tier="l2") > hits_after + 100, 20)
        stop.set()
        done = await asyncio.gather(*clients)
        assert sum(count for count, _ in done) > 100
        assert max(longest_s for _, longest_s in done) < BUDGET_S + 2 * SLACK_S
