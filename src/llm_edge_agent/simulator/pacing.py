"""A streamed reply: pieces written at the pace of a model, by timers of the loop and without a task."""

import asyncio
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from llm_edge_agent.http.messages import AbortReason, Sink
from llm_edge_agent.simulator.records import Told

_BURST_BYTES = 64 * 1024
_BURST_PIECES = 256
"""So many pieces are written at most before the loop gets its turn."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One event of a stream and the tokens it delivers; pieces of 0 tokens go out with the piece before them."""

    data: bytes
    tokens: int = 0
    tells: Told = "nothing"
    """What it says of the bill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When pieces are due. Times in seconds."""

    latency_s: float = 0.0
    per_token_s: float = 0.0
    jitter: float = 0.0
    one_write_per_event: bool = False
    write_bytes: int = 0
    """Each write has at most so many bytes; 0: no bound."""

    @staticmethod
    def of(latency_s: float, tokens_per_s: float, jitter: float, one_write_per_event: bool) -> "Pace":
        """`tokens_per_s` of 0 or infinity: no wait between tokens."""
        per_token_s = 1 / tokens_per_s if 0 < tokens_per_s < math.inf else 0.0
        return Pace(
            latency_s=latency_s, per_token_s=per_token_s, jitter=jitter, one_write_per_event=one_write_per_event
        )

    def wait_s(self, tokens: int, rng: random.Random) -> float:
        return self.stretched(self.per_token_s * tokens, rng)

    def stretched(self, wait_s: float, rng: random.Random) -> float:
        """The wait with the jitter applied."""
        return wait_s * (1 + self.jitter * rng.uniform(-1, 1)) if self.jitter and wait_s else wait_s


@dataclass(frozen=True, slots=True)
class Failure:
    """What goes wrong after `after_tokens` tokens. `error` makes the in-band event of the dialect, for the modes error
    and failed."""

    after_tokens: int
    mode: Literal["rst", "fin", "error", "failed", "stall", "eof_tidy"]
    error: Callable[[], bytes] = bytes


OnEnd = Callable[[bool, bool, int, Told], None]
"""Called once: completed, aborted, tokens delivered, what was told of the bill."""


class PacedStream:
    """A `Streaming` over pieces. Holds one timer at most; holds back while paused."""

    __slots__ = (
        "_delivered",
        "_due_s",
        "_failure",
        "_loop",
        "_next",
        "_on_end",
        "_pace",
        "_paused",
        "_pieces",
        "_rng",
        "_sink",
        "_timer",
        "_told",
        "headers",
        "status",
    )

    def __init__(
        self,
        pieces: Iterator[Piece],
        pace: Pace,
        rng: random.Random,
        on_end: OnEnd,
        *,
        headers: bytes,
        failure: Failure | None = None,
    ) -> None:
        self.status = 200
        self.headers = headers
        self._loop = asyncio.get_running_loop()
        self._pieces = pieces
        self._next: Piece | None = None
        self._pace = pace
        self._rng = rng
        self._on_end: OnEnd | None = on_end
        self._failure = failure
        self._sink: Sink | None = None
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None
        self._paused = False
        self._delivered = 0
        self._told: Told = "unanswered"
        self._due_s = 0.0

    def start(self, sink: Sink) -> None:
        self._sink = sink
        self._due_s = self._loop.time() + self._pace.stretched(self._pace.latency_s, self._rng)
        if self._pace.latency_s > 0:
            self._timer = self._loop.call_at(self._due_s, self._push)
        else:
            self._push()

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._timer is None and self._on_end is not None and self._sink is not None:
                self._timer = self._loop.call_soon(self._push)

    def abort(self, reason: AbortReason) -> None:
        self._finish(completed=False, aborted=True)

    def _push(self) -> None:
        """Writes all that is due, then sets the timer for what comes next."""
        self._timer = None
        sink = self._sink
        if sink is None:
            return
        now_s = self._loop.time()
        batch: list[bytes] = []
        size = 0
        for _ in range(_BURST_PIECES):
            if self._paused or self._on_end is None or size > _BURST_BYTES:
                break
            if self._failure is not None and self._delivered >= self._failure.after_tokens:
                self._flush(sink, batch)
                self._fail(sink, self._failure)
                return
            piece = self._peek()
            if piece is None:
                self._flush(sink, batch)
                self._finish(completed=True)
                sink.end()
                return
            if self._due_s > now_s:
                self._flush(sink, batch)
                self._timer = self._loop.call_at(self._due_s, self._push)
                return
            self._next = None
            self._delivered += piece.tokens
            if piece.tells != "nothing" or self._told == "unanswered":
                self._told = piece.tells
            size += len(piece.data)
            batch.append(piece.data)
            if self._pace.one_write_per_event:
                self._flush(sink, batch)
        self._flush(sink, batch)
        if not self._paused and self._on_end is not None:
            self._timer = self._loop.call_soon(self._push)

    def _flush(self, sink: Sink, batch: list[bytes]) -> None:
        if batch:
            data = b"".join(batch)
            batch.clear()
            size = self._pace.write_bytes or len(data)
            for start in range(0, len(data), size):
                sink.write(data[start : start + size])

    def _peek(self) -> Piece | None:
        """The next piece, whose time is then `_due_s`; None at the end. A model that was held back catches up."""
        if self._next is None:
            self._next = next(self._pieces, None)
            if self._next is not None and self._next.tokens and self._delivered:
                self._due_s += self._pace.wait_s(self._next.tokens, self._rng)
        return self._next

    def _fail(self, sink: Sink, failure: Failure) -> None:
        if failure.mode == "stall":
            return
        self._finish(completed=False)
        if failure.mode in ("rst", "fin"):
            sink.cut()
            return
        if failure.mode in ("error", "failed"):
            sink.write(failure.error())
        sink.end()

    def _finish(self, *, completed: bool, aborted: bool = False) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        on_end, self._on_end = self._on_end, None
        if on_end is not None:
            on_end(completed, aborted, self._delivered, self._told)
