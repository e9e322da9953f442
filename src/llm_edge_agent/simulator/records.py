"""What the simulator remembers for those who test against it."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

Told = Literal["unanswered", "nothing", "prompt", "everything"]
"""What of the tokens on a bill the reply had said by its end. `unanswered`: no part of it had gone out. `nothing`: a
part had, without any count. `prompt`: all kinds of the prompt's tokens. `everything`: those of the completion, too."""


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
    request_id: str = ""
    """The id that the reply's headers tell, or would have told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """Tokens billed for one request, each in exactly one kind; an aborted stream is billed for what was produced."""

    provider: str
    model: str
    request_id: str = ""
    """The id that the reply's headers told."""
    path: str = ""
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    """OpenAI's own cache writes count here too."""
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    """All that was generated, thinking and reasoning included."""
    reasoning_tokens: int = 0
    """The part of `output_tokens` that is thinking or reasoning."""
    service_tier: str = "default"
    """What it was served at; each tier has prices of its own."""
    told: Told = "unanswered"
    completed: bool = False
    """The whole reply was handed to the connection."""
    aborted: bool = False


class Bills:
    """The newest bills, and how many there were in all."""

    def __init__(self, kept: int) -> None:
        self._kept: deque[Billed] = deque(maxlen=kept)
        self.total = 0

    def append(self, bill: Billed) -> None:
        self._kept.append(bill)
        self.total += 1

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Billed]:
        """The oldest that is remembered first."""
        return iter(self._kept)

    def __getitem__(self, index: int) -> Billed:
        return self._kept[index]

    def after(self, number: int) -> list[Billed]:
        """Those made after the first `number` of all."""
        missing = min(self.total - number, len(self._kept))
        return list(self._kept)[len(self._kept) - missing :] if missing > 0 else []

    def clear(self) -> None:
        self._kept.clear()
        self.total = 0


@dataclass(slots=True)
class Exchange:
    """One request under way: ended once, whatever ends it."""

    record: RecordedRequest
    now: Callable[[], float]
    bills: Bills
    on_end: Callable[[], None]
    bill: Callable[[int, bool], Billed] | None = None
    """Makes the bill from the output tokens produced and whether the exchange was aborted; None: not billed."""
    tells: Told = "everything"
    """What a reply in one piece says of the bill."""
    ended: bool = field(default=False)

    def end(self, *, completed: bool, aborted: bool = False, output_tokens: int = 0, told: Told | None = None) -> None:
        """`told`: of a stream; what else is told follows from `tells` and `completed`."""
        if self.ended:
            return
        self.ended = True
        self.record.completed = completed
        self.record.aborted = aborted
        self.record.ended_s = self.now()
        if self.bill is not None:
            bill = self.bill(output_tokens, aborted)
            named = replace(
                bill,
                request_id=self.record.request_id,
                path=self.record.path,
                told=told or (self.tells if completed else "unanswered"),
                completed=completed,
            )
            self.bills.append(named)
        self.on_end()
