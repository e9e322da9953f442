"""The one place where tasks are made: the event loop holds them weakly, so somebody must hold them strongly."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_running: set[object] = set()


def spawn(coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Starts `coroutine` on the running loop and keeps it alive until it is done. The caller handles its outcome."""
    task = asyncio.get_running_loop().create_task(coroutine)
    _running.add(task)
    task.add_done_callback(_running.discard)
    return task


def adopt(task: object) -> None:
    """Keeps what runs like a task, but is not made here (`errands`), until `release`."""
    _running.add(task)


def release(task: object) -> None:
    _running.discard(task)


def running_tasks() -> int:
    """How many are not done: 0 in an idle gateway."""
    return len(_running)
