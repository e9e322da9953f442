"""Clients that send, read or leave slowly, and those that send more than is wanted."""

import asyncio
import resource
import socket
import time
from collections.abc import AsyncIterator

import pytest

from llm_edge_agent.config import ServerLimits
from tests.http.serving import Recorded, Site, answers, get, hang_up, post, serving, until

MIB = 1 << 20


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    limits = ServerLimits(
        header_timeout_s=0.3,
        body_timeout_s=0.3,
        body_bytes_per_s=100,
        keepalive_timeout_s=0.3,
        write_timeout_s=0.4,
        max_body_bytes=4 * MIB,
    )
    async with serving(limits) as running:
        yield running


async def test_a_silent_connection_is_closed_without_a_word(site: Site) -> None:
    assert await site.send(b"") == b""
    assert site.echo.refused == []


async def test_an_idle_connection_is_closed_without_a_word(site: Site) -> None:
    (answer,) = answers(await site.send(get("/")))
    assert answer.status == 200
    assert site.echo.refused == []


@pytest.mark.parametrize("before", [b"", get("/")])
async def test_a_head_byte_by_byte_is_cut(site: Site, before: bytes) -> None:
    reader, writer = await site.connect()
    writer.write(before)
    await asyncio.sleep(0.05 if before else 0)
    started = time.monotonic()
    for byte in get("/never", "X: " + "y" * 10_000):
        writer.write(bytes([byte]))
        await asyncio.sleep(0.02)
        if site.server.connections == 0 or site.echo.refused:
            break
    assert 0.25 < time.monotonic() - started < 5
    *_, last = answers(await reader.read())
    assert (last.status, last.headers["connection"]) == (408, "close")
    assert site.echo.refused == ["request_timeout"]
    await hang_up(writer)


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_a_body_that_stops_is_cut(site: Site, framing: str) -> None:
    (answer,) = answers(await site.send(get("/never", framing, method="POST") + b"3e8\r\nxyz"))
    assert answer.status == 408
    assert site.echo.ran == []


async def test_a_body_that_keeps_its_pace_is_not_cut(site: Site) -> None:
    body = b"x" * 300
    head = get("/", f"Content-Length: {len(body)}", "Connection: close", method="POST")
    pieces = [body[start : start + 25] for start in range(0, 300, 25)]
    (answer,) = answers(await site.send(head, *pieces, pause_s=0.08))
    assert answer.status == 200


async def test_waiting_for_the_handler_is_no_timeout(site: Site) -> None:
    (answer,) = answers(await site.send(get("/slow?1.2", "Connection: close")))
    assert answer.status == 200


def unread(site: Site, wire: bytes) -> socket.socket:
    """A client that sends and then takes nothing; its buffers are small."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", site.server.port))
    client.sendall(wire)
    return client


def fill(stream: Recorded) -> None:
    """Writes until told to pause."""
    assert stream.sink is not None
    for _ in range(1000):
        if stream.events[-1] == "pause" or stream.events[-1].startswith("abort"):
            return
        stream.sink.write(b"x" * 65536)


async def test_a_stalled_reader_of_a_stream_pauses_it_and_is_cut(site: Site) -> None:
    with unread(site, get("/open")):
        await until(lambda: len(site.echo.streams) == 1)
        (stream,) = site.echo.streams
        while "pause" not in stream.events:
            fill(stream)
            await asyncio.sleep(0.01)
        await until(lambda: stream.events[-1] == "abort client_slow")
        assert stream.events.count("abort client_slow") == 1
        await site.quiet()


async def test_a_slow_reader_of_a_stream_gets_all_of_it(site: Site) -> None:
    with unread(site, get("/open", "Connection: close")) as client:
        await until(lambda: len(site.echo.streams) == 1)
        (stream,) = site.echo.streams
        assert stream.sink is not None
        written = 0
        while stream.events[-1] != "pause":
            stream.sink.write(b"x" * 65536)
            written += 65536
            await asyncio.sleep(0)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        wire = b""
        while piece := await loop.sock_recv(client, 1 << 20):
            wire += piece
            if stream.events[-1] == "resume":
                stream.events.append("ended")
                stream.sink.end()
        (answer,) = answers(wire)
        assert answer.body == b"first" + b"x" * written
        assert stream.events == ["start", "pause", "resume", "ended"]


@pytest.mark.parametrize("count", [1, 200])
async def test_a_stalled_reader_of_whole_replies_is_cut(site: Site, count: int) -> None:
    with unread(site, get(f"/big?{8 * MIB}") * count):
        await until(lambda: len(site.echo.ran) > 0)
        await until(lambda: site.server.connections == 0)
        assert len(site.echo.ran) <= 2


async def test_a_slow_reader_of_a_whole_reply_is_not_cut(site: Site) -> None:
    # So slow that the kernel's send buffer does not ask for more for many times the write timeout.
    with unread(site, get(f"/big?{8 * MIB}", "Connection: close")) as client:
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        started = time.monotonic()
        while time.monotonic() - started < 1.5:
            assert await loop.sock_recv(client, 65536)
            await asyncio.sleep(0.02)
        assert site.server.connections == 1
    await site.quiet()


async def pour(writer: asyncio.StreamWriter, count: int) -> None:
    for _ in range(count // 65536):
        writer.write(b"x" * 65536)
        await writer.drain()


async def test_a_refused_body_is_thrown_away_and_the_refusal_read(site: Site) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reader, writer = await site.connect()
    writer.write(get("/", f"Content-Length: {50 * MIB}", method="POST"))
    await pour(writer, 3 * MIB)
    (answer,) = answers(await reader.read())
    assert answer.status == 413
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024
    await hang_up(writer)
    await site.quiet()


async def test_a_refused_client_that_never_ends_is_closed_on(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(get("/", f"Content-Length: {900 * MIB}", method="POST"))
    (answer,) = answers(await reader.read())
    assert answer.status == 413
    with pytest.raises(OSError):
        await pour(writer, 900 * MIB)
    await site.quiet()
    await hang_up(writer)


async def test_a_refused_client_that_stays_is_closed_in_time(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(b"no such thing\r\n\r\n")
    (answer,) = answers(await reader.read())
    assert answer.status == 400
    assert site.server.connections == 1
    await site.quiet()
    await hang_up(writer)


async def test_what_comes_during_an_answer_is_bounded(site: Site) -> None:
    with unread(site, get("/open")) as client:
        await until(lambda: site.server.in_flight == 1)
        client.setblocking(False)
        sent = 0
        stuck_since = time.monotonic()
        while time.monotonic() - stuck_since < 0.3:
            try:
                sent += client.send(b"x" * 65536)
                stuck_since = time.monotonic()
            except BlockingIOError:
                pass
            await asyncio.sleep(0)
        assert sent < 16 * MIB


async def test_pipelined_bodies_behind_a_slow_answer_arrive_whole(site: Site) -> None:
    bodies = [bytes([65 + index]) * 200_000 for index in range(6)]
    wire = get("/slow?0.2") + b"".join(post("/", body) for body in bodies) + get("/end", "Connection: close")
    got = answers(await site.send(wire))
    assert [answer.status for answer in got] == [200] * 8
    assert [request.body for request in site.echo.requests[1:7]] == bodies
