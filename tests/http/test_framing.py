import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.http.framing import (
    CHUNKED,
    HEAD,
    ChunkedBody,
    FramingError,
    HeadScan,
    body_length,
    check_host,
    content_length,
    keeps_alive,
    split_target,
)
from llm_edge_agent.http.messages import Refusal

LIMITS = (1000, 10, 200)

HEADS: dict[bytes, Refusal | None] = {
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n": None,
    b"GET / HTTP/1.0\r\n\r\n": None,
    b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n": None,
    b"QUERY /a?b=%00&c HTTP/1.1\r\nHost: a\r\nEmpty:\r\nTab:\ta\tb\t\r\nHigh: \x80\xff \r\n\r\n": None,
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10 + b"\r\n": None,
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 11 + b"\r\n": "headers_too_large",
    b"GET / HTTP/1.1\r\nA: " + b"b" * 973 + b"\r\n\r\n": None,
    b"GET / HTTP/1.1\r\nA: " + b"b" * 980 + b"\r\n\r\n": "headers_too_large",
    b"GET / HTTP/1.1\r\nA: " + b"b" * 3000: "headers_too_large",
    b"GET /" + b"a" * 199 + b" HTTP/1.1\r\n\r\n": None,
    b"GET /" + b"a" * 200 + b" HTTP/1.1\r\n\r\n": "uri_too_long",
    b"GET /" + b"a" * 3000: "uri_too_long",
    b"\r\n" * 600: "uri_too_long",
    b"GET / HTTP/2.0\r\n\r\n": "version_not_supported",
    b"GET / HTTP/9.9\r\n\r\n": "version_not_supported",
    b"GET / HTTP/0.9\r\n\r\n": "version_not_supported",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": "version_not_supported",
    b"GET / HTTP/1.10\r\n\r\n": "bad_request",
    b"GET / HTTP/11\r\n\r\n": "bad_request",
    b"GET / http/1.1\r\n\r\n": "bad_request",
    b"GET /\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\n\n": "bad_request",
    b"GET  / HTTP/1.1\r\n\r\n": "bad_request",
    b"GET /  HTTP/1.1\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1 \r\n\r\n": "bad_request",
    b" GET / HTTP/1.1\r\n\r\n": "bad_request",
    b"GET\t/ HTTP/1.1\r\n\r\n": "bad_request",
    b"GET /a b HTTP/1.1\r\n\r\n": "bad_request",
    b"GET /a\x00b HTTP/1.1\r\n\r\n": "bad_request",
    b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n": "bad_request",
    b"GET /\xc3\xa9": "bad_request",
    b"GE(T / HTTP/1.1\r\n\r\n": "bad_request",
    b"GET /a\rb HTTP/1.1\r\n\r\n": "bad_request",
    b"\nGET / HTTP/1.1\r\n\r\n": "bad_request",
    b"\rGET / HTTP/1.1\r\n\r\n": "bad_request",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03": "bad_request",
    b"SSH-2.0-OpenSSH_9.9\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA: b\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA: b\r\n\n": "bad_request",
    b"GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\n A: b\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA: b\r\n\tc: d\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA : b\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA\t: b\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA B: b\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\n: b\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA: \x0b\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA: \x7f\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA\x00: b\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA\x80: b\r\n\r\n": "bad_request",
    b"GET / HTTP/1.1\r\nA: b\r\r\n\r\n": "bad_request",
}


def scan(*pieces: bytes) -> tuple[Refusal | None, bytes, bytes]:
    """What became of a head: its refusal, or the head and what followed."""
    head_scan = HeadScan(*LIMITS)
    for index, piece in enumerate(pieces):
        try:
            head = head_scan.feed(piece)
        except FramingError as error:
            return error.refusal, b"", b""
        if head is not None:
            return None, head, head_scan.rest + b"".join(pieces[index + 1 :])
    raise AssertionError("incomplete")


@pytest.mark.parametrize(("wire", "refusal"), HEADS.items())
def test_a_head_is_taken_or_refused_whole_and_byte_by_byte(wire: bytes, refusal: Refusal | None) -> None:
    whole = scan(wire + b"rest" if refusal is None else wire)
    assert whole[0] == refusal
    if refusal is None:
        assert HEAD.fullmatch(whole[1])
        assert whole[2] == b"rest"
    tail = b"rest" if refusal is None else b""
    assert scan(*(bytes([byte]) for byte in wire + tail)) == whole


@pytest.mark.parametrize(("wire", "refusal"), HEADS.items())
def test_the_fast_pattern_takes_nothing_that_the_scan_refuses(wire: bytes, refusal: Refusal | None) -> None:
    match = HEAD.match(wire)
    if refusal == "bad_request" or refusal == "version_not_supported":
        assert match is None
    elif match is not None and refusal is None:
        assert scan(wire) == (None, match.group(), wire[match.end() :])


