"""How the simulator treats all requests, set while it runs: failures, delay, quota and rate-limit headers."""

import random
from typing import Annotated, Any

import msgspec

_WINDOW_S = 60.0

Part = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rate limit as the reply's headers tell it. `reset_s`: seconds until it is whole again."""

    limit: Count
    remaining: Count
    reset_s: Seconds = 1.0


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The defaults change nothing."""

    error_rate: Part = 0.0
    """Part of the POST requests that fail."""
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    """Their status; None: one of 429, 500 and 503 (529)."""
    retry_after_s: Seconds | None = None
    """Told with them. None: 1 second, with a status that clients wait on."""
    latency_s: Seconds | None = None
    """Time to the first token, in place of the setting."""
    latency_factor: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    """All waits are multiplied by it."""
    quota_per_minute: Count | None = None
    """POST requests answered a minute, counted from the first; further ones get 429 with `retry-after`."""
    requests: Limits | None = None
    tokens: Limits | None = None
    """What the rate-limit headers say of requests and of tokens; None: the provider's usual large numbers."""

    def changed(self, members: Any) -> "Behaviour":
        """With these members (a JSON object) in place of the present ones. Raises msgspec.ValidationError."""
        if not isinstance(members, dict):
            raise msgspec.ValidationError("Expected an object")
        return msgspec.convert({**msgspec.to_builtins(self), **members}, Behaviour)

    def unlucky(self, rng: random.Random) -> bool:
        return self.error_rate > 0 and rng.random() < self.error_rate


class QuotaWindow:
    """Counts requests against a quota in windows of a minute."""

    def __init__(self) -> None:
        self._began_s = float("-inf")
        self._used = 0

    def take(self, quota: int, now_s: float) -> bool:
        """Counts one request; False where the quota of this window is used up."""
        if now_s - self._began_s >= _WINDOW_S:
            self._began_s, self._used = now_s, 0
        if self._used >= quota:
            return False
        self._used += 1
        return True

    def limits(self, quota: int, now_s: float) -> Limits:
        """What is left of the present window."""
        left_s = _WINDOW_S - (now_s - self._began_s)
        if left_s <= 0:
            return Limits(quota, quota, _WINDOW_S)
        return Limits(quota, max(quota - self._used, 0), left_s)
