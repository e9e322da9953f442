"""Epochs in shared memory: seen by forked processes, never going back, and alive after a writer's death."""

import asyncio
import os
import signal
import time

import pytest

from llm_edge_agent.cache.epoch_memory import EpochMemory
from llm_edge_agent.cache.epochs import ALL, Epochs
from llm_edge_agent.cache.tiers import StoreError


def in_a_fork(act: object) -> int:
    """Runs a callable in a forked process; its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            act()  # type: ignore[operator]  # a table of calls, typed as objects
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def test_what_is_written_is_read_once_until_it_changes() -> None:
    memory = EpochMemory()
    found = await memory.changed_epochs(b"?")
    assert found is not None
    mark, epochs = found
    assert epochs == {}
    assert await memory.changed_epochs(mark) is None
    await memory.write_epochs({"all": 5}, ttl_s=1)
    await memory.write_epochs({"all": 3, "tenant:a": 4}, ttl_s=1)
    found = await memory.changed_epochs(mark)
    assert found is not None
    assert found[1] == {"all": 5, "tenant:a": 4}


def test_another_process_sees_it() -> None:
    memory = EpochMemory()
    assert in_a_fork(lambda: asyncio.run(memory.write_epochs({"all": 7}, ttl_s=1))) == 0
    found = asyncio.run(memory.changed_epochs(b"?"))
    assert found is not None
    assert found[1] == {"all": 7}


def test_a_process_that_dies_while_it_writes_holds_nobody_up() -> None:
    memory = EpochMemory()

    def dies() -> None:
        import fcntl

        fcntl.lockf(memory._file, fcntl.LOCK_EX)
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_a_fork(dies) == -signal.SIGKILL
    began_s = time.monotonic()
    asyncio.run(memory.write_epochs({"all": 7}, ttl_s=1))
    assert time.monotonic() - began_s < 5


async def test_more_than_fits_is_refused_and_changes_nothing() -> None:
    memory = EpochMemory(size_bytes=4096)
    await memory.write_epochs({"all": 1}, ttl_s=1)
    with pytest.raises(StoreError):
        await memory.write_epochs({f"tenant:{number:0100d}": 1 for number in range(100)}, ttl_s=1)
    found = await memory.changed_epochs(b"?")
    assert found is not None
    assert found[1] == {"all": 1}


async def test_a_bump_of_one_process_is_the_others_within_a_look() -> None:
    memory = EpochMemory()
    one, other = (Epochs(memory, entry_ttl_s=60) for _ in range(2))
    await one.refresh()
    await other.refresh()
    assert await one.bump(ALL)
    assert other.of("t", "m") == ""
    await other.refresh()
    assert other.of("t", "m") == one.of("t", "m") != ""
