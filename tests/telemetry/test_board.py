import multiprocessing
import os

from llm_edge_agent.telemetry.board import Board


def test_what_is_published_is_read_by_a_forked_process() -> None:
    board = Board(3)
    pid = os.fork()
    if pid == 0:
        board.publish(1, b"from the child")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert [board.read(number) for number in range(3)] == [b"", b"from the child", b""]
    board.clear(1)
    assert board.read(1) == b""


def test_what_does_not_fit_is_not_said() -> None:
    board = Board(1, region_bytes=64)
    assert board.publish(0, b"x" * 32)
    assert not board.publish(0, b"x" * 33)
    assert board.read(0) == b""


def test_restarts_are_counted_apart_from_what_workers_say() -> None:
    board = Board(2)
    board.count_restart()
    board.count_restart()
    board.publish(1, b"\xff" * 100)
    assert board.restarts == 2


def test_a_region_left_half_written_says_nothing_until_it_is_cleared() -> None:
    board = Board(1)
    board.publish(0, b"before")
    board._words[0][0] += 1  # as a writer leaves it that died in the middle
    assert board.read(0) == b""
    board.clear(0)
    board.publish(0, b"after")
    assert board.read(0) == b"after"


def _write(board: Board, rounds: int) -> None:
    for i in range(rounds):
        board.publish(0, bytes([i % 251]) * (1000 + i % 1000))


def test_a_reader_never_sees_half_of_two_texts() -> None:
    board = Board(1)
    writer = multiprocessing.get_context("fork").Process(target=_write, args=(board, 20_000))
    writer.start()
    seen = 0
    while writer.is_alive():
        text = board.read(0)
        if text:
            assert text == text[:1] * len(text)
            seen += 1
    writer.join()
    assert writer.exitcode == 0
    assert seen > 0
