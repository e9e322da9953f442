"""The framing of answers, on a transport in memory: what is taken, what is refused, wherever the network cuts it."""

import asyncio
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.http.answer import UpstreamAnswer
from llm_edge_agent.http.client import MAX_INTERIM_ANSWERS, UpstreamConnection
from llm_edge_agent.http.deadlines import Sweep
from llm_edge_agent.http.origins import FailureReason, UpstreamFailure

MAX_HEADER_BYTES = 4096


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = False
        self.unsent = 0

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True

    def is_closing(self) -> bool:
        return self.aborted

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


@dataclass
class Owner:
    """Remembers what a keeper is told, and that it is told once."""

    finished_as: list[bool] = field(default_factory=list)
    dropped_count: int = 0
    made_count: int = 0
    lost_count: int = 0

    def finished(self, connection: UpstreamConnection, reusable: bool) -> None:
        self.finished_as.append(reusable)

    def dropped(self, connection: UpstreamConnection) -> None:
        self.dropped_count += 1

    def made(self, connection: UpstreamConnection) -> None:
        self.made_count += 1

    def lost(self, connection: UpstreamConnection) -> None:
        self.lost_count += 1


@dataclass(frozen=True)
class Whole:
    status: int
    body: bytes
    kept: bool = True
    """The connection may serve another request."""


def finish(answer: UpstreamAnswer) -> bytes:
    """`read` of an answer that has ended: it must not suspend."""
    with pytest.raises(StopIteration) as stop:
        answer.read().send(None)
    body = stop.value.value
    assert isinstance(body, bytes)
    return body


