"""Several processes on one port: a supervisor that forks workers, replaces dead ones and passes on what it is told.

Theory of operation. Every worker slot has listening sockets of its own (SO_REUSEPORT: the kernel spreads connections
over the slots), and the supervisor keeps all of them open: a replacement inherits those of its slot, with the
connections that came while nobody accepted. The supervisor runs no event loop and starts no thread, so that it can fork
at any time; all it does is wait for signals and for what workers say.

    forked --"ready"--> serving --dies--> waiting, longer each time --> forked
       |                   |
       |--dies--> at the very start: everybody stops, the command fails; later: as above
                           '--SIGTERM--> told to drain --exits--> gone

Each worker has a channel, a socket pair. Down go `DRAIN` and `RELOAD`, up goes `READY`. A channel that ends under a
worker means that the supervisor is gone: it stops at once, so that no orphan takes connections from a successor.
"""

import asyncio
import contextlib
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple

from llm_edge_agent.http.server import listen

READY, DRAIN, RELOAD = b"r", b"d", b"l"

FIRST_BACK_OFF_S = 0.1
LONGEST_BACK_OFF_S = 10.0
STEADY_S = 2.0
"""A worker that served this long is replaced at once: only what dies again and again at its start must wait."""
KILL_AFTER_S = 5.0
"""How long beyond its grace a draining worker may take to exit before it is killed."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Death(NamedTuple):
    """A worker that ended although nobody asked it to."""

    slot: int
    pid: int
    exit_code: int
    """As `os.waitstatus_to_exitcode`: negative for a signal."""
    restart_in_s: float


class _Worker:
    __slots__ = ("channel", "failures", "forked_s", "pid", "ready")

    def __init__(self) -> None:
        self.pid: int | None = None
        self.channel: socket.socket | None = None
        self.forked_s = 0.0
        self.ready = False
        self.failures = 0
        """Deaths in a row, each soon after the fork."""


class Supervisor:
    """Runs `work(slot, channel)` in one process per slot, until a signal ends it. Not for a process with threads."""

    def __init__(
        self,
        slots: int,
        work: Callable[[int, socket.socket], int],
        *,
        grace_s: float,
        on_death: Callable[[Death], None],
    ) -> None:
        """`work` runs in the forked process and returns its exit code. `grace_s` is what a draining worker takes at
        most. `on_death` hears of every unexpected end, before the replacement is forked."""
        self._workers = [_Worker() for _ in range(slots)]
        self._work = work
        self._grace_s = grace_s
        self._on_death = on_death
        self._due: dict[int, float] = {}
        """Slot -> monotonic time of its next fork."""
        self._signals: socket.socket
        self._wakeup: socket.socket
        self._announced = False
        self._failed_start = False

    def run(self, on_ready: Callable[[], None]) -> int:
        """Forks, supervises, returns the exit code: 0 after a drain, 1 where a worker could not start, 128 + the
        number of a second signal. `on_ready` is called once, when every worker serves."""
        self._signals, self._wakeup = socket.socketpair()
        self._signals.setblocking(False)
        self._wakeup.setblocking(False)
        previous = {number: signal.signal(number, _noted) for number in _SIGNALS}
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        try:
            for slot in range(len(self._workers)):
                self._fork(slot)
            return self._supervise(on_ready)
        finally:
            self._kill_all()
            signal.set_wakeup_fd(-1)
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._signals.close()
            self._wakeup.close()

    def _supervise(self, on_ready: Callable[[], None]) -> int:
        while True:
            for number in self._wait(self._next_due_s()):
                if number in (signal.SIGTERM, signal.SIGINT):
                    return self._drain()
                if number == signal.SIGHUP:
                    self._tell(RELOAD)
            self._reap(replace=True)
            if self._failed_start:
                self._drain()
                return 1
            if not self._announced and all(worker.ready for worker in self._workers):
                self._announced = True
                on_ready()
            now_s = time.monotonic()
            for slot in [slot for slot, due_s in self._due.items() if due_s <= now_s]:
                del self._due[slot]
                self._fork(slot)

    def _drain(self) -> int:
        """Everybody finishes what is under way. A second signal ends the wait, and every worker."""
        self._tell(DRAIN)
        deadline_s = time.monotonic() + self._grace_s + KILL_AFTER_S
        while any(worker.pid is not None for worker in self._workers):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                break
            for number in self._wait(left_s):
                if number in (signal.SIGTERM, signal.SIGINT):
                    return 128 + number
            self._reap(replace=False)
        return 0

    def _wait(self, timeout_s: float | None) -> list[int]:
        """Waits for a signal or a word from a worker; returns the signals that came, repeats included."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        for worker in self._workers:
            if worker.channel is not None and not worker.ready:
                poll.register(worker.channel, select.POLLIN)
        poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000)
        for worker in self._workers:
            if worker.channel is not None and not worker.ready:
                with contextlib.suppress(OSError):
                    worker.ready = worker.channel.recv(1, socket.MSG_DONTWAIT) == READY
        try:
            return list(self._signals.recv(4096))
        except BlockingIOError:
            return []

    def _next_due_s(self) -> float | None:
        return min(self._due.values()) - time.monotonic() if self._due else None

    def _fork(self, slot: int) -> None:
        ours, theirs = socket.socketpair()
        # Blocked, so that a signal meant for us cannot be handled by the child before it has its own ways.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._become_worker(slot, ours, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        theirs.close()
        worker = self._workers[slot]
        worker.pid = pid
        worker.channel = ours
        worker.ready = False
        worker.forked_s = time.monotonic()

    def _become_worker(self, slot: int, ours: socket.socket, theirs: socket.socket) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            # The terminal's signals reach the whole group; what they mean is the supervisor's to say.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            ours.close()
            self._signals.close()
            self._wakeup.close()
            for other in self._workers:
                if other.channel is not None:  # else a dead supervisor's channels would stay open here
                    other.channel.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            code = self._work(slot, theirs)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _reap(self, *, replace: bool) -> None:
        for slot, worker in enumerate(self._workers):
            if worker.pid is None:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid == 0:
                continue
            worker.pid = None
            if worker.channel is not None:
                worker.channel.close()
                worker.channel = None
            if not replace:
                continue
            if not self._announced and not worker.ready:
                self._failed_start = True
                continue
            lived_s = time.monotonic() - worker.forked_s
            worker.failures = 0 if lived_s >= STEADY_S else worker.failures + 1
            wait_s = back_off_s(worker.failures)
            self._due[slot] = time.monotonic() + wait_s
            self._on_death(Death(slot, pid, os.waitstatus_to_exitcode(status), wait_s))

    def _tell(self, word: bytes) -> None:
        for worker in self._workers:
            if worker.channel is not None:
                with contextlib.suppress(OSError):  # it is dead or dying: the reaper finds it
                    worker.channel.send(word)

    def _kill_all(self) -> None:
        for worker in self._workers:
            if worker.pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)
                os.waitpid(worker.pid, 0)
                worker.pid = None
            if worker.channel is not None:
                worker.channel.close()
                worker.channel = None


