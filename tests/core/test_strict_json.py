import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core import strict_json
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.strict_json import CANONICAL_LIMIT_BYTES, key_material, members, read_object

LEAVE_OUT = frozenset({"stream"})


def material(raw: bytes) -> bytes:
    return key_material(read_object(raw, max_depth=128), LEAVE_OUT)


@pytest.mark.parametrize(
    ("raw", "kind", "words"),
    [
        (b"", ErrorKind.INVALID_JSON, "parse"),
        (b"{", ErrorKind.INVALID_JSON, "parse"),
        (b'{"a":NaN}', ErrorKind.INVALID_JSON, "parse"),
        (b'{"a":[Infinity]}', ErrorKind.INVALID_JSON, "parse"),
        (b'{"a":-Infinity}', ErrorKind.INVALID_JSON, "parse"),
        (b'{"a":1} x', ErrorKind.INVALID_JSON, "parse"),
        (b'{"a":"\xff"}', ErrorKind.INVALID_JSON, "UTF-8"),
        (b'{"a":"\\ud800"}', ErrorKind.INVALID_JSON, "parse"),
        (b'{"a":1e400}', ErrorKind.INVALID_JSON, "out of range"),
        (b'{"a":{"b":[-1e999]}}', ErrorKind.INVALID_JSON, "out of range"),
        (b'{"a":' + b"9" * 5000 + b"}", ErrorKind.INVALID_JSON, "out of range"),
        (b'{"a":' + b"[" * 128 + b"]" * 128 + b"}", ErrorKind.INVALID_JSON, "128 levels"),
        (b"[" * 100_000 + b"]" * 100_000, ErrorKind.INVALID_JSON, "128 levels"),
        (b"[]", ErrorKind.INVALID_TYPE, "an array"),
        (b'"x"', ErrorKind.INVALID_TYPE, "a string"),
        (b"1", ErrorKind.INVALID_TYPE, "a number"),
        (b"true", ErrorKind.INVALID_TYPE, "a boolean"),
        (b"null", ErrorKind.INVALID_TYPE, "null"),
    ],
)
def test_what_is_refused(raw: bytes, kind: ErrorKind, words: str) -> None:
    with pytest.raises(GatewayError) as caught:
        read_object(raw, max_depth=128)
    assert caught.value.kind is kind
    assert caught.value.status == 400
    assert words in caught.value.message


def test_nesting_up_to_the_bound_is_taken_however_wide_the_document() -> None:
    raw = b'{"a":' + b"[" * 127 + b"]" * 127 + b',"b":[' + b",".join([b"[]"] * 300) + b"]}"
    assert read_object(raw, max_depth=128).raw == raw


DOUBLED = [
    b'{"model":"a","model":"b"}',
    b'{"model":"a","model":"a"}',
    b'{"n":12,"n":1}',
    b'{"n":1,"n":12}',
    b'{"a":1,"x":2,"\\u0061":1}',
    b'{ "a" : [1] , "b" : 2 , "a" : [1] }',
    b'{"a":{"b":1},"a":{"b":1}}',
]


@pytest.mark.parametrize("raw", DOUBLED)
def test_a_doubled_member_is_refused_and_named(raw: bytes) -> None:
    body = read_object(raw, max_depth=128)
    for attempt in (lambda: members(raw), lambda: material(raw), lambda: strict_json.refuse_doubles(body)):
        with pytest.raises(GatewayError) as caught:
            attempt()
        assert caught.value.param in ("model", "n", "a")
        assert caught.value.status == 400


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b" { } ",
        b'{"a":1}',
        b'\n{\t"a" :\r\n [1, 2] ,"\\u00e9\\"":"}{,\\\\" , "c":null}\n',
        '{"ключ":"значение","b":{"a":{"a":1}}}'.encode(),
    ],
)
def test_spans_point_at_each_value(raw: bytes) -> None:
    spans = members(raw)
    decoded = json.loads(raw)
    assert list(spans) == list(decoded)
    for name, span in spans.items():
        assert json.loads(raw[span.start : span.end]) == decoded[name]
        assert raw[span.key_start : span.key_start + 1] == b'"'


