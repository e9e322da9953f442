"""The inbound server over real sockets: exchanges one at a time, pipelining, leaving clients, bounds, draining."""

import asyncio
import logging
import resource
import socket
import struct
import time
from collections.abc import AsyncIterator

import pytest

from llm_edge_agent.config import ServerLimits
from llm_edge_agent.http.server import Server
from tests.http.serving import Echo, Site, answers, get, hang_up, post, serving, until

CLOSE = "Connection: close"
EMPTY = "e3b0c442"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as running:
        yield running


@pytest.mark.parametrize(
    ("wire", "status", "body"),
    [
        (get("/a?b=c", CLOSE), 200, f"GET /a|b=c|0 {EMPTY}"),
        (post("/a", b"hello", CLOSE), 200, "POST /a||5 2cf24dba"),
        (post("/a", b"x" * 3_000_000, CLOSE), 200, "POST /a||3000000 e55b8bdf"),
        (b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
         b"2\r\nhe\r\n3;x\r\nllo\r\n0\r\nT: u\r\n\r\n", 200, "POST /c||5 2cf24dba"),
        (get("/a%2F../%2e/\u007e", CLOSE), 200, f"GET /a%2F../%2e/~||0 {EMPTY}"),
        (get("http://other.test/x?y", CLOSE), 200, f"GET /x|y|0 {EMPTY}"),
        (get("*", CLOSE, method="OPTIONS"), 200, f"OPTIONS *||0 {EMPTY}"),
        (get("/", CLOSE, method="BREW"), 200, f"BREW /||0 {EMPTY}"),
        (get("/", CLOSE, method="PRI"), 200, f"PRI /||0 {EMPTY}"),
        (get("evil.test:443", method="CONNECT") + get("/hidden"), 405, "no tunnels"),
        (get("/", version="1.0"), 200, f"GET /||0 {EMPTY}"),
        (b"GET / HTTP/1.0\r\n\r\n", 200, f"GET /||0 {EMPTY}"),
        (get("/", "Expect: whatever"), 417, "expectation_failed"),
        (get("/", "Expect: whatever", version="1.0"), 200, f"GET /||0 {EMPTY}"),
        (post("/", b"x", "Content-Encoding: gzip"), 415, "unsupported_media_type"),
        (post("/", b"x", "Content-Encoding: identity", CLOSE), 200, "POST /||1 2d711642"),
        (post("/deny", b"x", CLOSE), 401, "denied"),
        (get("/deny", "Content-Length: 900000000"), 401, "denied"),
        (get("/", "Content-Length: 900000000", method="POST"), 413, "body_too_large"),
        (get("/", "Content-Encoding: gzip", "Content-Length: 5"), 415, "unsupported_media_type"),
        (get("/bye"), 200, "bye"),
        (get("/raise-head"), 500, "internal_error"),
        (get("/raise"), 500, "internal_error"),
        (get("/raise-later"), 500, "internal_error"),
        (get("/self-cancelled"), 500, "internal_error"),
        (get("/slow?0.01", CLOSE), 200, f"GET /slow|0.01|0 {EMPTY}"),
        (get("/stream", CLOSE), 200, "one" + "two" * 100 + "three"),
        (get("/stream", version="1.0"), 200, "one" + "two" * 100 + "three"),
        (get("/stream", "Connection: keep-alive", version="1.0"), 200, "one" + "two" * 100 + "three"),
    ],
)  # fmt: skip
async def test_one_exchange(site: Site, wire: bytes, status: int, body: str) -> None:
    (answer,) = answers(await site.send(wire))
    assert (answer.status, answer.body.decode()) == (status, body)
    assert answer.headers["connection"] == "close"
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["date"].endswith(" GMT")
    assert "server" not in answer.headers
    await site.quiet()
    assert "GET /hidden" not in site.echo.ran


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        (get("/"), (f"GET /||0 {EMPTY}", {"content-length": "17"})),
        (get("/", "Connection: keep-alive", version="1.0"), (f"GET /||0 {EMPTY}", {"connection": "keep-alive"})),
        (get("/stream"), ("one" + "two" * 100 + "three", {"transfer-encoding": "chunked"})),
        (get("/", "Upgrade: websocket", "Connection: Upgrade"), (f"GET /||0 {EMPTY}", {"content-length": "17"})),
        (post("/", b"GET / HTTP/1.1", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"), ("POST /||14 ", {})),
        (post("/deny", b"read all the same"), ("denied", {})),
        (get("/empty"), ("", {})),
    ],
)
async def test_the_connection_serves_on(site: Site, request_line: bytes, expected: tuple[str, dict[str, str]]) -> None:
    first, second = answers(await site.send(request_line, get("/next", CLOSE)))
    assert first.body.decode().startswith(expected[0])
    assert expected[1].items() <= first.headers.items()
    assert first.headers.get("connection") != "close"
    assert second.body.decode() == f"GET /next||0 {EMPTY}"


