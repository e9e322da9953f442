"""Coroutines carried on by the callbacks they wait for, and what asyncio may still do with them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from llm_edge_agent.http.errands import Errand, Signal, running_errand
from llm_edge_agent.http.tasks import running_tasks


class Owner:
    def __init__(self) -> None:
        self.ends: list[object] = []

    def returned(self, result: object) -> None:
        self.ends.append(result)

    def raised(self, error: BaseException) -> None:
        self.ends.append(repr(error))


async def from_the_loop(call: Callable[[], object]) -> None:
    """Runs `call` as a callback of the loop: outside any task."""
    done = asyncio.Event()

    def run() -> None:
        call()
        done.set()

    asyncio.get_running_loop().call_soon(run)
    await done.wait()


def errand(coroutine: Coroutine[Any, Any, object]) -> tuple[Errand[object], Owner]:
    owner = Owner()
    return Errand(coroutine, owner, asyncio.get_running_loop()), owner


async def after(awaitable: Awaitable[Any], result: object = "done") -> object:
    await awaitable
    return result


async def test_each_step_is_taken_on_the_round_after_what_it_waited_for() -> None:
    first, second = Signal(), Signal()
    steps: list[str] = []

    async def work() -> str:
        steps.append("started")
        await first
        steps.append("first")
        await second
        return "done"

    sent, owner = errand(work())
    before = running_tasks()
    sent.start()
    assert steps == []
    assert running_tasks() == before + 1
    await asyncio.sleep(0)
    assert steps == ["started"]
    first.set()
    first.set()
    assert steps == ["started"]
    await asyncio.sleep(0)
    assert steps == ["started", "first"]
    assert owner.ends == []
    second.set()
    await asyncio.sleep(0)
    assert owner.ends == ["done"]
    assert sent.done()
    assert running_tasks() == before


async def test_what_has_happened_already_is_not_waited_for() -> None:
    signal = Signal()
    signal.set()
    sent, owner = errand(after(signal))
    await from_the_loop(sent.start)
    assert owner.ends == ["done"]


async def test_a_future_and_a_pause_are_waited_for_as_in_a_task() -> None:
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> str:
        await asyncio.sleep(0)
        return await future

    sent, owner = errand(work())
    await from_the_loop(sent.start)
    await asyncio.sleep(0)
    future.set_result("value")
    assert owner.ends == []
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert owner.ends == ["value"]


async def test_a_failure_is_told_as_it_is() -> None:
    async def fail() -> None:
        raise ArithmeticError("no")

    sent, owner = errand(fail())
    await from_the_loop(sent.start)
    assert owner.ends == ["ArithmeticError('no')"]
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    sent, owner = errand(after(future))
    await from_the_loop(sent.start)
    future.set_exception(ArithmeticError("later"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert owner.ends == ["ArithmeticError('later')"]


async def test_the_end_of_the_program_is_not_swallowed() -> None:
    async def leave() -> None:
        raise SystemExit(3)

    sent, owner = errand(leave())
    raised: list[int | str | None] = []

    def drive() -> None:
        try:
            sent.resume()  # as the loop calls it
        except SystemExit as error:
            raised.append(error.code)

    await from_the_loop(drive)
    assert raised == [3]
    assert owner.ends == []
    assert sent.done()


async def test_inside_the_step_of_a_task_it_waits_for_the_next_round() -> None:
    signal = Signal()
    sent, owner = errand(after(signal))
    sent.start()
    await asyncio.sleep(0)
    signal.set()
    assert owner.ends == []
    await asyncio.sleep(0)
    assert owner.ends == ["done"]


async def test_inside_the_step_of_another_errand_it_waits_for_the_next_round() -> None:
    signal = Signal()
    inner, inner_owner = errand(after(signal))

    async def outer() -> str:
        signal.set()
        assert inner_owner.ends == []
        return "outer"

    sent, owner = errand(outer())

    def drive() -> None:
        inner.start()
        sent.start()

    await from_the_loop(drive)
    assert owner.ends == ["outer"]
    await asyncio.sleep(0)
    assert inner_owner.ends == ["done"]


@pytest.mark.parametrize("kind", ["signal", "future", "pause"])
async def test_a_cancelled_errand_hears_of_it_where_it_waits(kind: str) -> None:
    heard: list[str] = []

    async def work() -> None:
        try:
            if kind == "signal":
                await Signal()
            elif kind == "future":
                await asyncio.get_running_loop().create_future()
            else:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            heard.append("cancelled")
            raise

    sent, owner = errand(work())

    def drive() -> None:
        sent.start()
        assert sent.cancel()
        assert heard == []

    await from_the_loop(drive)
    for _ in range(3):
        await asyncio.sleep(0)
    assert heard == ["cancelled"]
    assert owner.ends == ["CancelledError()"]
    assert not sent.cancel()
    assert sent.cancelling() == 1


async def test_cancelled_before_its_first_step_it_hears_of_it_at_its_first_wait() -> None:
    steps: list[str] = []

    async def work() -> None:
        steps.append("started")
        await Signal()

    sent, owner = errand(work())
    sent.start()
    sent.cancel()
    assert steps == []
    await asyncio.sleep(0)
    assert steps == ["started"]
    await asyncio.sleep(0)
    assert owner.ends == ["CancelledError()"]


async def test_a_cancellation_that_comes_after_the_signal_still_counts() -> None:
    signal = Signal()
    sent, owner = errand(after(signal))
    await from_the_loop(sent.start)
    signal.set()
    assert sent.cancel()
    await asyncio.sleep(0)
    assert owner.ends == ["CancelledError()"]


async def test_a_timeout_works_within() -> None:
    async def work() -> str:
        try:
            async with asyncio.timeout(0.01):
                await Signal()
        except TimeoutError:
            return "late"
        return "never"

    sent, owner = errand(work())
    await from_the_loop(sent.start)
    for _ in range(200):
        if owner.ends:
            break
        await asyncio.sleep(0.01)
    assert owner.ends == ["late"]
    assert sent.cancelling() == 0


async def test_a_group_of_tasks_works_within() -> None:
    async def work() -> list[object]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(after(asyncio.sleep(0), number)) for number in range(3)]
        return [task.result() for task in tasks]

    sent, owner = errand(work())
    await from_the_loop(sent.start)
    for _ in range(10):
        await asyncio.sleep(0)
    assert owner.ends == [[0, 1, 2]]


async def test_it_is_the_current_task_only_during_its_steps() -> None:
    current: list[object] = []

    async def work() -> None:
        current.append(asyncio.current_task())

    sent, _ = errand(work())

    def drive() -> None:
        sent.resume()  # as the loop calls it
        current.append(asyncio.current_task())

    await from_the_loop(drive)
    assert current == [sent, None]
    assert sent.get_loop() is asyncio.get_running_loop()


@pytest.mark.parametrize("error", [None, ValueError(), asyncio.CancelledError(), KeyboardInterrupt()])
async def test_who_asks_is_told_which_errand_takes_the_step(error: BaseException | None) -> None:
    running: list[object] = []
    signal = Signal()

    async def ask() -> None:
        running.append(running_errand())

    async def work() -> None:
        await ask()
        await asyncio.create_task(ask())  # a step of its own, in the middle of nobody's
        await signal
        await ask()
        if error is not None:
            raise error

    sent, _ = errand(work())
    sent.start()
    for _ in range(4):
        await asyncio.sleep(0)
    assert running_errand() is None
    signal.done = True

    def drive() -> None:
        with contextlib.suppress(KeyboardInterrupt):
            sent.resume()  # as the loop calls it
        running.append(running_errand())

    await from_the_loop(drive)
    assert sent.done()
    assert running == [sent, None, sent, None]


async def test_a_task_may_wait_for_a_signal_and_be_cancelled() -> None:
    signal = Signal()
    task = asyncio.ensure_future(after(signal))
    await asyncio.sleep(0)
    signal.set()
    assert not task.done()
    assert await task == "done"
    signal = Signal()
    task = asyncio.ensure_future(after(signal))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert signal.done
    assert not signal.cancel()


@pytest.mark.parametrize("wanted", [None, False, True])
async def test_a_forsaken_errand_is_cancelled_unless_others_want_its_result(wanted: bool | None) -> None:
    signal = Signal()
    sent, owner = errand(after(signal))
    if wanted is not None:
        sent.goes_on = lambda: wanted
    await from_the_loop(sent.start)
    sent.forsake()
    await asyncio.sleep(0)
    assert owner.ends == ([] if wanted else ["CancelledError()"])
    await from_the_loop(signal.set)
    assert owner.ends == (["done"] if wanted else ["CancelledError()"])
