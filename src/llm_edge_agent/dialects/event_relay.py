"""A streamed answer to a client of the provider's own dialect: the provider's bytes, read on the side.

Theory of operation. What goes to the client is the text of the upstream as it came, line ends and comments included,
cut only where an event ends: an event that is not whole yet would reach nobody's program, and it may be the last one,
or be followed by an error event of our own. Most reads hold nothing that the gateway has to know; they are recognised
by the absence of a few marks and pass unparsed. The others are taken apart, event by event, for the door's reader.

    open --terminal event--> complete
      |--the provider's error event--> failed; the client has been told, in the provider's bytes
      `--end of input--> failed, unless the reader says that nothing is missing
"""

import re
from typing import Literal, Protocol

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import Estimated, TokenUsage
from llm_edge_agent.dialects.endpoint import Answer
from llm_edge_agent.dialects.sse import COMMENT, Event, parse_block

Verdict = Literal["pass", "last", "drop", "failed"]
"""What becomes of an event: it goes to the client; it goes and ends the answer; the client does not get it; it is the
provider's error event."""

MAX_HELD_BYTES = 64 * 1024 * 1024
"""Of one event: the last one of a response holds all of it, images included."""

_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?=[^\n]))(?:\r\n|\n|\r(?=[^\n]))")
"""A line end and an empty line; of a CR at the end of the text it cannot be told what it is."""


_DATA = re.compile(rb"^data: ?(.+)$", re.MULTILINE)


class EventReader(Protocol):
    """What one door knows of its events."""

    def plain(self, text: bytes) -> bool:
        """Whether the text, whole events with LF line ends, holds nothing that must be read. A quick look: False where
        in doubt."""
        ...

    @property
    def piece_mark(self) -> bytes:
        """Stands once in every event that carries a piece of the answer: about one token."""
        ...

    @property
    def usage(self) -> TokenUsage | None:
        """As told so far; cumulative."""
        ...

    @property
    def settled(self) -> bool:
        """Whether `usage` is the bill, whatever becomes of the rest of the stream."""
        ...

    def read(self, event: str, data: bytes) -> Verdict:
        """Raises GatewayError for an event that may not go to the client: it is not what it says, or it is about the
        gateway's own key."""
        ...

    @property
    def failure(self) -> GatewayError | None:
        """After the verdict `failed`: the error, as it would be told in place of the answer."""
        ...

    def may_end(self) -> bool:
        """Whether an end of input here leaves nothing missing, although no terminal event came."""
        ...

    def answer(self, text: bytes) -> Answer | None:
        """The complete answer out of the text of all its events, or None where it cannot be told whole."""
        ...


