"""When the pieces of a stream go out."""

import asyncio
import random
import time

from llm_edge_agent.simulator.pacing import Pace, PacedStream, Piece
from llm_edge_agent.simulator.records import Told
from tests.simulator.direct import Collected

End = tuple[bool, bool, int, Told]


def stream(pieces: list[Piece], pace: Pace, ends: list[End]) -> PacedStream:
    return PacedStream(iter(pieces), pace, random.Random(1), lambda *end: ends.append(end), headers=b"")


def words(count: int) -> list[Piece]:
    return [Piece(b"head"), *(Piece(b"w%d" % number, 1) for number in range(count)), Piece(b"tail")]


def test_the_pace_follows_from_rate_and_jitter() -> None:
    rng = random.Random(1)
    assert Pace.of(1.0, 50.0, 0.0, False).wait_s(2, rng) == 0.04
    assert Pace.of(1.0, 0.0, 0.5, False).wait_s(2, rng) == 0.0
    assert Pace.of(1.0, float("inf"), 0.5, False).wait_s(2, rng) == 0.0
    jittered = [Pace.of(0.0, 10.0, 0.5, False).wait_s(1, rng) for _ in range(100)]
    assert 0.05 <= min(jittered) < 0.08 < 0.12 < max(jittered) <= 0.15


async def test_latency_first_then_one_token_at_a_time() -> None:
    ends: list[End] = []
    sink = Collected()
    begun = time.monotonic()
    stream(words(4), Pace(latency_s=0.03, per_token_s=0.02), ends).start(sink)
    assert sink.writes == []
    while not sink.ended():
        await asyncio.sleep(0.001)
    assert time.monotonic() - begun >= 0.03 + 3 * 0.02 - 0.005
    assert b"".join(sink.writes) == b"headw0w1w2w3tail"
    assert sink.writes[0] == b"headw0"
    assert ends == [(True, False, 4, "nothing")]


async def test_a_held_stream_catches_up() -> None:
    ends: list[End] = []
    sink = Collected()
    held = stream(words(10), Pace(per_token_s=0.005), ends)
    held.start(sink)
    held.pause()
    held.pause()
    await asyncio.sleep(0.1)
    assert len(sink.writes) <= 1
    held.resume()
    # All of it is due: two turns of the loop write and end it, and it waits for no timer.
    for _ in range(2):
        await asyncio.sleep(0)
    assert sink.ended()
    assert ends == [(True, False, 10, "nothing")]


async def test_pausing_within_a_write_stops_at_once() -> None:
    class Full(Collected):
        def write(self, data: bytes) -> None:
            super().write(data)
            paced.pause()

    ends: list[End] = []
    sink = Full()
    paced = stream(words(5), Pace(one_write_per_event=True), ends)
    paced.start(sink)
    assert len(sink.writes) == 1
    for written in range(2, 8):
        paced.resume()
        await asyncio.sleep(0)
        assert len(sink.writes) == written
    paced.resume()
    await asyncio.sleep(0)
    assert sink.ended()


async def test_aborting_within_a_write_ends_it() -> None:
    class Gone(Collected):
        def write(self, data: bytes) -> None:
            super().write(data)
            paced.abort("client_slow")

    ends: list[End] = []
    sink = Gone()
    paced = stream(words(5), Pace(one_write_per_event=True), ends)
    paced.start(sink)
    await asyncio.sleep(0.01)
    assert len(sink.writes) == 1
    assert ends == [(False, True, 0, "nothing")]
    assert not sink.ended()


async def test_a_long_stream_lets_the_loop_breathe() -> None:
    ends: list[End] = []
    sink = Collected()
    stream(words(5000), Pace(), ends).start(sink)
    assert not sink.ended()
    turns = 0
    while not sink.ended():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 5000 // 256
