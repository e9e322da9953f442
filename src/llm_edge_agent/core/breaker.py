"""A circuit breaker: stops calling a deployment that fails, and finds out with one call at a time whether it is back.

Theory of operation. A breaker is told of every call: `begin` before it, and then exactly one of `succeeded`, `failed`
and `abandoned`. Nobody is ever called just to find out; a probe is a client's request that happens to come when the
waiting time is over.

    closed      Calls pass. Failures in a row, or too large a share of failures among enough calls, trip it.
    open        No call passes until `timeout_s` after it opened.
    half-open   One call, the probe, is under way. No other passes. Its outcome alone decides what is next.

Calls that began before the breaker opened end in their own time, often after it. They say nothing about the present,
so only the probe's outcome moves a breaker that is not closed. `begin` therefore returns whether the call is the probe,
and the caller hands that back with the outcome.

A probe can end without an outcome: its client leaves, the gateway itself fails, the provider refuses the request for
the client's own mistake. `abandoned` opens the breaker again with the waiting time already over, so that the next
request probes. A caller owes it that call on every path out, cancellation included: a probe whose end is never told
would hold the breaker half-open for ever.

The table is the specification. What it does not list leaves the state as it is. `FAILED` trips a closed breaker only
where `_tripped` says so, and `BEGUN` reaches the table only where `allows` held.
"""

from enum import Enum
from typing import NamedTuple


class State(Enum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Event(Enum):
    BEGUN = "begun"
    TRIPPED = "tripped"
    PROBE_SUCCEEDED = "probe_succeeded"
    PROBE_FAILED = "probe_failed"
    PROBE_ABANDONED = "probe_abandoned"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.CLOSED, Event.TRIPPED): State.OPEN,
    (State.OPEN, Event.BEGUN): State.HALF_OPEN,
    (State.HALF_OPEN, Event.PROBE_SUCCEEDED): State.CLOSED,
    (State.HALF_OPEN, Event.PROBE_FAILED): State.OPEN,
    (State.HALF_OPEN, Event.PROBE_ABANDONED): State.OPEN,
}


class BreakerPolicy(NamedTuple):
    """When a breaker trips and how long it stays open."""

    failures: int = 5
    """So many failures in a row trip it."""
    timeout_s: float = 30.0
    window_s: float = 30.0
    window_rate: float = 0.5
    """So does this share of failures among the calls of a window, once they are four times `failures` and 20."""

    @property
    def window_calls(self) -> int:
        return max(20, 4 * self.failures)


class Breaker:
    """One deployment's breaker. Times are seconds on any clock that does not go back."""

    __slots__ = ("_calls", "_failed", "_window_from_s", "failures", "opens_at_s", "policy", "state")

    def __init__(self, policy: BreakerPolicy) -> None:
        self.state = State.CLOSED
        self.failures = 0
        """In a row."""
        self.opens_at_s = 0.0
        """From when on an open breaker lets a probe pass."""
        self.policy = policy
        self._window_from_s = 0.0
        self._calls = 0
        self._failed = 0

    def allows(self, now_s: float) -> bool:
        """Whether a call may begin."""
        if self.state is State.CLOSED:
            return True
        return self.state is State.OPEN and now_s >= self.opens_at_s

    def begin(self) -> bool:
        """A call begins that `allows` allowed. Returns whether it is the probe."""
        if self.state is State.CLOSED:
            return False
        self._move(Event.BEGUN)
        return True

    def succeeded(self, now_s: float, *, probe: bool) -> None:
        if probe:
            self._move(Event.PROBE_SUCCEEDED)
            self._calls = self._failed = 0
            self.failures = 0
        elif self.state is State.CLOSED:
            self.failures = 0
            self._count(now_s, 0)

    def failed(self, now_s: float, *, probe: bool) -> None:
        if probe:
            self.failures += 1
            self._open(Event.PROBE_FAILED, now_s + self.policy.timeout_s)
        elif self.state is State.CLOSED:
            self.failures += 1
            self._count(now_s, 1)
            if self._tripped():
                self._open(Event.TRIPPED, now_s + self.policy.timeout_s)

    def abandoned(self, now_s: float, *, probe: bool) -> None:
        """The call ended without telling anything about the deployment."""
        if probe:
            self._open(Event.PROBE_ABANDONED, now_s)

    def _tripped(self) -> bool:
        policy = self.policy
        return self.failures >= policy.failures or (
            self._calls >= policy.window_calls and self._failed >= policy.window_rate * self._calls
        )

    def _count(self, now_s: float, failed: int) -> None:
        if now_s - self._window_from_s > self.policy.window_s:
            self._window_from_s = now_s
            self._calls = self._failed = 0
        self._calls += 1
        self._failed += failed

    def _open(self, event: Event, opens_at_s: float) -> None:
        self._move(event)
        self.opens_at_s = opens_at_s

    def _move(self, event: Event) -> None:
        self.state = TRANSITIONS.get((self.state, event), self.state)
