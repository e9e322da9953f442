"""The same pipeline without our server: as an ASGI application, and as one call that answers one request.

Speaks ASGI 3.0 (https://asgi.readthedocs.io, HTTP spec 2.3, lifespan 2.0). HTTP framing, connections and their
deadlines are the hosting server's business here; what the gateway decides is the same code.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from time import monotonic
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import quote

from llm_edge_agent.http.messages import Complete, Handler, Request, Streaming, header_pairs
from llm_edge_agent.http.tasks import spawn

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BUFFER_LIMIT_BYTES = 256 * 1024
"""A consumer that lags this far behind holds the upstream back."""


class Embedded(Protocol):
    """What is served: a gateway's handler, its bound on bodies, and what begins and ends its service."""

    @property
    def handler(self) -> Handler: ...
    @property
    def max_body_bytes(self) -> int: ...
    def begin_serving(self) -> None: ...
    async def close(self) -> None: ...


class Reply:
    """One answer. Iterate it for the body (one piece where it is whole), or `await reply.read()`.

    Use it as an async context manager, or call `aclose()`: leaving early cancels generation at the provider.
    """

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], source: "bytes | Streaming") -> None:
        self.status = status
        self.headers = headers
        """Pairs of lower-case names and values, without lengths and other framing."""
        self._source = source
        self._pieces: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._ready = asyncio.Event()
        self._started = self._ended = self._paused = False
        self._cut = False
        if not isinstance(source, bytes):
            source.pause()  # until somebody reads: what comes before has no other bound

    # http.messages.Sink, towards the stream.

    def write(self, data: bytes) -> None:
        self._pieces.append(data)
        self._buffered_bytes += len(data)
        self._ready.set()
        if self._buffered_bytes > BUFFER_LIMIT_BYTES and not self._paused and not isinstance(self._source, bytes):
            self._paused = True
            self._source.pause()

    def end(self, last: bytes = b"", trailers: bytes = b"") -> None:
        if last:
            self._pieces.append(last)
            self._buffered_bytes += len(last)
        self._ended = True
        self._ready.set()

    def cut(self) -> None:
        self._cut = True
        self.end()

    # Towards the consumer.

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._started:
            raise RuntimeError("the body of a reply can be read once")
        self._started = True
        if isinstance(self._source, bytes):
            self._ended = True
            yield self._source
            return
        self._source.start(self)
        self._source.resume()
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._buffered_bytes -= len(piece)
                yield piece
            if self._paused:
                self._paused = False
                self._source.resume()
            if self._ended and not self._pieces:
                break
            self._ready.clear()
            if not self._pieces:
                await self._ready.wait()
        if self._cut:
            raise ConnectionError("the answer was cut off")

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([piece async for piece in self])

    def leave(self) -> None:
        """Ends the exchange if it has not ended: nobody reads on. Idempotent."""
        if not self._ended:
            self.end()
            if not isinstance(self._source, bytes):
                self._source.abort("client_gone")

    async def aclose(self) -> None:
        """`leave`, for `async with` and `contextlib.aclosing`."""
        self.leave()

    async def __aenter__(self) -> "Reply":
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _reply(outcome: Complete | Streaming) -> Reply:
    source = outcome.body if isinstance(outcome, Complete) else outcome
    # What is announced here would not follow: few ASGI servers have a place for trailers.
    headers = [pair for pair in header_pairs(outcome.headers) if pair[0] != b"trailer"]
    return Reply(outcome.status, headers, source)


def refusal(handler: Handler, request: Request) -> Complete | None:
    """Why a request is refused by its head alone, or None."""
    refused = handler.head(request)
    if refused is None and request.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        return handler.refuse("unsupported_media_type", "Content codings are not supported.", request)
    return refused


async def handle_chat_completions(state: Embedded, headers: Mapping[str, str], body: bytes) -> Reply:
    """Answers one chat completion request as the gateway would over HTTP, keys and limits included.

    Never raises for a request that is refused or fails: the reply carries the status and OpenAI's error object.
    """
    request = Request(
        "POST", "/v1/chat/completions", "", fold_headers((k.encode(), v.encode()) for k, v in headers.items())
    )

    request.received_s = monotonic()
    outcome: Complete | Streaming | None = refusal(state.handler, request)
    if outcome is None and len(body) > state.max_body_bytes:
        outcome = state.handler.refuse("body_too_large", "The request body is too large.", request)
    if outcome is None:
        request.body = body
        answer = state.handler.handle(request)
        outcome = answer if isinstance(answer, Complete) else await answer
    return _reply(outcome)


