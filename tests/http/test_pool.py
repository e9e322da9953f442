"""Keeping connections: reuse, staleness, deadlines, cancellation, the end. Real sockets, scripted upstreams."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from llm_edge_agent.http.origins import FailureReason, Origin, Timeouts
from llm_edge_agent.http.pool import UpstreamPool, was_sent
from tests.http.scripted import (
    CHUNKED,
    HELLO,
    OK,
    PATIENT,
    Peer,
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


async def test_a_request_is_what_was_asked_for() -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.request())
            await peer.send(HELLO)

    async with upstream(script) as server, pool_of() as pool:
        origin = server.origin(prefix="/v1")
        await (await pool.send(origin, b"POST", b"/x?y=1", b"a: b\r\nc: d\r\n", b'{"z":1}', PATIENT)).read()
        host = b"host: 127.0.0.1:%d\r\naccept-encoding: identity\r\n" % server.port
        assert seen.pop() == (
            b"POST /v1/x?y=1 HTTP/1.1\r\n" + host + b'a: b\r\nc: d\r\ncontent-length: 7\r\n\r\n{"z":1}'
        )
        await (await pool.send(origin, b"GET", b"/models", b"", b"", PATIENT)).read()
        assert seen.pop() == b"GET /v1/models HTTP/1.1\r\n" + host + b"\r\n"
        await (await pool.send(origin, b"POST", b"/models", b"", b"", PATIENT)).read()
        assert seen.pop() == b"POST /v1/models HTTP/1.1\r\n" + host + b"content-length: 0\r\n\r\n"


@pytest.mark.parametrize("size", [0, 65_535, 65_536, 3_000_000])
async def test_bodies_of_every_size_arrive_whole(size: int) -> None:
    body = bytes(i * 7 % 251 for i in range(1000)) * (size // 1000) + b"x" * (size % 1000)

    async def script(peer: Peer) -> None:
        while True:
            got = (await peer.request()).partition(b"\r\n\r\n")[2]
            await peer.send(OK + b"content-length: %d\r\n\r\n" % len(got) + got)

    async with upstream(script) as server, pool_of(max_response_bytes=size) as pool:
        for _ in range(2):
            assert await whole(pool, server.origin(), body) == (200, body)
        assert pool.connections_opened == 1


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        (b"/x HTTP/1.1\r\nevil: 1", b""),
        (b"/x y", b""),
        (b"", b""),
        (b"/x", b"a: b"),
        (b"/x", b"a: b\r\n\r\nGET /evil HTTP/1.1\r\n"),
    ],
)
async def test_what_would_split_a_request_is_refused(path: bytes, headers: bytes) -> None:
    async with upstream(answering(HELLO)) as server, pool_of() as pool:
        with pytest.raises(ValueError):
            await pool.send(server.origin(), b"POST", path, headers, b"{}", PATIENT)
        assert server.connections == 0


async def test_a_connection_serves_many_requests_one_after_the_other() -> None:
    async with upstream(answering(HELLO, CHUNKED + chunk(b"hello") + b"0\r\n\r\n")) as server, pool_of() as pool:
        for _ in range(20):
            assert await whole(pool, server.origin()) == (200, b"hello")
        assert (server.connections, pool.connections_opened) == (1, 1)
        assert (pool.connections_open, pool.idle, pool.in_use) == (1, 1, 0)


async def test_origins_that_differ_in_their_prefix_share_connections() -> None:
    async with upstream(answering(HELLO)) as server, pool_of() as pool:
        for prefix in ("/v1", "/v2", ""):
            await whole(pool, server.origin(prefix=prefix))
        assert pool.connections_opened == 1


async def test_two_upstreams_do_not_share_connections() -> None:
    empty = answering(OK + b"content-length: 0\r\n\r\n")
    async with upstream(answering(HELLO)) as one, upstream(empty) as other, pool_of() as pool:
        for _ in range(2):
            assert await whole(pool, one.origin()) == (200, b"hello")
            assert await whole(pool, other.origin()) == (200, b"")
        assert (pool.connections_opened, pool.idle) == (2, 2)


async def test_the_connection_used_last_is_taken_first() -> None:
    def numbered() -> Script:
        count = 0

        async def script(peer: Peer) -> None:
            nonlocal count
            count += 1
            mine = count
            while True:
                await peer.request()
                await peer.send(OK + b"content-length: 1\r\n\r\n%d" % mine)

        return script

    async with upstream(numbered()) as server, pool_of() as pool:
        await asyncio.gather(*(whole(pool, server.origin()) for _ in range(3)))
        assert pool.idle == 3
        last = (await whole(pool, server.origin()))[1]
        for _ in range(5):
            assert (await whole(pool, server.origin()))[1] == last


async def test_no_more_than_the_bound_are_kept() -> None:
    async with upstream(answering(HELLO)) as server, pool_of(max_idle_per_origin=2) as pool:
        await asyncio.gather(*(whole(pool, server.origin()) for _ in range(5)))
        assert pool.idle == 2
        await eventually(lambda: pool.connections_open == 2 and server.open == 2)


async def test_idle_connections_expire() -> None:
    async with upstream(answering(HELLO)) as server, pool_of(idle_timeout_s=0.1) as pool:
        await whole(pool, server.origin())
        assert pool.idle == 1
        await eventually(lambda: pool.idle == 0 and pool.connections_open == 0 and server.open == 0)
        assert await whole(pool, server.origin()) == (200, b"hello")


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"connection: close\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        HELLO + b"excess",
        HELLO + HELLO,
    ],
)
async def test_a_connection_in_doubt_is_not_kept(answer: bytes) -> None:
    async with upstream(answering(answer)) as server, pool_of() as pool:
        for _ in range(2):
            assert await whole(pool, server.origin()) == (200, b"hello")
            assert (pool.idle, pool.in_use) == (0, 0)
        assert server.connections == 2
        assert pool.requests_retried_stale == 0


async def test_bytes_on_an_idle_connection_drop_it() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HELLO)
        await asyncio.sleep(0.05)
        await peer.send(HELLO.replace(b"hello", b"worse"))
        await peer.gone()

    async with upstream(script, answering(HELLO)) as server, pool_of() as pool:
        await whole(pool, server.origin())
        assert pool.idle == 1
        await eventually(lambda: pool.idle == 0)
        assert await whole(pool, server.origin()) == (200, b"hello")
        assert server.connections == 2


async def test_fin_after_every_answer_is_never_seen_by_the_caller() -> None:
    async with upstream(once(HELLO)) as server, pool_of() as pool:
        for _ in range(10):
            assert await whole(pool, server.origin()) == (200, b"hello")
            await eventually(lambda: pool.idle == 0)
        assert server.connections == 10
        assert pool.requests_retried_stale == 0


async def test_fin_racing_with_requests_is_never_seen_by_the_caller() -> None:
    async with upstream(once(HELLO)) as server, pool_of() as pool:
        for turn in range(100):
            assert await whole(pool, server.origin()) == (200, b"hello")
            for _ in range(turn % 4):
                await asyncio.sleep(0)
        assert server.connections == 100


def breaking(end: Callable[[Peer], None]) -> Script:
    """Answers one request, reads the next and then ends the connection."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HELLO)
        await peer.request()
        end(peer)
        await asyncio.sleep(0.05)

    return script