@pytest.mark.parametrize("path", ["/", "/stream", "/slow?0", "/deny"])
async def test_head_tells_the_length_and_sends_no_body(site: Site, path: str) -> None:
    wire = await site.send(get(path, method="HEAD"), get("/stream", CLOSE, method="HEAD"))
    first, second = answers(wire, bodiless=True)
    assert ("content-length" in first.headers) != ("transfer-encoding" in first.headers)
    assert second.headers["transfer-encoding"] == "chunked"
    assert wire.endswith(b"\r\n\r\n")


async def test_no_content_has_no_length(site: Site) -> None:
    first, _ = answers(await site.send(get("/empty"), get("/", CLOSE)))
    assert first.status == 204
    assert {"content-length", "transfer-encoding"}.isdisjoint(first.headers)


async def test_pipelined_requests_are_answered_in_order(site: Site) -> None:
    delays = ["0.15", "0.1", "0.05", "0"]
    wire = b"".join(get(f"/slow?{delay}") for delay in delays) + post("/last", b"x", CLOSE)
    got = answers(await site.send(wire))
    assert [answer.body.decode().split("|")[1] for answer in got] == [*delays, ""]
    assert len(site.echo.ran) == 5


async def test_many_pipelined_requests_in_one_read(site: Site) -> None:
    wire = b"".join(get(f"/n?{index}") for index in range(500)) + get("/stream") + get("/end", CLOSE)
    got = answers(await site.send(wire))
    assert [answer.body.decode().split("|")[1] for answer in got[:500]] == [str(index) for index in range(500)]
    assert [answer.status for answer in got[500:]] == [200, 200]


async def test_what_follows_a_closing_request_never_runs(site: Site) -> None:
    for wire in (get("/", CLOSE), get("/", version="1.0"), get("/bye"), get("/stream", CLOSE), get("/raise-later")):
        assert len(answers(await site.send(wire + get("/hidden")))) == 1
    await site.quiet()
    assert "GET /hidden" not in site.echo.ran


async def test_replies_before_a_fault_are_sent(site: Site) -> None:
    got = answers(await site.send(get("/a") + get("/slow?0.02") + b"GET / HTTP/1.1\r\nbad header\r\n\r\n" + get("/x")))
    assert [answer.status for answer in got] == [200, 200, 400]


@pytest.mark.parametrize("pause_s", [0.0, 0.05])
async def test_expect_continue(site: Site, pause_s: float) -> None:
    head = get("/", "Expect: 100-Continue", "Content-Length: 5", CLOSE, method="POST")
    reader, writer = await site.connect()
    writer.write(head)
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    await asyncio.sleep(pause_s)
    writer.write(b"hello")
    (answer,) = answers(await reader.read())
    assert answer.body == b"POST /||5 2cf24dba"
    await hang_up(writer)


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (post("/", b"hello", "Expect: 100-continue", CLOSE), 200),
        (get("/", "Expect: 100-continue", CLOSE), 200),
        (get("/deny", "Expect: 100-continue", "Content-Length: 5"), 401),
        (get("/", "Expect: 100-continue", "Content-Length: 999999999"), 413),
    ],
)
async def test_no_100_where_the_body_is_here_or_not_wanted(site: Site, wire: bytes, status: int) -> None:
    assert [answer.status for answer in answers(await site.send(wire))] == [status]


async def test_headers_reach_the_handler(site: Site) -> None:
    await site.send(get("/", "X-Twice: a", "x-twice:  b \t", "X-Empty:", "X-High: \xe9", CLOSE))
    (request,) = site.echo.requests
    assert request.headers[b"x-twice"] == b"a, b"
    assert request.headers[b"x-empty"] == b""
    assert request.headers[b"x-high"] == b"\xe9"
    assert request.headers[b"host"] == b"gateway.test"
    assert request.peer == "127.0.0.1"
    assert request.http_1_0 is False
    assert 0 <= time.monotonic() - request.received_s < 30


async def test_a_cut_stream_has_no_proper_end(site: Site) -> None:
    wire = await site.send(get("/cut"))
    assert wire.endswith(b"7\r\npartial\r\n")
    with pytest.raises(ConnectionResetError):
        await site.send(get("/cut", version="1.0"))
    assert [stream.events for stream in site.echo.streams] == [["start"], ["start"]]


