"""The simulated world: providers with finite slots, and a clock that jumps from event to event.

A provider serves so many requests at a time and lets the others queue. A request's answer has a time to its first
token and then a time to its end, and holds its slot for both. Providers may be slow, always or for a while, fail, limit
the rate, or be gray: well most of the time and bad some of it.

Chance belongs to the request, not to the provider: its nth call meets the same luck whichever provider it goes to. So
rules that meet the same requests differ by what they decide and not by their luck, and differences between them show
that would drown in noise.
"""

import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf
from typing import Literal

Outcome = Literal["ok", "error", "limited", "timeout"]

ATTEMPT_TIMEOUT_S = 60.0
REFUSAL_S = 0.05
TOKENS_PER_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Provider:
    """How one deployment behaves. `price`: USD per million tokens, output at four times that."""

    name: str
    slots: int = 32
    first_token_s: float = 0.4
    spread: float = 0.35
    """Sigma of the log-normal noise of the time to the first token."""
    slowness: float = 1.0
    slow_from_s: float = 0.0
    slow_until_s: float = inf
    failing: float = 0.0
    rpm: int | None = None
    stalls: float = 0.0
    """Share of requests that take STALL times as long to their first token."""
    price: float = 1.0

    def slowness_at(self, now_s: float) -> float:
        return self.slowness if self.slow_from_s <= now_s < self.slow_until_s else 1.0


STALL = 20.0


class Luck:
    """What chance has in store for one request, call after call."""

    __slots__ = ("_chance", "_seed")

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._chance: random.Random | None = None

    def draw(self) -> tuple[float, float, float]:
        """Of the next call: if it fails, if it stalls (both from 0 to 1), how long it takes, in sigmas."""
        if self._chance is None:
            self._chance = random.Random(self._seed)
        return self._chance.random(), self._chance.random(), self._chance.gauss(0, 1)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def at(self, when_s: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._order), call))

    def run(self) -> None:
        while self._events:
            self.now_s, _, call = heapq.heappop(self._events)
            call()


class Call:
    """One attempt at one provider. Seconds are those of a provider that is not slow."""

    __slots__ = ("done", "first_token_s", "generation_s", "on_end", "on_first", "started")

    def __init__(
        self,
        first_token_s: float,
        generation_s: float,
        on_first: Callable[[], None],
        on_end: Callable[[Outcome, float | None], None],
    ) -> None:
        self.first_token_s = first_token_s
        self.generation_s = generation_s
        self.on_first = on_first
        self.on_end = on_end
        self.started = False
        self.done = False


class Server:
    """One provider at work."""

    def __init__(self, provider: Provider, clock: Clock) -> None:
        self.provider = provider
        self._clock = clock
        self._busy = 0
        self._queue: deque[Call] = deque()
        self._bucket = float(provider.rpm or 0) / 60
        self._filled_s = 0.0

    def call(
        self,
        output_tokens: int,
        luck: Luck,
        timeout_s: float,
        on_first: Callable[[], None],
        on_end: Callable[[Outcome, float | None], None],
    ) -> None:
        """`on_first` at the first token; `on_end(outcome, seconds asked to wait)` once: before the first token where
        the attempt failed, else when the answer is complete."""
        clock, provider = self._clock, self.provider
        fails, stalls, sigmas = luck.draw()
        if provider.rpm is not None:
            per_s = provider.rpm / 60
            self._bucket = min(per_s, self._bucket + per_s * (clock.now_s - self._filled_s))
            self._filled_s = clock.now_s
            if self._bucket < 1:
                wait_s = (1 - self._bucket) / per_s
                clock.at(clock.now_s + REFUSAL_S, lambda: on_end("limited", wait_s))
                return
            self._bucket -= 1
        if fails < provider.failing:
            clock.at(clock.now_s + REFUSAL_S, lambda: on_end("error", None))
            return
        first_s = provider.first_token_s * exp(provider.spread * sigmas)
        if stalls < provider.stalls:
            first_s *= STALL
        call = Call(first_s, output_tokens / TOKENS_PER_S, on_first, on_end)
        clock.at(clock.now_s + timeout_s, lambda: self._time_out(call))
        if self._busy < provider.slots:
            self._start(call)
        else:
            self._queue.append(call)

    def _start(self, call: Call) -> None:
        self._busy += 1
        call.started = True
        now_s = self._clock.now_s
        slowness = self.provider.slowness_at(now_s)
        call.generation_s *= slowness
        self._clock.at(now_s + call.first_token_s * slowness, lambda: self._first(call))

    def _first(self, call: Call) -> None:
        if call.done:
            return
        call.done = True
        call.on_first()
        self._clock.at(self._clock.now_s + call.generation_s, lambda: self._finish(call))

    def _finish(self, call: Call) -> None:
        call.on_end("ok", None)
        self._free()

    def _time_out(self, call: Call) -> None:
        if call.done:
            return
        call.done = True
        if call.started:
            self._free()
        call.on_end("timeout", None)

    def _free(self) -> None:
        self._busy -= 1
        while self._queue:
            call = self._queue.popleft()
            if not call.done:
                self._start(call)
                return