@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
async def test_a_stale_connection_is_retried_on_a_fresh_one(end: Callable[[Peer], None]) -> None:
    async with upstream(breaking(end), answering(HELLO)) as server, pool_of() as pool:
        await whole(pool, server.origin())
        assert await whole(pool, server.origin(), b"x" * 200_000) == (200, b"hello")
        assert server.connections == 2
        assert pool.requests_retried_stale == 1


async def test_the_retry_uses_no_other_idle_connection_and_happens_once() -> None:
    async def break_on_second(peer: Peer) -> None:
        await breaking(Peer.close)(peer)

    async def break_at_once(peer: Peer) -> None:
        await peer.request()
        peer.close()

    async with upstream(*[break_on_second] * 3, break_at_once) as server, pool_of() as pool:
        await asyncio.gather(*(whole(pool, server.origin()) for _ in range(3)))
        assert pool.idle == 3
        failure = await failure_of(whole(pool, server.origin()))
        assert (failure.reason, failure.received) == (FailureReason.CLOSED, False)
        assert pool.requests_retried_stale == 1
        assert server.connections == 4


@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
async def test_a_fresh_connection_is_not_retried(end: Callable[[Peer], None]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        end(peer)

    async with upstream(script) as server, pool_of() as pool:
        failure = await failure_of(whole(pool, server.origin()))
        assert (failure.reason, failure.received) == (FailureReason.CLOSED, False)
        assert server.connections == 1


async def test_a_stale_connection_that_had_begun_to_answer_is_not_retried() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(HELLO)
        await peer.request()
        await peer.send(b"HTTP/1.1 2")
        peer.close()

    async with upstream(script, answering(HELLO)) as server, pool_of() as pool:
        await whole(pool, server.origin())
        failure = await failure_of(whole(pool, server.origin()))
        assert (failure.reason, failure.received) == (FailureReason.CLOSED, True)
        assert server.connections == 1


@pytest.mark.parametrize("answer", [OK + b"content-length: 9\r\n\r\nhello", CHUNKED + chunk(b"hello"), OK[:9]])
@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
async def test_an_answer_cut_short_is_never_a_success(answer: bytes, end: Callable[[Peer], None]) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await asyncio.sleep(0.02)
        end(peer)

    async with upstream(script) as server, pool_of() as pool:
        failure = await failure_of(whole(pool, server.origin()))
        assert (failure.reason, failure.received) == (FailureReason.CLOSED, True)


async def test_a_reset_never_completes_a_body_that_ends_with_the_connection() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"\r\nhalf")
        await asyncio.sleep(0.02)
        peer.reset()

    async with upstream(script) as server, pool_of() as pool:
        assert (await failure_of(whole(pool, server.origin()))).reason is FailureReason.CLOSED


