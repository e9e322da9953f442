"""Ambiguous, oversized and foreign bytes on the client's connection: refused in OpenAI's shape, nothing hidden runs."""

import asyncio
import re

import pytest

from llm_edge_agent.config import ServerLimits
from tests.canaries import prompt
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import ask, eventually
from tests.e2e.scripted_upstream import Line, completion, reply, says
from tests.faults.conftest import Bench

HIDDEN = request_bytes(ask("the hidden request"))
LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"host: gateway\r\n"
BODY = ask("the open request")
LENGTH = b"content-length: %d\r\n" % len(BODY)
CHUNKED = b"transfer-encoding: chunked\r\n"
ONE_CHUNK = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)

REFUSED: list[tuple[str, bytes, set[int]]] = [
    ("two lengths", LINE + HOST + LENGTH + b"content-length: 0\r\n\r\n" + BODY + HIDDEN, {400}),
    ("two equal lengths", LINE + HOST + LENGTH + LENGTH + b"\r\n" + BODY + HIDDEN, {400}),
    ("a list of lengths", LINE + HOST + b"content-length: 5, 5\r\n\r\nhello" + HIDDEN, {400}),
    ("length and chunks", LINE + HOST + LENGTH + CHUNKED + b"\r\n" + ONE_CHUNK + HIDDEN, {400}),
    ("chunks and length", LINE + HOST + CHUNKED + b"content-length: 4\r\n\r\n" + ONE_CHUNK + HIDDEN, {400}),
    ("an obscured coding", LINE + HOST + b"transfer-encoding: xchunked\r\n\r\n" + ONE_CHUNK + HIDDEN, {400, 501}),
    ("a coding list", LINE + HOST + b"transfer-encoding: chunked, identity\r\n\r\n" + ONE_CHUNK + HIDDEN, {400, 501}),
    ("a coding with a tab", LINE + HOST + b"transfer-encoding:\x0bchunked\r\n\r\n" + ONE_CHUNK + HIDDEN, {400, 501}),
    ("a space before the colon", LINE + HOST + b"content-length : 5\r\n\r\nhello" + HIDDEN, {400}),
    ("a folded line", LINE + HOST + b"content-length:\r\n 5\r\n\r\nhello" + HIDDEN, {400}),
    ("a negative length", LINE + HOST + b"content-length: -5\r\n\r\n" + HIDDEN, {400}),
    ("a signed length", LINE + HOST + b"content-length: +5\r\n\r\nhello" + HIDDEN, {400}),
    ("a hexadecimal length", LINE + HOST + b"content-length: 0x5\r\n\r\nhello" + HIDDEN, {400}),
    ("a bad chunk size", LINE + HOST + CHUNKED + b"\r\nzz\r\n" + HIDDEN, {400}),
    ("a huge chunk size", LINE + HOST + CHUNKED + b"\r\nfffffffffffffffff\r\n" + HIDDEN, {400, 413}),
    ("bare line feeds", LINE.replace(b"\r\n", b"\n") + HOST.replace(b"\r\n", b"\n") + b"\n" + HIDDEN, {400}),
    ("a bare carriage return", LINE + HOST + b"x: a\rb\r\n\r\n" + HIDDEN, {400}),
    ("a NUL in a header", LINE + HOST + b"x: a\x00b\r\n\r\n" + HIDDEN, {400}),
    ("a NUL in a name", LINE + HOST + b"x\x00y: a\r\n\r\n" + HIDDEN, {400}),
    ("no host", LINE + LENGTH + b"\r\n" + BODY + HIDDEN, {400}),
    ("two hosts", LINE + HOST + b"Host: other\r\n" + LENGTH + b"\r\n" + BODY + HIDDEN, {400}),
    ("a host with user info", LINE + b"host: a@b\r\n" + LENGTH + b"\r\n" + BODY + HIDDEN, {400}),
    ("HTTP/9.9", LINE.replace(b"1.1", b"9.9") + HOST + b"\r\n" + HIDDEN, {400, 505}),
    ("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + HIDDEN, {400, 505}),
    ("no version", b"POST /v1/chat/completions\r\n" + HOST + b"\r\n" + HIDDEN, {400}),
    ("a header of 40 KB", LINE + HOST + b"x: " + b"a" * 40_000 + b"\r\n\r\n" + HIDDEN, {431}),
    ("5,000 headers", LINE + HOST + b"".join(b"x-%d: 1\r\n" % n for n in range(5000)) + b"\r\n" + HIDDEN, {431}),
    ("a target of 64 KB", b"GET /" + b"a" * 65_536 + b" HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN, {414}),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300), {400}),
    ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n" + HIDDEN, {400}),
    ("an unknown expectation", LINE + HOST + LENGTH + b"expect: 200-ok\r\n\r\n" + BODY + HIDDEN, {417}),
]


@pytest.mark.parametrize(("name", "data", "statuses"), REFUSED, ids=[row[0] for row in REFUSED])
async def test_refused_and_closed(name: str, data: bytes, statuses: set[int], bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(reply(completion())))
    async with gateway.connect() as wire:
        await wire.send(data)
        answer = await wire.answer()
        assert answer.status in statuses
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["connection"] == "close"
        assert set(answer.error) == {"message", "type", "param", "code"}
        assert answer.error["type"] == "invalid_request_error"
        assert await wire.to_end() == b""
    assert upstream.calls == 0
    assert gateway.metric("llm_edge_request_errors_total") == 1


@pytest.mark.parametrize("offer", [b"upgrade: h2c\r\nhttp2-settings: x\r\n", b"upgrade: websocket\r\n"])
async def test_an_offer_to_upgrade_is_not_taken_up(offer: bytes, bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(reply(completion())))
    data = LINE + HOST + b"connection: upgrade\r\n" + offer + LENGTH + b"\r\n" + BODY
    assert (await gateway.exchange(data)).status == 200
    assert upstream.calls == 1


async def test_expect_100_continue(bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(reply(completion())))
    async with gateway.connect() as wire:
        await wire.send(LINE + HOST + LENGTH + b"expect: 100-continue\r\n\r\n")
        assert await wire.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await wire.send(BODY)
        assert (await wire.answer()).status == 200
    assert upstream.calls == 1


async def test_http_1_0_gets_no_chunks(bench: Bench) -> None:
    _, gateway = await bench.pair(says(reply(completion())))
    async with gateway.connect() as wire:
        await wire.send(LINE.replace(b"1.1", b"1.0") + LENGTH + b"\r\n" + BODY)
        answered = await wire.to_end()
    assert b"transfer-encoding" not in answered
    assert answered.endswith(b"}")


async def test_pipelined_requests_are_answered_in_order(bench: Bench) -> None:
    async def slower_first(line: Line) -> None:
        text = line.request.json["messages"][0]["content"]
        await asyncio.sleep(0.02 * (4 - int(text.split()[-1])))
        await line.send(reply(completion(text)))

    upstream, gateway = await bench.pair(slower_first)
    async with gateway.connect() as wire:
        await wire.send(b"".join(request_bytes(ask(f"{number}")) for number in range(4)))
        assert [(await wire.answer()).text for _ in range(4)] == [prompt(f"{number}") for number in range(4)]
    assert upstream.calls == 4


@pytest.mark.parametrize("data", [LINE + HOST, b"P", LINE[:20]])
async def test_slow_headers_are_cut(data: bytes, bench: Bench) -> None:
    _, gateway = await bench.pair(says(reply(completion())), server=ServerLimits(header_timeout_s=0.4))
    async with gateway.connect() as wire:
        async with asyncio.timeout(5):
            for byte in data:
                await wire.send(bytes([byte]))
            answered = await wire.to_end()
    assert answered == b"" or re.match(rb"HTTP/1\.1 408 ", answered)
    await eventually(lambda: gateway.server.in_flight == 0)