async def test_a_stream_is_seen_as_it_comes(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(get("/open"))
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(10) == b"5\r\nfirst\r\n"
    sink = site.echo.streams[0].sink
    assert sink is not None
    sink.write(b"second")
    assert await reader.readexactly(11) == b"6\r\nsecond\r\n"
    assert site.server.in_flight == 1
    sink.end()
    assert await reader.readexactly(5) == b"0\r\n\r\n"
    assert site.server.in_flight == 0
    sink.write(b"late")
    writer.write(get("/next", CLOSE))
    assert answers(await reader.read())[0].body.startswith(b"GET /next")
    assert site.echo.streams[0].events == ["start"]
    await hang_up(writer)


RESET = struct.pack("ii", 1, 0)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("path", ["/hang", "/open"])
async def test_a_client_that_leaves_ends_its_exchange(site: Site, reset: bool, path: str) -> None:
    reader, writer = await site.connect()
    writer.write(get(path) + get("/pipelined"))
    if path == "/open":
        await reader.readuntil(b"first")
    else:
        await until(lambda: site.server.in_flight == 1)
        await asyncio.sleep(0.02)
    if reset:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
    await site.quiet()
    if path == "/open":
        assert site.echo.streams[0].events == ["start", "abort client_gone"]
    else:
        assert site.echo.cancelled == ["/hang"]
    assert "GET /pipelined" not in site.echo.ran


@pytest.mark.parametrize("path", ["/hang", "/open", "/slow?30"])
async def test_half_closing_while_waiting_is_leaving(site: Site, path: str) -> None:
    reader, writer = await site.connect()
    writer.write(get(path))
    await until(lambda: site.server.in_flight == 1)
    writer.write_eof()
    await asyncio.wait_for(reader.read(), 5)
    await site.quiet()
    await hang_up(writer)


async def test_half_closing_after_a_quick_request_gets_the_whole_answer(site: Site) -> None:
    reader, writer = await site.connect()
    writer.write(get("/big?3000000"))
    writer.write_eof()
    assert len(answers(await reader.read())[0].body) == 3_000_000
    await hang_up(writer)


async def test_a_stream_that_comes_too_late_is_aborted(site: Site) -> None:
    _, writer = await site.connect()
    writer.write(get("/late-stream"))
    await until(lambda: site.server.in_flight == 1)
    await asyncio.sleep(0.02)
    await hang_up(writer)
    await site.quiet()
    assert site.echo.streams[0].events == ["abort client_gone"]


async def test_a_reset_at_every_byte_leaves_nothing(site: Site) -> None:
    wire = post("/slow?30", b"hello")
    for length in range(len(wire) + 1):
        client = socket.create_connection(("127.0.0.1", site.server.port))
        client.sendall(wire[:length])
        if length % 3 == 0:
            await asyncio.sleep(0)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()
    await site.quiet()
    (answer,) = answers(await site.send(get("/alive", CLOSE)))
    assert answer.status == 200


async def test_two_thousand_quick_connects(site: Site) -> None:
    for _ in range(20):
        clients = [socket.create_connection(("127.0.0.1", site.server.port)) for _ in range(100)]
        await asyncio.sleep(0)
        for client in clients:
            client.close()
    await site.quiet()
    (answer,) = answers(await site.send(get("/alive", CLOSE)))
    assert answer.status == 200


async def test_too_many_connections_are_closed_on_arrival() -> None:
    async with serving(ServerLimits(max_connections=3)) as site:
        held = [await site.connect() for _ in range(3)]
        await until(lambda: site.server.connections == 3)
        reader, writer = await site.connect()
        assert await reader.read() == b""
        assert site.server.refused_connections == 1
        await hang_up(writer)
        await hang_up(held.pop()[1])
        await until(lambda: site.server.connections == 2)
        assert answers(await site.send(get("/", CLOSE)))[0].status == 200
        for _, each in held:
            await hang_up(each)


async def test_running_out_of_descriptors_is_counted_and_passes(caplog: pytest.LogCaptureFixture) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving() as site:
        port = site.server.port
        clients = [socket.socket() for _ in range(20)]
        used = max(client.fileno() for client in clients) + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, hard))
        try:
            for client in clients:
                client.setblocking(False)
                client.connect_ex(("127.0.0.1", port))
            await until(lambda: site.server.accept_errors > 0)
            before = site.server.accept_errors
            spent = time.process_time()
            await asyncio.sleep(0.5)
            assert site.server.accept_errors - before < 10
            assert time.process_time() - spent < 0.3
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for client in clients:
            client.close()
        assert answers(await site.send(get("/", CLOSE)))[0].status == 200
    assert caplog.records == []


