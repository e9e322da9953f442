import fcntl
import os
import select
import threading
import time
from collections.abc import Iterator

import pytest

from llm_edge_agent.telemetry.line_writer import LineWriter

PIPE_BYTES = 4096


def notice(lines: int) -> bytes:
    return b"lost %d" % lines


class Pipe:
    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def stop_reading(self) -> None:
        os.close(self.reader)
        self.reader = -1

    def read_for(self, wanted: bytes) -> bytes:
        """Reads until the text has come; the test's own timeout ends a wait for what never comes."""
        found = b""
        while wanted not in found:
            found += os.read(self.reader, 65536)
        return found

    def close(self) -> None:
        for fd in (self.reader, self.writer):
            if fd >= 0:
                os.close(fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()
    deadline = time.monotonic() + 10
    while any(thread.name == "log-writer" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a writer thread outlived its reader"
        time.sleep(0.01)


def test_lines_come_in_order_and_close_writes_the_rest(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writer, notice)
    writer.write(b"one")
    assert pipe.read_for(b"one") == b"one\n"
    writer.write(b"two")
    writer.write(b"three")
    writer.close()
    assert os.read(pipe.reader, 100) == b"two\nthree\n"
    assert writer.dropped == 0


def test_a_pipe_nobody_reads_never_holds_the_caller_up(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writer, notice, max_buffered_bytes=100_000)
    line = b"x" * 99
    started = time.monotonic()
    for _ in range(20_000):
        writer.write(line)
    assert time.monotonic() - started < 10
    assert writer.dropped >= 18_000
    writer.close(timeout_s=0.05)
    assert time.monotonic() - started < 10
    assert writer.dropped == 20_000
    pipe.stop_reading()


def test_a_slow_reader_is_told_what_it_missed(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writer, notice, max_buffered_bytes=20_000)
    for _ in range(1000):
        writer.write(b"y" * 99)
    lost = writer.dropped
    assert lost >= 800
    received = b""
    while received.count(b"y" * 99 + b"\n") < 1000 - lost:
        received += os.read(pipe.reader, 65536)
    refused = -1
    while writer.dropped > lost + refused:  # there is no room before the thread has come back from writing
        refused = writer.dropped - lost
        writer.write(b"again")
        time.sleep(0.01)
    received += pipe.read_for(b"again\n")
    assert b"lost %d\n" % lost in received
    assert received.endswith(b"again\n")
    writer.close()
    assert writer.dropped == lost + refused


def test_a_closed_pipe_loses_lines_and_nothing_else(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writer, notice)
    pipe.stop_reading()
    for _ in range(3):
        writer.write(b"into the void")
    writer.close()
    assert writer.dropped == 3
    writer.write(b"too late")
    assert writer.dropped == 4


def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    writer = LineWriter(full, notice)
    writer.write(b"no room")
    writer.close()
    os.close(full)
    assert writer.dropped == 1


def test_a_descriptor_that_is_closed_already_loses_lines_and_nothing_else(pipe: Pipe) -> None:
    fd = os.dup(pipe.writer)
    os.close(fd)
    writer = LineWriter(fd, notice)
    writer.write(b"nowhere")
    writer.close()
    writer.close()
    assert writer.dropped == 1


def test_lines_do_not_follow_a_descriptor_number_into_another_file(pipe: Pipe) -> None:
    other = Pipe()
    writer = LineWriter(pipe.writer, notice)
    os.dup2(other.writer, pipe.writer)
    writer.write(b"mine")
    writer.close()
    assert os.read(pipe.reader, 100) == b"mine\n"
    os.set_blocking(other.reader, False)
    with pytest.raises(BlockingIOError):
        os.read(other.reader, 1)
    other.close()


def test_after_a_line_that_was_cut_the_next_starts_on_its_own(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    writer = LineWriter(pipe.writer, notice)
    writer.write(b"z" * 3 * PIPE_BYTES)
    while writer.dropped == 0:
        time.sleep(0.02)
    assert pipe.read_for(b"z") == b"z" * PIPE_BYTES
    writer.write(b"whole")
    assert pipe.read_for(b"whole\n") == b"\nlost 1\nwhole\n"
    writer.close()


def test_a_non_blocking_descriptor_with_a_reader_loses_nothing(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, False)
    writer = LineWriter(pipe.writer, notice)
    for i in range(500):
        writer.write(b"%0100d" % i)
    received = pipe.read_for(b"%0100d\n" % 499)
    writer.close()
    assert received.split() == [b"%0100d" % i for i in range(500)]
    assert writer.dropped == 0


def test_threads_share_a_writer(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writer, notice)

    def write_all(name: int) -> None:
        for i in range(200):
            writer.write(b"%c%03d" % (name, i))

    threads = [threading.Thread(target=write_all, args=(name,)) for name in b"abcd"]
    for thread in threads:
        thread.start()
    received = b""
    while received.count(b"\n") < 800:
        received += os.read(pipe.reader, 65536)
    for thread in threads:
        thread.join()
    writer.close()
    lines = received.split()
    for name in b"abcd":
        assert [line for line in lines if line[0] == name] == [b"%c%03d" % (name, i) for i in range(200)]


def test_of_what_threads_write_all_is_written_or_counted(pipe: Pipe) -> None:
    """Also where the room is short and the writer closes in the middle of it."""
    writer = LineWriter(pipe.writer, notice, max_buffered_bytes=2_000)
    received = bytearray()
    done = threading.Event()

    def write_all() -> None:
        for i in range(3_000):
            writer.write(b"%09d" % i)
            if i % 100 == 0:
                time.sleep(0.001)

    def read_all() -> None:
        while not done.is_set() or select.select([pipe.reader], [], [], 0)[0]:
            if select.select([pipe.reader], [], [], 0.01)[0]:
                received.extend(os.read(pipe.reader, 65536))

    reader = threading.Thread(target=read_all)
    threads = [threading.Thread(target=write_all) for _ in range(3)]
    for thread in (reader, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    writer.write(b"x" * 2_000)
    writer.close()
    done.set()
    reader.join()
    lines = [line for line in received.split() if len(line) == 9]
    assert 0 < writer.dropped < 9_001
    assert len(lines) + writer.dropped == 9_001


def test_lines_wake_the_thread_whenever_they_come(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_edge_agent.telemetry.line_writer.FLUSH_INTERVAL_S", 0.0)
    writer = LineWriter(pipe.writer, notice)
    for i in range(2_000):
        writer.write(b"%04d" % i)
        if i % 7 == 0:
            assert pipe.read_for(b"%04d\n" % i).endswith(b"%04d\n" % i)
    writer.close()
    assert writer.dropped == 0


def test_what_is_indented_belongs_to_the_line_before(pipe: Pipe) -> None:
    pipe.stop_reading()
    writer = LineWriter(pipe.writer, notice)
    writer.write(b"failed\n    Traceback\n    ValueError")
    writer.write(b"one")
    writer.close()
    assert writer.dropped == 2


def test_on_a_shared_pipe_no_write_ends_inside_a_line(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = os.write

    def noted(fd: int, data: memoryview) -> int:
        sizes.append(len(data))
        assert bytes(data).endswith(b"\n")
        return write(fd, data)

    monkeypatch.setattr(os, "write", noted)
    writer = LineWriter(pipe.writer, notice, shared=True)
    lines = [b"%d:" % i + b"x" * 700 for i in range(40)]
    for line in lines:
        writer.write(line)
    text = pipe.read_for(b"39:" + b"x" * 700 + b"\n")
    writer.close()
    assert text.splitlines() == lines
    assert len(sizes) > 1
    assert max(sizes) <= select.PIPE_BUF


def test_a_line_longer_than_a_pipe_takes_is_written_all_the_same(pipe: Pipe) -> None:
    writer = LineWriter(pipe.writer, notice, shared=True)
    writer.write(b"y" * 10_000)
    writer.write(b"end")
    assert pipe.read_for(b"end\n") == b"y" * 10_000 + b"\nend\n"
    writer.close()
