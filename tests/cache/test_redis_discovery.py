"""Asking Sentinels and clusters, and what they say when they cannot tell."""

import pytest

from llm_edge_agent.cache.redis import slot_of
from llm_edge_agent.cache.redis_discovery import _owners, master, slot_owners
from llm_edge_agent.cache.tiers import FAILURES, StoreError
from llm_edge_agent.config.redis_address import redis_address
from tests.cache.redis_servers import RedisServer, Watched, asked, strange_server


async def test_the_master_by_its_name(shared_sentinels: Watched) -> None:
    address = redis_address(shared_sentinels.url)
    assert await master(address, timeout_s=1.0) == ("127.0.0.1", shared_sentinels.master.port)
    with pytest.raises(StoreError, match="connect"):
        await master(redis_address(shared_sentinels.url.replace("/answers", "/unknown")), timeout_s=1.0)


async def test_one_sentinel_of_three_is_enough(shared_sentinels: Watched) -> None:
    url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:2,127.0.0.1:{shared_sentinels.sentinels[0].port}/answers"
    assert await master(redis_address(url), timeout_s=1.0) == ("127.0.0.1", shared_sentinels.master.port)


async def test_every_slot_has_the_owner_that_the_cluster_says(shared_cluster: list[RedisServer]) -> None:
    address = redis_address(f"redis+cluster://127.0.0.1:{shared_cluster[2].port}")
    owners = await slot_owners(address, [], timeout_s=1.0)
    assert {owner[1] for owner in owners if owner is not None} == {server.port for server in shared_cluster}
    assert None not in owners
    key = b"llm-edge-agent:1:" + b"ab" * 32
    with shared_cluster[0].client() as client:
        assert asked(client, "CLUSTER KEYSLOT", key) == slot_of(key)
        assert asked(client, "CLUSTER KEYSLOT", b"a{epochs}b") == slot_of(b"a{epochs}b") == slot_of(b"epochs")
        assert asked(client, "CLUSTER KEYSLOT", b"a{}b") == slot_of(b"a{}b")


async def test_known_nodes_are_asked_where_those_of_the_address_are_gone(shared_cluster: list[RedisServer]) -> None:
    address = redis_address("redis+cluster://127.0.0.1:1")
    owners = await slot_owners(address, [("127.0.0.1", shared_cluster[0].port)], timeout_s=1.0)
    assert None not in owners


async def test_nobody_there_and_no_cluster(shared_server: RedisServer) -> None:
    for url in ("redis+cluster://127.0.0.1:1", shared_server.url.replace("redis://", "redis+cluster://")):
        with pytest.raises(StoreError) as caught:
            await slot_owners(redis_address(url), [], timeout_s=0.5)
        assert caught.value.kind in FAILURES
    async with strange_server(lambda _data: b"garbage\r\n") as url:
        with pytest.raises(StoreError):
            await slot_owners(redis_address(url.replace("redis://", "redis+cluster://")), [], timeout_s=0.5)
        with pytest.raises(StoreError):
            await master(redis_address(url.replace("redis://", "redis+sentinel://") + "/m"), timeout_s=0.5)


def test_a_map_with_holes_and_without_hosts() -> None:
    owners = _owners([[0, 1, [b"", 7000, b"id"], [b"replica", 7001, b"id"]], [5, 5, [None, 7002]]], "asked")
    assert owners[:7] == [("asked", 7000), ("asked", 7000), None, None, None, ("asked", 7002), None]
    assert len(owners) == 16384


@pytest.mark.parametrize("slots", [None, 5, [[0]], [[0, 1, []]], [[0, 1, [b"h"]]], [[0, 99999, [b"h", 1]]], [["a", 1]]])
def test_a_map_that_is_none(slots: object) -> None:
    with pytest.raises(StoreError, match="protocol"):
        _owners(slots, "asked")
