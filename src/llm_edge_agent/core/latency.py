"""A latency that rises at once and falls slowly: an average would hide a deployment that has just become slow."""

from math import exp

DECAY_S = 10.0
LEAST_WEIGHT = 0.05
"""Of a sample that comes right after another: without it a busy deployment would never be forgiven its worst answer."""
PEAK = 3.0
"""A sample this many times the estimate is a change, not noise."""
FADE_S = 60.0
FADE_TURNS = 250
"""How slowly an estimate fades of a deployment that is passed over: by time, and by requests that went elsewhere,
whichever is less. Each slow one is so tried again about once in a few hundred requests, and not often enough to show
in the 99th percentile."""


class PeakEwma:
    """Seconds. A sample far above the estimate becomes the estimate; any other pulls it, the more the longer the last
    one is ago. While nobody waits for an answer the estimate fades, so that a deployment that was slow is tried again;
    one request at a time does that, because with one under way the estimate stands as it was."""

    __slots__ = ("at_s", "turn", "value_s")

    def __init__(self) -> None:
        self.value_s = 0.0
        """0 while nothing is known."""
        self.at_s = 0.0
        self.turn = 0
        """The turn at which the deployment was chosen last."""

    def sample(self, seconds: float, now_s: float) -> None:
        value_s = self.value_s
        if 0 < seconds < PEAK * value_s:
            kept = min(1 - LEAST_WEIGHT, exp((self.at_s - now_s) / DECAY_S))
            seconds = value_s * kept + seconds * (1 - kept)
        self.value_s = seconds
        self.at_s = now_s

    def faded(self, now_s: float, turn: int) -> float:
        """The estimate for a deployment that nobody is waiting for."""
        passed = min((now_s - self.at_s) / FADE_S, (turn - self.turn) / FADE_TURNS)
        return self.value_s * exp(-passed) if passed > 0 else self.value_s
