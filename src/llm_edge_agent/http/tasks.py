"""The one place where tasks are made: the event loop holds them weakly, so somebody must hold them strongly."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_running: set[asyncio.Task[Any]] = set()


def spawn(coroutine: Coroutine[Any, Any, T], *, releases: bool = False) -> asyncio.Task[T]:
    """Starts `coroutine` on the running loop and keeps it alive until it is done. The caller handles its outcome.

    `releases`: the coroutine calls `release` as its last act, and is never cancelled before its first step. That saves
    the loop a callback for each request.
    """
    task = asyncio.get_running_loop().create_task(coroutine)
    _running.add(task)
    if not releases:
        task.add_done_callback(_running.discard)
    return task


def release(task: "asyncio.Task[Any]") -> None:
    """Forgets a task that was spawned with `releases`, from within itself."""
    _running.discard(task)


def running_tasks() -> int:
    """How many spawned tasks are not done: 0 in an idle gateway."""
    return len(_running)
