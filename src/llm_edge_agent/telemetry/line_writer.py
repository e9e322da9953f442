"""Puts lines on a file descriptor without ever making the caller wait or fail.

Lines gather in memory, bounded in bytes, and a thread of their own writes them. The descriptor may be a pipe that
nobody reads, a full disk or closed: only that thread meets it, and what cannot be written is lost and counted. The
descriptor is not made non-blocking, because that would change it for every process that shares it, the user's shell
among them.
"""

import os
import select
import signal
import threading
from collections.abc import Callable

FLUSH_INTERVAL_S = 0.1
"""How long lines gather. Short enough for a terminal to feel live."""
MAX_BUFFERED_BYTES = 4 * 1024 * 1024
_BUSY_WAIT_MS = 1000
_LINE_END = 0x0A


class LineWriter:
    """Owns a duplicate of `fd`, so that closing the original cannot lead the lines into another file. Any thread may
    write. `lost_line` words the notice that stands in the place of lost lines. `shared`: other processes write to the
    same pipe; so much as a pipe takes in one piece is written at a time, and no line but a longer one can be torn."""

    def __init__(
        self,
        fd: int,
        lost_line: Callable[[int], bytes],
        *,
        max_buffered_bytes: int = MAX_BUFFERED_BYTES,
        shared: bool = False,
    ) -> None:
        try:
            self._fd: int | None = os.dup(fd)
        except OSError:
            self._fd = None
        self._lost_line = lost_line
        self._piece_bytes = select.PIPE_BUF if shared else max_buffered_bytes
        self._max_bytes = max_buffered_bytes
        self._gathered = bytearray()
        """Only ever added to at its end and, by the thread, taken from its beginning, each in one step of the
        interpreter: so `write` needs no lock, and a finalizer run in the middle of it may log."""
        self._room = max_buffered_bytes
        """How long `_gathered` may become: all but what is being written; nothing once closed."""
        self._roused = False
        """Whether the thread knows of lines. It forgets before it takes them, and who adds a line looks afterwards."""
        self._wake = threading.Event()
        # Reentrant, as above. Guards the counts of lost lines.
        self._lock = threading.RLock()
        self._lost = 0
        self._reported = 0
        self._torn = False
        self._writing = b""
        """Lines that were taken from `_gathered` and may not have been written yet."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines lost so far."""
        return self._lost

    def write(self, line: bytes) -> None:
        """Takes one line without its end. Where it holds line ends of its own, what follows each is indented."""
        gathered = self._gathered
        if len(gathered) + len(line) >= self._room:
            with self._lock:
                self._lost += 1
            return
        gathered += line + b"\n"
        if not self._roused:
            self._roused = True
            self._wake.set()

    def close(self, timeout_s: float = 1.0) -> None:
        """Writes what is there, for at most `timeout_s` seconds; the rest is lost. Later lines are lost too.

        Where the last write never returns, its thread and descriptor stay behind until the process ends.
        """
        with self._lock:
            self._closing.set()
            self._room = 0
        self._wake.set()
        self._thread.join(timeout_s)
        with self._lock:
            self._lost += _lines_in(self._gathered) + _lines_in(self._writing)
            self._gathered.clear()
            self._writing = b""
        if not self._thread.is_alive() and self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _run(self) -> None:
        # An embedding program may have given SIGPIPE its deadly default back.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        while not self._closing.is_set():
            self._wake.wait()
            self._closing.wait(FLUSH_INTERVAL_S)
            self._flush()
        self._flush()

    def _flush(self) -> None:
        # In this order: who adds a line from here on rouses again, and what was added before is taken here.
        self._wake.clear()
        self._roused = False
        with self._lock:
            body = bytes(self._gathered)
            if not body:
                return
            del self._gathered[: len(body)]
            self._make_room(self._max_bytes - len(body))
            self._writing = body
            lost = self._lost
        # The notice of lost lines, or else an end for a line that was cut, comes first.
        head = b""
        if self._torn:
            head = b"\n"
        if lost > self._reported:
            head += self._lost_line(lost - self._reported) + b"\n"
        data = head + body if head else body
        written = self._put(data)
        with self._lock:
            self._make_room(self._max_bytes)
            if written:
                self._torn = data[written - 1] != _LINE_END
            if written >= len(head):
                self._reported = lost
            if written < len(data):
                self._lost += min(_lines_in(self._writing), _lines_in(data[written:]))
            self._writing = b""

    def _make_room(self, room: int) -> None:
        if not self._closing.is_set():
            self._room = room

    def _piece_end(self, data: bytes, start: int) -> int:
        """Where the next write ends: behind the last line that fits into it."""
        limit = start + self._piece_bytes
        if limit >= len(data):
            return len(data)
        return data.rfind(b"\n", start, limit) + 1 or limit

    def _put(self, data: bytes) -> int:
        """Writes as much as can be written; returns how much that was."""
        written = 0
        if self._fd is None:
            return written
        view = memoryview(data)
        while written < len(data):
            try:
                written += os.write(self._fd, view[written : self._piece_end(data, written)])
            except BlockingIOError:
                # Somebody else made the descriptor non-blocking.
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                if not poll.poll(_BUSY_WAIT_MS):
                    break
            except OSError:
                break
        return written


def _lines_in(text: bytes | bytearray) -> int:
    """How many lines end in it, those not counted that belong to the one before."""
    return text.count(b"\n") - text.count(b"\n ")
