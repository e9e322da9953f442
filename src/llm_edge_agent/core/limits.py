"""How many requests a caller may make: so many a minute, evenly, and a burst on top."""


class RateLimiter:
    """One bucket per caller, as a single time each: when it would be full again (GCRA). Callers are configured keys,
    so their number is bounded. Times are seconds on a clock that does not go back."""

    __slots__ = ("_full_at_s", "_interval_s", "_room_s", "burst", "per_minute")

    def __init__(self, per_minute: int, burst: int) -> None:
        self.per_minute = per_minute
        self.burst = burst
        self._interval_s = 60.0 / per_minute
        self._room_s = (burst - 1) * self._interval_s
        self._full_at_s: dict[str | None, float] = {}

    def take(self, caller: str | None, now_s: float) -> float:
        """Counts a request and returns 0, or returns how many seconds to wait and counts nothing."""
        full_at_s = self._full_at_s.get(caller, 0.0)
        if full_at_s < now_s:
            full_at_s = now_s
        wait_s = full_at_s - now_s - self._room_s
        if wait_s > 1e-9:
            return wait_s
        self._full_at_s[caller] = full_at_s + self._interval_s
        return 0.0

    def full_in_s(self, caller: str | None, now_s: float) -> float:
        """When the whole burst is there again."""
        return max(0.0, self._full_at_s.get(caller, 0.0) - now_s)
