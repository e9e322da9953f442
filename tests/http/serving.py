"""A handler that shows what it was asked, a server around it, and a client that sees every byte."""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

from llm_edge_agent.config import ServerLimits
from llm_edge_agent.http.messages import AbortReason, Complete, Refusal, Request, Sink, Streaming
from llm_edge_agent.http.server import Server
from llm_edge_agent.http.tasks import running_tasks

STATUS: dict[Refusal, int] = {
    "bad_request": 400,
    "headers_too_large": 431,
    "uri_too_long": 414,
    "body_too_large": 413,
    "unsupported_media_type": 415,
    "expectation_failed": 417,
    "request_timeout": 408,
    "version_not_supported": 505,
    "not_implemented": 501,
    "shutting_down": 503,
    "internal_error": 500,
}
TEXT = b"content-type: text/plain\r\n"


class Recorded(Streaming):
    """A stream that remembers what became of it. `script` writes to the sink it is given."""

    def __init__(self, script: Callable[["Recorded", Sink], None], status: int = 200) -> None:
        self._script = script
        self._status = status
        self.sink: Sink | None = None
        self.events: list[str] = []
        self.last_words = b""

    @property
    def status(self) -> int:
        return self._status

    @property
    def headers(self) -> bytes:
        return TEXT

    def start(self, sink: Sink) -> None:
        self.sink = sink
        self.events.append("start")
        self._script(self, sink)

    def pause(self) -> None:
        self.events.append("pause")

    def resume(self) -> None:
        self.events.append("resume")

    def abort(self, reason: AbortReason) -> None:
        self.events.append(f"abort {reason}")
        if self.sink is not None and self.last_words:
            self.sink.write(self.last_words)


def leave_open(stream: Recorded, sink: Sink) -> None:
    sink.write(b"first")


def write_and_end(stream: Recorded, sink: Sink) -> None:
    for piece in (b"one", b"", b"two" * 100, b"three"):
        sink.write(piece)
    sink.end()
    sink.write(b"late")
    sink.end()
    sink.cut()


def write_and_cut(stream: Recorded, sink: Sink) -> None:
    sink.write(b"partial")
    sink.cut()
    sink.write(b"late")
    sink.end()


class Echo:
    """Paths: /echo and any other answer at once what was asked; /slow after `?seconds`; /hang never; /stream, /cut and
    /open stream; /big answers `?bytes`; /deny is refused by its head; /raise-head, /raise and /raise-later fail."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.ran: list[str] = []
        self.refused: list[str] = []
        self.cancelled: list[str] = []
        self.streams: list[Recorded] = []
        self.requests: list[Request] = []

    def head(self, request: Request) -> Complete | None:
        self.heads.append(request.path)
        if request.path == "/raise-head":
            raise LookupError(request.query)
        if request.path == "/deny":
            return Complete(401, TEXT, b"denied")
        if request.method == "CONNECT":
            return Complete(405, TEXT, b"no tunnels")
        return None

    def handle(self, request: Request) -> Complete | Awaitable[Complete | Streaming]:
        self.ran.append(f"{request.method} {request.path}")
        self.requests.append(request)
        path = request.path
        if path == "/raise":
            raise LookupError(request.query)
        if path in ("/slow", "/hang", "/raise-later", "/stream", "/cut", "/open", "/self-cancelled", "/late-stream"):
            return self._later(request)
        if path == "/big":
            return Complete(200, TEXT, b"b" * int(request.query))
        if path == "/empty":
            return Complete(204, b"", b"")
        if path == "/bye":
            return Complete(200, TEXT, b"bye", close=True)
        return self.shown(request)

    def refuse(self, refusal: Refusal, detail: str, request: Request | None) -> Complete:
        self.refused.append(refusal)
        return Complete(STATUS[refusal], TEXT, refusal.encode())

    @staticmethod
    def shown(request: Request) -> Complete:
        digest = hashlib.sha256(request.body).hexdigest()[:8]
        text = f"{request.method} {request.path}|{request.query}|{len(request.body)} {digest}"
        return Complete(200, TEXT, text.encode())

    async def _later(self, request: Request) -> Complete | Streaming:
        try:
            return await self._answer(request)
        except asyncio.CancelledError:
            self.cancelled.append(request.path)
            if request.path == "/late-stream":
                return self._stream(leave_open)
            raise

    async def _answer(self, request: Request) -> Complete | Streaming:
        if request.path == "/slow":
            await asyncio.sleep(float(request.query))
            return self.shown(request)
        if request.path == "/raise-later":
            await asyncio.sleep(0)
            raise LookupError(request.query)
        if request.path == "/self-cancelled":
            raise asyncio.CancelledError
        if request.path in ("/hang", "/late-stream"):
            await asyncio.Event().wait()
        scripts = {"/stream": write_and_end, "/cut": write_and_cut, "/open": leave_open}
        return self._stream(scripts[request.path])

    def _stream(self, script: Callable[[Recorded, Sink], None]) -> Recorded:
        stream = Recorded(script)
        self.streams.append(stream)
        return stream


class Site(NamedTuple):
    server: Server
    echo: Echo

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.port, limit=1 << 24)

    async def send(self, *pieces: bytes, pause_s: float = 0.0) -> bytes:
        """Sends `pieces` and returns what comes until the server closes."""
        reader, writer = await self.connect()
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(pause_s)
            return await asyncio.wait_for(reader.read(), 20)
        finally:
            await hang_up(writer)

    async def quiet(self) -> None:
        """Waits until nothing of any client is left."""
        await until(lambda: self.server.connections == 0 and self.server.in_flight == 0 and running_tasks() == 0)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def serving(limits: ServerLimits | None = None) -> AsyncIterator[Site]:
    """A running server, stopped at the end; nothing of it may be left then."""
    echo = Echo()
    server = Server(echo, limits or ServerLimits())
    await server.start("127.0.0.1", 0)
    try:
        yield Site(server, echo)
    finally:
        await server.stop(0.0)
        assert server.connections == 0
        assert server.in_flight == 0
        await until(lambda: running_tasks() == 0)


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def answers(wire: bytes, *, bodiless: bool = False) -> list[Answer]:
    """Takes replies apart, by rules of its own. A reply to HEAD is `bodiless`."""
    found = []
    while wire:
        head, _, wire = wire.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) [ -~]*", status_line)
        assert match is not None, status_line
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        assert len(headers) == len(lines)
        status = int(match[1])
        if status < 200 or status == 204 or bodiless:
            body = b""
        elif headers.get("transfer-encoding") == "chunked":
            body, wire = dechunk(wire)
        elif "content-length" in headers:
            length = int(headers["content-length"])
            assert len(wire) >= length
            body, wire = wire[:length], wire[length:]
        else:
            body, wire = wire, b""
        found.append(Answer(status, headers, body))
    return found


def dechunk(wire: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, wire = wire.partition(b"\r\n")
        length = int(size, 16)
        body += wire[:length]
        assert wire[length : length + 2] == b"\r\n"
        wire = wire[length + 2 :]
        if not length:
            return body, wire


def get(path: str, *fields: str, version: str = "1.1", method: str = "GET") -> bytes:
    return "".join(
        line + "\r\n" for line in (f"{method} {path} HTTP/{version}", "Host: gateway.test", *fields, "")
    ).encode("latin-1")


def post(path: str, body: bytes, *fields: str) -> bytes:
    return get(path, f"Content-Length: {len(body)}", *fields, method="POST") + body