def fold_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Header fields as `Request` has them: lower-case names, repeated fields joined with a comma."""
    folded: dict[bytes, bytes] = {}
    for name, value in pairs:
        name = name.lower()
        folded[name] = folded[name] + b", " + value if name in folded else value
    return folded


def _path(scope: Scope) -> str:
    """The path below the mount point as the client wrote it: what is escaped in it is decoded once, by its reader."""
    raw: bytes | None = scope.get("raw_path")
    path = raw.decode("latin-1") if raw is not None else quote(scope["path"])
    return path.removeprefix(quote(scope.get("root_path", ""))) or "/"


class ASGIApp:
    """Mount it in Starlette or FastAPI, or hand it to an ASGI server.

    The gateway is loaded at the server's lifespan start, or at the first request where none is announced (mounted
    applications get no lifespan; then `await app.close()` at shutdown).
    """

    def __init__(self, load: Callable[[], Awaitable[Embedded]]) -> None:
        self._load = load
        self._loading = asyncio.Lock()
        self._state: Embedded | None = None

    async def state(self) -> Embedded:
        """The gateway, loaded if need be. Raises what its configuration raises."""
        async with self._loading:
            if self._state is None:
                self._state = await self._load()
                self._state.begin_serving()
        return self._state

    async def close(self) -> None:
        """Closes upstream connections and flushes the log; idempotent."""
        state, self._state = self._state, None
        if state is not None:
            await state.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            raise ValueError(f"no support for ASGI scope type {scope['type']!r}")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.state()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = await self.state()
        request = Request(
            scope["method"],
            _path(scope),
            scope.get("query_string", b"").decode("latin-1"),
            fold_headers(scope["headers"]),
            http_1_0=scope.get("http_version") == "1.0",
            received_s=monotonic(),
        )

        try:
            outcome = await _outcome(state, request, receive)
        except _ClientGoneError:
            return
        async with _reply(outcome) as reply:
            await _send_reply(reply, receive, send, head_only=scope["method"] == "HEAD")


class _ClientGoneError(Exception):
    """The client went away before its request was complete."""


async def _read_body(receive: Receive, limit_bytes: int) -> bytes | None:
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _ClientGoneError
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit_bytes:
            return None
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


async def _outcome(state: Embedded, request: Request, receive: Receive) -> Complete | Streaming:
    refused = refusal(state.handler, request)
    if refused is not None:
        return refused
    try:
        body = await _read_body(receive, state.max_body_bytes)
    except BaseException:
        state.handler.refuse("client_gone", "The client left before its request was complete.", request)
        raise
    if body is None:
        return state.handler.refuse("body_too_large", "The request body is too large.", request)
    request.body = body
    answer = state.handler.handle(request)
    return answer if isinstance(answer, Complete) else await _unless_gone(answer, receive)


async def _unless_gone(answer: Awaitable[Complete | Streaming], receive: Receive) -> Complete | Streaming:
    """The answer, or _ClientGoneError where the client leaves first: then the request is cancelled."""
    answering = asyncio.ensure_future(answer)
    leaving = spawn(_disconnected(receive))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            raise _ClientGoneError
        return answering.result()
    except asyncio.CancelledError:
        if answering.done() and not answering.cancelled():
            outcome = answering.result()
            if not isinstance(outcome, Complete):
                outcome.abort("client_gone")  # it came in the moment of the cancellation, and nobody will see it
        raise
    finally:
        answering.cancel()
        leaving.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_reply(reply: Reply, receive: Receive, send: Send, *, head_only: bool) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    if not head_only:
        leaving = spawn(_disconnected(receive))
        leaving.add_done_callback(lambda task: None if task.cancelled() else reply.leave())
        try:
            async for piece in reply:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            leaving.cancel()
    await send({"type": "http.response.body", "body": b"", "more_body": False})