class RelayedStream:
    """An `AnswerStream` that hands through what it is fed."""

    __slots__ = (
        "_held",
        "_held_bytes",
        "_keep_limit",
        "_kept",
        "_kept_bytes",
        "_pieces",
        "_reader",
        "complete",
        "events",
        "failure",
    )

    def __init__(self, reader: EventReader, *, keep_limit_bytes: int) -> None:
        """`keep_limit_bytes`: how much of the text may be kept for `answer`; 0 keeps nothing."""
        self._reader = reader
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._keep_limit = keep_limit_bytes
        self._kept: list[bytes] | None = [] if keep_limit_bytes else None
        self._kept_bytes = 0
        self._pieces = 0
        self.events = 0
        self.complete = False
        self.failure: GatewayError | None = None

    def feed(self, data: bytes) -> bytes:
        if self._held:
            if not self._may_complete(data):
                self._hold(data)
                return b""
            data = self._held_text() + data
        if b"\r" in data:
            return self._feed_any(data)
        end = data.rfind(b"\n\n")
        if end < 0:
            self._hold(data)
            return b""
        if end + 2 == len(data):
            text = data
        else:
            text = data[: end + 2]
            self._hold(data[end + 2 :])
        if self.events and self._reader.plain(text):
            self._pass(text)
            return text
        return self._take(text, _ends(text))

    def _feed_any(self, data: bytes) -> bytes:
        """Line ends other than LF."""
        ends = [match.end() for match in _BLANK_LINE.finditer(data)]
        size = ends[-1] if ends else 0
        if size < len(data):
            self._hold(data[size:])
        return self._take(data[:size], ends)

    def _hold(self, part: bytes) -> None:
        """Keeps what may be the beginning of an event. Parts are joined once: an event may be an image of megabytes."""
        if part:
            self._held.append(part)
            self._held_bytes += len(part)
        if self._held_bytes > MAX_HELD_BYTES:
            self.failure = GatewayError(ErrorKind.UPSTREAM_TOO_LARGE, "The provider sent an event that is too large.")

    def _may_complete(self, data: bytes) -> bool:
        """Whether `data` may hold the end of what is held. A CR makes everything possible, an LF only another one."""
        last = self._held[-1]
        return b"\n\n" in data or b"\r" in data or b"\r" in last or (data.startswith(b"\n") and last.endswith(b"\n"))

    def _held_text(self) -> bytes:
        text = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        return text

    def _pass(self, text: bytes) -> None:
        pieces = text.count(self._reader.piece_mark)
        self.events += pieces
        self._pieces += pieces
        if self._kept is not None:
            self._keep(self._kept, text)

    def _keep(self, kept: list[bytes], text: bytes) -> None:
        self._kept_bytes += len(text)
        if self._kept_bytes > self._keep_limit:
            self._kept = None
        else:
            kept.append(text)

    def _take(self, text: bytes, ends: list[int]) -> bytes:
        """Goes through events one by one; returns what of them goes to the client."""
        out: list[bytes] = []
        start = 0
        for end in ends:
            block = text[start:end]
            start = end
            if self.events and self._reader.plain(block):
                self._pass(block)
                out.append(block)
            elif not self._take_block(block, out) or self.complete:
                break
            elif end == ends[0] and self.events and self._reader.plain(rest := text[end:]):
                self._pass(rest)  # as what comes in one read with the first event of an answer
                out.append(rest)
                break
        return b"".join(out)

    def _take_block(self, block: bytes, out: list[bytes], *, whole: bool = True) -> bool:
        """One event, `whole` with the blank line behind it. False where it is a failure."""
        verdict: Verdict = "pass"
        try:
            for event, data in parsed(block):
                if event != COMMENT:
                    verdict = self._reader.read(event, data)
                    if verdict != "failed":
                        self.events += 1
        except GatewayError as error:
            self.failure = error.with_traceback(None)  # whose frames hold this object
            return False
        failure = self._reader.failure
        if verdict == "failed" and failure is not None:
            self.failure = failure
            failure.told = whole
            if whole:
                out.append(block)
            return False
        if self._reader.piece_mark in block:
            self._pieces += 1
        if self._kept is not None:
            self._keep(self._kept, block)
        if verdict != "drop":
            out.append(block)
        self.complete = verdict == "last"
        return True

    def finish(self) -> bytes:
        """The end of input stands for the blank line behind the last event, where that is whole."""
        out: list[bytes] = []
        if self._held and self.failure is None:
            block = self._held_text()
            if not self._take_block(block, out, whole=False) and _cut_in_two(self.failure):
                self.failure = None  # it is none: what the stream lacks decides
        if not self.complete and self.failure is None:
            if self._reader.may_end():
                self.complete = True
            else:
                out.clear()
                self.failure = GatewayError(
                    ErrorKind.STREAM_INTERRUPTED, "The provider's stream ended before the answer was complete."
                )
        return b"".join(out)

    def close(self, metadata: bytes | None) -> bytes:
        """Nothing: the provider's own end was the end."""
        return b""

    @property
    def usage(self) -> TokenUsage | None:
        return self._reader.usage

    def usage_so_far(self) -> TokenUsage | None:
        known = self._reader.usage
        if not self.events or self._reader.settled:
            return known
        known = known if known is not None else TokenUsage()
        return msgspec.structs.replace(
            known,
            completion_tokens=max(known.completion_tokens, self._pieces),
            estimated=Estimated.COMPLETION if known.prompt_tokens else Estimated.ALL,
        )

    def answer(self) -> Answer | None:
        if self._kept is None:
            return None
        return self._reader.answer(b"".join(self._kept))


def _cut_in_two(failure: GatewayError | None) -> bool:
    return failure is not None and failure.kind is ErrorKind.UPSTREAM_INVALID


def _ends(text: bytes) -> list[int]:
    """Where the events of a text with LF line ends are over."""
    ends = []
    end = text.find(b"\n\n")
    while end >= 0:
        ends.append(end + 2)
        end = text.find(b"\n\n", end + 2)
    return ends


def parsed(text: bytes) -> list[Event]:
    """The events of a text, comments among them. The end of the text ends the last one."""
    events: list[Event] = []
    for block in _with_line_feeds(text).split(b"\n\n"):
        parse_block(block, events)
    return events


def payloads(text: bytes) -> list[bytes]:
    """The data of the events of a text, one line each: quicker than `parsed`, where names do not matter. Data of
    several lines comes as several items, which as JSON fit nothing."""
    return _DATA.findall(_with_line_feeds(text))


def _with_line_feeds(text: bytes) -> bytes:
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return text.removeprefix(b"\xef\xbb\xbf")