async def test_a_body_that_ends_with_the_connection_is_whole() -> None:
    async with upstream(once(OK + b"\r\nall of it")) as server, pool_of() as pool:
        assert await whole(pool, server.origin()) == (200, b"all of it")
        assert pool.idle == 0


@pytest.mark.parametrize(
    "banner", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x50", b"HTTP/1.1 200 OK\n\n"]
)
async def test_what_is_not_http_is_told_apart(banner: bytes) -> None:
    async with upstream(once(banner)) as server, pool_of() as pool:
        assert (await failure_of(whole(pool, server.origin()))).reason is FailureReason.PROTOCOL

    async def talks_first(peer: Peer) -> None:
        await peer.send(banner)
        await peer.gone()

    async with upstream(talks_first) as server, pool_of() as pool:
        assert (await failure_of(whole(pool, server.origin()))).reason is FailureReason.PROTOCOL


async def test_a_megabyte_of_header_is_cut_early() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(OK)
        for _ in range(20_000):
            await peer.send(b"x-filler: " + b"y" * 990 + b"\r\n")
            sent += 1002

    async with upstream(script) as server, pool_of() as pool:
        failure = await failure_of(whole(pool, server.origin()))
        assert (failure.reason, failure.received) == (FailureReason.TOO_LARGE, True)
        await eventually(lambda: server.open == 0)
        assert sent < 15_000_000


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(status: int) -> None:
    async with upstream(answering(HELLO)) as trap:
        location = b"location: http://127.0.0.1:%d/\r\n" % trap.port
        answer = b"HTTP/1.1 %d Moved\r\n%bcontent-length: 0\r\n\r\n" % (status, location)
        async with upstream(answering(answer)) as server, pool_of() as pool:
            assert await whole(pool, server.origin()) == (status, b"")
        assert trap.connections == 0


async def test_an_early_refusal_wins_over_the_write_it_breaks() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno")
        await asyncio.sleep(0.1)
        peer.close()

    async with upstream(script) as server, pool_of() as pool:
        assert await whole(pool, server.origin(), b"x" * 20_000_000) == (413, b"no")
        assert pool.idle == 0


async def test_a_connection_with_an_unsent_request_is_not_kept() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno")
        await asyncio.sleep(0.2)

    async with upstream(script, answering(HELLO)) as server, pool_of() as pool:
        assert await whole(pool, server.origin(), b"x" * 20_000_000) == (401, b"no")
        assert pool.idle == 0
        assert await whole(pool, server.origin()) == (200, b"hello")


async def test_the_deadline_spans_the_retry() -> None:
    async with upstream(breaking(Peer.close), silent) as server, pool_of() as pool:
        await whole(pool, server.origin())
        began_s = asyncio.get_running_loop().time()
        failure = await failure_of(whole(pool, server.origin(), timeouts=Timeouts(5.0, 0.3, 5.0)))
        assert (failure.reason, failure.received) == (FailureReason.TIMEOUT, False)
        assert asyncio.get_running_loop().time() - began_s < 4  # neither the connection's nor the silence's five


async def test_a_spent_deadline_is_a_timeout() -> None:
    async with upstream(answering(HELLO)) as server, pool_of() as pool:
        failure = await failure_of(whole(pool, server.origin(), timeouts=Timeouts(5.0, 0.0, 5.0)))
        assert failure.reason is FailureReason.TIMEOUT


async def headed(peer: Peer) -> None:
    await peer.request()
    await peer.send(OK + b"content-length: 9\r\n\r\nhello")
    await peer.gone()


