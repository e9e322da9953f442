"""A coroutine that is carried on by what it waits for, at a fraction of what a task and its futures cost.

Theory of operation. An `Errand` takes its first step on the round of the loop after it was started, and each further
one on the round after what it waits for came about, as a task would. What one round of the loop has read from many
clients is so written to their provider together, and what it has read from a provider is answered together: where both
ends are on one machine, waking the other side for each request by itself costs more than all of this code
(docs/adr/0008).

    start --next round--> step --> waits on a Signal  --set-----> next round: step      (the data plane's own)
                                   waits on a Future  --done----> next round: step
                                   waits for nothing (sleep(0))-> next round: step
                          step --> returned | raised              (told to its owner, once)

To what runs in it an errand is a task: it is the loop's current one, so that `asyncio.timeout` and its like work. A
task cannot run inside another's step; an errand that would is carried on by the next round of the loop instead.
"""

import asyncio
from asyncio import _enter_task, _leave_task, get_running_loop
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, Generic, Protocol, TypeVar

from llm_edge_agent.http.tasks import adopt, release

_running: "Errand[Any] | None" = None

T = TypeVar("T")
R_contra = TypeVar("R_contra", contravariant=True)


class Signal:
    """Something that happens once, and may be awaited by one errand, or by one task."""

    __slots__ = ("_asyncio_future_blocking", "_cancelled", "_errand", "_others", "done")

    def __init__(self) -> None:
        self.done = False
        self._cancelled = False
        self._errand: Errand[Any] | None = None
        self._others: list[tuple[Callable[[Any], object], Context | None]] | None = None

    def set(self) -> None:
        """It has happened; a second time means nothing."""
        if self.done:
            return
        self.done = True
        errand = self._errand
        if errand is not None:
            self._errand = None
            errand.resume_soon()
        elif self._others is not None:
            self._tell_others()

    def _tell_others(self) -> None:
        others, self._others = self._others, None
        for callback, context in others or ():
            get_running_loop().call_soon(callback, self, context=context)

    def __await__(self) -> Generator["Signal", None, None]:
        if not self.done:
            self._asyncio_future_blocking = True
            yield self
        self.result()

    def wake(self, errand: "Errand[Any]") -> None:
        """Carries `errand` on once it has happened."""
        self._errand = errand

    # What asyncio asks of a future that a task waits on.

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return get_running_loop()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        if self._others is None:
            self._others = []
        self._others.append((callback, context))

    def cancel(self, msg: object = None) -> bool:
        """Whoever waits hears of it on the next round, as with a future."""
        if self.done:
            return False
        self.done = self._cancelled = True
        errand, self._errand = self._errand, None
        if errand is not None:
            get_running_loop().call_soon(errand.resume)
        self._tell_others()
        return True

    def result(self) -> None:
        if self._cancelled:
            raise asyncio.CancelledError


def running_errand() -> "Errand[Any] | None":
    """The errand that takes a step right now: its own coroutine is asking."""
    return _running


class Owner(Protocol[R_contra]):
    """Who sent an errand, and hears how it ended: one of the two, once."""

    def returned(self, result: R_contra) -> None: ...

    def raised(self, error: BaseException) -> None:
        """Cancellation is told here, too."""
        ...


class Errand(Generic[T]):
    """Runs one coroutine for `owner`. `start` it, once."""

    __slots__ = ("_cancels", "_coroutine", "_loop", "_must_cancel", "_owner", "_started", "_waiting", "goes_on")

    def __init__(self, coroutine: Coroutine[Any, Any, T], owner: Owner[T], loop: asyncio.AbstractEventLoop) -> None:
        self._coroutine: Coroutine[Any, Any, T] | None = coroutine
        self._owner = owner
        self._loop = loop
        self._waiting: Any = None
        self._started = False
        self._must_cancel = False
        self._cancels = 0
        self.goes_on: Callable[[], bool] | None = None
        """Asked when the owner has no more use for the result: whether the errand goes on, for the sake of others. It
        is cancelled by whoever said so, then."""

    def start(self) -> None:
        adopt(self)
        self.resume_soon()

    def resume_soon(self) -> None:
        """Takes the next step on the next round of the loop."""
        self._loop.call_soon(self.resume)

    def resume(self, _: object = None) -> None:
        """Takes the next step; later, where another task is in the middle of its own."""
        global _running
        coroutine = self._coroutine
        if coroutine is None:
            return
        loop = self._loop
        try:
            _enter_task(loop, self)  # type: ignore[arg-type]  # the documented way of a task that is not asyncio's own
        except RuntimeError:
            loop.call_soon(self.resume)
            return
        self._waiting = None
        _running = self
        try:
            try:
                if self._must_cancel and self._started:
                    self._must_cancel = False
                    awaited = coroutine.throw(asyncio.CancelledError())
                else:
                    self._started = True
                    awaited = coroutine.send(None)
            finally:
                _running = None
                _leave_task(loop, self)  # type: ignore[arg-type]  # as above
        except StopIteration as stop:
            self._end().returned(stop.value)
        except (KeyboardInterrupt, SystemExit):
            self._end()
            raise
        except BaseException as error:
            self._end().raised(error)
        else:
            if awaited is None:
                loop.call_soon(self.resume)
                return
            awaited._asyncio_future_blocking = False
            self._waiting = awaited
            if type(awaited) is Signal:
                awaited.wake(self)
            else:
                awaited.add_done_callback(self.resume)
            if self._must_cancel and awaited.cancel():
                self._must_cancel = False

    def _end(self) -> Owner[T]:
        """Lets go of what would hold this errand in a circle: its owner, who is to be told."""
        release(self)
        self._coroutine = self.goes_on = None
        owner = self._owner
        del self._owner
        return owner

    def forsake(self) -> None:
        """The owner has no more use for the result."""
        if self.goes_on is None or not self.goes_on():
            self.cancel()

    # What asyncio asks of the current task.

    def cancel(self, msg: object = None) -> bool:
        """Raises CancelledError in the coroutine, where it waits or will wait next. False once it has ended."""
        if self._coroutine is None:
            return False
        self._cancels += 1
        if self._waiting is None or not self._waiting.cancel():
            self._must_cancel = True
        return True

    def cancelling(self) -> int:
        return self._cancels

    def uncancel(self) -> int:
        self._cancels = max(0, self._cancels - 1)
        return self._cancels

    def done(self) -> bool:
        return self._coroutine is None

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop
