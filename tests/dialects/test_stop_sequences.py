from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.dialects.stop_sequences import StopCutter


def cut(sequences: list[str], pieces: list[str]) -> tuple[str, str | None]:
    cutter = StopCutter(sequences)
    text = "".join([cutter.feed(piece) for piece in pieces])
    return text + cutter.finish(), cutter.sequence


@pytest.mark.parametrize(
    ("sequences", "text", "expected"),
    [
        pytest.param([], "abc", ("abc", None), id="none"),
        pytest.param(["x"], "abc", ("abc", None), id="not met"),
        pytest.param(["b"], "abc", ("a", "b"), id="met"),
        pytest.param(["c", "b"], "abc", ("a", "b"), id="the first in the text, not in the list"),
        pytest.param(["abcd", "bc"], "abcd", ("a", "bc"), id="the first that is complete"),
        pytest.param(["bc", "abc"], "abc", ("", "abc"), id="of two that end together the longer"),
        pytest.param(["END"], "the EN", ("the EN", None), id="only its beginning"),
        pytest.param(["aab"], "aaab", ("a", "aab"), id="a beginning that repeats itself"),
    ],
)
def test_where_the_text_ends(sequences: list[str], text: str, expected: tuple[str, str | None]) -> None:
    assert cut(sequences, [text]) == expected
    assert cut(sequences, list(text)) == expected


def test_text_goes_out_as_soon_as_it_can_be_none() -> None:
    cutter = StopCutter(["\n\nHuman:"])
    assert [cutter.feed(piece) for piece in ("Hi", "\n", "there\n\nHu")] == ["Hi", "", "\nthere"]
    assert cutter.finish() == "\n\nHu"


@given(st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.text("ab", max_size=20), st.data())
def test_any_cut_gives_the_same_text(sequences: list[str], text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))) | {0, len(text)})
    whole, met = cut(sequences, [text])
    assert cut(sequences, [text[a:b] for a, b in pairwise(cuts)]) == (whole, met)
    assert not any(sequence in whole for sequence in sequences)
    assert text.startswith(whole + (met or ""))
