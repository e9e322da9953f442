import pytest

from llm_edge_agent.config import ServerLimits
from llm_edge_agent.http.bodies import BodyInPieces
from llm_edge_agent.http.framing import CHUNKED, FramingError

LIMITS = ServerLimits(body_timeout_s=10.0, body_bytes_per_s=100, max_body_bytes=1000)
CHUNKS = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(("length", "framed"), [(11, b"hello world"), (CHUNKED, CHUNKS)])
def test_a_body_is_whole_however_it_was_cut(length: int, framed: bytes, size: int) -> None:
    body = BodyInPieces(length, LIMITS, 0.0)
    data = framed + b"NEXT"
    end, at = -1, 0
    while end < 0:
        piece = data[at : at + size]
        end = body.feed(b"before" + piece, len(b"before"))
        at += len(piece)
    assert (b"before" + piece)[end:] + data[at:] == b"NEXT"
    assert body.take() == b"hello world"


def test_each_piece_moves_the_deadline_by_what_it_weighs() -> None:
    body = BodyInPieces(300, LIMITS, 50.0)
    body.feed(b"x" * 110, 10)
    assert body.deadline_s == 50.0 + 10.0 + 1.0
    body.feed(b"x" * 100, 0)
    assert body.deadline_s == 50.0 + 10.0 + 2.0


def test_broken_chunks_are_refused() -> None:
    with pytest.raises(FramingError):
        BodyInPieces(CHUNKED, LIMITS, 0.0).feed(b"zz\r\n", 0)
    with pytest.raises(FramingError, match="too large"):
        BodyInPieces(CHUNKED, LIMITS, 0.0).feed(b"FFFF\r\n", 0)


def test_a_body_in_very_many_pieces_is_whole_too() -> None:
    body = BodyInPieces(1000, LIMITS, 0.0)
    ends = [body.feed(b"-" + bytes([number % 256]), 1) for number in range(1000)]
    assert ends == [-1] * 999 + [2]
    assert body.take() == bytes(number % 256 for number in range(1000))