async def test_escaped_exceptions_are_logged_without_the_request(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/raise-head", "/raise", "/raise-later"):
        await site.send(get(f"{path}?secret"))
    assert [record.name for record in caplog.records] == ["llm_edge_agent.http"] * 3
    assert all(record.levelno == logging.ERROR for record in caplog.records)
    assert all("LookupError" in record.message and "serving.py" in record.message for record in caplog.records)
    assert "secret" not in caplog.text


async def test_draining_closes_idle_connections_and_ends_the_others() -> None:
    async with serving() as site:
        idle_reader, idle = await site.connect()
        silent_reader, silent = await site.connect()
        busy_reader, busy = await site.connect()
        stream_reader, stream = await site.connect()
        idle.write(get("/"))
        await idle_reader.readuntil(EMPTY.encode())
        busy.write(get("/slow?0.1"))
        stream.write(get("/open"))
        await until(lambda: site.server.in_flight == 2 and site.server.connections == 4)
        site.server.begin_drain()
        assert await idle_reader.read() == b""
        assert await silent_reader.read() == b""
        (late,) = answers(await site.send(get("/late")))
        assert (late.status, late.headers["connection"]) == (200, "close")
        (answer,) = answers(await busy_reader.read())
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        sink = site.echo.streams[0].sink
        assert sink is not None
        sink.end()
        assert (await stream_reader.read()).endswith(b"0\r\n\r\n")
        await site.quiet()
        for writer in (idle, silent, busy, stream):
            await hang_up(writer)


async def test_stop_waits_for_what_is_in_flight() -> None:
    async with serving() as site:
        reader, writer = await site.connect()
        writer.write(get("/slow?0.3"))
        await until(lambda: site.server.in_flight == 1)
        await site.server.stop(10.0)
        assert answers(await reader.read())[0].status == 200
        await hang_up(writer)


async def test_stop_ends_what_outlasts_the_grace() -> None:
    async with serving() as site:
        wires = [get("/hang"), get("/open"), get("/", "Content-Length: 9"), b"GET / HT"]
        clients = [await site.connect() for _ in wires]
        for (_, writer), wire in zip(clients, wires, strict=True):
            writer.write(wire)
        await until(lambda: site.server.in_flight == 3 and len(site.echo.streams) == 1)
        site.echo.streams[0].last_words = b"goodbye"
        await site.server.stop(0.05)
        hung, streamed, partial, headless = [await reader.read() for reader, _ in clients]
        assert answers(hung)[0].body == b"shutting_down"
        assert site.echo.cancelled == ["/hang"]
        assert streamed.endswith(b"5\r\nfirst\r\n7\r\ngoodbye\r\n")
        assert site.echo.streams[0].events == ["start", "abort shutdown"]
        assert answers(partial)[0].status == 503
        assert headless == b""
        for _, writer in clients:
            await hang_up(writer)


async def test_a_client_that_closes_as_the_server_stops_keeps_nobody_from_being_told() -> None:
    async with serving() as site:
        clients = [await site.connect() for _ in range(8)]
        for _, writer in clients:
            writer.write(get("/hang"))
        with socket.create_connection(("127.0.0.1", site.server.port)) as leaver:
            leaver.sendall(get("/hang"))
            await until(lambda: site.server.in_flight == 9)
        await site.server.stop(0)
        for reader, writer in clients:
            assert answers(await reader.read())[0].status == 503
            await hang_up(writer)


async def test_an_idle_server_stops_at_once() -> None:
    server = Server(Echo(), ServerLimits())
    await server.start("127.0.0.1", 0)
    port = server.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await until(lambda: server.connections == 1)
    started = time.monotonic()
    await server.stop(30.0)
    assert time.monotonic() - started < 10  # of the 30 that it has, however busy the machine
    assert await reader.read() == b""
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    with pytest.raises(RuntimeError):
        _ = server.port
    await hang_up(writer)


@pytest.mark.parametrize("host", ["", "::"])
async def test_both_families_are_served(host: str) -> None:
    server = Server(Echo(), ServerLimits())
    await server.start(host, 0)
    for address in ("127.0.0.1", "::1") if socket.has_dualstack_ipv6() else ("127.0.0.1",):
        reader, writer = await asyncio.open_connection(address, server.port)
        writer.write(get("/", CLOSE))
        assert answers(await reader.read())[0].status == 200
        await hang_up(writer)
    await server.stop(0.0)


async def test_a_taken_port_is_an_error(site: Site) -> None:
    other = Server(Echo(), ServerLimits())
    with pytest.raises(OSError):
        await other.start("127.0.0.1", site.server.port)
    await other.stop(0.0)
