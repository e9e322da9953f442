"""Servers that all tests of a module share, and the loop that the gateway runs on in service."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from tests.cache.redis_servers import RedisServer, Watched, redis_cluster, redis_sentinels, redis_server


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RedisServer]]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield servers


@pytest.fixture(scope="module")
def shared_sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with redis_sentinels(tmp_path_factory.mktemp("sentinel")) as watched:
        yield watched


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may break."""
    with redis_server(tmp_path) as server:
        yield server
