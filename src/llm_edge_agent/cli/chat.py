"""A small client of the gateway's own API, over a real socket. Knows one endpoint, whole and streamed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import msgspec

from llm_edge_agent.dialects.sse import COMMENT, SSEDecoder
from llm_edge_agent.http.deadlines import running_sweep
from llm_edge_agent.http.origins import Origin, Timeouts, UpstreamFailure
from llm_edge_agent.http.pool import UpstreamPool

TIMEOUTS = Timeouts(connect_s=5.0, answer_s=30.0, idle_s=10.0)
MAX_ANSWER_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Completion:
    """One answer and what the gateway said about it."""

    text: str
    metadata: dict[str, Any]
    pieces: int
    """Pieces of text that came one by one; 1 for a whole answer."""
    first_s: float
    """Seconds until the first of them."""
    seconds: float


class ChatError(Exception):
    """The gateway refused, or broke off. The message is fit to show."""


class ChatClient:
    """Asks one gateway. `close` it in the end."""

    def __init__(self, url: str) -> None:
        """`url`: the gateway's address without `/v1`."""
        self._origin = Origin.from_url(url)
        self._pool = UpstreamPool(sweep=running_sweep(), max_response_bytes=MAX_ANSWER_BYTES)

    async def close(self) -> None:
        await self._pool.close()

    async def ask(self, model: str, question: str, show: Callable[[str], None] | None = None) -> Completion:
        """One completion. With `show`, streamed: called with each piece of text as it comes. Raises ChatError."""
        started_s = monotonic()
        request: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": question}]}
        if show is not None:
            request["stream"] = True
        headers = b"content-type: application/json\r\nauthorization: Bearer none\r\n"
        try:
            answer = await self._pool.send(
                self._origin, b"POST", b"/v1/chat/completions", headers, msgspec.json.encode(request), TIMEOUTS
            )
            try:
                if answer.status != 200:
                    raise ChatError(f"status {answer.status}: {_error_message(await answer.read())}")
                if show is None:
                    return _whole(await answer.read(), monotonic() - started_s)
                listener = _Listener(show, started_s)
                answer.stream(listener)
                return await listener.done
            finally:
                answer.close()
        except UpstreamFailure as failure:
            raise ChatError(failure.detail) from None


def _whole(body: bytes, seconds: float) -> Completion:
    value = msgspec.json.decode(body)
    return Completion(value["choices"][0]["message"]["content"], value.get("metadata") or {}, 1, seconds, seconds)


def _error_message(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return "no message"


class _Listener:
    """`http.origins.Receiver` of one streamed completion."""

    def __init__(self, show: Callable[[str], None], started_s: float) -> None:
        self.done: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        self._show = show
        self._started_s = started_s
        self._decoder = SSEDecoder()
        self._texts: list[str] = []
        self._metadata: dict[str, Any] = {}
        self._first_s = 0.0
        self._terminated = False

    def data(self, chunk: bytes) -> None:
        for event in self._decoder.feed(chunk):
            if event.data == b"[DONE]":
                self._terminated = True
            elif event.event != COMMENT:
                self._chunk(msgspec.json.decode(event.data))

    def _chunk(self, value: dict[str, Any]) -> None:
        if "error" in value:
            self._fail(str(value["error"].get("message")))
            return
        self._metadata = value.get("metadata") or self._metadata
        for choice in value["choices"]:
            text = choice["delta"].get("content")
            if text:
                self._first_s = self._first_s or monotonic() - self._started_s
                self._texts.append(text)
                self._show(text)

    def end(self) -> None:
        if not self._terminated:
            self._fail("the stream ended without its last event")
        elif not self.done.done():
            seconds = monotonic() - self._started_s
            text = "".join(self._texts)
            self.done.set_result(Completion(text, self._metadata, len(self._texts), self._first_s, seconds))

    def failed(self, failure: UpstreamFailure) -> None:
        self._fail(failure.detail)

    def _fail(self, message: str) -> None:
        if not self.done.done():
            self.done.set_exception(ChatError(message))
