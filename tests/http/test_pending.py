"""One reply's way from a task to its end, on an outlet that writes down what it is told."""

import asyncio
import gc
from collections.abc import Awaitable

import pytest

from llm_edge_agent.http.messages import Complete, Request, Streaming
from llm_edge_agent.http.pending import Pending
from tests.http.serving import Recorded, leave_open, until, write_and_cut, write_and_end


class Outlet:
    def __init__(self) -> None:
        self.calls: list[str] = []
        self.write_paused = False

    def give(self, reply: Complete) -> None:
        self.calls.append(f"give {reply.status}")

    def fail(self) -> None:
        self.calls.append("fail")

    def open_stream(self, status: int, headers: bytes) -> None:
        self.calls.append(f"open {status} {'chunked' in headers.decode()}")

    def send(self, data: bytes) -> None:
        self.calls.append(f"send {data!r}")

    def uncork(self) -> None:
        self.calls.append("uncork")

    def end_stream(self, tail: bytes) -> None:
        self.calls.append(f"end {tail!r}")

    def cut_stream(self, *, framed: bool) -> None:
        self.calls.append(f"cut {framed}")

    def drop(self) -> None:
        self.calls.append("drop")


def request(method: str = "GET", *, http_1_0: bool = False) -> Request:
    return Request(method, "/", "", {}, http_1_0=http_1_0)


async def give(reply: Complete | Streaming) -> Complete | Streaming:
    return reply


async def settled(outlet: Outlet, pending: Awaitable[Complete | Streaming], asked: Request | None = None) -> Pending:
    reply = Pending(outlet, asked or request())
    reply.run(pending, asyncio.get_running_loop())
    for _ in range(5):
        await asyncio.sleep(0)
    return reply


@pytest.mark.parametrize(
    ("asked", "status", "calls"),
    [
        (request(), 200, ["open 200 True", "send b'7\\r\\npartial\\r\\n'", "cut True"]),
        (request(http_1_0=True), 200, ["open 200 False", "send b'partial'", "cut False"]),
        (request("HEAD"), 200, ["open 200 True", "cut True"]),
        (request(), 204, ["open 204 False", "cut True"]),
    ],
)
async def test_a_stream_is_framed_for_its_request(asked: Request, status: int, calls: list[str]) -> None:
    outlet = Outlet()
    await settled(outlet, give(Recorded(write_and_cut, status)), asked)
    assert outlet.calls == calls


async def test_the_end_comes_once_and_nothing_after_it() -> None:
    outlet = Outlet()
    stream = Recorded(write_and_end)
    pending = await settled(outlet, give(stream))
    assert outlet.calls[-1] == "end b'0\\r\\n\\r\\n'"
    count = len(outlet.calls)
    pending.abandon("client_gone")
    pending.pause()
    pending.resume()
    assert pending.shut_down()
    assert len(outlet.calls) == count
    assert stream.events == ["start"]


@pytest.mark.parametrize(
    ("asked", "ending"),
    [
        (request(), b"4\r\nlast\r\n0\r\na: 1\r\n\r\n"),
        (request(http_1_0=True), b"last"),
        (request("HEAD"), b""),
    ],
)
async def test_the_last_bytes_and_the_trailers_go_out_with_the_end(asked: Request, ending: bytes) -> None:
    outlet = Outlet()
    await settled(outlet, give(Recorded(lambda stream, sink: sink.end(b"last", b"a: 1\r\n"))), asked)
    assert outlet.calls[1:] == [f"end {ending!r}"]


async def test_an_empty_write_is_no_chunk() -> None:
    outlet = Outlet()
    await settled(outlet, give(Recorded(lambda stream, sink: sink.write(b""))))
    assert outlet.calls == ["open 200 True", "uncork"]


