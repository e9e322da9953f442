"""JSON with half surrogate pairs, and what is no JSON."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.provider_json import decode, decoder, restore, shield

_any_decoder = decoder(dict[str, Any])

HALVES = st.text(
    alphabet=st.one_of(
        st.characters(max_codepoint=0x10F7FF, exclude_categories=()), st.sampled_from('\ud83d\ude42\\"')
    ),
    max_size=12,
)


@settings(deadline=None)
@given(HALVES)
def test_any_text_with_half_pairs_survives(value: str) -> None:
    decoded, shielded = decode(_any_decoder, json.dumps({"t": value}).encode())
    encoded = msgspec.json.encode(decoded)
    assert json.loads(restore(encoded) if shielded else encoded) == json.loads(json.dumps({"t": value}))


def test_whole_pairs_and_escaped_backslashes_are_left_alone() -> None:
    text = rb'"\ud83d\ude42 \\ud800 \n \uD83D"'
    assert shield(text).startswith(rb'"\ud83d\ude42 \\ud800 \n ')
    assert restore(shield(text)) == rb'"\ud83d\ude42 \\ud800 \n \ud83d"'


@pytest.mark.parametrize(
    "data", [b"", b"[]", b'{"a": \xff}', b'{"a": "\xff"}', b"{" * 10, b'{"a":' * 5000, b'{"a":"\\ud800}']
)
def test_what_is_no_answer(data: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        decode(_any_decoder, data)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID
