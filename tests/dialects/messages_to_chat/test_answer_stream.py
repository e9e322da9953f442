"""The streamed answer as a whole: framing, ends, failures, accounts."""

import json

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import Estimated, TokenUsage
from llm_edge_agent.dialects.messages_to_chat.answer_stream import MessagesAnswerStream
from llm_edge_agent.dialects.messages_to_chat.sent import Sent
from llm_edge_agent.dialects.messages_to_chat.stream import MessagesEvents
from llm_edge_agent.dialects.sse import MAX_EVENT_BYTES

TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
FINISH = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"


class OtherDialect:
    """A translator whose events are chunks already; `end` completes it."""

    settled = False

    def __init__(self) -> None:
        self.usage: TokenUsage | None = None
        self.complete = False

    def feed(self, event: str, data: bytes) -> list[bytes]:
        self.complete = event == "end"
        return [data] if event != "end" else []

    def finish(self) -> list[bytes]:
        if self.complete:
            raise AssertionError
        return [FINISH[6:].strip()]


def stream(translator: OtherDialect | None = None, keep: int = 1 << 20) -> MessagesAnswerStream:
    return MessagesAnswerStream(MessagesEvents(Sent(requested_model="m")), translator, keep)


def test_the_accounts_of_a_complete_answer() -> None:
    answered = stream()
    assert answered.usage_so_far() is None
    answered.feed(TEXT + FINISH + USAGE + DONE)
    assert answered.complete
    assert answered.events == 3
    assert answered.usage == answered.usage_so_far() == TokenUsage(prompt_tokens=3, completion_tokens=2)
    whole = answered.answer()
    assert whole is not None
    assert (whole.usage, whole.finish_reasons) == (answered.usage, ("stop",))
    assert json.loads(whole.body)["usage"]["output_tokens"] == 2


def test_a_cut_answer_is_estimated_and_not_kept() -> None:
    answered = stream()
    answered.feed(TEXT * 3)
    assert answered.usage_so_far() == TokenUsage(completion_tokens=2, estimated=Estimated.ALL)
    answered.finish()
    assert answered.failure is not None
    assert answered.failure.kind is ErrorKind.STREAM_INTERRUPTED
    assert answered.answer() is None


def test_an_answer_too_large_for_the_cache_is_not_kept() -> None:
    answered = stream(keep=10)
    answered.feed(TEXT + FINISH + DONE)
    assert answered.complete
    assert answered.answer() is None


def test_an_event_cut_in_two_is_none() -> None:
    answered = stream()
    answered.feed(TEXT + FINISH + USAGE[:20])
    assert answered.finish() == b""
    assert answered.complete


def test_nonsense_at_the_end_of_a_stream_that_said_nothing() -> None:
    answered = stream()
    answered.feed(b"data: <html>")
    answered.finish()
    assert answered.failure is not None
    assert answered.failure.kind is ErrorKind.UPSTREAM_INVALID


def test_an_error_at_the_end_without_its_blank_line() -> None:
    answered = stream()
    answered.feed(TEXT + b'data: {"error":{"message":"x"}}')
    answered.finish()
    assert answered.failure is not None
    assert answered.failure.message == "x"


def test_done_without_its_blank_line() -> None:
    answered = stream()
    answered.feed(TEXT + FINISH + DONE[:-2])
    answered.finish()
    assert answered.complete


def test_an_event_that_is_too_large() -> None:
    answered = stream()
    answered.feed(b"data: " + b"x" * (MAX_EVENT_BYTES + 1))
    assert answered.failure is not None
    assert answered.failure.kind is ErrorKind.UPSTREAM_TOO_LARGE


def test_done_before_the_finish_reason_is_a_failure() -> None:
    answered = stream()
    answered.feed(TEXT + DONE)
    assert isinstance(answered.failure, GatewayError)


def test_another_dialect_in_front() -> None:
    other = OtherDialect()
    answered = stream(other)
    out = answered.feed(TEXT + FINISH)
    other.usage = TokenUsage(prompt_tokens=9)
    out += answered.feed(b"event: end\ndata: {}\n\n") + answered.close(None)
    assert answered.complete
    assert answered.usage == TokenUsage(prompt_tokens=9)
    assert out.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


def test_another_dialect_that_says_more_at_its_end() -> None:
    answered = stream(OtherDialect())
    answered.feed(TEXT)
    answered.finish()
    assert answered.complete
