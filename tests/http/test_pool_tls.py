"""TLS on real sockets: who is trusted, what a refusal says, how a closed or cut connection counts."""

import asyncio
import ssl
import warnings

import pytest
import uvloop

from llm_edge_agent.http.origins import FailureReason, Timeouts
from tests.http.certificates import Authority
from tests.http.scripted import (
    CHUNKED,
    HELLO,
    OK,
    Peer,
    Received,
    Script,
    answering,
    chunk,
    eventually,
    failure_of,
    once,
    pool_of,
    post,
    silent,
    upstream,
    whole,
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def test_a_trusted_server_is_spoken_to_and_kept(authority: Authority) -> None:
    context = authority.server("localhost")
    context.set_alpn_protocols(["h2", "http/1.1"])
    protocols: list[str | None] = []

    async def script(peer: Peer) -> None:
        protocols.append(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await answering(HELLO, CHUNKED + chunk(b"hello") + b"0\r\n\r\n")(peer)

    async with upstream(script, tls=context) as server, pool_of(tls=authority.client()) as pool:
        for _ in range(3):
            assert await whole(pool, server.origin("localhost", tls=True)) == (200, b"hello")
        assert pool.connections_opened == 1
        assert protocols == ["http/1.1"]


async def test_an_address_in_the_certificate_counts(authority: Authority) -> None:
    async with (
        upstream(answering(HELLO), tls=authority.server("127.0.0.1")) as server,
        pool_of(tls=authority.client()) as pool,
    ):
        assert await whole(pool, server.origin(tls=True)) == (200, b"hello")


@pytest.mark.parametrize(
    ("name", "self_signed", "days", "detail"),
    [
        ("localhost", True, 2, "certificate verify failed: self-signed certificate"),
        ("other.example", False, 2, "certificate verify failed: hostname mismatch"),
        ("localhost", False, -1, "certificate verify failed: certificate has expired"),
    ],
)
async def test_whom_we_do_not_trust(authority: Authority, name: str, self_signed: bool, days: int, detail: str) -> None:
    context = authority.server(name, self_signed=self_signed, days=days)
    async with upstream(answering(HELLO), tls=context) as server, pool_of(tls=authority.client()) as pool:
        failure = await failure_of(whole(pool, server.origin("localhost", tls=True)))
        assert (failure.reason, failure.detail, failure.received) == (FailureReason.TLS, detail, False)
        assert (pool.connections_opened, pool.connections_open) == (0, 0)


async def test_an_authority_we_were_not_told_of_is_not_trusted(authority: Authority) -> None:
    async with upstream(answering(HELLO), tls=authority.server("localhost")) as server, pool_of() as pool:
        failure = await failure_of(whole(pool, server.origin("localhost", tls=True)))
        assert failure.reason is FailureReason.TLS
        assert failure.detail.startswith("certificate verify failed: ")


async def test_tls_1_1_is_refused(authority: Authority) -> None:
    context = authority.server("localhost")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with upstream(answering(HELLO), tls=context) as server, pool_of(tls=authority.client()) as pool:
        failure = await failure_of(whole(pool, server.origin("localhost", tls=True)))
        assert failure.reason is FailureReason.TLS


async def talks_plainly(peer: Peer) -> None:
    await peer.reader.read(1)
    await peer.send(HELLO)
    await peer.gone()


async def hangs_up(peer: Peer) -> None:
    await peer.reader.read(1)


async def resets(peer: Peer) -> None:
    await peer.reader.read(1)
    peer.reset()


@pytest.mark.parametrize("script", [talks_plainly, hangs_up, resets])
async def test_a_server_that_speaks_no_tls(authority: Authority, script: Script) -> None:
    async with upstream(script) as server, pool_of(tls=authority.client()) as pool:
        failure = await failure_of(whole(pool, server.origin("localhost", tls=True)))
        assert failure.reason is FailureReason.TLS
        assert "HELLO" not in failure.detail.upper()
        assert (pool.in_use, pool.connections_open) == (0, 0)


async def test_a_handshake_that_hangs_and_one_that_is_cancelled(authority: Authority) -> None:
    async with upstream(silent) as server, pool_of(tls=authority.client()) as pool:
        origin = server.origin("localhost", tls=True)
        failure = await failure_of(post(pool, origin, timeouts=Timeouts(0.2, 5.0, 5.0)))
        assert failure.reason is FailureReason.CONNECT_TIMEOUT
        task = asyncio.ensure_future(post(pool, origin))
        await eventually(lambda: server.open == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await eventually(lambda: server.open == 0)


async def test_cancelling_at_every_step_leaves_nothing(authority: Authority) -> None:
    async with (
        upstream(answering(HELLO), tls=authority.server("localhost")) as server,
        pool_of(tls=authority.client(), max_idle_per_origin=0) as pool,
    ):
        for delay_ms in range(20):
            task = asyncio.ensure_future(whole(pool, server.origin("localhost", tls=True)))
            await asyncio.sleep(delay_ms / 2000)
            task.cancel()
            try:
                assert await task == (200, b"hello")
            except asyncio.CancelledError:
                pass
            assert pool.in_use == 0
        await eventually(lambda: pool.connections_open == 0 and server.open == 0)


async def cut(peer: Peer) -> None:
    """Closes the socket beneath TLS: no close_notify."""
    peer.writer.transport.abort()
    await asyncio.sleep(0.05)


async def close(peer: Peer) -> None:
    peer.close()
    await asyncio.sleep(0.05)


@pytest.mark.parametrize("answer", [HELLO, CHUNKED + chunk(b"hello") + b"0\r\n\r\n"])
@pytest.mark.parametrize("end", [cut, close])
async def test_a_framed_answer_is_whole_however_the_connection_ends(
    authority: Authority, answer: bytes, end: Script
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await asyncio.sleep(0.02)
        await end(peer)

    async with upstream(script, tls=authority.server("localhost")) as server, pool_of(tls=authority.client()) as pool:
        for _ in range(2):
            assert await whole(pool, server.origin("localhost", tls=True)) == (200, b"hello")
            await eventually(lambda: pool.connections_open == 0)


@pytest.mark.parametrize("end", [cut, close])
async def test_an_unframed_answer_is_whole_only_with_a_proper_close(authority: Authority, end: Script) -> None:
    # asyncio's own TLS does not tell the two apart; uvloop, on which the gateway runs, does.
    whole_body = end is close or not isinstance(asyncio.get_running_loop(), uvloop.Loop)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"\r\nhello")
        await asyncio.sleep(0.05)
        await end(peer)

    async with upstream(script, tls=authority.server("localhost")) as server, pool_of(tls=authority.client()) as pool:
        exchange = whole(pool, server.origin("localhost", tls=True))
        if whole_body:
            assert await exchange == (200, b"hello")
        else:
            assert (await failure_of(exchange)).reason is FailureReason.CLOSED


async def test_a_stale_connection_is_retried(authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HELLO)
        await peer.request()
        peer.writer.transport.abort()

    async with (
        upstream(script, answering(HELLO), tls=authority.server("localhost")) as server,
        pool_of(tls=authority.client()) as pool,
    ):
        for _ in range(2):
            assert await whole(pool, server.origin("localhost", tls=True)) == (200, b"hello")
        assert pool.requests_retried_stale == 1


async def test_fin_after_every_answer_is_never_seen_by_the_caller(authority: Authority) -> None:
    async with (
        upstream(once(HELLO), tls=authority.server("localhost")) as server,
        pool_of(tls=authority.client()) as pool,
    ):
        for turn in range(10):
            assert await whole(pool, server.origin("localhost", tls=True)) == (200, b"hello")
            for _ in range(turn):
                await asyncio.sleep(0)


async def test_large_bodies_both_ways(authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        while True:
            got = (await peer.request()).partition(b"\r\n\r\n")[2]
            await peer.send(OK + b"content-length: %d\r\n\r\n" % len(got) + got)

    body = bytes(range(256)) * 4000
    async with upstream(script, tls=authority.server("localhost")) as server, pool_of(tls=authority.client()) as pool:
        for _ in range(2):
            assert await whole(pool, server.origin("localhost", tls=True), body) == (200, body)
        assert pool.connections_opened == 1


async def test_a_refused_large_request_does_not_leave_its_rest_behind(authority: Authority) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno")
        await peer.gone()

    async with (
        upstream(script, answering(HELLO), tls=authority.server("localhost")) as server,
        pool_of(tls=authority.client()) as pool,
    ):
        assert await whole(pool, server.origin("localhost", tls=True), b"x" * 1_000_000) == (401, b"no")
        assert pool.idle == 0


async def test_a_paused_stream_holds_the_upstream(authority: Authority) -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(OK + b"\r\n")
        while True:
            await peer.send(b"x" * 100_000)
            sent += 100_000
            await asyncio.sleep(0)

    async with upstream(script, tls=authority.server("localhost")) as server, pool_of(tls=authority.client()) as pool:
        received = Received()
        answer = await post(pool, server.origin("localhost", tls=True), timeouts=Timeouts(5.0, 10.0, 0.2))
        answer.stream(received)
        await eventually(lambda: received.body != b"")
        answer.pause()
        await asyncio.sleep(0.4)
        taken, offered = len(received.body), sent
        await asyncio.sleep(0.1)
        assert len(received.body) == taken
        assert offered < 40_000_000
        assert not received.over
        answer.resume()
        await eventually(lambda: len(received.body) > taken)
        answer.close()
        await eventually(lambda: pool.connections_open == 0 and server.open == 0)
