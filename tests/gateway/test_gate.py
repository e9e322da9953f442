import asyncio
from time import monotonic

import pytest

from llm_edge_agent.core.deployments import DeploymentState
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.gateway.gate import Bounds, Gate

STATE = DeploymentState()


def gate(limit: int = 1, queue_size: int = 2, timeout_s: float = 5.0) -> Gate:
    return Gate(Bounds(limit, queue_size, timeout_s))


async def test_who_waits_is_let_in_in_order_and_nobody_passes() -> None:
    busy, seen = gate(), []
    assert busy.enter()

    async def call(name: str) -> None:
        await busy.wait()
        seen.append(name)

    calls = [asyncio.ensure_future(call(name)) for name in "ab"]
    await asyncio.sleep(0)
    assert busy.waiting == 2
    busy.leave(STATE)
    assert not busy.enter()
    await asyncio.sleep(0.01)
    assert seen == ["a"]
    busy.leave(STATE)
    await asyncio.gather(*calls)
    busy.leave(STATE)
    assert (seen, busy.inside, busy.waiting) == (["a", "b"], 0, 0)
    assert busy.enter()


async def test_a_full_queue_and_a_long_wait_are_refused() -> None:
    busy = gate(queue_size=1, timeout_s=0.05)
    busy.enter()
    waiting = asyncio.ensure_future(busy.wait())
    await asyncio.sleep(0)
    for refused in (busy.wait(), waiting):
        with pytest.raises(GatewayError) as caught:
            await refused
        assert (caught.value.kind, caught.value.retry_after_s) == (ErrorKind.OVERLOADED, 1)
    assert (busy.shed, busy.waiting, busy.inside) == (2, 0, 1)


async def test_who_leaves_while_let_in_gives_the_place_on() -> None:
    busy = gate()
    busy.enter()
    first, second = (asyncio.ensure_future(busy.wait()) for _ in range(2))
    await asyncio.sleep(0)
    busy.leave(STATE)
    first.cancel()
    await second
    assert (first.cancelled(), busy.inside, busy.waiting) == (True, 1, 0)
    third = asyncio.ensure_future(busy.wait())
    await asyncio.sleep(0)
    third.cancel()
    await asyncio.gather(third, return_exceptions=True)
    assert busy.waiting == 0


async def test_room_at_a_deployment() -> None:
    busy, other = gate(limit=10), DeploymentState()
    busy.enter()
    waiting = asyncio.ensure_future(busy.room([STATE, other], busy.until_s()))
    await asyncio.sleep(0)
    busy.leave(DeploymentState())
    await asyncio.sleep(0)
    assert not waiting.done()
    assert busy.waiting == 1
    busy.enter()
    busy.leave(other)
    await waiting
    with pytest.raises(GatewayError):
        await busy.room([STATE], 0.0)
    assert busy.waiting == 0
    full = gate(queue_size=0)
    with pytest.raises(GatewayError):
        await full.room([STATE], full.until_s())


async def test_other_bounds_let_the_queue_in() -> None:
    busy = gate()
    busy.enter()
    waiting = asyncio.ensure_future(busy.wait())
    await asyncio.sleep(0)
    busy.adopt(Bounds(2, 1, 1.0))
    await waiting
    assert busy.inside == 2


async def test_who_leaves_while_another_makes_room_is_passed_over() -> None:
    busy = gate()
    busy.enter()
    first, second = (asyncio.ensure_future(busy.wait()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    busy.leave(STATE)  # before the first has heard of it
    await second
    await asyncio.wait([first])
    assert (first.cancelled(), busy.inside, busy.waiting) == (True, 1, 0)


async def test_room_at_a_deployment_that_its_finder_leaves_is_told_to_the_next() -> None:
    busy = gate()
    busy.enter()
    first, second = (asyncio.ensure_future(busy.room([STATE], monotonic() + 5)) for _ in range(2))
    await asyncio.sleep(0)
    busy.leave(STATE)
    first.cancel()
    async with asyncio.timeout(1):
        await second
    assert (first.cancelled(), busy.waiting) == (True, 0)