class Exchange:
    def __init__(self, *, bare: bool = False, unsent: int = 0, limit: int = 1 << 20) -> None:
        self.wire = Wire()
        self.wire.unsent = unsent
        self.owner = Owner()
        self.sweep = Sweep()
        self.connection = UpstreamConnection(self.owner, self.sweep, MAX_HEADER_BYTES)
        self.connection.connection_made(self.wire)
        self.answer = UpstreamAnswer(limit, 1.0)
        self.connection.start(self.answer, b"request", b"", math.inf, bare=bare)

    def feed(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            if not self.wire.aborted:
                self.connection.data_received(piece)

    def end(self) -> Whole | FailureReason:
        """The server closes. What has become of the exchange?"""
        kept = self.owner.finished_as == [True] and not self.wire.aborted
        if not self.wire.aborted:
            self.connection.eof_received()
        self.connection.connection_lost(None)
        assert len(self.owner.finished_as) == 1
        assert (self.owner.made_count, self.owner.lost_count) == (1, 1)
        assert len(self.sweep) == 0
        if self.answer.failure is not None:
            assert not kept
            assert not self.answer.complete
            with pytest.raises(UpstreamFailure) as failure:
                self.answer.read().send(None)
            assert failure.value.reason is self.answer.failure.reason
            return failure.value.reason
        assert self.answer.complete
        return Whole(self.answer.status, finish(self.answer), kept)


def result(*pieces: bytes, bare: bool = False) -> Whole | FailureReason:
    exchange = Exchange(bare=bare)
    exchange.feed(pieces)
    return exchange.end()


def every_cut(data: bytes) -> Iterator[list[bytes]]:
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    for cut in range(1, len(data)):
        yield [data[:cut], data[cut:]]


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"
PROTOCOL = FailureReason.PROTOCOL
CLOSED = FailureReason.CLOSED

ANSWERS: dict[str, tuple[bytes, Whole | FailureReason]] = {
    "length": (OK + b"Content-Length: 2\r\n\r\nhi", Whole(200, b"hi")),
    "length zero": (OK + b"Content-Length: 0\r\n\r\n", Whole(200, b"")),
    "no reason phrase": (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi", Whole(200, b"hi")),
    "body with empty lines": (OK + b"Content-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n", Whole(200, b"\r\n\r\n\r\n\r\n")),
    "chunked": (CHUNKED + b"2\r\nhi\r\n3;ext=1\r\n yo\r\n0\r\n\r\n", Whole(200, b"hi yo")),
    "chunked, nothing": (CHUNKED + b"0\r\n\r\n", Whole(200, b"")),
    "chunked, upper case": (
        OK + b"Transfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
        Whole(200, b"0123456789"),
    ),
    "chunked, trailers": (CHUNKED + b"2\r\nhi\r\n0\r\nx-sum: 1\r\nstatus: 500\r\n\r\n", Whole(200, b"hi")),
    "until the end": (OK + b"\r\nall there is", Whole(200, b"all there is", kept=False)),
    "until the end, nothing": (OK + b"\r\n", Whole(200, b"", kept=False)),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", Whole(204, b"")),
    "304 with a length": (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", Whole(304, b"")),
    "redirect": (b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n", Whole(302, b"")),
    "connection: close": (OK + b"connection: close\r\ncontent-length: 2\r\n\r\nhi", Whole(200, b"hi", kept=False)),
    "connection: CLOSE among others": (
        OK + b"connection: x, CLOSE\r\ncontent-length: 2\r\n\r\nhi",
        Whole(200, b"hi", kept=False),
    ),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi", Whole(200, b"hi", kept=False)),
    "HTTP/1.0 keep-alive": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi",
        Whole(200, b"hi"),
    ),
    "HTTP/1.0 chunked is not trusted further": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        Whole(200, b"hi", kept=False),
    ),
    "100 before": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 2\r\n\r\nhi", Whole(200, b"hi")),
    "103 with fields before": (
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\ncontent-length: 9\r\nconnection: close\r\n\r\n"
        + CHUNKED
        + b"0\r\n\r\n",
        Whole(200, b""),
    ),
    "ten interim answers": (
        b"HTTP/1.1 102 Processing\r\n\r\n" * MAX_INTERIM_ANSWERS + OK + b"content-length: 0\r\n\r\n",
        Whole(200, b""),
    ),
    "identity": (OK + b"content-encoding: Identity\r\ncontent-length: 2\r\n\r\nhi", Whole(200, b"hi")),
    "upgrade offered": (OK + b"upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nhi", Whole(200, b"hi")),
    "bytes after a length": (OK + b"content-length: 2\r\n\r\nhi!", Whole(200, b"hi", kept=False)),
    "line end after a length": (OK + b"content-length: 2\r\n\r\nhi\r\n", Whole(200, b"hi", kept=False)),
    "second answer after a length": (
        (OK + b"content-length: 2\r\n\r\nhi") + (OK + b"content-length: 2\r\n\r\nno"),
        Whole(200, b"hi", kept=False),
    ),
    "line end after chunks": (CHUNKED + b"2\r\nhi\r\n0\r\n\r\n\r\n", Whole(200, b"hi", kept=False)),
    "LF after chunks": (CHUNKED + b"2\r\nhi\r\n0\r\n\r\n\n", Whole(200, b"hi", kept=False)),
    "bytes after chunks": (CHUNKED + b"2\r\nhi\r\n0\r\n\r\nx", Whole(200, b"hi", kept=False)),
    "second answer after chunks": (
        CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + OK + b"x: y\r\ncontent-length: 2\r\n\r\nno",
        Whole(200, b"hi", kept=False),
    ),
    "body after 204": (b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nhi", Whole(204, b"", kept=False)),
    "length cut": (OK + b"content-length: 3\r\n\r\nhi", CLOSED),
    "length, no body": (OK + b"content-length: 3\r\n\r\n", CLOSED),
    "chunk cut": (CHUNKED + b"5\r\nhi", CLOSED),
    "last chunk missing": (CHUNKED + b"2\r\nhi\r\n", CLOSED),
    "empty line missing": (CHUNKED + b"2\r\nhi\r\n0\r\n", CLOSED),
    "head cut": (OK + b"content-le", CLOSED),
    "only interim": (b"HTTP/1.1 100 Continue\r\n\r\n", CLOSED),
    "two lengths": (OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nhi", PROTOCOL),
    "length list": (OK + b"content-length: 2, 2\r\n\r\nhi", PROTOCOL),
    "length with a sign": (OK + b"content-length: +2\r\n\r\nhi", PROTOCOL),
    "length empty": (OK + b"content-length:\r\n\r\n", PROTOCOL),
    "length beyond 64 bits": (OK + b"content-length: 99999999999999999999\r\n\r\n", PROTOCOL),
    "length and chunked": (OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", PROTOCOL),
    "chunked and length": (OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n", PROTOCOL),
    "chunk size negative": (CHUNKED + b"-2\r\nhi\r\n", PROTOCOL),
    "chunk size too large": (CHUNKED + b"fffffffffffffffff\r\nhi\r\n", PROTOCOL),
    "chunk longer than said": (CHUNKED + b"2\r\nhi!\r\n0\r\n\r\n", PROTOCOL),
    "bare LF in chunks": (CHUNKED + b"2\nhi\n0\n\n", PROTOCOL),
    "bare LF in the head": (b"HTTP/1.1 200 OK\ncontent-length: 0\n\n", PROTOCOL),
    "folded field": (OK + b"x: a\r\n b\r\ncontent-length: 0\r\n\r\n", PROTOCOL),
    "space before the colon": (OK + b"content-length : 2\r\n\r\nhi", PROTOCOL),
    "NUL in a field": (OK + b"x: a\0b\r\n\r\n", PROTOCOL),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc", PROTOCOL),
    "101 without upgrade": (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", PROTOCOL),
    "eleven interim answers": (
        b"HTTP/1.1 102 Processing\r\n\r\n" * (MAX_INTERIM_ANSWERS + 1) + OK + b"content-length: 0\r\n\r\n",
        PROTOCOL,
    ),
    "status 000": (b"HTTP/1.1 000 OK\r\n\r\n", PROTOCOL),
    "status of two digits": (b"HTTP/1.1 20 OK\r\n\r\n", PROTOCOL),
    "HTTP/2.0": (b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n", PROTOCOL),
    "HTTP/1.7": (b"HTTP/1.7 200 OK\r\ncontent-length: 0\r\n\r\n", PROTOCOL),
    "RTSP": (b"RTSP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", PROTOCOL),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", PROTOCOL),
    "TLS alert": (b"\x15\x03\x01\x00\x02\x02\x50", PROTOCOL),
    "line end first": (b"\r\n" + OK + b"content-length: 0\r\n\r\n", PROTOCOL),
    "gzip": (OK + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\nhi", FailureReason.ENCODING),
    "gzip, then br": (
        OK + b"content-encoding: gzip\r\ncontent-encoding: br\r\ncontent-length: 2\r\n\r\nhi",
        FailureReason.ENCODING,
    ),
    "transfer coding gzip": (OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", FailureReason.ENCODING),
    "transfer coding unknown": (OK + b"transfer-encoding: x\r\n\r\nhi", FailureReason.ENCODING),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_an_answer_means_the_same_wherever_it_is_cut(case: str) -> None:
    data, expected = ANSWERS[case]
    for pieces in every_cut(data):
        assert result(*pieces) == expected, pieces


WHOLE_ANSWERS = [data for data, expected in ANSWERS.values() if isinstance(expected, Whole) and expected.kept]


@given(data=st.sampled_from(WHOLE_ANSWERS), cuts=st.sets(st.integers(1, 300)))
async def test_random_cuts_change_nothing(data: bytes, cuts: set[int]) -> None:
    at = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[begin:end] for begin, end in pairwise(at)]
    assert result(*pieces) == result(data)


@given(
    data=st.binary(min_size=1, max_size=200),
    before=st.sampled_from([b"", OK, CHUNKED, OK + b"content-length: 9\r\n\r\n"]),
)
async def test_no_bytes_make_it_raise_or_lose_count(data: bytes, before: bytes) -> None:
    outcome = result(before + data)
    assert isinstance(outcome, Whole | FailureReason)


async def test_no_answer_is_closed_and_nothing_received() -> None:
    exchange = Exchange()
    assert exchange.end() is CLOSED
    assert exchange.answer.failure is not None
    assert not exchange.answer.failure.received


async def test_a_part_of_an_answer_counts_as_received() -> None:
    exchange = Exchange()
    exchange.feed([b"H"])
    assert exchange.end() is CLOSED
    assert exchange.answer.failure is not None
    assert exchange.answer.failure.received


async def test_head_has_no_body() -> None:
    assert result(OK + b"content-length: 5\r\n\r\n", bare=True) == Whole(200, b"")


async def test_fields_are_lower_case_trimmed_and_joined() -> None:
    exchange = Exchange()
    exchange.feed([OK + b"X-Request-ID: a \r\nVary: b\r\nvary:\tc\t\r\nempty:\r\nContent-Length: 0\r\n\r\n"])
    assert exchange.answer.headers == {
        b"x-request-id": b"a",
        b"vary": b"b, c",
        b"empty": b"",
        b"content-length": b"0",
    }


async def test_trailers_and_interim_fields_are_not_header_fields() -> None:
    exchange = Exchange()
    exchange.feed([b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", CHUNKED, b"0\r\nx-late: y\r\n\r\n"])
    assert exchange.answer.headers == {b"transfer-encoding": b"chunked"}


@pytest.mark.parametrize("size", [1, 100, MAX_HEADER_BYTES + 1])
async def test_a_flood_of_header_bytes_is_cut_at_the_bound(size: int) -> None:
    exchange = Exchange()
    sent = 0
    exchange.feed([OK])
    while not exchange.wire.aborted:
        exchange.feed([b"x" * size])
        sent += size
    assert sent <= MAX_HEADER_BYTES + size
    assert exchange.end() is FailureReason.TOO_LARGE


async def test_a_head_at_the_bound_passes_and_one_byte_more_does_not() -> None:
    room = MAX_HEADER_BYTES - len(OK + b"x: \r\ncontent-length: 0\r\n\r\n")
    assert result(OK + b"x: " + b"y" * room + b"\r\ncontent-length: 0\r\n\r\n") == Whole(200, b"")
    too_large = OK + b"x: " + b"y" * (room + 1) + b"\r\ncontent-length: 0\r\n\r\n"
    assert result(too_large) is FailureReason.TOO_LARGE


async def test_interim_answers_share_the_bound() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: " + b"y" * (MAX_HEADER_BYTES // 4) + b"\r\n\r\n"
    assert result(interim * 5 + OK + b"content-length: 0\r\n\r\n") is FailureReason.TOO_LARGE


@pytest.mark.parametrize("flood", [b"x-trailer: " + b"y" * 100 + b"\r\n", b"y" * 100])
async def test_endless_trailers_are_cut(flood: bytes) -> None:
    exchange = Exchange()
    exchange.feed([CHUNKED + b"2\r\nhi\r\n0\r\n", b"x-first: "])
    sent = 0
    while not exchange.wire.aborted:
        exchange.feed([flood])
        sent += len(flood)
        assert sent < 2 * MAX_HEADER_BYTES
    assert exchange.end() in (FailureReason.TOO_LARGE, FailureReason.PROTOCOL)


async def test_an_endless_chunk_extension_is_cut() -> None:
    exchange = Exchange()
    exchange.feed([CHUNKED + b"2;x="])
    for _ in range(MAX_HEADER_BYTES // 100 + 2):
        exchange.feed([b"y" * 100])
    assert exchange.end() is FailureReason.TOO_LARGE


async def test_an_early_answer_wins_but_the_connection_is_not_kept() -> None:
    exchange = Exchange(unsent=1)
    exchange.feed([b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno"])
    assert exchange.end() == Whole(413, b"no", kept=False)


async def test_bytes_between_exchanges_drop_the_connection() -> None:
    exchange = Exchange()
    exchange.feed([OK + b"content-length: 0\r\n\r\n"])
    assert exchange.owner.finished_as == [True]
    exchange.feed([b"\r\n"])
    assert exchange.wire.aborted
    assert exchange.owner.dropped_count == 1
    assert len(exchange.sweep) == 0


async def test_a_server_that_talks_first_is_not_http() -> None:
    wire, owner = Wire(), Owner()
    connection = UpstreamConnection(owner, Sweep(), MAX_HEADER_BYTES)
    connection.connection_made(wire)
    connection.data_received(b"220 mail.example ESMTP\r\n")
    answer = UpstreamAnswer(10, 1.0)
    connection.start(answer, b"request", b"", math.inf, bare=False)
    assert answer.failure is not None
    assert answer.failure.reason is PROTOCOL
    assert wire.written == []
    assert owner.finished_as == [False]


async def test_a_large_body_follows_its_head_without_being_copied() -> None:
    wire = Wire()
    connection = UpstreamConnection(Owner(), Sweep(), MAX_HEADER_BYTES)
    connection.connection_made(wire)
    answer = UpstreamAnswer(10, 1.0)
    connection.start(answer, b"head", b"body", math.inf, bare=False)
    assert wire.written == [b"head", b"body"]