def back_off_s(failures: int) -> float:
    """Seconds until a slot is filled again after so many early deaths in a row; none at all after a steady life."""
    return 0.0 if failures == 0 else min(LONGEST_BACK_OFF_S, FIRST_BACK_OFF_S * 2.0 ** min(failures - 1, 16))


def attend(
    channel: socket.socket,
    *,
    on_drain: Callable[[], None],
    on_reload: Callable[[], None],
    on_orphaned: Callable[[], None],
) -> None:
    """Makes the running loop, in a worker, hear its supervisor. Each call may come more than once, but the last."""
    loop = asyncio.get_running_loop()
    channel.setblocking(False)

    def heard() -> None:
        try:
            words = channel.recv(64)
        except BlockingIOError:
            return
        except OSError:
            words = b""
        if not words:
            loop.remove_reader(channel)
            on_orphaned()
        elif DRAIN in words:
            on_drain()
        elif RELOAD in words:
            on_reload()

    loop.add_reader(channel, heard)


def bind_slots(host: str, port: int, slots: int) -> list[list[socket.socket]]:
    """Listening sockets for each slot, on every address of `host`; port 0 is one free port for all. Raises OSError,
    also where somebody else listens there who would share the port with us."""
    sole = listen(host, port)
    found: int = sole[0].getsockname()[1]
    for listener in sole:
        listener.close()
    bound: list[list[socket.socket]] = []
    try:
        for _ in range(slots):
            bound.append(listen(host, found, share_port=True))
    except OSError:
        close_all(bound)
        raise
    return bound


def close_all(bound: Sequence[Sequence[socket.socket]]) -> None:
    for listeners in bound:
        for listener in listeners:
            listener.close()


def _noted(number: int, frame: object) -> None:
    """In place of a signal's default action: the number arrives on the wakeup descriptor."""
