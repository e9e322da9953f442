"""A reply that is given later, and whose exchange ends even if nobody waits for it."""

import asyncio
import math
from collections.abc import Generator
from typing import Any

from llm_edge_agent.http.messages import Complete
from llm_edge_agent.simulator.pacing import PacedStream
from llm_edge_agent.simulator.records import Exchange


class Deferred:
    """A reply to be awaited. Ends its exchange as aborted if it is cancelled, or dropped without being awaited; a
    stream that was handed over ends it itself."""

    __slots__ = ("_exchange", "_output_tokens", "_reply", "_taken", "_wait_s")

    def __init__(
        self, exchange: Exchange, reply: Complete | PacedStream, wait_s: float = 0.0, output_tokens: int = 0
    ) -> None:
        self._exchange = exchange
        self._reply = reply
        self._wait_s = wait_s
        self._output_tokens = output_tokens
        self._taken = False

    def __await__(self) -> Generator[Any, None, Complete | PacedStream]:
        try:
            if self._wait_s == math.inf:
                yield from asyncio.get_running_loop().create_future().__await__()
            elif self._wait_s > 0:
                yield from asyncio.sleep(self._wait_s).__await__()
        except BaseException:
            self._exchange.end(completed=False, aborted=True)
            raise
        self._taken = True
        if isinstance(self._reply, Complete):
            self._exchange.end(completed=True, output_tokens=self._output_tokens)
        return self._reply

    def __del__(self) -> None:
        if not self._taken:
            self._exchange.end(completed=False, aborted=True)
