"""How long a deployment lets a request wait: an estimate from what it answered, and from the queue in front of it.

Two things are learned. The *estimate* is an average of recent waits that follows a change quickly and noise slowly.
The *interval* is the time between two answers while somebody waits: so many that wait, times the interval, is how long
the last of them will wait, whether the deployment has slots to spare (the interval is then short because requests come
often) or is full (it is then as short as the deployment can make it). A fixed power of the queue's length would take
a busy deployment for a slow one.
"""

from math import exp, inf

DECAY_S = 30.0
LEAST_WEIGHT = 0.02
"""Of an answer that comes right after another: so many have a say that equals look equal."""
CHANGE = 4.0
CHANGE_WEIGHT = 0.2
"""A wait so many times longer or shorter than the estimate is more likely a change than noise. It takes a few of them
to be believed: one alone is no reason to leave a good deployment for long."""
INTERVAL_WEIGHT = 0.1
FADE_S = 60.0
FADE_TURNS = 1500
"""How slowly an estimate fades of a deployment that is passed over: by time, and by requests that went elsewhere,
whichever is less; at first hardly, then quickly, so that those a little slower are not looked at more often than those
much slower. Each is tried again about once in one or two thousand requests: looking must not show in the 99th
percentile."""
FRESH_S = 1.0
"""For so long a faded estimate is taken as it is."""
UNKNOWN_S = 1.0
"""Taken for each call that waits at a deployment that has not answered yet. One without calls is taken for the fastest:
it gets one."""


class Wait:
    """The waits of one kind of call at one deployment: for the first token, or for a whole answer. Seconds."""

    __slots__ = ("_interval_s", "_passed_s", "at_s", "expected_s", "fresh_until_s", "turn", "value_s", "waiting")

    def __init__(self) -> None:
        self.value_s = 0.0
        """The estimate; 0 while nothing is known."""
        self.at_s = 0.0
        """When it was learned."""
        self.turn = 0
        """The turn at which the deployment was chosen last."""
        self.waiting = 0
        """Calls under way that wait."""
        self.expected_s = 0.0
        self.fresh_until_s = 0.0
        """What `DeploymentState.wait_s` found, and until when nobody need ask again; 0 after anything has changed."""
        self._interval_s = 0.0
        self._passed_s = 0.0
        """When the last call came through, or the first of those that wait began."""

    def begun(self, now_s: float) -> None:
        """A call begins."""
        if not self.waiting:
            self._passed_s = now_s
        self.waiting += 1
        self.fresh_until_s = 0.0

    def answered(self, seconds: float, now_s: float) -> None:
        """One came through, after so many seconds."""
        value_s = self.value_s
        interval_s = now_s - self._passed_s
        if value_s:
            weight = max(LEAST_WEIGHT, 1.0 - exp((self.at_s - now_s) / DECAY_S))
            if weight < CHANGE_WEIGHT and not value_s < CHANGE * seconds < CHANGE * CHANGE * value_s:
                weight = CHANGE_WEIGHT
            seconds = value_s + (seconds - value_s) * weight
            interval_s = self._interval_s + (interval_s - self._interval_s) * INTERVAL_WEIGHT
        self.value_s = seconds
        self.at_s = self._passed_s = now_s
        self._interval_s = interval_s
        self.waiting -= 1
        self.fresh_until_s = 0.0

    def left(self) -> None:
        """One ended without an answer."""
        self.waiting -= 1
        self.fresh_until_s = 0.0

    def expect(self, now_s: float, turn: int) -> float:
        """How long a call would wait that begins now; 0 at a deployment that nothing is known of. Sets until when that
        holds if nothing happens, not at all while nothing is known.

        While nobody waits the estimate fades, so that a deployment that was slow is tried again; one request at a time
        does that, because with one under way the estimate stands as it was.
        """
        value_s = self.value_s
        if not value_s:
            return UNKNOWN_S * self.waiting
        if self.waiting:
            self.fresh_until_s = inf
            queue_s = self._interval_s * self.waiting
            return queue_s if queue_s > value_s else value_s
        self.fresh_until_s = now_s + FRESH_S
        passed = min((now_s - self.at_s) / FADE_S, (turn - self.turn) / FADE_TURNS)
        return value_s * exp(-passed * passed) if passed > 0 else value_s
