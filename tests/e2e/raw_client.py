"""A client that sends and shows exact bytes, and reads HTTP only as far as a test needs it."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests import canaries

_RESET = struct.pack("ii", 1, 0)
PATIENCE_S = 30.0
"""How long a test waits for bytes before the silence itself is the failure."""


@dataclass(frozen=True)
class Answer:
    """One reply, with the chunked framing of its body taken off."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool = True
    """Whether the framing was complete."""
    trailers: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = self.json["error"]
        return found

    @property
    def text(self) -> str:
        found: str = self.json["choices"][0]["message"]["content"]
        return found

    @property
    def events(self) -> list[Any]:
        """The payloads of an event stream; `[DONE]` as that text. Comments are left out."""
        return events_of(self.body)


def events_of(body: bytes) -> list[Any]:
    found: list[Any] = []
    for block in body.split(b"\n\n"):
        if block.startswith(b"data: "):
            data = block.removeprefix(b"data: ")
            found.append("[DONE]" if data == b"[DONE]" else json.loads(data))
    return found


def streamed_text(events: list[Any], index: int = 0) -> str:
    """What the pieces of one choice add up to."""
    return "".join(
        choice["delta"].get("content") or ""
        for each in events
        if each != "[DONE]" and "choices" in each
        for choice in each["choices"]
        if choice["index"] == index
    )


def request_bytes(
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    path: str = "/v1/chat/completions",
    method: str = "POST",
) -> bytes:
    lines = {"host": "gateway", "content-type": "application/json", **(headers or {})}
    if body or method == "POST":
        lines.setdefault("content-length", str(len(body)))
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode("latin-1") + body


class Wire:
    """One client connection. `seen` is the ledger that gets every byte the server sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
        self._reader = reader
        self._writer = writer
        self._seen = seen
        self._buffer = b""
        self._chunked = False
        self.ended = False
        self.trailers: dict[str, str] = {}
        """What followed the last chunked body."""

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def _more(self) -> bool:
        """Reads on; False at the end of input, a reset included."""
        try:
            data = await asyncio.wait_for(self._reader.read(65536), PATIENCE_S)
        except ConnectionError:
            data = b""
        self._seen += data
        self._buffer += data
        self.ended = self.ended or not data
        return bool(data)

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        while mark not in self._buffer:
            assert await self._more(), f"the connection ended before {mark!r}: {self._buffer[-300:]!r}"
        found, _, rest = self._buffer.partition(mark)
        self._buffer = rest
        return found + mark

    async def some(self) -> bytes:
        """Whatever comes next; empty at the end of the connection."""
        if not self._buffer and not self.ended:
            await self._more()
        found, self._buffer = self._buffer, b""
        return found

    async def to_end(self) -> bytes:
        """Everything up to the end of the connection."""
        while not self.ended:
            await self._more()
        found, self._buffer = self._buffer, b""
        return found

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next reply, interim ones passed over."""
        while True:
            first, *lines = (await self.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
            status = int(first.split(" ")[1])
            if status >= 200:
                break
        headers = _fields(lines)
        self._chunked = headers.get("transfer-encoding") == "chunked"
        return status, headers

    async def chunk(self) -> bytes | None:
        """The next piece of a chunked body; None at its end."""
        size = int(await self.until(b"\r\n"), 16)
        if not size:
            lines = []
            while (line := await self.until(b"\r\n")) != b"\r\n":
                lines.append(line.decode("latin-1"))
            self.trailers = _fields(lines)
            return None
        while len(self._buffer) < size + 2:
            assert await self._more(), "the connection ended inside a chunk"
        data, self._buffer = self._buffer[:size], self._buffer[size + 2 :]
        return data

    async def answer(self, *, bodyless: bool = False) -> Answer:
        """The next reply as a whole. A body that breaks off gives `whole` False."""
        found = await self._answer(bodyless)
        canaries.look_at_answer(found.status, found.headers, found.body)
        return found

    async def _answer(self, bodyless: bool) -> Answer:
        status, headers = await self.head()
        if bodyless or status in (204, 304):
            return Answer(status, headers, b"")
        if not self._chunked:
            length = int(headers["content-length"])
            while len(self._buffer) < length and await self._more():
                pass
            body, self._buffer = self._buffer[:length], self._buffer[length:]
            return Answer(status, headers, body, len(body) == length)
        collected = bytearray()
        try:
            while (piece := await self.chunk()) is not None:
                collected += piece
        except AssertionError:
            return Answer(status, headers, bytes(collected), whole=False)
        return Answer(status, headers, bytes(collected), trailers=self.trailers)

    def pause_reading(self) -> None:
        """Takes no more bytes than are on their way."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]  # every stream transport has it

    def resume_reading(self) -> None:
        self._writer.transport.resume_reading()  # type: ignore[attr-defined]  # as above

    def half_close(self) -> None:
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.transport.abort()


def _fields(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.lower(): value.strip() for name, _, value in pairs}


@contextlib.asynccontextmanager
async def connected(port: int, seen: bytearray, *, limit: int = 65536) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    try:
        yield Wire(reader, writer, seen)
    finally:
        writer.close()
