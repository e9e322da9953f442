"""A streamed answer for a client of the Messages API: upstream bytes in, client bytes out. Joins framing, where needed
the translation of another dialect into chat chunks, and the machine that turns chunks into events."""

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import Estimated, TokenUsage
from llm_edge_agent.dialects.answer_stream import StreamTranslator
from llm_edge_agent.dialects.chat_stream import DONE
from llm_edge_agent.dialects.endpoint import Answer
from llm_edge_agent.dialects.messages_to_chat.errors import in_caller_words
from llm_edge_agent.dialects.messages_to_chat.stream import PING, MessagesEvents
from llm_edge_agent.dialects.sse import COMMENT, Event, EventTooLargeError, SSEDecoder


class MessagesAnswerStream:
    """One streamed answer; an `endpoint.AnswerStream`."""

    def __init__(self, machine: MessagesEvents, translator: StreamTranslator | None, keep_limit_bytes: int) -> None:
        """`keep_limit_bytes`: the answer is told once more by `answer` where no more than so many bytes made it."""
        self._decoder = SSEDecoder()
        self._machine = machine
        self._translator = translator
        self._keep_bytes = keep_limit_bytes
        self.events = 0
        self.complete = False
        self.failure: GatewayError | None = None

    def feed(self, data: bytes) -> bytes:
        self._keep_bytes -= len(data)
        out: list[bytes] = []
        try:
            self._take(self._decoder.feed(data), out)
        except GatewayError as error:
            self.failure = in_caller_words(error.with_traceback(None))  # whose frames hold this object
        except EventTooLargeError:
            self.failure = GatewayError(ErrorKind.UPSTREAM_TOO_LARGE, "The provider sent an event that is too large.")
        return b"".join(out)

    def finish(self) -> bytes:
        out: list[bytes] = []
        try:
            try:
                self._take(self._decoder.finish(), out)
            except GatewayError as error:
                if error.kind is not ErrorKind.UPSTREAM_INVALID or not self.events:
                    raise
                # An event cut in two is none: what the stream lacks decides.
            if not self.complete:
                if self._translator is not None:
                    out += [self._machine.feed(payload) for payload in self._translator.finish()]
                self._end()
        except GatewayError as error:
            self.failure = in_caller_words(error.with_traceback(None))
        return b"".join(out)

    def _take(self, events: list[Event], out: list[bytes]) -> None:
        translator, feed = self._translator, self._machine.feed
        for event, data in events:
            if event == COMMENT:
                if self.events:
                    out.append(PING)
                continue
            if translator is None:
                if data == DONE:
                    self._end()
                    return
                out.append(feed(data))
            else:
                for payload in translator.feed(event, data):
                    out.append(feed(payload))
                if translator.complete:
                    self._end()
                    return
            self.events += 1

    def _end(self) -> None:
        self._machine.end()
        self.complete = True

    def close(self, metadata: bytes | None) -> bytes:
        """The tail of a complete answer. Nothing is added to a native body."""
        return self._machine.close()

    @property
    def usage(self) -> TokenUsage | None:
        return self._machine.usage if self._translator is None else self._translator.usage

    def usage_so_far(self) -> TokenUsage | None:
        known = self.usage
        if not self.events or known is not None:
            return known
        return TokenUsage(completion_tokens=self.events - 1, estimated=Estimated.ALL)

    def answer(self) -> Answer | None:
        if self._keep_bytes < 0 or not self.complete:
            return None
        body, finish = self._machine.whole()
        return Answer(body, self.usage, (finish,))
