import asyncio
import logging
import time

import pytest

from llm_edge_agent.telemetry.loop_lag import PERIOD_S, WARNING_PAUSE_S, WARNING_S, WINDOW_S, LoopLag


async def test_a_loop_that_is_held_up_is_seen() -> None:
    lag = LoopLag()
    lag.start()
    await asyncio.sleep(PERIOD_S / 2)
    time.sleep(PERIOD_S + 0.3)
    await asyncio.sleep(PERIOD_S)
    assert lag.worst_s() >= 0.3
    lag.stop()
    lag.stop()


async def test_the_worst_is_told_for_one_window_more_and_then_forgotten() -> None:
    lag = LoopLag(lambda: 0.0)
    lag.start()
    lag.stop()
    lag.note(1.0, 0.5)
    lag.note(WINDOW_S - 0.1, 0.2)
    assert lag.worst_s() == 0.5
    lag.note(WINDOW_S, 0.1)
    assert lag.worst_s() == 0.5
    lag.note(2 * WINDOW_S, 0.0)
    assert lag.worst_s() == 0.1
    lag.note(3 * WINDOW_S, 0.0)
    assert lag.worst_s() == 0.0


async def test_a_loop_that_stood_still_for_windows_tells_only_that() -> None:
    lag = LoopLag(lambda: 0.0)
    lag.start()
    lag.stop()
    lag.note(1.0, 0.5)
    lag.note(10 * WINDOW_S, 0.3)
    assert lag.worst_s() == 0.3


async def test_a_loop_that_stays_late_is_said_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    lag = LoopLag(lambda: 0.0)
    lag.start()
    lag.stop()
    with caplog.at_level(logging.WARNING, "llm_edge_agent.loop"):
        for second in range(1, 50):
            lag.note(float(second), WARNING_S)
        assert len(caplog.records) == 1
        lag.note(1 + WARNING_PAUSE_S, WARNING_S)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
