"""The program as users start it: a process, its exit code, stdout and stderr."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests import canaries
from tests.canaries import ANTHROPIC_KEY, OPENAI_KEY

START_S = 20.0
ADDRESS = re.compile(r"listens on http://127\.0\.0\.1:(\d+)")
"""What a gateway says at its start."""


def environment(home: Path, variables: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**kept, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", **variables}


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "llm_edge_agent", *arguments]


def _check_clean(folder: Path, name: str, stdout: str, stderr: str) -> None:
    """What a program printed, and what it left in its folder."""
    for kind, text in ((canaries.OUTPUT, stdout), (canaries.LOG, stderr)):
        assert "Traceback" not in text, text
        canaries.look(kind, f"of {name}", text.encode())
    canaries.look_at_folder(folder)


def call(folder: Path, *arguments: str, typed: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the program to its end in `folder`, with nothing in the environment but `variables`."""
    done = subprocess.run(
        command(arguments),
        cwd=folder,
        env=environment(folder, variables),
        capture_output=True,
        text=True,
        timeout=60,
        input=typed or "",
    )
    _check_clean(folder, " ".join(arguments[:2]), done.stdout, done.stderr)
    return done


def keys(**more: str) -> dict[str, str]:
    """Both providers, at addresses where nobody is."""
    return {
        "OPENAI_API_KEY": OPENAI_KEY,
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        **more,
    }


@contextmanager
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


class Program:
    """One that keeps running. Its outputs are files, so that it never blocks on us."""

    def __init__(self, folder: Path, arguments: Sequence[str], variables: Mapping[str, str]) -> None:
        self._out, self._err = folder / "stdout.txt", folder / "stderr.txt"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                command(arguments),
                cwd=folder,
                env=environment(folder, variables),
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
            )

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()

    def wait_for(self, text: str) -> str:
        """The stream in which `text` has appeared."""
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            for stream in (self.stdout, self.stderr):
                if text in stream:
                    return stream
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{text!r} never appeared: {self.stdout}\n{self.stderr}")

    def look_at_pages(self) -> None:
        """Searches the pages of metrics and health of a gateway that runs."""
        if (found := ADDRESS.search(self.stdout + self.stderr)) is not None:
            canaries.look_at_pages(int(found[1]))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.look_at_pages()
        self.process.send_signal(number)
        return self.process.wait(START_S)


@contextmanager
def program(folder: Path, *arguments: str, **variables: str) -> Iterator[Program]:
    running = Program(folder, arguments, variables)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.look_at_pages()
            running.process.kill()
        running.process.wait()
    _check_clean(folder, " ".join(arguments[:2]) or "serve", running.stdout, running.stderr)
