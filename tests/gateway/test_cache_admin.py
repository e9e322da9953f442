"""The admin API: absent without its key, closed without it, and what it does to the cache."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llm_edge_agent.config import CacheConfig, Secret
from tests.canaries import ADMIN_KEY, ALICE_KEY, BOB_KEY
from tests.e2e.raw_client import Answer, request_bytes
from tests.e2e.running_gateway import MODEL, TENANTS, RunningGateway, ask, bearer, eventually, gateway_config, running
from tests.e2e.scripted_upstream import Line, completion, either, reply, scripted, whole_stream

ANSWERS = either(reply(completion("fine")), whole_stream(["fine"]))
PATHS = [("GET", "/admin/cache/stats"), ("POST", "/admin/cache/purge"), ("POST", "/admin/cache/entries"),
         ("GET", f"/admin/cache/entries/{'0' * 64}"), ("POST", "/admin/cache/warm")]  # fmt: skip


@pytest.fixture
async def gateway() -> AsyncIterator[RunningGateway]:
    async with scripted(ANSWERS) as upstream:
        config = gateway_config(upstream.url, admin_key=Secret(ADMIN_KEY), auth_enabled=True, keys=TENANTS)
        async with running(config) as found:
            yield found


async def admin(
    gateway: RunningGateway, method: str, path: str, body: bytes = b"", key: str | None = ADMIN_KEY
) -> Answer:
    headers = bearer(key) if key is not None else {}
    return await gateway.exchange(request_bytes(body, headers, path=path, method=method))


async def purge(gateway: RunningGateway, **what: Any) -> Answer:
    return await admin(gateway, "POST", "/admin/cache/purge", json.dumps(what).encode())


async def tier(gateway: RunningGateway, key: str = ALICE_KEY, **members: Any) -> str:
    return (await gateway.chat(ask(**members), bearer(key))).headers["x-llm-edge-cache"]


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_without_an_admin_key_there_is_no_such_path(method: str, path: str) -> None:
    async with scripted(ANSWERS) as upstream:
        for keys in ((), TENANTS):
            async with running(gateway_config(upstream.url, auth_enabled=bool(keys), keys=keys)) as gateway:
                unknown = await admin(gateway, method, "/admin/cache/nothing", key=ALICE_KEY)
                answer = await admin(gateway, method, path, ask(), key=ALICE_KEY)
                assert (answer.status, answer.error["code"]) == (unknown.status, unknown.error["code"])
                assert answer.status == 404
        assert upstream.calls == 0


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize("key", [None, "wrong", ALICE_KEY])
async def test_only_the_admin_key_opens_it(method: str, path: str, key: str | None, gateway: RunningGateway) -> None:
    answer = await admin(gateway, method, path, ask(), key=key)
    assert answer.status == 401
    assert ADMIN_KEY.encode() not in answer.body


async def test_the_admin_key_opens_nothing_else(gateway: RunningGateway) -> None:
    assert (await gateway.chat(ask(), bearer(ADMIN_KEY))).status == 401


async def test_stats(gateway: RunningGateway) -> None:
    await tier(gateway)
    await tier(gateway)
    stats = (await admin(gateway, "GET", "/admin/cache/stats")).json
    assert (stats["enabled"], stats["l2_configured"]) == (True, False)
    assert stats["lookups"] == {"hit": 1, "miss": 1, "bypass": 0, "join": 0, "stale": 0}
    assert stats["tiers"]["l1"]["hits"] == stats["tiers"]["l1"]["entries"] == 1
    assert stats["saved_usd"] == pytest.approx(gateway.metric("llm_edge_cost_usd_total"))


async def test_an_entry_is_found_by_its_request_or_its_key(gateway: RunningGateway) -> None:
    await tier(gateway)
    found = (await admin(gateway, "POST", "/admin/cache/entries?tenant=alice", ask(stream=True))).json
    assert (found["found"], found["tier"], found["provider"], found["fresh"]) == (True, "l1", "openai", True)
    assert "answer" not in found
    again = (await admin(gateway, "GET", f"/admin/cache/entries/{found['key']}?answer=true")).json
    assert again["answer"]["choices"][0]["message"]["content"] == "fine"
    stranger = (await admin(gateway, "POST", "/admin/cache/entries?tenant=bob", ask())).json
    assert not stranger["found"]
    assert stranger["key"] != found["key"]
    assert (await admin(gateway, "GET", "/admin/cache/entries/abc")).status == 400
    assert (await admin(gateway, "POST", "/admin/cache/entries", b"{")).status == 400


async def test_purging_a_tenant_forgets_that_tenant_alone(gateway: RunningGateway) -> None:
    for key in (ALICE_KEY, BOB_KEY):
        await tier(gateway, key)
        assert await tier(gateway, key) == "hit-l1"
    answer = await purge(gateway, tenant="alice")
    assert (answer.status, answer.json["told_everywhere"]) == (200, True)
    assert await tier(gateway, BOB_KEY) == "hit-l1"
    assert await tier(gateway, ALICE_KEY) == "miss"
    assert await tier(gateway, ALICE_KEY) == "hit-l1"


async def test_purging_a_model_forgets_it_by_all_its_names(gateway: RunningGateway) -> None:
    names = (MODEL, "gpt-4o-mini-2024-07-18", "gpt-5.4-mini")
    for name in names:
        await tier(gateway, model=name)
    assert (await purge(gateway, model=MODEL)).status == 200
    assert [await tier(gateway, model=name) for name in names] == ["miss", "miss", "hit-l1"]


async def test_purging_all(gateway: RunningGateway) -> None:
    await tier(gateway)
    await tier(gateway, BOB_KEY)
    assert (await purge(gateway, all=True)).status == 200
    assert [await tier(gateway, key) for key in (ALICE_KEY, BOB_KEY)] == ["miss", "miss"]


async def test_a_purge_reaches_also_requests_that_are_known_byte_for_byte(gateway: RunningGateway) -> None:
    async with gateway.connect() as wire:
        request = request_bytes(ask(), bearer(ALICE_KEY))
        seen = []
        for number in range(6):
            if number == 4:
                await purge(gateway, tenant="alice")
            await wire.send(request)
            seen.append((await wire.answer()).headers["x-llm-edge-cache"])
    assert seen == ["miss", "hit-l1", "hit-l1", "hit-l1", "miss", "hit-l1"]


async def test_a_write_under_way_during_a_purge_is_not_found_after_it() -> None:
    go = asyncio.Event()

    async def slowly(line: Line) -> None:
        await go.wait()
        await line.send(reply(completion("old")))

    async with (
        scripted(slowly) as upstream,
        running(gateway_config(upstream.url, admin_key=Secret(ADMIN_KEY))) as gateway,
    ):
        under_way = asyncio.create_task(gateway.chat(ask()))
        await eventually(lambda: upstream.calls == 1)
        await purge(gateway, tenant="default")
        later = asyncio.create_task(gateway.chat(ask()))
        await eventually(lambda: upstream.calls == 2)  # nor is it joined
        go.set()
        await asyncio.gather(under_way, later)
        assert (await gateway.chat(ask())).headers["x-llm-edge-cache"] == "hit-l1"


@pytest.mark.parametrize(
    "what", [{}, {"tenant": "a", "all": True}, {"all": False}, {"everything": True}, {"tenant": 1}]
)
async def test_a_purge_says_what(what: dict[str, Any], gateway: RunningGateway) -> None:
    assert (await purge(gateway, **what)).status in (400, 404)


async def test_where_tenants_share_there_is_no_purging_one() -> None:
    async with scripted(ANSWERS) as upstream:
        config = gateway_config(upstream.url, admin_key=Secret(ADMIN_KEY), cache=CacheConfig(scope="global"))
        async with running(config) as gateway:
            assert (await purge(gateway, tenant="default")).status == 400
            assert (await purge(gateway, all=True)).status == 200


async def test_without_a_cache_there_is_nothing_to_purge() -> None:
    async with scripted(ANSWERS) as upstream:
        config = gateway_config(upstream.url, admin_key=Secret(ADMIN_KEY), cache=CacheConfig(policy="off"))
        async with running(config) as gateway:
            assert (await purge(gateway, all=True)).status == 400
            assert (await admin(gateway, "GET", "/admin/cache/stats")).json["enabled"] is False


async def test_warming_fills_the_tenants_entry(gateway: RunningGateway) -> None:
    warmed = await admin(gateway, "POST", "/admin/cache/warm?tenant=alice", ask())
    assert (warmed.status, warmed.headers["x-llm-edge-cache"]) == (200, "miss")
    assert await tier(gateway, ALICE_KEY) == "hit-l1"
    assert await tier(gateway, BOB_KEY) == "miss"
    assert (await admin(gateway, "POST", "/admin/cache/warm", b"{")).status == 400