async def test_a_paused_outlet_pauses_the_stream_at_once() -> None:
    outlet = Outlet()
    outlet.write_paused = True
    stream = Recorded(leave_open)
    pending = await settled(outlet, give(stream))
    pending.resume()
    assert stream.events == ["start", "pause", "resume"]
    pending.abandon("client_slow")
    pending.abandon("client_gone")
    pending.write(b"late")
    assert stream.events[3:] == ["abort client_slow"]
    assert outlet.calls == ["open 200 True", "send b'5\\r\\nfirst\\r\\n'", "uncork"]


async def test_given_up_before_its_first_step_the_awaitable_still_runs_to_its_first_wait() -> None:
    seen: list[str] = []

    async def wait() -> Complete:
        seen.append("started")
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("ended")
        return Complete(200, b"", b"")

    outlet = Outlet()
    pending = Pending(outlet, request())
    pending.run(wait(), asyncio.get_running_loop())
    pending.abandon("client_gone")
    await until(lambda: len(seen) == 2)
    assert outlet.calls == []


async def test_a_stream_that_nobody_waits_for_is_aborted() -> None:
    outlet = Outlet()
    stream = Recorded(leave_open)
    pending = Pending(outlet, request())
    pending.run(give(stream), asyncio.get_running_loop())
    pending.abandon("client_gone")
    await until(lambda: stream.events == ["abort client_gone"])
    assert outlet.calls == []


async def test_a_future_that_held_a_stream_when_the_client_left() -> None:
    outlet = Outlet()
    stream = Recorded(leave_open)
    future: asyncio.Future[Complete | Streaming] = asyncio.get_running_loop().create_future()
    pending = await settled(outlet, future)
    future.set_result(stream)
    pending.abandon("client_gone")
    await until(lambda: stream.events == ["abort client_gone"])
    assert outlet.calls == []


async def test_who_cancels_the_reply_from_within_drops_the_connection() -> None:
    async def leave() -> Complete:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        raise AssertionError("not reached")

    outlet = Outlet()
    await settled(outlet, leave())
    assert outlet.calls == ["drop"]


async def test_a_cancellation_that_nobody_asked_for_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    outlet = Outlet()
    future: asyncio.Future[Complete | Streaming] = asyncio.get_running_loop().create_future()
    await settled(outlet, future)
    future.cancel()
    await until(lambda: outlet.calls == ["fail"])
    assert [record.message.split()[0] for record in caplog.records] == ["CancelledError"]


class Faulty(Recorded):
    """Raises where it is told to."""

    def __init__(self, where: str) -> None:
        super().__init__(leave_open)
        self.where = where

    @property
    def headers(self) -> bytes:
        return b"" if self.fine("headers") else b"?"

    def start(self, sink: object) -> None:
        self.events.append("start")
        self.fine("start")

    def pause(self) -> None:
        self.fine("pause")

    def abort(self, reason: str) -> None:
        super().abort("shutdown")
        self.fine("abort")

    def fine(self, where: str) -> bool:
        if where == self.where:
            raise ArithmeticError(where)
        return True


@pytest.mark.parametrize(
    ("where", "calls"),
    [
        ("headers", ["fail"]),
        ("start", ["open 200 True", "drop"]),
        ("pause", ["open 200 True", "uncork", "drop"]),
        ("abort", ["open 200 True", "uncork"]),
    ],
)
async def test_a_stream_that_raises_is_aborted_once(
    where: str, calls: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    outlet = Outlet()
    stream = Faulty(where)
    pending = await settled(outlet, give(stream))
    pending.pause()
    pending.abandon("client_gone")
    assert outlet.calls == calls
    assert stream.events.count("abort shutdown") == 1
    assert [record.message.split()[0] for record in caplog.records] == ["ArithmeticError"]


async def test_what_is_no_reply_is_an_internal_error(caplog: pytest.LogCaptureFixture) -> None:
    outlet = Outlet()
    nothing: object = None

    async def wrong() -> Complete:
        return nothing  # type: ignore[return-value]

    await settled(outlet, wrong())
    assert outlet.calls == ["fail"]
    assert len(caplog.records) == 1
    gc.collect()
