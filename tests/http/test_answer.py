"""How the body of an answer is taken: whole or pushed, bounded, held back, given up."""

import asyncio

import pytest

from llm_edge_agent.http.answer import HELD_BYTES, UpstreamAnswer
from llm_edge_agent.http.origins import FailureReason, Timeouts, UpstreamFailure
from tests.http.scripted import (
    CHUNKED,
    HELLO,
    OK,
    PATIENT,
    Peer,
    Received,
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


def read_now(answer: UpstreamAnswer) -> bytes:
    """`read` where it must not suspend."""
    with pytest.raises(StopIteration) as stop:
        answer.read().send(None)
    body = stop.value.value
    assert isinstance(body, bytes)
    return body


async def test_an_answer_in_one_read_is_read_without_suspending() -> None:
    async with upstream(answering(HELLO)) as server, pool_of() as pool:
        answer = await post(pool, server.origin())
        assert answer.complete
        assert (answer.status, answer.headers) == (200, {b"content-length": b"5"})
        assert read_now(answer) == b"hello"
        assert (pool.idle, pool.in_use) == (1, 0)
        answer.close()
        answer.close()
        assert pool.idle == 1


async def test_a_body_in_pieces_is_read_whole() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in (CHUNKED, chunk(b"he"), chunk(b"llo"), b"0\r\n", b"\r\n"):
            await peer.send(piece)
            await asyncio.sleep(0.01)
        await peer.gone()

    async with upstream(script) as server, pool_of() as pool:
        assert await whole(pool, server.origin()) == (200, b"hello")
        assert pool.idle == 1


@pytest.mark.parametrize("size", [HELD_BYTES - 1, 3 * HELD_BYTES, 1_000_000])
async def test_a_held_body_arrives_once_it_is_asked_for(size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    async with (
        upstream(answering(OK + b"content-length: %d\r\n\r\n" % size + body)) as server,
        pool_of(max_response_bytes=size) as pool,
    ):
        answer = await post(pool, server.origin())
        await asyncio.sleep(0.05)
        assert await answer.read() == body
        answer.close()
        received = Received()
        answer = await post(pool, server.origin())
        await asyncio.sleep(0.05)
        answer.stream(received)
        await eventually(lambda: received.over)
        assert received.body == body
        assert pool.idle == 1


async def test_a_length_beyond_the_bound_is_refused_before_the_body_comes() -> None:
    async with (
        upstream(answering(OK + b"content-length: 101\r\n\r\n")) as server,
        pool_of(max_response_bytes=100) as pool,
    ):
        answer = await post(pool, server.origin())
        failure = await failure_of(answer.read())
        assert (failure.reason, failure.received) == (FailureReason.TOO_LARGE, True)
        await eventually(lambda: pool.connections_open == 0)


@pytest.mark.parametrize("framing", ["chunked", "until the end"])
async def test_a_body_of_unknown_length_is_cut_at_the_bound(framing: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED if framing == "chunked" else OK + b"\r\n")
        for _ in range(10_000):
            await peer.send(chunk(b"x" * 1000) if framing == "chunked" else b"x" * 1000)

    async with upstream(script) as server, pool_of(max_response_bytes=50_000) as pool:
        failure = await failure_of(whole(pool, server.origin()))
        assert failure.reason is FailureReason.TOO_LARGE
        await eventually(lambda: pool.connections_open == 0 and server.open == 0)


async def test_a_complete_body_beyond_the_bound_is_refused_too() -> None:
    async with upstream(answering(HELLO)) as server, pool_of(max_response_bytes=4) as pool:
        failure = await failure_of(whole(pool, server.origin()))
        assert failure.reason is FailureReason.TOO_LARGE


async def test_a_stream_is_pushed_as_it_comes() -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"one") + chunk(b"two"))
        await go.wait()
        await peer.send(chunk(b"three"))
        await peer.send(b"0\r\n\r\n")
        await peer.gone()

    async with upstream(script) as server, pool_of() as pool:
        received = Received()
        answer = await post(pool, server.origin())
        answer.stream(received)
        await eventually(lambda: received.body == b"onetwo")
        assert len(received.chunks) == 1
        assert not received.over
        go.set()
        await eventually(lambda: received.over)
        assert received.body == b"onetwothree"
        assert received.ended == 1
        assert (pool.idle, pool.in_use) == (1, 0)


