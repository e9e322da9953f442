from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import Estimated, TokenUsage
from llm_edge_agent.dialects.completions_stream import CompletionsReader
from llm_edge_agent.dialects.event_relay import MAX_HELD_BYTES, EventReader, RelayedStream
from llm_edge_agent.dialects.messages_stream import MessagesReader
from llm_edge_agent.dialects.responses_stream import ResponsesReader
from tests.dialects.native_samples import (
    completion_events,
    cut,
    message_events,
    named,
    nameless,
    response_events,
    run,
)

Case = tuple[Callable[[], EventReader], list[bytes]]
DOORS: dict[str, Case] = {
    "messages": (MessagesReader, message_events()),
    "responses": (ResponsesReader, response_events()),
    "completions": (lambda: CompletionsReader(show_usage=True, choices=2), completion_events()),
}
ERRORS = {
    "messages": named("error", error={"type": "overloaded_error", "message": "Overloaded"}),
    "responses": named("error", code="server_error", message="It broke.", param=None, sequence_number=3),
    "completions": nameless({"error": {"message": "It broke.", "type": "server_error", "code": None}}),
}
doors = pytest.mark.parametrize("door", DOORS)
line_ends = pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])


def stream(door: str, keep_limit_bytes: int = 100_000) -> RelayedStream:
    return RelayedStream(DOORS[door][0](), keep_limit_bytes=keep_limit_bytes)


@doors
@line_ends
def test_the_client_gets_the_providers_bytes_however_they_are_cut(door: str, line_end: bytes) -> None:
    raw = b"".join(DOORS[door][1]).replace(b"\n", line_end)
    whole = stream(door)
    assert run(whole, [raw]) == raw
    assert (whole.complete, whole.failure) == (True, None)
    bytewise = stream(door)
    assert run(bytewise, [raw[i : i + 1] for i in range(len(raw))]) == raw
    assert (bytewise.complete, bytewise.failure) == (True, None)
    assert bytewise.answer() == whole.answer()
    assert bytewise.usage == whole.usage is not None
    assert whole.answer() is not None


@given(st.sampled_from([*DOORS]), st.lists(st.integers(0, 10_000), max_size=12), st.sampled_from([b"\n", b"\r\n"]))
def test_any_cut_gives_the_same(door: str, places: list[int], line_end: bytes) -> None:
    raw = b"\xef\xbb\xbf" + b"".join(DOORS[door][1]).replace(b"\n", line_end)
    machine = stream(door)
    assert run(machine, cut(raw, places)) == raw
    uncut = stream(door)
    run(uncut, [raw])
    assert (machine.answer(), machine.usage) == (uncut.answer(), uncut.usage)


@doors
def test_events_go_out_as_they_come_and_never_in_halves(door: str) -> None:
    machine = stream(door)
    for event in DOORS[door][1]:
        assert machine.feed(event[:-1]) == b""
        assert machine.feed(event[-1:]) == event


@doors
@given(st.data())
def test_a_stream_cut_short_is_an_error_and_its_whole_events_still_go_out(door: str, data: st.DataObject) -> None:
    events = DOORS[door][1][:-1]
    if door == "completions":
        events = events[:-2]  # one of two choices has not ended
    raw = b"".join(events)
    place = data.draw(st.integers(0, len(raw)))
    machine = stream(door)
    out = run(machine, cut(raw[:place], data.draw(st.lists(st.integers(0, 10_000), max_size=4))))
    assert machine.failure is not None
    assert machine.failure.kind is ErrorKind.STREAM_INTERRUPTED
    assert raw.startswith(out)
    assert out == b"" or out.endswith(b"\n\n")
    assert not machine.complete


@doors
def test_half_an_event_at_the_end_of_input_is_no_event(door: str) -> None:
    first, second = DOORS[door][1][:2]
    machine = stream(door)
    assert run(machine, [first + second[: len(second) - 9]]) == first
    assert machine.failure is not None
    assert machine.failure.kind is ErrorKind.STREAM_INTERRUPTED


@doors
def test_a_terminal_event_needs_no_blank_line_at_the_end_of_input(door: str) -> None:
    raw = b"".join(DOORS[door][1]).rstrip(b"\n")
    machine = stream(door)
    assert run(machine, [raw]) == raw
    assert machine.complete


