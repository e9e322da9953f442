"""The protocol object alone, on a transport that only remembers: how reads are cut must not matter."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_edge_agent.config import ServerLimits
from llm_edge_agent.http.connection import Connection
from llm_edge_agent.http.deadlines import Sweep
from llm_edge_agent.http.inbound import Inbound
from tests.http.serving import Echo, answers, get, post
from tests.http.test_server_smuggling import REFUSED

LIMITS = ServerLimits(max_target_bytes=2000, max_header_bytes=8000, max_headers=32, max_body_bytes=100_000)


class Wire(asyncio.Transport):
    """Everything written, and whether it was ended."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.writes = 0
        self.ended = False
        self.paused = False
        self.resumed = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended
        self.sent += data
        self.writes += 1

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.ended = True

    abort = close

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False
        self.resumed += 1

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 256 * 1024

    def get_write_buffer_size(self) -> int:
        return 0


class Scene:
    def __init__(self) -> None:
        self.echo = Echo()
        self.inbound = Inbound(self.echo, LIMITS, Sweep())
        self.wire = Wire()
        self.connection = Connection(self.inbound, asyncio.get_running_loop())
        self.connection.connection_made(self.wire)

    def outcome(self) -> tuple[list[tuple[int, bytes]], list[str], list[str], bool]:
        self.connection.connection_lost(None)
        assert self.inbound.in_flight == 0
        assert not self.inbound.connections
        assert not self.inbound.sweep.running
        got = [(answer.status, answer.body) for answer in answers(self.wire.sent)]
        return got, self.echo.ran, self.echo.refused, self.wire.ended


def play(pieces: list[bytes]) -> tuple[list[tuple[int, bytes]], list[str], list[str], bool]:
    async def run() -> tuple[list[tuple[int, bytes]], list[str], list[str], bool]:
        scene = Scene()
        for piece in pieces:
            scene.connection.data_received(piece)
        return scene.outcome()

    return asyncio.run(run())


GOOD = [
    get("/a?b"),
    get("/spaces", "X: y \t"),
    b"\r\n" + get("/after-an-empty-line"),
    get("/", "Upgrade: h2c", "Connection: Upgrade"),
    post("/post", b"GET /hidden HTTP/1.1\r\n\r\n"),
    # Without a body: one that has arrived lets the connection go on, one that has not ends it.
    get("/deny"),
    get("/chunked", "Transfer-Encoding: chunked", method="POST") + b"3;x\r\nabc\r\n2\r\n\r\n\r\n0\r\nT: u\r\n\r\n",
    get("/empty"),
    get("/raise"),
    get("/last", "Connection: close"),
    get("/", version="1.0"),
    get("a.test:1", method="CONNECT"),
]
MESSAGES = st.lists(st.sampled_from(GOOD), max_size=4).map(b"".join)
ENDINGS = st.sampled_from([b"", *(wire for wire, _ in REFUSED.values() if len(wire) < 10_000)])


@settings(max_examples=200, deadline=None)
@given(MESSAGES, ENDINGS, st.lists(st.integers(0, 3000), max_size=8))
def test_any_split_gives_the_same_outcome(messages: bytes, ending: bytes, cuts: list[int]) -> None:
    wire = messages + ending
    edges = [0, *sorted(min(cut, len(wire)) for cut in cuts), len(wire)]
    pieces = [wire[start:end] for start, end in itertools.pairwise(edges) if start < end]
    assert play(pieces) == play([wire] if wire else [])


@pytest.mark.parametrize("wire", GOOD)
def test_byte_by_byte_gives_the_same_outcome(wire: bytes) -> None:
    assert play([bytes([byte]) for byte in wire]) == play([wire])


async def test_a_hit_is_one_write_within_the_read() -> None:
    scene = Scene()
    for count in range(1, 4):
        scene.connection.data_received(post("/hit", b"body"))
        assert scene.wire.writes == count
        assert len(asyncio.all_tasks()) == 1
    assert [status for status, _ in scene.outcome()[0]] == [200] * 3


async def test_nothing_is_answered_while_the_client_does_not_read() -> None:
    scene = Scene()
    scene.connection.data_received(get("/one"))
    scene.connection.pause_writing()
    for _ in range(3):
        scene.connection.data_received(get("/later") * 600)
    assert scene.echo.ran == ["GET /one"]
    assert scene.wire.paused
    scene.connection.resume_writing()
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(scene.echo.ran) == 1801
    assert scene.wire.resumed == 1
    assert len(scene.outcome()[0]) == 1801


async def test_others_get_their_turn_between_pipelined_requests() -> None:
    scene = Scene()
    scene.connection.data_received(get("/n") * 100)
    assert 0 < len(scene.echo.ran) < 100
    scene.connection.data_received(get("/last"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert scene.echo.ran == ["GET /n"] * 100 + ["GET /last"]
    scene.outcome()


async def test_what_arrives_after_the_end_is_ignored() -> None:
    scene = Scene()
    scene.connection.data_received(get("/", "Connection: close"))
    assert scene.wire.ended
    scene.connection.data_received(get("/hidden"))
    scene.connection.eof_received()
    scene.connection.pause_writing()
    scene.connection.resume_writing()
    scene.connection.expire()
    scene.connection.shut_down()
    got, ran, _, _ = scene.outcome()
    assert len(got) == 1
    assert ran == ["GET /"]
