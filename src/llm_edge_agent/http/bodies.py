"""A request body that does not come in one piece: how much of it is there, and how long the rest may take."""

from io import BytesIO

from llm_edge_agent.config import ServerLimits
from llm_edge_agent.http.framing import CHUNKED, ChunkedBody

_FEW_PIECES = 64


class BodyInPieces:
    """Takes the body of one request as it comes, by length or chunked."""

    __slots__ = ("_chunks", "_left", "_limits", "_many", "_pieces", "_received", "_started_s", "deadline_s")

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
        self._pieces: list[bytes | memoryview] = []
        self._many: BytesIO | None = None
        """Takes the place of `_pieces` where a body comes in many: each piece costs more than it holds."""

    def feed(self, data: bytes, start: int) -> int:
        """Takes `data` from `start` on. Returns where the body ended in it, or -1 when more is to come.
        Raises FramingError."""
        self._received += len(data) - start
        limits = self._limits
        self.deadline_s = self._started_s + limits.body_timeout_s + self._received / limits.body_bytes_per_s
        if self._chunks is not None:
            return self._chunks.feed(data, start)
        end = start + self._left
        piece = memoryview(data)[start:end] if start or end < len(data) else data
        self._left -= len(piece)
        if self._many is not None:
            self._many.write(piece)
        else:
            self._pieces.append(piece)
            if len(self._pieces) > _FEW_PIECES:
                self._many = BytesIO()
                self._many.writelines(self._pieces)
                self._pieces.clear()
        return -1 if self._left else end

    def take(self) -> bytes:
        """The body, once it is whole."""
        if self._chunks is not None:
            return bytes(self._chunks.body)
        return b"".join(self._pieces) if self._many is None else self._many.getvalue()