@doors
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_the_providers_error_event_is_handed_through_and_ends_the_stream(door: str, line_end: bytes) -> None:
    raw = (DOORS[door][1][0] + ERRORS[door]).replace(b"\n", line_end)
    for pieces in ([raw + DOORS[door][1][1]], [raw[i : i + 1] for i in range(len(raw))]):
        machine = stream(door)
        assert run(machine, pieces) == raw
        assert machine.failure is not None
        assert machine.failure.told
        assert not machine.complete


@doors
def test_an_error_event_before_all_others_commits_to_nothing(door: str) -> None:
    machine = stream(door)
    assert machine.feed(ERRORS[door]) == ERRORS[door]
    assert machine.events == 0
    assert machine.failure is not None
    assert machine.usage_so_far() is None


@doors
def test_an_error_event_that_lacks_its_blank_line_is_worded_anew(door: str) -> None:
    machine = stream(door)
    assert run(machine, [DOORS[door][1][0], ERRORS[door].rstrip(b"\n")]) == DOORS[door][1][0]
    assert machine.failure is not None
    assert not machine.failure.told


@doors
def test_empty_reads_change_nothing(door: str) -> None:
    raw = b"".join(DOORS[door][1])
    pieces = [piece for i in range(len(raw)) for piece in (raw[i : i + 1], b"")]
    assert run(stream(door), [b"", *pieces]) == raw


def test_nothing_follows_the_terminal_event() -> None:
    raw = b"".join(message_events())
    machine = stream("messages")
    assert machine.feed(raw + named("ping")) == raw


def test_an_event_that_is_not_what_it_says_is_not_handed_on() -> None:
    start = message_events()[0]
    machine = stream("messages")
    assert machine.feed(start + b"event: message_delta\ndata: nonsense\n\n") == start
    assert machine.failure is not None
    assert machine.failure.kind is ErrorKind.UPSTREAM_INVALID


def test_an_event_without_end_is_refused() -> None:
    machine = stream("messages")
    machine.feed(message_events()[0])
    part = b"x" * (MAX_HELD_BYTES // 4)
    for _ in range(4):
        assert machine.feed(part) == b""
        assert machine.failure is None
    assert machine.feed(b"x") == b""
    assert machine.failure is not None
    assert machine.failure.kind is ErrorKind.UPSTREAM_TOO_LARGE
    assert machine.finish() == b""


def test_what_a_cut_stream_cost_is_estimated_from_its_pieces_until_the_bill_is_in() -> None:
    events = message_events()
    machine = stream("messages")
    machine.feed(events[0])
    begun = TokenUsage(
        prompt_tokens=235, cache_read_tokens=200, cache_write_tokens=10, cache_write_1h_tokens=20, completion_tokens=1,
        estimated=Estimated.COMPLETION,
    )  # fmt: skip
    assert machine.usage_so_far() == begun
    for event in events[1:8]:
        machine.feed(event)
    so_far = machine.usage_so_far()
    assert so_far is not None
    assert (so_far.completion_tokens, so_far.estimated) == (3, Estimated.COMPLETION)
    for event in events[8:-1]:
        machine.feed(event)
    billed = machine.usage_so_far()
    assert billed is not None
    assert (billed.completion_tokens, billed.estimated) == (40, Estimated.NOTHING)


def test_pieces_are_counted_where_the_provider_told_nothing_yet() -> None:
    machine = stream("responses")
    for event in response_events()[:5]:
        machine.feed(event)
    assert machine.usage_so_far() == TokenUsage(completion_tokens=2, estimated=Estimated.ALL)


@pytest.mark.parametrize("limit", [0, 200])
def test_what_is_too_large_for_the_cache_is_not_kept(limit: int) -> None:
    machine = stream("messages", keep_limit_bytes=limit)
    run(machine, message_events())
    assert machine.complete
    assert machine.answer() is None


@doors
def test_a_comment_before_the_first_event_is_handed_through(door: str) -> None:
    raw = b": a sign of life\n\n" + b"".join(DOORS[door][1])
    for pieces in ([raw], [raw[:19], raw[19:]], [raw[i : i + 1] for i in range(len(raw))]):
        machine = stream(door)
        assert run(machine, pieces) == raw
        assert (machine.complete, machine.failure) == (True, None)
