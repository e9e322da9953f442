"""A provider on a raw socket: reads one request, then does exactly what a script says, byte for byte.

It keeps no rule of HTTP by itself, so that a script can break every one of them.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.canaries import ANSWER_CANARY

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends RST."""


@dataclass(frozen=True)
class Received:
    """One request as it came: `head` and `body` are its exact bytes."""

    method: str
    target: str
    headers: dict[str, str]
    head: bytes
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """One connection during one exchange, in the hands of a script."""

    def __init__(
        self,
        upstream: "ScriptedUpstream",
        request: Received,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.request = request
        self.closed = False
        self._upstream = upstream
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Writes, and waits while the other side does not read. Raises ConnectionError once it has left."""
        if self._writer.is_closing():  # uvloop's transport raises something else then
            raise ConnectionResetError
        self._writer.write(data)
        await self._writer.drain()
        self._upstream.sent_bytes += len(data)

    async def drip(self, data: bytes, *, size: int = 1, pause_s: float = 0.0) -> None:
        for start in range(0, len(data), size):
            await self.send(data[start : start + size])
            await asyncio.sleep(pause_s)

    async def left(self) -> None:
        """Returns when the other side has closed."""
        with contextlib.suppress(ConnectionError):
            await self._reader.read(1)

    def finish(self) -> None:
        """Closes with FIN after what was sent."""
        self.closed = True
        self._writer.close()

    def reset(self) -> None:
        """Closes with RST."""
        self.closed = True
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()


Script = Callable[[Line], Awaitable[None]]


@dataclass
class ScriptedUpstream:
    """`script` answers every request; replace it between requests. Counts what a provider would bill for."""

    script: Script
    received: list[Received] = field(default_factory=list)
    connections_open: int = 0
    connections_made: int = 0
    exchanges_open: int = 0
    sent_bytes: int = 0
    port: int = 0
    failures: list[BaseException] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def calls(self) -> int:
        return len(self.received)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._adopt, "127.0.0.1", 0, limit=2**27, backlog=1024, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        assert self.failures == []

    def _adopt(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections_open += 1
        self.connections_made += 1
        try:
            while True:
                request = await _read_request(reader)
                self.received.append(request)
                line = Line(self, request, reader, writer)
                self.exchanges_open += 1
                try:
                    await self.script(line)
                finally:
                    self.exchanges_open -= 1
                if line.closed:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except Exception as error:
            self.failures.append(error)
        finally:
            self.connections_open -= 1
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Received:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    headers: dict[str, str] = {}
    for text in lines:
        name, _, value = text.partition(":")
        assert name.lower() not in headers, "a header stands twice in the request to the provider"
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, head, body)


@contextlib.asynccontextmanager
async def scripted(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedUpstream]:
    upstream = ScriptedUpstream(script)
    await upstream.start(tls)
    try:
        yield upstream
    finally:
        await upstream.stop()


# Answers.


def head(status: int = 200, *lines: str, content_type: str = "application/json") -> bytes:
    text = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} Text", f"Content-Type: {content_type}", *lines))
    return f"{text}\r\n".encode("latin-1")


def completion(text: str = ANSWER_CANARY, **members: Any) -> bytes:
    answer = {
        "id": "chatcmpl-upstream",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop", "logprobs": None}
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        **members,
    }
    return json.dumps(answer, separators=(",", ":")).encode()


def reply(body: bytes, status: int = 200, *lines: str, content_type: str = "application/json") -> bytes:
    """A whole reply, framed by its length."""
    return head(status, f"Content-Length: {len(body)}", *lines, content_type=content_type) + body


def failure(status: int, message: str = "no", *lines: str, **members: Any) -> bytes:
    error = {"message": message, "type": "some_error", "param": None, "code": None, **members}
    return reply(json.dumps({"error": error}).encode(), status, *lines)


def says(data: bytes) -> Script:
    """Sends the same bytes to everybody and keeps the connection."""

    async def script(line: Line) -> None:
        await line.send(data)

    return script


def says_once(data: bytes, *, reset: bool = False) -> Script:
    """Sends bytes, then closes, by FIN or RST."""

    async def script(line: Line) -> None:
        if data:
            await line.send(data)
            await asyncio.sleep(0.02)
        if reset:
            line.reset()
        else:
            line.finish()

    return script


async def hang(line: Line) -> None:
    await line.left()
    line.finish()


# Streams.

SSE_HEAD = head(200, "Transfer-Encoding: chunked", content_type="text/event-stream")
LAST_CHUNK = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(delta: dict[str, Any], finish: str | None = None, index: int = 0, **members: Any) -> bytes:
    chunk = {
        "id": "chatcmpl-upstream",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
        **members,
    }
    return b"data: %b\n\n" % json.dumps(chunk, separators=(",", ":")).encode()


def usage_event(prompt: int = 10, completion_tokens: int = 5) -> bytes:
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt + completion_tokens,
    }
    chunk = {
        "id": "chatcmpl-upstream",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [],
        "usage": usage,
    }
    return b"data: %b\n\n" % json.dumps(chunk, separators=(",", ":")).encode()


def pieces(texts: Sequence[str]) -> list[bytes]:
    """The events of an answer that has begun: the role, then the texts."""
    return [event({"role": "assistant", "content": ""}), *(event({"content": text}) for text in texts)]


def whole_stream(texts: Sequence[str] = (ANSWER_CANARY, " and", " more")) -> list[bytes]:
    return [*pieces(texts), event({}, "stop"), usage_event(), DONE]


def streams(events: Sequence[bytes], *, pause_s: float = 0.0) -> Script:
    """A well-framed event stream that ends as its framing says; what the events say is the caller's."""

    async def script(line: Line) -> None:
        await line.send(SSE_HEAD)
        for each in events:
            await line.send(chunked(each))
            if pause_s:
                await asyncio.sleep(pause_s)
        await line.send(LAST_CHUNK)

    return script


def either(whole: bytes, events: Sequence[bytes], *, pause_s: float = 0.0) -> Script:
    """Answers a request as it asks: whole or as a stream."""
    stream = streams(events, pause_s=pause_s)

    async def script(line: Line) -> None:
        if line.request.json.get("stream"):
            await stream(line)
        else:
            await line.send(whole)

    return script
