"""One connection against a real server and against servers that say what they like."""

import asyncio
import ssl
import time
from pathlib import Path
from typing import Any

import hiredis
import pytest

from llm_edge_agent.cache.redis_connection import (
    RedisConnection,
    command,
    connect,
    error_kind,
    is_answered,
    tls_context,
)
from llm_edge_agent.cache.tiers import FAILURES, StoreError
from llm_edge_agent.config.redis_address import RedisAddress, RedisTls, redis_address
from tests.cache.redis_servers import RedisServer, free_port, redis_server, strange_server
from tests.http.certificates import Authority


async def connected(url: str, lost: list[str], **settings: float) -> RedisConnection:
    address = redis_address(url)
    place = address.path or address.nodes[0]
    times = {"timeout_s": 2.0, "probe_s": 1.0, **settings}
    return await connect(place, address, lambda error: lost.append(error.kind), **times)


async def refused(url: str, **settings: float) -> str:
    with pytest.raises(StoreError) as caught:
        await connected(url, [], **settings)
    assert caught.value.kind in FAILURES
    return caught.value.kind


def sent(connection: RedisConnection, data: bytes, count: int, *, max_bytes: int = 1000) -> "asyncio.Future[Any]":
    done = asyncio.get_running_loop().create_future()
    connection.send(data, count, done.set_result, max_bytes=max_bytes)
    return done


async def test_replies_come_back_in_order_to_whom_they_belong(shared_server: RedisServer) -> None:
    lost: list[str] = []
    connection = await connected(shared_server.url, lost)
    asked = [sent(connection, command(b"ECHO", b"%d" % number), 1) for number in range(100)]
    both = sent(connection, command(b"ECHO", b"a") + command(b"NOSUCH"), 2)
    assert connection.waiting == 101
    assert [await each for each in asked] == [[b"%d" % number] for number in range(100)]
    first, second = await both
    assert first == b"a"
    assert isinstance(second, hiredis.ReplyError)
    connection.close()
    closed = await sent(connection, command(b"PING"), 1)
    assert isinstance(closed, StoreError)
    assert lost == []


async def test_a_late_reply_costs_the_connection(shared_server: RedisServer) -> None:
    lost: list[str] = []
    connection = await connected(shared_server.url, lost)
    with pytest.raises(StoreError, match="timeout"):
        await connection.ask(b"BLPOP", b"nothing", b"5", timeout_s=0.05)
    assert lost == ["timeout"]
    with pytest.raises(StoreError, match="closed"):
        await connection.ask(b"PING", timeout_s=1)


async def test_a_cancelled_ask_leaves_nothing_for_the_next(shared_server: RedisServer) -> None:
    connection = await connected(shared_server.url, [])
    cancelled = asyncio.ensure_future(connection.ask(b"ECHO", b"first", timeout_s=1))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert await connection.ask(b"ECHO", b"second", timeout_s=1) == b"second"
    connection.close()


@pytest.mark.parametrize(
    ("settings", "userinfo", "kind"),
    [
        (("--requirepass", "right"), "", "auth"),
        (("--requirepass", "right"), ":wrong@", "auth"),
        (("--requirepass", "right"), ":right@", None),
        (("--requirepass", "right"), "default:right@", None),
        (("--requirepass", "right"), "nobody:right@", "auth"),
        ((), ":needless@", "refused"),
    ],
)
async def test_logging_in(settings: tuple[str, ...], userinfo: str, kind: str | None, tmp_path: Path) -> None:
    with redis_server(tmp_path, *settings) as server:
        url = f"redis://{userinfo}127.0.0.1:{server.port}/3"
        if kind is None:
            connection = await connected(url, [])
            assert b"db=3" in await connection.ask(b"CLIENT", b"INFO", timeout_s=1)
            connection.close()
        else:
            assert await refused(url) == kind


async def test_a_database_that_is_not_there(shared_server: RedisServer) -> None:
    assert await refused(f"{shared_server.url}/99") == "refused"


async def test_nobody_there() -> None:
    assert await refused("redis://127.0.0.1:1") == "connect"
    assert await refused("unix:///nowhere/redis.sock") == "connect"


