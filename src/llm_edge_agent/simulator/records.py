"""What the simulator remembers for those who test against it."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class RecordedRequest:
    """One request as it arrived. `headers` has lower-case names; times are monotonic seconds."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    started_s: float
    ended_s: float | None = None
    completed: bool = False
    """The whole reply was handed to the connection."""
    aborted: bool = False
    """The client left, or the server stopped, before the end; a simulated failure is neither completed nor aborted."""
    status: int | None = None
    """Status of the reply; None while none was decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """Tokens billed for one request, each in exactly one kind; an aborted stream is billed for what was produced."""

    provider: str
    model: str
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    """OpenAI's own cache writes count here too."""
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    """All that was generated, thinking and reasoning included."""
    reasoning_tokens: int = 0
    """The part of `output_tokens` that is thinking or reasoning."""
    aborted: bool = False


@dataclass(slots=True)
class Exchange:
    """One request under way: ended once, whatever ends it."""

    record: RecordedRequest
    now: Callable[[], float]
    bills: deque[Billed]
    on_end: Callable[[], None]
    bill: Callable[[int, bool], Billed] | None = None
    """Makes the bill from the output tokens produced and whether the exchange was aborted; None: not billed."""
    ended: bool = field(default=False)

    def end(self, *, completed: bool, aborted: bool = False, output_tokens: int = 0) -> None:
        if self.ended:
            return
        self.ended = True
        self.record.completed = completed
        self.record.aborted = aborted
        self.record.ended_s = self.now()
        if self.bill is not None:
            self.bills.append(self.bill(output_tokens, aborted))
        self.on_end()
