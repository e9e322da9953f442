"""Who a request belongs to in a distributed trace, and whether it is recorded. Pure: told its random bits.

W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context/): `traceparent` is read strictly, an invalid one is as
none; `tracestate` travels with a valid one. Samplers are those of the OpenTelemetry specification.
"""

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

SamplerName = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_MAX_STATE_BYTES = 512
_LOW_BITS = (1 << 64) - 1
_SAMPLED = 1


class Parent(NamedTuple):
    """What the caller said of its own span."""

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""


class Trace(NamedTuple):
    """The gateway's own place in a trace. Ids are lower-case hex digits, 32 and 16 of them."""

    trace_id: str
    span_id: str
    """Of the span that stands for the request as a whole."""
    parent_span_id: str | None
    sampled: bool
    """Whether spans are exported; ids are in logs either way."""
    state: str = ""

    def traceparent(self, span_id: str) -> bytes:
        """The header for somebody whom the span `span_id` asks."""
        return b"00-%b-%b-0%d" % (self.trace_id.encode(), span_id.encode(), self.sampled)


class Sampler(NamedTuple):
    """Decides which traces are recorded."""

    name: SamplerName = "parentbased_always_on"
    ratio: float = 1.0
    """For the `traceidratio` kinds: the share of traces, 0 to 1."""

    def samples(self, trace_id: str, parent_sampled: bool | None) -> bool:
        """`parent_sampled` None: the trace begins here. The ratio looks at the id's low 64 bits, as every
        implementation does, so that all services choose the same traces."""
        name: str = self.name
        if name.startswith("parentbased_"):
            if parent_sampled is not None:
                return parent_sampled
            name = name.removeprefix("parentbased_")
        if name == "traceidratio":
            return int(trace_id[16:], 16) < round(self.ratio * (_LOW_BITS + 1))
        return name == "always_on"


def parse_parent(traceparent: bytes | None, tracestate: bytes | None) -> Parent | None:
    """The caller's span, or None where there is none or it is not said properly."""
    if traceparent is None:
        return None
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == b"ff" or (version == b"00" and rest is not None):
        return None
    trace, span = trace_id.decode(), span_id.decode()
    if trace == _NO_TRACE or span == _NO_SPAN:
        return None
    state = ""
    if tracestate is not None and len(tracestate) <= _MAX_STATE_BYTES and tracestate.isascii():
        state = tracestate.decode()
    return Parent(trace, span, bool(int(flags, 16) & _SAMPLED), state)


def begin(parent: Parent | None, sampler: Sampler, random_bits: Callable[[int], int]) -> Trace:
    """The gateway's place in the caller's trace, or in a new one. `random_bits(n)` gives n random bits."""
    span_id = f"{random_bits(64) or 1:016x}"
    if parent is None:
        trace_id = f"{random_bits(128) or 1:032x}"
        return Trace(trace_id, span_id, None, sampler.samples(trace_id, None))
    sampled = sampler.samples(parent.trace_id, parent.sampled)
    return Trace(parent.trace_id, span_id, parent.span_id, sampled, parent.state)
