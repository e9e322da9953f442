"""A request body that does not come in one piece: how much of it is there, and how long the rest may take."""

from io import BytesIO

from llm_edge_agent.config import ServerLimits
from llm_edge_agent.http.framing import CHUNKED, ChunkedBody


class BodyInPieces:
    """Takes the body of one request as it comes, by length or chunked."""

    __slots__ = ("_chunks", "_left", "_limits", "_received", "_started_s", "_whole", "deadline_s")

    def __init__(self, length: int, limits: ServerLimits, started_s: float) -> None:
        """`length`: in bytes, or framing.CHUNKED. `started_s`: when the head was complete, in monotonic seconds."""
        self.deadline_s = started_s
        """When the next piece must be there; each one moves it."""
        self._limits = limits
        self._started_s = started_s
        self._received = 0
        """Bytes so far, with their framing."""
        self._chunks = ChunkedBody(limits.max_body_bytes) if length == CHUNKED else None
        self._left = length
        self._whole = BytesIO()
        """Hands its content out without copying it."""

    def feed(self, data: bytes, start: int) -> int:
        """Takes `data` from `start` on. Returns where the body ended in it, or -1 when more is to come.
        Raises FramingError."""
        self._received += len(data) - start
        limits = self._limits
        self.deadline_s = self._started_s + limits.body_timeout_s + self._received / limits.body_bytes_per_s
        if self._chunks is not None:
            return self._chunks.feed(data, start)
        end = start + self._left
        self._left -= self._whole.write(data[start:end] if start or end < len(data) else data)
        return -1 if self._left else end

    def take(self) -> bytes:
        """The body, once it is whole."""
        return bytes(self._chunks.body) if self._chunks is not None else self._whole.getvalue()
