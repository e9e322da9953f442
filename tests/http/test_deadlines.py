import asyncio
import gc
import math
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from llm_edge_agent.http.deadlines import RESOLUTION_S, Sweep, running_sweep


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Alarm:
    """Counts its expiries and does what it was told at each."""

    def __init__(self, deadline_s: float, then: Callable[["Alarm"], None] | None = None) -> None:
        self.deadline_s = deadline_s
        self.expired = 0
        self._then = then

    def expire(self) -> None:
        self.expired += 1
        self.deadline_s = math.inf
        if self._then is not None:
            self._then(self)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sweep(clock: Clock) -> Sweep:
    return Sweep(resolution_s=0.01, clock=clock)


async def ticks() -> None:
    await asyncio.sleep(0.05)


async def test_expires_what_is_due_and_nothing_else(sweep: Sweep, clock: Clock) -> None:
    due, later, never = Alarm(101.0), Alarm(102.0), Alarm(math.inf)
    for alarm in (due, later, never):
        sweep.add(alarm)
    await ticks()
    assert (due.expired, later.expired, never.expired) == (0, 0, 0)
    clock.now_s = 101.0
    await ticks()
    assert (due.expired, later.expired, never.expired) == (1, 0, 0)
    clock.now_s = 1e9
    await ticks()
    assert (due.expired, later.expired, never.expired) == (1, 1, 0)


async def test_a_moved_deadline_counts_and_the_old_one_does_not(sweep: Sweep, clock: Clock) -> None:
    alarm = Alarm(101.0)
    sweep.add(alarm)
    alarm.deadline_s = 200.0
    clock.now_s = 150.0
    await ticks()
    assert alarm.expired == 0
    alarm.deadline_s = 140.0
    await ticks()
    assert alarm.expired == 1


async def test_the_timer_runs_only_while_something_is_registered(sweep: Sweep) -> None:
    first, second = Alarm(math.inf), Alarm(math.inf)
    seen: list[tuple[int, bool]] = []
    for change, alarm in (
        (sweep.discard, first),
        (sweep.add, first),
        (sweep.add, first),
        (sweep.add, second),
        (sweep.discard, first),
        (sweep.discard, second),
        (sweep.add, second),
    ):
        change(alarm)
        seen.append((len(sweep), sweep.running))
    assert seen == [(0, False), (1, True), (1, True), (2, True), (1, True), (0, False), (1, True)]
    await ticks()
    assert sweep.running


async def test_discarding_oneself_in_expire_stops_the_timer(sweep: Sweep) -> None:
    alarm = Alarm(0.0, sweep.discard)
    sweep.add(alarm)
    await ticks()
    assert alarm.expired == 1
    assert not sweep.running


async def test_one_that_was_discarded_or_renewed_in_the_same_sweep_is_spared(sweep: Sweep) -> None:
    pair: list[Alarm] = []

    def discard_the_other(alarm: Alarm) -> None:
        for each in pair:
            if each is not alarm:
                sweep.discard(each)

    pair += [Alarm(0.0, discard_the_other), Alarm(0.0, discard_the_other)]
    for alarm in pair:
        sweep.add(alarm)
    await ticks()
    assert sorted(alarm.expired for alarm in pair) == [0, 1]


async def test_an_added_one_waits_for_the_next_sweep(sweep: Sweep) -> None:
    newcomer = Alarm(0.0)
    sweep.add(Alarm(0.0, lambda _: sweep.add(newcomer)))
    await ticks()
    assert newcomer.expired == 1


async def test_a_failing_expire_is_reported_and_harms_no_other(sweep: Sweep) -> None:
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))

    def fail(_: Alarm) -> None:
        raise ValueError("broken")

    alarms = [Alarm(0.0, fail), Alarm(0.0), Alarm(0.0, fail)]
    for alarm in alarms:
        sweep.add(alarm)
    await ticks()
    assert [alarm.expired for alarm in alarms] == [1, 1, 1]
    assert [type(report["exception"]) for report in reports] == [ValueError, ValueError]
    assert sweep.running


async def test_real_time_is_late_by_little_and_never_early() -> None:
    sweep = running_sweep()
    start = time.monotonic()
    done = asyncio.Event()
    alarm = Alarm(start + 0.1, lambda _: done.set())
    sweep.add(alarm)
    await asyncio.wait_for(done.wait(), 10)
    assert time.monotonic() - start >= 0.1
    assert RESOLUTION_S <= 0.25
    sweep.discard(alarm)


async def test_a_loop_has_one_sweep() -> None:
    assert running_sweep() is running_sweep()


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_sweeps_go_with_their_loops(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def sweep_and_other() -> Sweep:
        return running_sweep()

    loop, other = new_loop(), new_loop()
    try:
        assert loop.run_until_complete(sweep_and_other()) is not other.run_until_complete(sweep_and_other())
    finally:
        loop.close()
        other.close()


def test_outside_a_loop_there_is_none() -> None:
    with pytest.raises(RuntimeError):
        running_sweep()


def test_a_dead_loop_is_not_kept_alive() -> None:
    loop = asyncio.new_event_loop()

    async def touch() -> None:
        running_sweep()

    loop.run_until_complete(touch())
    loop.close()
    reference = weakref.ref(loop)
    del loop
    gc.collect()
    assert reference() is None
