"""Opening connections: names, addresses, the tunnel through a proxy. Every failure has its reason."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from llm_edge_agent.http.dial import tls_context
from llm_edge_agent.http.origins import FailureReason, Origin, Timeouts
from llm_edge_agent.http.pool import ProxySettings
from tests.http.certificates import Authority
from tests.http.scripted import (
    HELLO,
    OK,
    Peer,
    answering,
    eventually,
    failure_of,
    open_descriptors,
    pool_of,
    post,
    silent,
    upstream,
    whole,
)
from tests.ports import free_port

QUICK = Timeouts(connect_s=0.2, answer_s=5.0, idle_s=5.0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Lets every name resolve to `addresses` on the running loop."""
    loop = asyncio.get_running_loop()
    real = type(loop).getaddrinfo

    async def getaddrinfo(host: object, port: object, **options: Any) -> list[Any]:
        found = []
        for ip, number in addresses:
            found += await real(loop, ip, number, **options)
        return found

    wrapped = _Resolving(loop, getaddrinfo)
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: wrapped)


class _Resolving:
    """The loop with a resolver of ours: uvloop's own method cannot be replaced."""

    def __init__(self, loop: asyncio.AbstractEventLoop, getaddrinfo: object) -> None:
        self._loop = loop
        self.getaddrinfo = getaddrinfo

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