PIECES = st.sampled_from(
    [
        *(b"GET", b"POST", b" ", b"/", b"a", b"*", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"\r\n", b"\r", b"\n", b":"),
        *(b"A", b"A: b\r\n", b"Host: a\r\n", b"\t", b"\x00", b"\x80", b"GET / HTTP/1.1\r\n", b"x" * 150),
    ]
)


@given(st.lists(PIECES, max_size=30).map(b"".join), st.lists(st.integers(0, 400), max_size=6))
def test_cuts_change_nothing(noise: bytes, cuts: list[int]) -> None:
    # What follows decides about every incomplete head: it can never become a good one.
    wire = noise + b"\n" + b"x" * 2000
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    pieces = [wire[start:end] for start, end in itertools.pairwise(edges)]
    whole = scan(wire)
    assert scan(*pieces) == whole
    match = HEAD.match(wire)
    if match is not None and match.end() <= LIMITS[0] and whole[0] is None:
        assert whole[1:] == (match.group(), wire[match.end() :])
    if whole[0] in ("bad_request", "version_not_supported"):
        assert match is None


def test_trailing_spaces_and_leading_lines_are_gone() -> None:
    assert scan(b"\r\nGET / HTTP/1.1\r\nA: b \t\r\nB: \r\n\r\n")[1] == b"GET / HTTP/1.1\r\nA: b\r\nB:\r\n\r\n"


LENGTHS: list[tuple[dict[bytes, bytes], int | Refusal]] = [
    ({}, 0),
    ({b"content-length": b"0"}, 0),
    ({b"content-length": b"5"}, 5),
    ({b"content-length": b"0005"}, 5),
    ({b"content-length": b"9" * 18}, 10**18 - 1),
    *(
        ({b"content-length": value}, "bad_request")
        for value in (b"", b"+5", b"-5", b"0x5", b"5 6", b"5, 5", b"5,6", b"5;", b"5.0", b"1e3", b"\xb2", b"9" * 19)
    ),
    ({b"transfer-encoding": b"chunked"}, CHUNKED),
    ({b"transfer-encoding": b"Chunked"}, CHUNKED),
    ({b"transfer-encoding": b"chunked", b"content-length": b"5"}, "bad_request"),
    *(
        ({b"transfer-encoding": value}, "bad_request")
        for value in (
            *(b"", b"chunked, chunked", b"gzip, chunked", b"chunked, gzip", b"gzip", b"identity", b"xchunked"),
            *(b"chunked;a=b", b"x-chunked, foo", b"foo\tbar", b"foo bar", b"'chunked'", b"foo,", b",chunked"),
            *(b"chunked, foo, chunked", b"chunked, foo", b"\x0bchunked", b"chunke\xe4"),
        )
    ),
    ({b"transfer-encoding": b"foo"}, "not_implemented"),
    ({b"transfer-encoding": b"foo, chunked"}, "not_implemented"),
]


@pytest.mark.parametrize(("headers", "expected"), LENGTHS)
def test_body_length(headers: dict[bytes, bytes], expected: int | Refusal) -> None:
    if isinstance(expected, int):
        assert body_length(headers, False) == expected
    else:
        with pytest.raises(FramingError) as caught:
            body_length(headers, False)
        assert caught.value.refusal == expected


def test_no_transfer_coding_on_http_1_0() -> None:
    assert body_length({b"content-length": b"3"}, True) == 3
    with pytest.raises(FramingError):
        body_length({b"transfer-encoding": b"chunked"}, True)


@given(st.binary(max_size=30))
def test_content_length_takes_digits_only(value: bytes) -> None:
    if re.fullmatch(rb"[0-9]{1,18}", value):
        assert content_length(value) == int(value)
    else:
        with pytest.raises(FramingError):
            content_length(value)


@pytest.mark.parametrize(
    "host", [b"a", b"a.b:80", b"127.0.0.1", b"[::1]", b"[::1]:8080", b"a_b", b"a:", b"xn--a", b"%41"]
)
def test_good_hosts(host: bytes) -> None:
    check_host({b"host": host}, False)


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"a, a",
        b"a,a",
        b"a b",
        b"a/b",
        b"u@a",
        b"a:x",
        b"a:123456",
        b"[::1",
        b"::1",
        b"a\\b",
        b"a#",
        b"a?",
        b"\xe4",
    ],
)
def test_bad_hosts(host: bytes) -> None:
    for http_1_0 in (False, True):
        with pytest.raises(FramingError):
            check_host({b"host": host}, http_1_0)


