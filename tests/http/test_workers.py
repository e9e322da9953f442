import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from llm_edge_agent.http.workers import (
    DRAIN,
    FIRST_BACK_OFF_S,
    LONGEST_BACK_OFF_S,
    RELOAD,
    attend,
    back_off_s,
    bind_slots,
    close_all,
)

PROGRAM = """
import os, signal, socket, sys, time
from llm_edge_agent.http import workers

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def work(slot, channel):
    {work}

supervisor = workers.Supervisor(2, work, grace_s=0.5, on_death=lambda death: say("died", death.slot, death.exit_code))
say("supervisor", os.getpid())
sys.exit(supervisor.run(lambda: say("all ready")))
"""

OBEDIENT = """
    say("worker", slot, os.getpid())
    channel.send(workers.READY)
    while True:
        word = channel.recv(1)
        say("heard", slot, word.decode() or "nothing")
        if word != workers.RELOAD:
            return 0
"""
DEAF = """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    channel.send(workers.READY)
    time.sleep(600)
"""


class Program:
    def __init__(self, work: str) -> None:
        text = PROGRAM.format(work=textwrap.indent(textwrap.dedent(work), "    "))
        self.process = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.output = self.process.stdout
        self.pids: dict[str, int] = {}

    def until(self, wanted: str) -> list[str]:
        """Lines up to the wanted one; the test's own timeout ends a wait for what never comes."""
        lines: list[str] = []
        while True:
            raw = self.output.readline()
            assert raw, lines
            line = raw.decode().strip()
            lines.append(line)
            words = line.split()
            if words[0] == "worker":
                self.pids[words[1]] = int(words[2])
            if line == wanted:
                return lines


@pytest.fixture
def program() -> Iterator[list[Program]]:
    started: list[Program] = []
    yield started
    for each in started:
        each.process.kill()
        each.process.wait()
        each.output.close()


def start(program: list[Program], work: str = OBEDIENT) -> Program:
    running = Program(work)
    program.append(running)
    return running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_every_worker(program: list[Program], number: signal.Signals) -> None:
    running = start(program)
    running.until("all ready")
    running.process.send_signal(number)
    rest = sorted(line.decode().strip() for line in running.output)
    assert rest == ["heard 0 d", "heard 1 d"]
    assert running.process.wait() == 0


def test_sighup_is_passed_on(program: list[Program]) -> None:
    running = start(program)
    running.until("all ready")
    running.process.send_signal(signal.SIGHUP)
    heard = {running.output.readline().decode().strip() for _ in range(2)}
    assert heard == {"heard 0 l", "heard 1 l"}
    assert running.process.poll() is None


def test_a_dead_worker_is_replaced_and_reported(program: list[Program]) -> None:
    running = start(program)
    running.until("all ready")
    first = running.pids["1"]
    os.kill(first, signal.SIGKILL)
    running.until("died 1 -9")
    words = running.output.readline().decode().split()
    assert words[:2] == ["worker", "1"]
    assert int(words[2]) != first
    assert running.process.poll() is None


def test_a_worker_that_cannot_start_fails_the_command(program: list[Program]) -> None:
    running = start(program, "return 7 if slot else (channel.send(workers.READY), channel.recv(1))[1] != workers.DRAIN")
    assert running.process.wait() == 1
    assert b"all ready" not in running.output.read()


def test_workers_hear_when_the_supervisor_is_gone(program: list[Program]) -> None:
    running = start(program)
    running.until("all ready")
    running.process.kill()
    heard = sorted(running.output.readline().decode().strip() for _ in range(2))
    assert heard == ["heard 0 nothing", "heard 1 nothing"]


def test_what_does_not_drain_is_ended_by_a_second_signal(program: list[Program]) -> None:
    running = start(program, DEAF)
    running.until("all ready")
    running.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        running.process.wait(0.3)
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait() == 128 + signal.SIGTERM


def test_the_back_off_doubles_up_to_its_bound() -> None:
    assert back_off_s(0) == 0.0
    assert [back_off_s(n) for n in (1, 2, 3)] == [FIRST_BACK_OFF_S, 2 * FIRST_BACK_OFF_S, 4 * FIRST_BACK_OFF_S]
    assert back_off_s(50) == LONGEST_BACK_OFF_S


def test_slots_share_a_port_that_nobody_else_has() -> None:
    bound = bind_slots("127.0.0.1", 0, 3)
    try:
        ports = {listener.getsockname()[1] for listeners in bound for listener in listeners}
        assert len(ports) == 1
        with pytest.raises(OSError, match="in use"):
            bind_slots("127.0.0.1", ports.pop(), 2)
    finally:
        close_all(bound)
    assert all(listener.fileno() == -1 for listeners in bound for listener in listeners)


async def test_a_worker_hears_its_supervisor() -> None:
    ours, theirs = socket.socketpair()
    heard: list[str] = []
    gone = asyncio.Event()

    def orphaned() -> None:
        heard.append("orphaned")
        gone.set()

    attend(
        theirs,
        on_drain=lambda: heard.append("drain"),
        on_reload=lambda: heard.append("reload"),
        on_orphaned=orphaned,
    )
    for word in (RELOAD, DRAIN):
        before = len(heard)
        ours.send(word)
        while len(heard) == before:
            await asyncio.sleep(0)
    ours.close()
    await gone.wait()
    assert heard == ["reload", "drain", "orphaned"]
    theirs.close()
