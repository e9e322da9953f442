"""The last requests as they were received and the answers as they were sent, for checks of fidelity."""

import base64
from collections import deque
from collections.abc import Awaitable, Generator
from dataclasses import dataclass, field
from typing import Any, Literal

from llm_edge_agent.http.messages import AbortReason, Complete, Request, Sink, Streaming, header_pairs

_MAX_EXCHANGES = 1000
_MAX_BYTES = 128 * 1024 * 1024


@dataclass(slots=True, eq=False)
class LoggedExchange:
    """One request and its answer. Header names are in lower case, as the server reads them."""

    method: str
    target: str
    """Path and query."""
    headers: list[tuple[str, str]]
    body: bytes
    request_id: str
    status: int | None = None
    answer_headers: list[tuple[str, str]] = field(default_factory=list)
    answer: bytearray = field(default_factory=bytearray)
    """Body bytes before the framing of HTTP."""
    end: Literal["open", "complete", "cut", "aborted"] = "open"

    def to_json(self) -> dict[str, Any]:
        return {
            "request_id": self.request_id,
            "method": self.method,
            "target": self.target,
            "headers": self.headers,
            "body_base64": base64.b64encode(self.body).decode(),
            "status": self.status,
            "answer_headers": self.answer_headers,
            "answer_base64": base64.b64encode(self.answer).decode(),
            "end": self.end,
        }


class ExchangeLog:
    """Oldest forgotten first, by number and by bytes held."""

    def __init__(self, max_exchanges: int = _MAX_EXCHANGES, max_bytes: int = _MAX_BYTES) -> None:
        self._max_exchanges = max_exchanges
        self._max_bytes = max_bytes
        self._entries: deque[LoggedExchange] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        self._entries.clear()
        self._bytes = 0

    def to_json(self) -> list[dict[str, Any]]:
        """The oldest first."""
        return [entry.to_json() for entry in self._entries]

    def follow(
        self, request: Request, request_id: str, reply: Complete | Awaitable[Complete | Streaming]
    ) -> Complete | Awaitable[Complete | Streaming]:
        """Notes the request, and hands on its reply so that what is sent is noted too."""
        entry = LoggedExchange(
            request.method,
            request.path + (f"?{request.query}" if request.query else ""),
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.items()],
            bytes(request.body),
            request_id,
        )
        self._entries.append(entry)
        self._count(len(entry.body))
        if isinstance(reply, Complete):
            self.answered(entry, reply)
            return reply
        return _Followed(self, entry, reply)

    def answered(self, entry: LoggedExchange, reply: Complete | Streaming) -> None:
        entry.status = reply.status
        entry.answer_headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in header_pairs(reply.headers)
        ]
        if isinstance(reply, Complete):
            self.sent(entry, reply.body)
            entry.end = "complete"

    def sent(self, entry: LoggedExchange, data: bytes) -> None:
        entry.answer += data
        self._count(len(data))

    def _count(self, size: int) -> None:
        """A stream that goes on after its exchange was forgotten still counts: the bound errs on the small side."""
        self._bytes += size
        while len(self._entries) > 1 and (len(self._entries) > self._max_exchanges or self._bytes > self._max_bytes):
            oldest = self._entries.popleft()
            self._bytes -= len(oldest.body) + len(oldest.answer)


class _Followed:
    """The reply of one request while it is awaited."""

    __slots__ = ("_entry", "_log", "_reply")

    def __init__(self, log: ExchangeLog, entry: LoggedExchange, reply: Awaitable[Complete | Streaming]) -> None:
        self._log = log
        self._entry = entry
        self._reply = reply

    def __await__(self) -> Generator[Any, None, Complete | Streaming]:
        try:
            reply = yield from self._reply.__await__()
        except BaseException:
            self._entry.end = "aborted"
            raise
        self._log.answered(self._entry, reply)
        return reply if isinstance(reply, Complete) else _FollowedStream(self._log, self._entry, reply)


class _FollowedStream:
    """A stream, and the sink that it writes to."""

    __slots__ = ("_entry", "_log", "_sink", "_stream", "headers", "status")

    def __init__(self, log: ExchangeLog, entry: LoggedExchange, stream: Streaming) -> None:
        self.status = stream.status
        self.headers = stream.headers
        self._log = log
        self._entry = entry
        self._stream = stream
        self._sink: Sink | None = None

    def start(self, sink: Sink) -> None:
        self._sink = sink
        self._stream.start(self)

    def pause(self) -> None:
        self._stream.pause()

    def resume(self) -> None:
        self._stream.resume()

    def abort(self, reason: AbortReason) -> None:
        if self._entry.end == "open":
            self._entry.end = "aborted"
        self._stream.abort(reason)

    def write(self, data: bytes) -> None:
        self._log.sent(self._entry, data)
        if self._sink is not None:
            self._sink.write(data)

    def end(self, last: bytes = b"", trailers: bytes = b"") -> None:
        if last:
            self._log.sent(self._entry, last)
        self._entry.end = "complete"
        if self._sink is not None:
            self._sink.end(last, trailers)

    def cut(self) -> None:
        self._entry.end = "cut"
        if self._sink is not None:
            self._sink.cut()