async def interim(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 2")
    await peer.gone()


@pytest.mark.parametrize("script", [silent, headed, interim])
@pytest.mark.parametrize("delay_s", [0.0, 0.001, 0.05])
async def test_cancelling_closes_the_connection(script: Callable[[Peer], Awaitable[None]], delay_s: float) -> None:
    async with upstream(script) as server, pool_of() as pool:
        task = asyncio.ensure_future(whole(pool, server.origin()))
        await asyncio.sleep(delay_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (pool.in_use, pool.idle) == (0, 0)
        await eventually(lambda: pool.connections_open == 0 and server.open == 0)


async def test_who_is_cancelled_can_tell_whether_the_request_had_gone_out() -> None:
    told: list[bool] = []

    async def ask(pool: UpstreamPool, origin: Origin) -> None:
        try:
            await post(pool, origin)
        except asyncio.CancelledError as error:
            told.append(was_sent(error))
            raise

    async with upstream(silent) as server, pool_of() as pool:
        for sent in (False, True):
            task = asyncio.ensure_future(ask(pool, server.origin()))
            if sent:
                await eventually(lambda: pool.in_use == 1)
            else:
                await asyncio.sleep(0)  # the connection is being made
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert told == [False, True]


async def test_cancelling_at_every_step_leaves_nothing() -> None:
    async with upstream(answering(HELLO)) as server, pool_of() as pool:
        for steps in range(40):
            task = asyncio.ensure_future(whole(pool, server.origin()))
            for _ in range(steps // 2):
                await asyncio.sleep(0)
            task.cancel()
            try:
                assert await task == (200, b"hello")
            except asyncio.CancelledError:
                pass
            assert pool.in_use == 0
            if steps % 5 == 0:
                await eventually(lambda: pool.connections_open == pool.idle)


async def test_cancelling_a_finished_exchange_loses_nothing() -> None:
    async with upstream(answering(HELLO)) as server, pool_of() as pool:
        task = asyncio.ensure_future(post(pool, server.origin()))
        await eventually(lambda: pool.idle == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (pool.in_use, pool.connections_open) == (0, 1)
        assert await whole(pool, server.origin()) == (200, b"hello")


async def test_closing_the_pool_ends_everything() -> None:
    async with upstream(answering(HELLO), silent) as server, pool_of() as pool:
        await whole(pool, server.origin())
        idle_origin, busy_origin = server.origin(), server.origin("localhost")
        busy = asyncio.ensure_future(whole(pool, busy_origin))
        await eventually(lambda: pool.in_use == 1)
        await asyncio.gather(pool.close(), pool.close())
        assert (pool.connections_open, pool.idle, pool.in_use) == (0, 0, 0)
        assert (await failure_of(asyncio.wait_for(busy, 5))).reason is FailureReason.SHUTDOWN
        for origin in (idle_origin, busy_origin):
            assert (await failure_of(whole(pool, origin))).reason is FailureReason.SHUTDOWN


async def test_many_requests_at_once_use_many_connections_and_mix_nothing_up() -> None:
    async def script(peer: Peer) -> None:
        while True:
            nonce = (await peer.request()).partition(b"\r\n\r\n")[2]
            await asyncio.sleep(0)
            await peer.send(CHUNKED + chunk(nonce) + b"0\r\n\r\n")

    async with upstream(script) as server, pool_of() as pool:

        async def several(number: int) -> None:
            for turn in range(10):
                nonce = b"%d-%d" % (number, turn)
                assert await whole(pool, server.origin(), nonce) == (200, nonce)

        await asyncio.gather(*(several(number) for number in range(30)))
        assert pool.connections_opened == pool.idle == server.open <= 30


@pytest.mark.parametrize("secret", ["a..b", "x" * 70])
async def test_an_impossible_name_is_a_dns_failure(secret: str) -> None:
    async with pool_of() as pool:
        for host in (secret, f"ü.{secret}"):
            failure = await failure_of(whole(pool, Origin(False, host, 80)))
            assert failure.reason is FailureReason.DNS
            assert secret not in failure.detail


def test_every_reason_is_told_in_words_of_ours() -> None:
    assert all(re.fullmatch("[a-z_]+", reason.value) for reason in FailureReason)


async def test_connections_are_told_apart_by_where_they_lead() -> None:
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await release.wait()
        await peer.send(HELLO)
        await peer.request()

    async with upstream(script) as server, upstream(once(HELLO)) as other, pool_of() as pool:
        assert pool.connections_to(server.origin()) == (0, 0)
        pending = asyncio.ensure_future(pool.send(server.origin(), b"POST", b"/", b"", b"{}", PATIENT))
        await eventually(lambda: pool.connections_to(server.origin()) == (1, 0))
        assert pool.connections_to(other.origin()) == (0, 0)
        release.set()
        await (await pending).read()
        await eventually(lambda: pool.connections_to(server.origin()) == (0, 1))
        await pool.close()
        assert pool.connections_to(server.origin()) == (0, 0)
