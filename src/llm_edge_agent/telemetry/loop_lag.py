"""How late the event loop is: a timer that compares when it is called with when it should have been.

Whatever holds the loop up (a huge body, a callback that waits, a machine without a free core) holds up everybody.
"""

import asyncio
import logging
from collections.abc import Callable

PERIOD_S = 0.1
WINDOW_S = 15.0
"""The worst of this window and of the one before it is told: a scraper that comes once in 15 seconds misses none."""
WARNING_S = 1.0
WARNING_PAUSE_S = 60.0
"""A loop that stays late is said once a minute."""

_log = logging.getLogger("llm_edge_agent.loop")


class LoopLag:
    """Watches the running loop from `start` to `stop`."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        """`clock`: monotonic seconds; None: the loop's own."""
        self._clock = clock
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._window_ends_s = 0.0
        self._worst_s = 0.0
        self._worst_before_s = 0.0
        self._quiet_until_s = 0.0

    def start(self) -> None:
        if self._clock is None:
            self._clock = asyncio.get_running_loop().time
        self._window_ends_s = self._clock() + WINDOW_S
        self._arm(self._clock())

    def stop(self) -> None:
        """Safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def worst_s(self) -> float:
        """The greatest lateness of the last one to two windows, in seconds."""
        return max(self._worst_s, self._worst_before_s)

    def _arm(self, now_s: float) -> None:
        self._due_s = now_s + PERIOD_S
        self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self._tick)

    def _tick(self) -> None:
        assert self._clock is not None  # noqa: S101  set by start
        now_s = self._clock()
        self.note(now_s, max(0.0, now_s - self._due_s))
        self._arm(now_s)

    def note(self, now_s: float, late_s: float) -> None:
        """Takes one measurement."""
        if now_s >= self._window_ends_s:
            # After a pause longer than a window nothing is known of the one before.
            self._worst_before_s = self._worst_s if now_s < self._window_ends_s + WINDOW_S else 0.0
            self._worst_s = 0.0
            self._window_ends_s = now_s + WINDOW_S
        self._worst_s = max(self._worst_s, late_s)
        if late_s >= WARNING_S and now_s >= self._quiet_until_s:
            self._quiet_until_s = now_s + WARNING_PAUSE_S
            _log.warning("the event loop was held up for %.1f s", late_s, extra={"event": "loop_lag"})
