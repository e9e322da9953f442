import asyncio
import gc

from llm_edge_agent.http.tasks import running_tasks, spawn


async def test_a_spawned_task_lives_until_it_is_done() -> None:
    gate = asyncio.Event()
    done: list[str] = []

    async def work() -> None:
        await gate.wait()
        done.append("done")

    before = running_tasks()
    spawn(work())
    await asyncio.sleep(0)
    gc.collect()
    assert running_tasks() == before + 1
    gate.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert done == ["done"]
    assert running_tasks() == before
