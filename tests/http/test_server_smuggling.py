"""Requests that two parsers might read differently: refused, the connection closed, and what they hide never run."""

from collections.abc import AsyncIterator

import pytest

from llm_edge_agent.config import ServerLimits
from llm_edge_agent.http.messages import Refusal
from tests.http.serving import STATUS, Site, answers, get, post, serving

HOST = b"Host: gateway.test\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
CHUNKED_HIDDEN = b"0\r\n\r\n" + HIDDEN


def body(*fields: bytes, version: bytes = b"1.1") -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"POST /front HTTP/" + version + b"\r\n" + HOST + lines + b"\r\n"


LENGTH = b"Content-Length: "
CODING = b"Transfer-Encoding: "

REFUSED: dict[str, tuple[bytes, Refusal]] = {
    "CL.CL": (body(LENGTH + b"0", LENGTH + b"44") + HIDDEN, "bad_request"),
    "CL.CL same": (body(LENGTH + b"0", LENGTH + b"0") + HIDDEN, "bad_request"),
    "CL list": (body(LENGTH + b"0, 0") + HIDDEN, "bad_request"),
    "CL.TE": (body(LENGTH + b"5", CODING + b"chunked") + CHUNKED_HIDDEN, "bad_request"),
    "TE.CL": (body(CODING + b"chunked", LENGTH + b"5") + CHUNKED_HIDDEN, "bad_request"),
    "CL plus": (body(LENGTH + b"+0") + HIDDEN, "bad_request"),
    "CL minus": (body(LENGTH + b"-1") + HIDDEN, "bad_request"),
    "CL hex": (body(LENGTH + b"0x0") + HIDDEN, "bad_request"),
    "CL inner space": (body(LENGTH + b"0 0") + HIDDEN, "bad_request"),
    "CL huge": (body(LENGTH + b"9" * 40) + HIDDEN, "bad_request"),
    "CL wraps 64 bits": (body(LENGTH + b"18446744073709551616") + HIDDEN, "bad_request"),
    "CL empty": (body(LENGTH) + HIDDEN, "bad_request"),
    "CL space before colon": (body(b"Content-Length : 44") + HIDDEN, "bad_request"),
    "CL folded": (body(b"Content-Length:\r\n 44") + HIDDEN, "bad_request"),
    "CL after vertical tab": (body(b"Content-Length:\x0b44") + HIDDEN, "bad_request"),
    "TE space before colon": (body(b"Transfer-Encoding : chunked") + CHUNKED_HIDDEN, "bad_request"),
    "TE after vertical tab": (body(b"Transfer-Encoding:\x0bchunked") + CHUNKED_HIDDEN, "bad_request"),
    "TE folded": (body(b"Transfer-Encoding:\r\n\tchunked") + CHUNKED_HIDDEN, "bad_request"),
    "TE after folded line": (body(b"X: y\r\n Transfer-Encoding: chunked") + CHUNKED_HIDDEN, "bad_request"),
    "TE behind a bare CR": (body(b"X: y\rTransfer-Encoding: chunked") + CHUNKED_HIDDEN, "bad_request"),
    "TE behind a bare LF": (body(b"X: y\nTransfer-Encoding: chunked") + CHUNKED_HIDDEN, "bad_request"),
    "TE quoted": (body(CODING + b'"chunked"') + CHUNKED_HIDDEN, "bad_request"),
    "TE xchunked": (body(CODING + b"xchunked") + CHUNKED_HIDDEN, "bad_request"),
    "TE NUL": (body(CODING + b"chunked\x00") + CHUNKED_HIDDEN, "bad_request"),
    "TE twice": (body(CODING + b"chunked", CODING + b"chunked") + CHUNKED_HIDDEN, "bad_request"),
    "TE chunked, then unknown": (body(CODING + b"chunked", CODING + b"foo") + CHUNKED_HIDDEN, "bad_request"),
    "TE unknown, then chunked": (body(CODING + b"foo", CODING + b"chunked") + CHUNKED_HIDDEN, "not_implemented"),
    "TE chunked, chunked": (body(CODING + b"chunked, chunked") + CHUNKED_HIDDEN, "bad_request"),
    "TE gzip, chunked": (body(CODING + b"gzip, chunked") + CHUNKED_HIDDEN, "bad_request"),
    "TE identity": (body(CODING + b"identity") + HIDDEN, "bad_request"),
    "TE chunked, identity": (body(CODING + b"chunked, identity") + CHUNKED_HIDDEN, "bad_request"),
    "TE unknown": (body(CODING + b"zstd-seekable") + HIDDEN, "not_implemented"),
    "TE on 1.0": (body(CODING + b"chunked", version=b"1.0") + CHUNKED_HIDDEN, "bad_request"),
    "TE NEL": (body(CODING + b"\x85chunked") + CHUNKED_HIDDEN, "bad_request"),
    "chunk size plus": (body(CODING + b"chunked") + b"+0\r\n\r\n" + HIDDEN, "bad_request"),
    "chunk size hex prefix": (body(CODING + b"chunked") + b"0x0\r\n\r\n" + HIDDEN, "bad_request"),
    "chunk size empty": (body(CODING + b"chunked") + b"\r\n\r\n" + HIDDEN, "bad_request"),
    "chunk size wraps": (body(CODING + b"chunked") + b"1" + b"0" * 16 + b"\r\n\r\n" + HIDDEN, "bad_request"),
    "chunk size LF": (body(CODING + b"chunked") + b"0\n\n" + HIDDEN, "bad_request"),
    "chunk ext LF": (body(CODING + b"chunked") + b"1;\nx\r\nx\r\n" + CHUNKED_HIDDEN, "bad_request"),
    "chunk data overrun": (body(CODING + b"chunked") + b"1\r\nxy\r\n" + CHUNKED_HIDDEN, "bad_request"),
    "chunk data CR only": (body(CODING + b"chunked") + b"1\r\nx\r" + CHUNKED_HIDDEN, "bad_request"),
    "trailer folded": (body(CODING + b"chunked") + b"0\r\nA: b\r\n c\r\n\r\n" + HIDDEN, "bad_request"),
    "empty name": (body(b": x") + HIDDEN, "bad_request"),
    "NUL in value": (body(b"X: a\x00b") + HIDDEN, "bad_request"),
    "DEL in value": (body(b"X: a\x7fb") + HIDDEN, "bad_request"),
    "space in name": (body(b"X Y: a") + HIDDEN, "bad_request"),
    "high name": (body(b"X\xe9: a") + HIDDEN, "bad_request"),
    "first line folded": (b"GET / HTTP/1.1\r\n Host: gateway.test\r\n\r\n" + HIDDEN, "bad_request"),
    "space in target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN, "bad_request"),
    "target not ASCII": (b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n" + HIDDEN, "bad_request"),
    "fragment": (get("/a#b") + HIDDEN, "bad_request"),
    "relative target": (get("a") + HIDDEN, "bad_request"),
    "asterisk for GET": (get("*") + HIDDEN, "bad_request"),
    "other scheme": (get("ftp://a/b") + HIDDEN, "bad_request"),
    "authority with user": (get("http://u@a/b") + HIDDEN, "bad_request"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n" + HIDDEN, "bad_request"),
    "two hosts": (body(b"Host: evil.test") + HIDDEN, "bad_request"),
    "same host twice": (body(HOST.strip()) + HIDDEN, "bad_request"),
    **{
        f"host {host!r}": (b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n" + HIDDEN, "bad_request")
        for host in (b"", b"a/b", b"a@b", b"a b", b"a,b", b"a:b", b"a\\b", b"<a>")
    },
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n" + HIDDEN, "version_not_supported"),
    "HTTP/9.9": (b"GET / HTTP/9.9\r\n" + HOST + b"\r\n" + HIDDEN, "version_not_supported"),
    "h2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04" * 3, "version_not_supported"),
    "HTTP/0.9": (b"GET /\r\n" + HIDDEN, "bad_request"),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x9a" * 60, "bad_request"),
    "SSH": (b"SSH-2.0-OpenSSH_9.9\r\n", "bad_request"),
    "noise": (b"\x00" * 64, "bad_request"),
    "bare LF everywhere": (b"GET / HTTP/1.1\nHost: a\n\n" + HIDDEN, "bad_request"),
    "long target": (get("/" + "a" * 3000) + HIDDEN, "uri_too_long"),
    "endless request line": (b"GET /" + b"a" * 70_000, "uri_too_long"),
    "large header": (get("/", "X: " + "y" * 9000) + HIDDEN, "headers_too_large"),
    "endless header": (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000, "headers_too_large"),
    "many headers": (get("/", *(["X: y"] * 40)) + HIDDEN, "headers_too_large"),
    "5,000 headers": (get("/", *(f"X{i}: y" for i in range(5000))), "headers_too_large"),
    "large body": (body(LENGTH + b"100001") + HIDDEN, "body_too_large"),
    "large chunk": (body(CODING + b"chunked") + b"186a1\r\n" + HIDDEN, "body_too_large"),
    "endless chunks": (body(CODING + b"chunked") + b"ffff\r\n" + b"x" * 65535 + b"\r\nffff\r\n", "body_too_large"),
}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    limits = ServerLimits(max_target_bytes=2000, max_header_bytes=8000, max_headers=32, max_body_bytes=100_000)
    async with serving(limits) as running:
        yield running


@pytest.mark.parametrize("case", REFUSED)
async def test_refused_and_closed(site: Site, case: str) -> None:
    wire, refusal = REFUSED[case]
    (answer,) = answers(await site.send(wire))
    assert (answer.status, answer.body.decode()) == (STATUS[refusal], refusal)
    assert answer.headers["connection"] == "close"
    await site.quiet()
    assert site.echo.ran == []
    assert site.echo.refused == [refusal]


async def test_a_refusal_does_not_depend_on_the_cuts(site: Site) -> None:
    for case in ("CL.TE", "TE behind a bare CR", "chunk data overrun", "two hosts", "h2 preface", "TE unknown"):
        wire, refusal = REFUSED[case]
        (answer,) = answers(await site.send(*(bytes([byte]) for byte in wire)))
        assert answer.body.decode() == refusal


UPGRADES = ["Upgrade: h2c", "Upgrade: websocket", "Upgrade: TLS/1.0, HTTP/1.1"]


@pytest.mark.parametrize("upgrade", UPGRADES)
@pytest.mark.parametrize("path", ["/front", "/slow?0.05", "/stream"])
async def test_an_upgrade_is_not_taken_and_its_body_is_no_request(site: Site, upgrade: str, path: str) -> None:
    wire = post(path, HIDDEN, "Connection: Upgrade", upgrade) + get("/next", "Connection: close")
    first, second = answers(await site.send(wire))
    assert (first.status, second.status) == (200, 200)
    assert site.echo.ran == [f"POST {path.partition('?')[0]}", "GET /next"]
    assert site.echo.requests[0].body == HIDDEN


async def test_a_chunked_upgrade_is_read_as_any_body(site: Site) -> None:
    wire = body(CODING + b"chunked", b"Connection: upgrade, close", b"Upgrade: h2c") + b"3\r\nGET\r\n0\r\n\r\n" + HIDDEN
    (answer,) = answers(await site.send(wire))
    assert answer.status == 200
    assert site.echo.requests[0].body == b"GET"
    assert site.echo.ran == ["POST /front"]
