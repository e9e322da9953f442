import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core.tracing import Parent, Sampler, SamplerName, Trace, begin, parse_parent

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
GOOD = f"00-{TRACE_ID}-{SPAN_ID}-01".encode()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (GOOD, Parent(TRACE_ID, SPAN_ID, True)),
        (GOOD[:-2] + b"00", Parent(TRACE_ID, SPAN_ID, False)),
        (GOOD[:-2] + b"03", Parent(TRACE_ID, SPAN_ID, True)),
        (b"cc" + GOOD[2:], Parent(TRACE_ID, SPAN_ID, True)),
        (b"cc" + GOOD[2:] + b"-what-the-future-will-be-like", Parent(TRACE_ID, SPAN_ID, True)),
        (None, None),
        (b"", None),
        (b"ff" + GOOD[2:], None),
        (GOOD + b"-more", None),
        (GOOD.upper(), None),
        (GOOD[:-1], None),
        (GOOD + b" ", None),
        (f"00-{'0' * 32}-{SPAN_ID}-01".encode(), None),
        (f"00-{TRACE_ID}-{'0' * 16}-01".encode(), None),
    ],
)
def test_traceparent_is_read_as_the_standard_says(header: bytes | None, expected: Parent | None) -> None:
    assert parse_parent(header, None) == expected


@pytest.mark.parametrize(
    ("state", "kept"),
    [(b"vendor=1,other=2", "vendor=1,other=2"), (b"x=" + b"y" * 600, ""), ("x=é".encode(), ""), (None, "")],
)
def test_tracestate_travels_where_it_may(state: bytes | None, kept: str) -> None:
    parent = parse_parent(GOOD, state)
    assert parent is not None
    assert parent.state == kept


@given(st.binary(max_size=80))
def test_nothing_breaks_the_reader(header: bytes) -> None:
    parse_parent(header, header)


@pytest.mark.parametrize(
    ("name", "alone", "sampled_parent", "unsampled_parent"),
    [
        ("always_on", True, True, True),
        ("always_off", False, False, False),
        ("parentbased_always_on", True, True, False),
        ("parentbased_always_off", False, True, False),
    ],
)
def test_samplers(name: SamplerName, alone: bool, sampled_parent: bool, unsampled_parent: bool) -> None:
    sampler = Sampler(name)
    assert sampler.samples(TRACE_ID, None) is alone
    assert sampler.samples(TRACE_ID, True) is sampled_parent
    assert sampler.samples(TRACE_ID, False) is unsampled_parent


def test_the_ratio_goes_by_the_low_bits_of_the_id() -> None:
    low, high = "f" * 16 + "0" * 15 + "1", "0" * 16 + "f" * 16
    assert Sampler("traceidratio", 0.5).samples(low, None)
    assert not Sampler("traceidratio", 0.5).samples(high, None)
    assert not Sampler("traceidratio", 0.5).samples(high, True)
    assert Sampler("parentbased_traceidratio", 0.5).samples(high, True)
    assert Sampler("traceidratio", 1.0).samples(high, None)
    assert not Sampler("traceidratio", 0.0).samples(low, None)


def test_the_share_is_what_was_asked_for() -> None:
    bits = random.Random(7).getrandbits
    sampled = sum(begin(None, Sampler("parentbased_traceidratio", 0.1), bits).sampled for _ in range(20_000))
    assert 1_800 < sampled < 2_200


def test_a_trace_is_continued_or_begun() -> None:
    bits = random.Random(1).getrandbits
    parent = Parent(TRACE_ID, SPAN_ID, True, "a=b")
    trace = begin(parent, Sampler(), bits)
    assert (trace.trace_id, trace.parent_span_id, trace.sampled, trace.state) == (TRACE_ID, SPAN_ID, True, "a=b")
    assert len(trace.span_id) == 16
    assert trace.span_id != SPAN_ID
    new = begin(None, Sampler(), bits)
    assert new.parent_span_id is None
    assert len(new.trace_id) == 32
    assert new != begin(None, Sampler(), bits)


def test_no_id_is_all_zeros() -> None:
    trace = begin(None, Sampler(), lambda bits: 0)
    assert int(trace.trace_id, 16) == int(trace.span_id, 16) == 1


def test_the_header_for_those_whom_we_ask() -> None:
    assert Trace(TRACE_ID, "1" * 16, None, True).traceparent(SPAN_ID) == GOOD
    assert Trace(TRACE_ID, "1" * 16, None, False).traceparent(SPAN_ID) == GOOD[:-2] + b"00"
