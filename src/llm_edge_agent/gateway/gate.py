"""How many calls may be at providers at a time, and the queue in front of them: bounded in length and in time.

A call enters, and leaves when its try has ended, for a stream with the stream. Whoever waits is let in in the order of
arrival, and nobody passes the queue. Two bounds are kept: of all calls together, and of single deployments that have
one of their own (`max_concurrency`); for the latter the walk decides, and only the waiting is done here.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

from llm_edge_agent.core.deployments import DeploymentState
from llm_edge_agent.core.errors import ErrorKind, GatewayError


class Bounds(NamedTuple):
    """Calls at providers at a time, how many may wait for their turn, and how long."""

    limit: int
    queue_size: int
    timeout_s: float


class Gate:
    """Belongs to one event loop."""

    def __init__(self, bounds: Bounds) -> None:
        self.inside = 0
        self.shed = 0
        """How many were turned away."""
        self._limit, self._queue_size, self._timeout_s = bounds
        self._line: deque[asyncio.Future[None]] = deque()
        self._lines: dict[DeploymentState, deque[asyncio.Future[None]]] = {}
        self._at_deployments = 0

    @property
    def waiting(self) -> int:
        return len(self._line) + self._at_deployments

    def adopt(self, bounds: Bounds) -> None:
        """Other bounds. Who is inside stays."""
        self._limit, self._queue_size, self._timeout_s = bounds
        self._let_in()

    def enter(self) -> bool:
        """Whether there was room at once. What entered must `leave`."""
        if self.inside >= self._limit or self._line:
            return False
        self.inside += 1
        return True

    async def wait(self) -> None:
        """Enters as soon as it is its turn. Raises GatewayError OVERLOADED (503) where the queue is full or the time
        is up."""
        if self.waiting >= self._queue_size:
            raise self._turned_away()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(turn)
        try:
            async with asyncio.timeout(self._timeout_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_back()  # it was let in in the very moment it left
            elif turn in self._line:  # else it was passed over already
                self._line.remove(turn)
            if isinstance(error, TimeoutError):
                raise self._turned_away() from None
            raise

    def leave(self, state: DeploymentState) -> None:
        """A call has ended."""
        self._give_back()
        self._call(state)

    def _call(self, state: DeploymentState) -> None:
        """Tells the first of those who wait for a deployment that there is room."""
        line = self._lines.get(state)
        while line:
            turn = line.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def room(self, states: Sequence[DeploymentState], until_s: float) -> None:
        """Returns when a call at one of these deployments has ended. Raises as `wait`; `until_s` is monotonic."""
        if self.waiting >= self._queue_size:
            raise self._turned_away()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for state in states:
            self._lines.setdefault(state, deque()).append(turn)
        self._at_deployments += 1
        try:
            async with asyncio.timeout(max(0.0, until_s - monotonic())):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                for state in states:  # the room it was told of is another's now
                    self._call(state)
            if isinstance(error, TimeoutError):
                raise self._turned_away() from None
            raise
        finally:
            self._at_deployments -= 1
            for state in states:
                line = self._lines.get(state)
                if line is not None and turn in line:
                    line.remove(turn)
                if not line:
                    self._lines.pop(state, None)

    def until_s(self) -> float:
        """How long one that comes now may wait; monotonic."""
        return monotonic() + self._timeout_s

    def _give_back(self) -> None:
        self.inside -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._line and self.inside < self._limit:
            turn = self._line.popleft()
            if not turn.done():
                self.inside += 1
                turn.set_result(None)

    def _turned_away(self) -> GatewayError:
        self.shed += 1
        return GatewayError(
            ErrorKind.OVERLOADED, "The gateway has too many requests under way. Try again soon.", retry_after_s=1
        )