async def test_what_came_with_the_head_is_pushed_at_once() -> None:
    async with upstream(answering(HELLO)) as server, pool_of() as pool:
        received = Received()
        (await post(pool, server.origin())).stream(received)
        assert (received.chunks, received.ended) == ([b"hello"], 1)


async def test_an_empty_stream_only_ends() -> None:
    async with upstream(answering(OK + b"content-length: 0\r\n\r\n")) as server, pool_of() as pool:
        received = Received()
        (await post(pool, server.origin())).stream(received)
        assert (received.chunks, received.ended) == ([], 1)


async def test_a_stream_that_breaks_off_delivers_what_came_and_fails() -> None:
    async with upstream(once(CHUNKED + chunk(b"one"))) as server, pool_of() as pool:
        received = Received()
        answer = await post(pool, server.origin())
        answer.stream(received)
        await eventually(lambda: received.over)
        assert received.body == b"one"
        assert [failure.reason for failure in received.failures] == [FailureReason.CLOSED]
        assert received.failures[0].received


async def test_a_break_before_the_receiver_came_is_told_to_it() -> None:
    async with upstream(once(CHUNKED + chunk(b"one"))) as server, pool_of() as pool:
        answer = await post(pool, server.origin())
        await eventually(lambda: answer.failure is not None)
        received = Received()
        answer.stream(received)
        assert received.body == b"one"
        assert [failure.reason for failure in received.failures] == [FailureReason.CLOSED]


async def test_broken_chunks_deliver_what_was_good() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        await asyncio.sleep(0.02)
        await peer.send(chunk(b"one") + b"zz\r\n")
        await peer.gone()

    async with upstream(script) as server, pool_of() as pool:
        received = Received()
        answer = await post(pool, server.origin())
        answer.stream(received)
        await eventually(lambda: received.over)
        assert received.body == b"one"
        assert [failure.reason for failure in received.failures] == [FailureReason.PROTOCOL]


OFFERED_BYTES = 200_000_000


async def test_a_paused_stream_holds_the_upstream_not_memory() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(OK + b"content-length: %d\r\n\r\n" % OFFERED_BYTES)
        piece = b"x" * 100_000
        for _ in range(OFFERED_BYTES // len(piece)):
            await peer.send(piece)
            sent += len(piece)

    async with upstream(script) as server, pool_of() as pool:
        received = Received()
        answer = await post(pool, server.origin(), timeouts=Timeouts(5.0, 10.0, 0.3))
        answer.stream(received)
        await eventually(lambda: received.body != b"")
        answer.pause()
        answer.pause()
        taken = len(received.body)
        await asyncio.sleep(0.6)
        assert sent < 40_000_000  # what the sockets' own buffers hold, and no more
        assert len(received.body) == taken
        assert not received.over  # nor has the idle timeout of 0.3 s run
        answer.resume()
        await eventually(lambda: len(received.body) > taken)
        answer.close()
        await eventually(lambda: pool.connections_open == 0 and server.open == 0)
        assert not received.over


async def test_an_answer_nobody_asks_for_holds_little() -> None:
    sent = 0

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(OK + b"\r\n")
        while True:
            await peer.send(b"x" * 100_000)
            sent += 100_000

    async with upstream(script) as server, pool_of() as pool:
        answer = await post(pool, server.origin())
        await asyncio.sleep(0.2)
        assert sent < 40_000_000
        answer.close()
        await eventually(lambda: server.open == 0)


async def test_the_idle_timeout_starts_again_after_a_pause() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"one"))
        await peer.gone()

    async with upstream(script) as server, pool_of() as pool:
        received = Received()
        answer = await post(pool, server.origin(), timeouts=Timeouts(5.0, 10.0, 0.1))
        answer.pause()
        answer.stream(received)
        assert received.body == b"one"
        await asyncio.sleep(0.3)
        assert not received.over
        answer.resume()
        await eventually(lambda: received.over)
        assert [failure.reason for failure in received.failures] == [FailureReason.IDLE_TIMEOUT]


async def test_a_silent_stream_hits_the_idle_timeout_and_not_before() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        for _ in range(5):
            await peer.send(chunk(b"x"))
            await asyncio.sleep(0.15)
        await peer.gone()

    async with upstream(script) as server, pool_of() as pool:
        received = Received()
        answer = await post(pool, server.origin(), timeouts=Timeouts(5.0, 0.6, 0.6))
        answer.stream(received)
        await eventually(lambda: received.over)
        assert received.body == b"xxxxx"
        assert [failure.reason for failure in received.failures] == [FailureReason.IDLE_TIMEOUT]
        await eventually(lambda: pool.connections_open == 0 and server.open == 0)