SAME = [
    (b'{"a":1,"b":[1,2]}', b'{ "b": [1, 2], "a": 1 }'),
    (b'{"a":"x/y"}', b'{"a":"x\\/y"}'),
    (b'{"a":1,"stream":true}', b'{"a":1}'),
    (b'{"a":1,"stream":{"x":1}}', b'{"stream":false,"a":1}'),
    (b'{"a":"\\u00e9"}', '{"a":"é"}'.encode()),
    (b'{"a" : 1,\n"b"\t:":"}', b'{"a":1,"b":":"}'),
    (b'{"a":{"b":-1}}', b'{"a": {"b": -1}}'),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_bodies_that_mean_the_same_share_a_key(one: bytes, other: bytes) -> None:
    assert material(one) == material(other)


DIFFERENT = [
    (b'{"a":0.1}', b'{"a":0.1000000000000000055}'),
    (b'{"a":1}', b'{"a":1.0}'),
    (b'{"a":1}', b'{"a":true}'),
    (b'{"a":1}', b'{"a":"1"}'),
    (b'{"a":null}', b"{}"),
    (b'{"a":0}', b'{"a":-0}'),
    (b'{"a":[0,1]}', b'{"a":[1,0]}'),
    (b'{"a":{"b":1,"b":2}}', b'{"a":{"b":2}}'),
    (b'{"a":{"b":1,"b":2}}', b'{"a":{"b":1}}'),
    (b'{"a":{"b":1,"b":2},"c":"\\u0022:"}', b'{"a":{"b":2},"c":"\\":"}'),
    (b'{"a":{"b":1,"b":2,"c" :3}}', b'{"a":{"b":2,"c":3}}'),
    (b'{"a":{"b":1,"b":2},"c":"\\u003a"}', b'{"a":{"b":2},"c":":"}'),
    (b'{"a":{"b":1,"b":2},"c":"\\u003A"}', b'{"a":{"b":2},"c":":"}'),
    (b'{"a":{"b":1,"b":2},"stream":{":":":"}}', b'{"a":{"b":2}}'),
    (b'{"a":"\\u0041"}', b'{"a":"B"}'),
    (b'{"ab":"c"}', b'{"a":"bc"}'),
    (b'{"a":" "}', b'{"a":""}'),
    ('{"a":"é"}'.encode(), '{"a":"e\u0301"}'.encode()),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_bodies_that_differ_never_share_a_key(one: bytes, other: bytes) -> None:
    assert material(one) != material(other)


def test_a_large_body_is_nested_no_deeper_than_a_small_one() -> None:
    filler = b"x" * CANONICAL_LIMIT_BYTES
    for levels, taken in ((127, True), (128, False)):
        raw = b'{"a":"%b","b":%b%b}' % (filler, b"[" * levels, b"]" * levels)
        if taken:
            assert read_object(raw, max_depth=128).raw == raw
        else:
            with pytest.raises(GatewayError):
                read_object(raw, max_depth=128)


def test_large_bodies_are_keyed_by_their_members_own_bytes() -> None:
    filler = b"x" * CANONICAL_LIMIT_BYTES
    one = b'{"a":"%b","b":1,"stream":true}' % filler
    assert material(one) == material(b'{ "b": 1, "a": "%b" }' % filler)
    assert material(one) != material(b'{"a":"%b","b":2}' % filler)
    assert material(one) != material(b'{"a":"%by","b":1}' % filler)
    with pytest.raises(GatewayError):
        material(b'{"a":"%b","a":"%b"}' % (filler, filler))


scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    scalars | text, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8
)
objects = st.dictionaries(text, values, max_size=5)


def shape(value: Any) -> Any:
    """Equality as JSON means it: 1, 1.0 and true are three values, the order of members is none."""
    if isinstance(value, dict):
        return ("object", frozenset((key, shape(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("array", tuple(shape(item) for item in value))
    return (type(value).__name__, repr(value))


@given(objects, objects, st.booleans(), st.sampled_from([None, 2]))
def test_two_objects_share_material_only_if_they_are_equal(
    one: dict[str, Any], other: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    first = json.dumps(one, ensure_ascii=ascii_only, indent=indent).encode()
    second = json.dumps(other, ensure_ascii=ascii_only, indent=indent).encode()
    if material(first) == material(second):
        kept_one = {key: value for key, value in one.items() if key != "stream"}
        kept_other = {key: value for key, value in other.items() if key != "stream"}
        assert shape(kept_one) == shape(kept_other)


@given(objects)
def test_the_order_of_members_does_not_matter_to_canonical_bodies(value: dict[str, Any]) -> None:
    forward = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    backward = json.dumps(dict(reversed(value.items())), ensure_ascii=False, separators=(",", ":")).encode()
    if b"\\u" not in forward:
        assert material(forward) == material(backward)
    spans = members(forward)
    assert {key: json.loads(forward[span.start : span.end]) for key, span in spans.items()} == value


@pytest.mark.parametrize("left_out", ["true", "null", '"a:b"', "0.5", '{"a:b":[{"c":"d:e"},1]}', '[null,"::"]'])
def test_what_is_left_out_keeps_nothing_else_from_its_canonical_form(left_out: str) -> None:
    raw = f'{{"stream": {left_out}, "b": 1, "a": "x:y"}}'.encode()
    assert material(raw) == b'c{"a":"x:y","b":1}'


def test_a_double_in_what_is_left_out_is_doubted() -> None:
    assert not material(b'{"stream":{"a":1,"a":2},"b":1}').startswith(b"c")