@asynccontextmanager
async def black_hole() -> AsyncIterator[int]:
    """A port whose listener's queue is full: connecting to it takes for ever."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        await asyncio.sleep(0.05)
        try:
            yield port
        finally:
            for filler in fillers:
                filler.close()


async def test_nodelay_is_set() -> None:
    async with upstream(answering(HELLO)) as server, pool_of() as pool:
        await whole(pool, server.origin())
        (connection,) = pool._connections
        assert connection._transport is not None
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


async def test_ipv6() -> None:
    async with upstream(answering(HELLO), host="::1") as server, pool_of() as pool:
        assert await whole(pool, server.origin("::1")) == (200, b"hello")


async def test_a_refused_connection() -> None:
    async with pool_of() as pool:
        failure = await failure_of(post(pool, Origin(False, "127.0.0.1", free_port())))
        assert (failure.reason, failure.detail) == (FailureReason.CONNECT, "connection refused")
        assert not failure.received
        assert (pool.connections_opened, pool.in_use) == (0, 0)


async def test_a_name_that_does_not_exist() -> None:
    async with pool_of() as pool:
        failure = await failure_of(post(pool, Origin(False, "no-such-host.invalid", 80)))
        assert failure.reason is FailureReason.DNS
        assert "no-such-host" not in failure.detail


async def test_no_connection_in_time() -> None:
    async with black_hole() as port, pool_of() as pool:
        failure = await failure_of(post(pool, Origin(False, "127.0.0.1", port), timeouts=QUICK))
        assert failure.reason is FailureReason.CONNECT_TIMEOUT
        out_of_time = Timeouts(5.0, 0.1, 5.0)
        failure = await failure_of(post(pool, Origin(False, "127.0.0.1", port), timeouts=out_of_time))
        assert failure.reason is FailureReason.TIMEOUT


async def test_cancelling_while_connecting() -> None:
    async with black_hole() as port, pool_of() as pool:
        task = asyncio.ensure_future(post(pool, Origin(False, "127.0.0.1", port)))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pool.in_use == 0


async def test_the_next_address_is_tried_where_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream(answering(HELLO)) as server, pool_of() as pool:
        resolve_to(monkeypatch, ("127.0.0.1", free_port()), ("::1", free_port()), ("127.0.0.1", server.port))
        assert await whole(pool, server.origin("several.example")) == (200, b"hello")


async def test_an_address_that_leads_nowhere_costs_a_head_start_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async with upstream(answering(HELLO)) as server, black_hole() as port, pool_of() as pool:
        resolve_to(monkeypatch, ("127.0.0.1", port), ("127.0.0.1", server.port))
        began_s = asyncio.get_running_loop().time()
        assert await whole(pool, server.origin("several.example")) == (200, b"hello")
        assert asyncio.get_running_loop().time() - began_s < 3


async def test_all_addresses_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    async with pool_of() as pool:
        resolve_to(monkeypatch, *[("127.0.0.1", free_port()) for _ in range(3)])
        failure = await failure_of(post(pool, Origin(False, "several.example", 80)))
        assert (failure.reason, failure.detail) == (FailureReason.CONNECT, "connection refused")


async def test_cancelling_a_race_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    async with black_hole() as one, black_hole() as other, pool_of() as pool:
        before = open_descriptors()
        resolve_to(monkeypatch, ("127.0.0.1", one), ("127.0.0.1", other))
        failure = await failure_of(post(pool, Origin(False, "several.example", 80), timeouts=Timeouts(0.4, 5.0, 5.0)))
        assert failure.reason is FailureReason.CONNECT_TIMEOUT
        await eventually(lambda: open_descriptors() <= before)


class Tunnel:
    """A proxy that answers CONNECT as told, and tunnels where it said 200."""

    def __init__(self, answer: bytes, *, target_port: int = 0) -> None:
        self._answer = answer
        self._target_port = target_port
        self.heads: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        self.heads.append(await peer.request())
        for byte in self._answer:
            await peer.send(bytes([byte]))
        if not self._answer.startswith(b"HTTP/1.1 200"):
            return
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            await asyncio.gather(self._pump(peer.reader, writer), self._pump(reader, peer.writer))
        finally:
            writer.close()

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


CONNECTED = b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n"


def proxy_at(port: int, credentials: str = "", *no_proxy: str) -> ProxySettings:
    proxy = ProxySettings.from_config(f"http://{credentials}127.0.0.1:{port}", no_proxy)
    assert proxy is not None
    return proxy


@pytest.mark.parametrize(
    ("credentials", "line"),
    [("", b""), ("us%40er:pa:ss@", b"proxy-authorization: Basic dXNAZXI6cGE6c3M=\r\n")],
)
async def test_https_goes_through_the_tunnel(authority: Authority, credentials: str, line: bytes) -> None:
    async with upstream(answering(HELLO), tls=authority.server("localhost")) as server:
        tunnel = Tunnel(CONNECTED, target_port=server.port)
        async with (
            upstream(tunnel) as proxy,
            pool_of(tls=authority.client(), proxy=proxy_at(proxy.port, credentials)) as pool,
        ):
            for _ in range(2):
                assert await whole(pool, server.origin("localhost", tls=True)) == (200, b"hello")
            target = b"localhost:%d" % server.port
            assert tunnel.heads == [b"CONNECT " + target + b" HTTP/1.1\r\nhost: " + target + b"\r\n" + line + b"\r\n"]


async def test_http_and_exceptions_go_directly(authority: Authority) -> None:
    tunnel = Tunnel(CONNECTED)
    async with (
        upstream(answering(HELLO), tls=authority.server("localhost")) as secure,
        upstream(answering(HELLO)) as plain,
        upstream(tunnel) as proxy,
        pool_of(tls=authority.client(), proxy=proxy_at(proxy.port, "", "localhost")) as pool,
    ):
        assert await whole(pool, secure.origin("localhost", tls=True)) == (200, b"hello")
        assert await whole(pool, plain.origin()) == (200, b"hello")
        assert tunnel.heads == []


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "status 407"),
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 6\r\n\r\nsecret", "status 403"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "status 502"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "no proper answer"),
        (b"HTTP/1.1 2xx\r\n\r\n", "no proper answer"),
        (b"HTTP/1.1\r\n\r\n", "no proper answer"),
        (b"HTTP/1.1 20", "no proper answer"),
        (b"", "no proper answer"),
    ],
)
async def test_what_the_proxy_refuses(answer: bytes, detail: str) -> None:
    async with upstream(Tunnel(answer)) as proxy, pool_of(proxy=proxy_at(proxy.port, "user:secret@")) as pool:
        failure = await failure_of(post(pool, Origin(True, "api.example", 443)))
        assert failure.reason is FailureReason.PROXY
        assert detail in failure.detail
        assert "secret" not in failure.detail


async def test_a_proxy_that_floods_its_head_is_cut() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        while True:
            await peer.send(b"x" * 1000)

    async with upstream(script) as proxy, pool_of(proxy=proxy_at(proxy.port)) as pool:
        failure = await failure_of(post(pool, Origin(True, "api.example", 443)))
        assert (failure.reason, failure.detail) == (FailureReason.PROXY, "the proxy gave no proper answer")


async def test_bytes_behind_the_proxys_answer_are_not_the_origins() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"\r\nexcess")
        await peer.gone()

    async with upstream(script) as proxy, pool_of(proxy=proxy_at(proxy.port)) as pool:
        assert (await failure_of(post(pool, Origin(True, "api.example", 443)))).reason is FailureReason.PROXY


async def test_a_proxy_that_is_not_there() -> None:
    async with pool_of(proxy=proxy_at(free_port())) as pool:
        failure = await failure_of(post(pool, Origin(True, "api.example", 443)))
        assert failure.reason is FailureReason.PROXY
        assert "refused" in failure.detail


async def test_a_silent_proxy_and_cancelling_while_it_is_silent() -> None:
    async with upstream(silent) as proxy, pool_of(proxy=proxy_at(proxy.port)) as pool:
        failure = await failure_of(post(pool, Origin(True, "api.example", 443), timeouts=QUICK))
        assert failure.reason is FailureReason.CONNECT_TIMEOUT
        task = asyncio.ensure_future(post(pool, Origin(True, "api.example", 443)))
        await eventually(lambda: proxy.open == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: proxy.open == 0)


async def test_a_proxy_that_resets() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        peer.reset()

    async with upstream(script) as proxy, pool_of(proxy=proxy_at(proxy.port)) as pool:
        failure = await failure_of(post(pool, Origin(True, "api.example", 443)))
        assert (failure.reason, failure.detail) == (
            FailureReason.PROXY,
            "the proxy broke off: connection reset by peer",
        )


def test_an_unreadable_certificate_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tls_context(str(tmp_path / "missing.pem"))
    (tmp_path / "empty.pem").write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        tls_context(str(tmp_path / "empty.pem"))
