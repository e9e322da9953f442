import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.dialects.gateway_signature import PREFIX, KeptReasoning, is_own, kept_reasoning, sign


@given(st.builds(KeptReasoning, id=st.text(), encrypted_content=st.text(), place=st.integers(0, 200)))
def test_what_is_kept_comes_back(kept: KeptReasoning) -> None:
    signature = sign(kept)
    assert is_own(signature)
    assert signature.isascii()
    assert kept_reasoning(signature) == kept


def test_a_signature_that_carries_nothing() -> None:
    assert is_own(sign())
    assert kept_reasoning(sign()) is None


@pytest.mark.parametrize("signature", [None, 7, "", "EqRk", PREFIX + "!", PREFIX + "e30=", PREFIX + "é"])
def test_what_is_not_ours_is_not_read(signature: object) -> None:
    assert kept_reasoning(signature) is None


@given(st.text())
def test_any_text_is_read_or_left(text: str) -> None:
    assert kept_reasoning(PREFIX + text) is None or is_own(PREFIX + text)