async def test_frozen_from_the_start(server: RedisServer) -> None:
    server.freeze()
    began_s = time.monotonic()
    assert await refused(server.url, probe_s=0.1) == "timeout"
    assert time.monotonic() - began_s < 1.0
    server.thaw()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "protocol"),
        (b"+OK\r\n", "protocol"),
        (b"$-1\r\n", "protocol"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "loading"),
        (b"-NOAUTH Authentication required.\r\n", "auth"),
        (b"-ERR something\r\n", "refused"),
        (b"$2147483647\r\n" + bytes(2_000_000), "too_large"),
        (b"*2147483647\r\n", "protocol"),
        (b"*2\r\n+x\r\n*2147483647\r\n", "protocol"),
        (b">2147483647\r\n", "protocol"),
        (b"*-7\r\n", "protocol"),
        (b"", "timeout"),
        (None, "closed"),
    ],
)
async def test_a_server_that_is_none(said: bytes | None, kind: str) -> None:
    async with strange_server(lambda _data: said) as url:
        assert await refused(url, probe_s=0.1) == kind


async def test_a_list_that_is_announced_in_two_pieces_makes_nobody_wait() -> None:
    said = iter((b"+PONG\r\n", b"*21474", b"83647\r\n"))
    async with strange_server(lambda _data: next(said)) as url:
        lost: list[str] = []
        connection = await connected(url, lost)
        first = sent(connection, b"x", 1)
        await asyncio.sleep(0.1)
        assert not first.done()
        sent(connection, b"y", 1)
        began_s = time.monotonic()
        assert isinstance(await first, StoreError)
        del connection
        assert time.monotonic() - began_s < 0.5
        assert lost == ["protocol"]


@pytest.mark.parametrize("more", [b"+PONG\r\n", b"+PO", b"$5\r\n"])
async def test_a_reply_that_nobody_asked_for_ends_it(more: bytes) -> None:
    said = iter((b"+PONG\r\n", b"+first\r\n" + more, b"NG\r\n"))
    async with strange_server(lambda _data: next(said)) as url:
        lost: list[str] = []
        connection = await connected(url, lost)
        assert await sent(connection, b"x", 1) == [b"first"]
        assert isinstance(await sent(connection, b"y", 1), StoreError)
        assert lost == ["protocol"]


async def test_a_reply_larger_than_was_bargained_for(shared_server: RedisServer) -> None:
    with shared_server.client() as client:
        client.set("large", bytes(100_000))
    lost: list[str] = []
    connection = await connected(shared_server.url, lost)
    assert await sent(connection, command(b"GET", b"large"), 1, max_bytes=200_000) == [bytes(100_000)]
    error = await sent(connection, command(b"GET", b"large"), 1, max_bytes=10_000)
    assert isinstance(error, StoreError)
    assert lost == ["too_large"]


async def test_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.server("127.0.0.1")
    port = free_port()
    settings = (
        *("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(tmp_path / "127.0.0.1-2-False.pem")),
        *("--tls-key-file", str(tmp_path / "127.0.0.1-2-False.key")),
        *("--tls-ca-cert-file", str(authority.file)),
    )
    server = RedisServer(tmp_path, *settings, port=port)
    server.start()
    try:
        url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority.file}"
        connection = await connected(url, [])
        assert await connection.ask(b"ECHO", b"in private", timeout_s=1) == b"in private"
        connection.close()
        (await connected(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none", [])).close()
        assert await refused(f"rediss://127.0.0.1:{port}") == "connect"
        assert await refused(f"redis://127.0.0.1:{port}") in ("closed", "timeout", "protocol")
    finally:
        server.kill()


def test_tls_as_it_is_asked_for(tmp_path: Path) -> None:
    strict = tls_context(RedisTls())
    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert not tls_context(RedisTls(check_hostname=False)).check_hostname
    with pytest.raises(OSError):
        tls_context(RedisTls(ca_file=str(tmp_path / "missing.pem")))
    with pytest.raises(OSError):
        tls_context(RedisTls(certificate_file=str(tmp_path / "missing.pem")))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "oom"),
        ("READONLY You can't write against a read only replica.", "readonly"),
        ("MOVED 1 127.0.0.1:7000", "moved"),
        ("ASK 1 127.0.0.1:7000", "moved"),
        ("CLUSTERDOWN The cluster is down", "moved"),
        ("MASTERDOWN Link with MASTER is down", "loading"),
        ("NOPERM this user has no permissions", "auth"),
        ("ERR unknown command", "refused"),
        ("", "refused"),
    ],
)
def test_kinds_of_error_replies(text: str, kind: str) -> None:
    assert error_kind(hiredis.ReplyError(text)) == kind
    assert kind in FAILURES


async def test_whether_it_is_answered(shared_server: RedisServer) -> None:
    address = redis_address(shared_server.url)
    await is_answered(address.nodes[0], address, timeout_s=1)
    with pytest.raises(StoreError, match="connect"):
        await is_answered(("127.0.0.1", 1), RedisAddress(), timeout_s=1)