def test_only_http_1_0_may_leave_the_host_out() -> None:
    check_host({}, True)
    with pytest.raises(FramingError):
        check_host({}, False)


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", b"/", ("/", "")),
        ("GET", b"/a?b?c", ("/a", "b?c")),
        ("GET", b"/a/../%2e%2e//b%00", ("/a/../%2e%2e//b%00", "")),
        ("GET", b"//evil.test/a", ("//evil.test/a", "")),
        ("GET", b"http://evil.test/a?b", ("/a", "b")),
        ("GET", b"HTTPS://evil.test:1", ("/", "")),
        ("GET", b"http://evil.test?b", ("/", "b")),
        ("OPTIONS", b"*", ("*", "")),
        ("CONNECT", b"evil.test:443", ("evil.test:443", "")),
        ("GET", b"*", None),
        ("GET", b"a", None),
        ("GET", b"ftp://a/b", None),
        ("GET", b"http:///a", None),
        ("GET", b"http://", None),
        ("GET", b"http://u:p@a/", None),
        ("GET", b"/a#b", None),
        ("CONNECT", b"a#b", None),
    ],
)
def test_targets(method: str, target: bytes, expected: tuple[str, str] | None) -> None:
    if expected is not None:
        assert split_target(method, target) == expected
    else:
        with pytest.raises(FramingError):
            split_target(method, target)


@pytest.mark.parametrize(
    ("connection", "http_1_0", "expected"),
    [
        (None, False, True),
        (None, True, False),
        (b"keep-alive", True, True),
        (b"Keep-Alive, x", True, True),
        (b"keep-alive", False, True),
        (b"close", False, False),
        (b"x ,\tClose", False, False),
        (b"keep-alive, close", True, False),
        (b"upgrade", False, True),
        (b"closed", False, True),
    ],
)
def test_keeps_alive(connection: bytes | None, http_1_0: bool, expected: bool) -> None:
    assert keeps_alive(connection, http_1_0) is expected


CHUNKED_BODIES: list[tuple[bytes, bytes | Refusal]] = [
    (b"0\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"00005\r\nhello\r\n1\r\n \r\n000\r\n\r\n", b"hello "),
    (b'A;x=y;z="q"\r\n0123456789\r\n0;last\r\nTrailer: x\r\nOther:\r\n\r\n', b"0123456789"),
    (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
    (b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n", b"x" * 100),
    (b"65\r\n", "body_too_large"),
    (b"ffffffffffffffff\r\n", "body_too_large"),
    (b"32\r\n" + b"x" * 50 + b"\r\n33\r\n", "body_too_large"),
    (b"5\r\nhello!\r\n0\r\n\r\n", "bad_request"),
    (b"5\r\nhello\n0\r\n\r\n", "bad_request"),
    (b"5\r\nhello\rX0\r\n\r\n", "bad_request"),
    *(
        (line + b"\r\nhello\r\n0\r\n\r\n", "bad_request")
        for line in (
            b"",
            b"g",
            b"0x5",
            b"+5",
            b"-5",
            b" 5",
            b"5 ",
            b"5 ;a",
            b"5_0",
            b"\xb2",
            b"5\t",
            b"1" * 17,
            b"5;\x00",
        )
    ),
    (b"5\nhello\r\n0\r\n\r\n", "bad_request"),
    (b"5;a\nb\r\nhello\r\n0\r\n\r\n", "bad_request"),
    (b"5;" + b"a" * 2000 + b"\r\nhello\r\n0\r\n\r\n", "bad_request"),
    ((b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 17, "bad_request"),
    (b"0\r\nA : b\r\n\r\n", "bad_request"),
    (b"0\r\nA: b\n\r\n", "bad_request"),
    (b"0\r\nA: b\r\n c\r\n\r\n", "bad_request"),
    (b"0\r\n" + b"A: b\r\n" * 2000, "bad_request"),
    (b"0\r\n" + b"A" * 2000, "bad_request"),
]


def unchunk(*pieces: bytes) -> tuple[bytes | Refusal, bytes]:
    chunks = ChunkedBody(100)
    for index, piece in enumerate(pieces):
        try:
            end = chunks.feed(b"--" + piece, 2)
        except FramingError as error:
            return error.refusal, b""
        if end >= 0:
            return bytes(chunks.body), (b"--" + piece)[end:] + b"".join(pieces[index + 1 :])
    raise AssertionError("incomplete")


@pytest.mark.parametrize(("wire", "expected"), CHUNKED_BODIES)
def test_chunked_bodies_whole_and_byte_by_byte(wire: bytes, expected: bytes | Refusal) -> None:
    rest = b"GET" if isinstance(expected, bytes) else b""
    assert unchunk(wire + rest) == (expected, rest)
    assert unchunk(*(bytes([byte]) for byte in wire + rest)) == (expected, rest)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.lists(st.integers(0, 200), max_size=6))
def test_any_chunks_at_any_cuts(pieces: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\nnext"
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    parts = [wire[start:end] for start, end in itertools.pairwise(edges)]
    assert unchunk(*parts) == (b"".join(pieces), b"next")