async def test_a_stream_without_a_first_byte_hits_the_answer_timeout() -> None:
    async with upstream(answering(CHUNKED)) as server, pool_of() as pool:
        received = Received()
        answer = await post(pool, server.origin(), timeouts=Timeouts(5.0, 0.5, 0.05))
        answer.stream(received)
        await eventually(lambda: received.over)
        assert [failure.reason for failure in received.failures] == [FailureReason.TIMEOUT]


async def test_a_dripped_answer_hits_the_total_deadline() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK + b"content-length: 1000\r\n\r\n")
        for _ in range(1000):
            await peer.send(b"x")
            await asyncio.sleep(0.02)

    async with upstream(script) as server, pool_of() as pool:
        began_s = asyncio.get_running_loop().time()
        failure = await failure_of(whole(pool, server.origin(), timeouts=Timeouts(5.0, 0.3, 0.1)))
        assert (failure.reason, failure.received) == (FailureReason.TIMEOUT, True)
        assert asyncio.get_running_loop().time() - began_s < 10  # of the 20 that the whole of it takes


class Choosy(Received):
    """Closes its answer at the first data, or as told pauses it."""

    def __init__(self, answer: UpstreamAnswer, *, pause: bool = False) -> None:
        super().__init__()
        self._answer = answer
        self._pause = pause

    def data(self, chunk: bytes) -> None:
        super().data(chunk)
        if self._pause:
            self._answer.pause()
        else:
            self._answer.close()


@pytest.mark.parametrize("held", [True, False])
async def test_closing_from_within_data_ends_everything(held: bool) -> None:
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + (chunk(b"one") if held else b""))
        await go.wait()
        await peer.send(chunk(b"two") + chunk(b"three"))
        await peer.gone()

    async with upstream(script) as server, pool_of() as pool:
        answer = await post(pool, server.origin())
        receiver = Choosy(answer)
        answer.stream(receiver)
        go.set()
        await eventually(lambda: server.open == 0)
        assert len(receiver.chunks) == 1
        assert not receiver.over
        assert pool.in_use == 0


async def test_a_receiver_that_closes_at_the_last_byte_does_not_cost_the_connection() -> None:
    async with upstream(answering(HELLO)) as server, pool_of() as pool:
        answer = await post(pool, server.origin())
        receiver = Choosy(answer)
        answer.stream(receiver)
        assert (receiver.chunks, receiver.over) == ([b"hello"], False)
        assert pool.idle == 1


async def test_pausing_a_complete_answer_does_not_hold_the_next_exchange() -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(CHUNKED)
            await asyncio.sleep(0.02)
            await peer.send(chunk(b"one") + b"0\r\n\r\n")

    async with upstream(script) as server, pool_of() as pool:
        for _ in range(3):
            answer = await post(pool, server.origin())
            receiver = Choosy(answer, pause=True)
            answer.stream(receiver)
            await eventually(lambda receiver=receiver: receiver.over)  # type: ignore[misc]
        assert pool.connections_opened == 1


async def test_pausing_from_within_data_pauses() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + chunk(b"one"))
        await asyncio.sleep(0.05)
        await peer.send(chunk(b"two") + b"0\r\n\r\n")
        await peer.gone()

    async with upstream(script) as server, pool_of() as pool:
        answer = await post(pool, server.origin(), timeouts=Timeouts(5.0, 10.0, 0.2))
        receiver = Choosy(answer, pause=True)
        answer.stream(receiver)
        await asyncio.sleep(0.3)
        assert receiver.chunks == [b"one"]
        answer.resume()
        await eventually(lambda: receiver.over)
        assert (receiver.body, receiver.ended) == (b"onetwo", 1)


async def test_reading_what_was_closed_fails() -> None:
    async with upstream(answering(CHUNKED)) as server, pool_of() as pool:
        answer = await post(pool, server.origin())
        answer.close()
        assert (await failure_of(answer.read())).reason is FailureReason.CLOSED
        answer.pause()
        answer.resume()


