import msgspec
import pytest

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects.stored_body import PIECE_CHARACTERS, StoredBody, text_pieces


@pytest.mark.parametrize(
    ("body", "rendered"),
    [
        (b' {"id": "x" ,"created":1, "z":[1.0]} \n', b' {"id": "new" ,"created":7, "z":[1.0]} \n'),
        (b'{"created":1,"id":"x"}', b'{"created":7,"id":"new"}'),
        (b'{"created":null}', b'{"created":null}'),
        (b'{"a":{"id":"x"}}', b'{"a":{"id":"x"}}'),
    ],
)
def test_only_the_places_change(body: bytes, rendered: bytes) -> None:
    stored = StoredBody(body, ("id", "created"))
    for _ in range(2):
        assert stored.render({"id": b'"new"', "created": b"7"}) == rendered


def test_a_body_that_two_could_read_differently_is_refused() -> None:
    with pytest.raises(GatewayError):
        StoredBody(b'{"id":1,"id":2}', ("id",))
    with pytest.raises(msgspec.MsgspecError):
        StoredBody(b"[]", ("id",))


def test_pieces_add_up_to_the_text() -> None:
    text = "ż" * (PIECE_CHARACTERS + 1)
    assert "".join(text_pieces(text)) == text
    assert [len(piece) for piece in text_pieces(text)] == [PIECE_CHARACTERS, 1]
    assert text_pieces("") == []
