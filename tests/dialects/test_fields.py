"""Reading a client's JSON: what type errors say, and numbers by their text."""

import msgspec
import pytest

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects.fields import (
    Losses,
    as_float,
    decode_object,
    number,
    present,
    text,
)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "null"),
        (True, "a boolean"),
        (1, "an integer"),
        (msgspec.Raw(b"1.5"), "a number"),
        ([], "an array"),
        ({}, "an object"),
    ],
)
def test_a_wrong_type_is_named(value: object, found: str) -> None:
    with pytest.raises(GatewayError) as caught:
        text(value, "a.b")
    assert caught.value.message == f"Invalid type for 'a.b': expected a string, but got {found} instead."
    assert caught.value.code == "invalid_type"


def test_objects_keep_the_text_of_their_numbers() -> None:
    value = decode_object('{"a": 0.1000000000000000055, "b": [1e2, 12345678901234567890123]}')
    assert msgspec.json.encode(value) == b'{"a":0.1000000000000000055,"b":[1e2,12345678901234567890123]}'
    assert decode_object("[]") is None
    assert decode_object("{") is None


@pytest.mark.parametrize(
    ("value", "size"), [(3, 3.0), (msgspec.Raw(b"-2.5e1"), -25.0), (10**400, 2.0**53), (-(10**400), -(2.0**53))]
)
def test_size_of_numbers(value: int | msgspec.Raw, size: float) -> None:
    assert as_float(number(value, "x")) == size


def test_null_members_are_absent() -> None:
    assert present({"a": None, "b": 0}) == {"b": 0}


def test_losses_are_listed_once_in_order() -> None:
    losses = Losses(strict=False)
    for field in ("b", "a", "b"):
        losses.dropped(field)
    losses.changed("a")
    losses.changed_or_refused("c", "No.", param="c")
    assert losses.warnings() == ("dropped:b", "dropped:a", "changed:a", "changed:c")


def test_strict_losses_are_refusals() -> None:
    losses = Losses(strict=True)
    with pytest.raises(GatewayError) as caught:
        losses.dropped("tools.strict", param="tools[0].function.strict")
    assert (caught.value.param, caught.value.code) == ("tools[0].function.strict", "unsupported_parameter")
    with pytest.raises(GatewayError, match=r"No\."):
        losses.changed_or_refused("c", "No.", param="c")
    losses.changed("a")
    assert losses.warnings() == ("changed:a",)
