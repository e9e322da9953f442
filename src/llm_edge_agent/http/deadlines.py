"""Every deadline of the data plane on one periodic timer per event loop.

A timer per request costs more than the request's parsing; a connection instead keeps one `deadline_s` that it moves
as it goes, and a sweep a few times a second finds those that have passed. Deadlines are thus late by up to
`resolution_s`, never early.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol
from weakref import WeakKeyDictionary

RESOLUTION_S = 0.2


class Expiring(Protocol):
    """What a sweep watches."""

    @property
    def deadline_s(self) -> float:
        """Monotonic time in seconds; `math.inf` while there is none. May be changed at any time."""
        ...

    def expire(self) -> None:
        """The deadline has passed. Moves `deadline_s` or discards itself, else it is called again by every sweep."""
        ...


class Sweep:
    """Calls `expire` on each registered object whose deadline has passed. The timer runs only while something is
    registered. Belongs to the loop that runs when `add` is called; not thread-safe."""

    __slots__ = ("_clock", "_objects", "_resolution_s", "_timer")

    def __init__(self, *, resolution_s: float = RESOLUTION_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._resolution_s = resolution_s
        self._clock = clock
        self._objects: set[Expiring] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether the timer is set: exactly while something is registered."""
        return self._timer is not None

    def __len__(self) -> int:
        return len(self._objects)

    def add(self, expiring: Expiring) -> None:
        """Watches `expiring` until `discard`. Adding twice is adding once."""
        self._objects.add(expiring)
        if self._timer is None:
            self._arm()

    def discard(self, expiring: Expiring) -> None:
        """Forgets `expiring`; unknown objects are ignored."""
        self._objects.discard(expiring)
        if not self._objects and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        # The loop is not kept in an attribute: `running_sweep` maps loops to sweeps weakly.
        self._timer = asyncio.get_running_loop().call_later(self._resolution_s, self._tick)

    def _tick(self) -> None:
        # Armed first: what `expire` adds and discards then finds the timer in its true state.
        self._arm()
        now = self._clock()
        for expiring in [each for each in self._objects if each.deadline_s <= now]:
            # An earlier `expire` of this sweep may have ended or renewed a later one.
            if expiring in self._objects and expiring.deadline_s <= now:
                try:
                    expiring.expire()
                except Exception as error:
                    context = {"message": "a deadline's expire() failed", "exception": error}
                    asyncio.get_running_loop().call_exception_handler(context)


_sweeps: WeakKeyDictionary[asyncio.AbstractEventLoop, Sweep] = WeakKeyDictionary()


def running_sweep() -> Sweep:
    """The sweep of the running loop, shared by both legs. Raises RuntimeError outside a loop."""
    loop = asyncio.get_running_loop()
    sweep = _sweeps.get(loop)
    if sweep is None:
        sweep = _sweeps[loop] = Sweep()
    return sweep
