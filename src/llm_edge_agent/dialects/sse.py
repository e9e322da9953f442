"""Server-sent events: bytes in, events out, whatever way the network cut them.

Follows the WHATWG HTML standard, section 9.2.6 (line ends CR, LF, CRLF; several `data` lines joined by LF; no event
without data; comments; one leading byte order mark), with two deviations that providers need: an event that the end of
the stream cuts off before its blank line is still delivered by `finish`, and comments are reported, because they keep
connections alive.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

MAX_EVENT_BYTES = 8 * 1024 * 1024

COMMENT = ":"
"""The `event` of a comment line."""


class Event(NamedTuple):
    """One event: its name (empty where none was given, `:` for a comment) and its data, undecoded."""

    event: str
    data: bytes


class EventTooLargeError(Exception):
    """One event exceeds the decoder's bound."""


class SSEDecoder:
    """Sans-io decoder of one stream. Feed it pieces of any size; call `finish` once at the end."""

    __slots__ = ("_after_cr", "_max_event_bytes", "_rest", "_started", "between")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._rest = b""
        self._after_cr = False
        self._started = False
        self.between = False
        """Whether all that came was whole events: what comes next begins one, and if it holds no CR may as well be
        taken by someone else."""
        self._max_event_bytes = max_event_bytes

    def feed(self, data: bytes, take: Callable[[bytes], int] | None = None) -> list[Event]:
        """The events completed by `data`. Raises EventTooLargeError where an unfinished one exceeds the bound.

        `take` is for those who know the usual form of their events: it is shown the text before it is taken apart, all
        line ends LF, and returns how many bytes of whole events it took from the front."""
        self.between = False
        if self._after_cr or b"\r" in data:
            data = self._line_feeds(data)
        if self._rest:
            data = self._rest + data
        if not self._started and not self._start(data):
            self._rest = data
            return []
        if data.startswith(b"\xef\xbb\xbf") and not self._started:
            data = data[3:]
        self._started = True
        if take is not None and (taken := take(data)):
            if taken == len(data):
                self._rest = b""
                self.between = not self._after_cr
                return []
            data = data[taken:]
        head, separator, rest = data.rpartition(b"\n\n")
        if not separator:
            if len(data) > self._max_event_bytes:
                raise EventTooLargeError
            self._rest = data
            return []
        self._rest = rest
        self.between = not rest and not self._after_cr
        if len(rest) > self._max_event_bytes:
            raise EventTooLargeError
        events: list[Event] = []
        for block in head.split(b"\n\n"):
            if block.startswith(b"data: ") and b"\n" not in block and len(block) > 6:
                events.append(Event("", block[6:]))
            else:
                parse_block(block, events)
        return events

    def finish(self) -> list[Event]:
        """Whatever the end of the stream cut off before its blank line."""
        events: list[Event] = []
        parse_block(self._rest, events)
        self._rest = b""
        return events

    @staticmethod
    def _start(data: bytes) -> bool:
        """Whether enough has come to tell a byte order mark from content."""
        return len(data) >= 3 or not b"\xef\xbb\xbf".startswith(data)

    def _line_feeds(self, data: bytes) -> bytes:
        """CRLF and CR as LF; a CR that ends one piece swallows the LF that begins the next."""
        if not data:
            return data
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def parse_block(block: bytes, events: list[Event]) -> None:
    """Adds what stands between two blank lines, all line ends LF, to `events`."""
    name = ""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
        elif not field and line:
            events.append(Event(COMMENT, value))
    if data and data != [b""]:  # an event without data is none
        events.append(Event(name, b"\n".join(data)))


_CONTENT = re.compile(
    rb'"(?:content|text|thinking|reasoning|reasoning_content|refusal|arguments|partial_json|delta|name|data|transcript)"'
    rb'[ ]?:[ ]?"[^"]|"(?:finish_reason|stop_reason)"[ ]?:[ ]?"'
)


def begins_content(events: bytes) -> bool:
    """Whether some event of an answer's stream, of any dialect, holds a piece of the answer, and does not only announce
    one. May say yes too early, never for long too late: after the first piece the next one says so."""
    return _CONTENT.search(events) is not None
