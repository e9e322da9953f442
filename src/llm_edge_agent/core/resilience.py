"""How a failure is met: whether to repeat, after what pause, and how many repeats an outage may add.

Failing over to another deployment is free; repeating a call on the same one is not: when everything is down, repeats
multiply the load of a provider that is trying to recover. So repeats are spent from a budget that requests fill.
"""

from typing import NamedTuple

from llm_edge_agent.core.errors import ErrorKind, GatewayError

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0
LONGEST_ASKED_PAUSE_S = 2.0
"""A provider that asks for a longer wait is not waited for here: its client is told instead."""

_REPEATABLE = frozenset(
    {
        ErrorKind.UPSTREAM_ERROR,
        ErrorKind.UPSTREAM_OVERLOADED,
        ErrorKind.UPSTREAM_CONNECTION,
        ErrorKind.UPSTREAM_INVALID,
        ErrorKind.STREAM_INTERRUPTED,
    }
)
"""Failures after which the same deployment may well answer. A timeout is not among them: the time is gone, and the
provider is likely still at work on the first call."""


class RetryPolicy(NamedTuple):
    """`max_retries`: repeats of one request on deployments that were already tried for it."""

    max_retries: int = 2
    share: float = 0.2
    """Repeats per request, in the long run."""
    per_s: float = 10.0
    """Repeats per second on top, so that a quiet deployment has some too."""


class RetryBudget:
    """How many repeats one deployment may still get. A bucket that requests and time fill, a window's worth at most."""

    __slots__ = ("_at_s", "_left", "policy")
    WINDOW_S = 2.0
    MOST_REQUESTS = 100.0

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy
        self._at_s = 0.0
        self._left = policy.per_s * self.WINDOW_S

    def called(self) -> None:
        """A request called the deployment for the first time."""
        most = self.policy.per_s * self.WINDOW_S + self.policy.share * self.MOST_REQUESTS
        if self._left < most:
            self._left += self.policy.share

    def spend(self, now_s: float) -> bool:
        """Takes one repeat, if there is one."""
        by_time = self.policy.per_s * self.WINDOW_S
        if self._left < by_time:
            self._left = min(by_time, self._left + self.policy.per_s * max(0.0, now_s - self._at_s))
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


def pause_s(error: GatewayError, repeats_done: int, jitter: float) -> float | None:
    """How long to wait before the same deployment is called again with the same request; None: not at all.

    `jitter` is a random number from 0 to 1: full jitter, from nothing to the whole of a doubling bound. What the
    provider asked for (`Retry-After`, `retry-after-ms`) is the least, and a rate limit is met by nothing else:
    without such advice it is not repeated. `x-should-retry: false` of the provider is obeyed.
    """
    if error.should_retry is False:
        return None
    asked_s = error.retry_after_s
    if error.kind is ErrorKind.UPSTREAM_RATE_LIMIT:
        if asked_s is None:
            return None
    elif error.kind not in _REPEATABLE:
        return None
    if asked_s is not None and asked_s > LONGEST_ASKED_PAUSE_S:
        return None
    bound_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**repeats_done)
    return max(asked_s or 0.0, bound_s * jitter)