async def test_closing_wakes_a_reader() -> None:
    async with upstream(answering(CHUNKED)) as server, pool_of() as pool:
        answer = await post(pool, server.origin())
        reader = asyncio.ensure_future(answer.read())
        await asyncio.sleep(0)
        answer.close()
        with pytest.raises(UpstreamFailure):
            await reader


async def test_a_failure_is_the_same_for_every_reader() -> None:
    async with upstream(once(OK + b"content-length: 9\r\n\r\nhello")) as server, pool_of() as pool:
        answer = await post(pool, server.origin())
        for _ in range(2):
            failure = await failure_of(answer.read())
            assert (failure.reason, failure.received) == (FailureReason.CLOSED, True)


async def test_cancelling_a_reader_closes_the_connection() -> None:
    async with upstream(answering(CHUNKED + chunk(b"one"))) as server, pool_of() as pool:
        answer = await post(pool, server.origin())
        reader = asyncio.ensure_future(answer.read())
        await asyncio.sleep(0.01)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert pool.in_use == 0
        await eventually(lambda: server.open == 0 and pool.connections_open == 0)


async def test_a_hundred_abandoned_streams_leave_nothing() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED)
        while True:
            await peer.send(chunk(b"token"))
            await asyncio.sleep(0.01)

    async with upstream(script) as server, pool_of() as pool:
        answers = await asyncio.gather(*(post(pool, server.origin()) for _ in range(100)))
        receivers = [Received() for _ in answers]
        for answer, receiver in zip(answers, receivers, strict=True):
            answer.stream(receiver)
        await eventually(lambda: all(receiver.chunks for receiver in receivers))
        assert (pool.in_use, pool.connections_open) == (100, 100)
        for answer in answers:
            answer.close()
        assert (pool.in_use, pool.idle) == (0, 0)
        await eventually(lambda: pool.connections_open == 0 and server.open == 0)


async def test_no_answer_is_a_timeout() -> None:
    async with upstream(silent) as server, pool_of() as pool:
        failure = await failure_of(post(pool, server.origin(), timeouts=Timeouts(5.0, 0.1, 5.0)))
        assert (failure.reason, failure.received) == (FailureReason.TIMEOUT, False)
        await eventually(lambda: server.open == 0)


async def test_streams_keep_apart() -> None:
    async def script(peer: Peer) -> None:
        nonce = (await peer.request()).partition(b"\r\n\r\n")[2]
        await peer.send(CHUNKED)
        for _ in range(20):
            await peer.send(chunk(nonce))
            await asyncio.sleep(0)
        await peer.send(b"0\r\n\r\n")
        await peer.gone()

    async with upstream(script) as server, pool_of() as pool:

        async def one(number: int) -> None:
            nonce = b"<%d>" % number
            received = Received()
            (await post(pool, server.origin(), nonce, PATIENT)).stream(received)
            await eventually(lambda: received.over)
            assert received.body == nonce * 20

        await asyncio.gather(*(one(number) for number in range(40)))


async def test_a_whole_answer_comes_when_all_of_it_is_there() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        for piece in (OK + b"content-length: 5\r\n\r\n", b"he", b"llo"):
            await peer.send(piece)
            await asyncio.sleep(0.01)
        await peer.gone()

    async with upstream(script) as server, pool_of() as pool:
        answer = await pool.send(server.origin(), b"POST", b"/x", b"", b"", PATIENT, whole=True)
        assert answer.complete
        assert (answer.status, answer.body()) == (200, b"hello")
        assert (pool.idle, pool.in_use) == (1, 0)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (OK + b"content-length: 11\r\n\r\n", FailureReason.TOO_LARGE),
        (CHUNKED + chunk(b"x" * 11), FailureReason.TOO_LARGE),
        (CHUNKED + chunk(b"x" * 11) + b"0\r\n\r\n", FailureReason.TOO_LARGE),
        (OK + b"content-length: 10\r\n\r\nhe", FailureReason.CLOSED),
    ],
)
async def test_a_whole_answer_that_breaks_off_tells_its_status(sent: bytes, reason: FailureReason) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(sent)
        if reason is FailureReason.CLOSED:
            peer.close()
        await peer.gone()

    async with upstream(script) as server, pool_of(max_response_bytes=10) as pool:

        async def send() -> bytes:
            return (await pool.send(server.origin(), b"POST", b"/x", b"", b"", PATIENT, whole=True)).body()

        failure = await failure_of(send())
        assert (failure.reason, failure.status) == (reason, 200)
        await eventually(lambda: pool.in_use == 0)
