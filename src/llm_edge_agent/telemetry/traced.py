"""What a request gathers for its spans while it runs: its place in the trace, and what it asked and was told.

Nothing is gathered for a request that is not sampled. Of content only what the operator switched on, redacted and cut.
"""

import os
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from llm_edge_agent.core.tracing import Sampler, Trace, begin, parse_parent
from llm_edge_agent.telemetry.genai import Attributes, Told, request_attributes, told_by

MAX_CONTENT_CHARACTERS = 8192
"""Of each captured attribute, unless OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT says less."""

_INPUT = ("messages", "input", "prompt")
_SYSTEM = ("system", "instructions")


class Address(NamedTuple):
    """Where a provider is asked: what may be shown of it."""

    host: str
    port: int
    url: str
    """Without credentials: base URL and nothing else."""


class ContentCapture(NamedTuple):
    """How prompts and answers go into spans where the operator wants them."""

    clean: Callable[[str], str]
    """Takes keys out of a text."""
    max_characters: int = MAX_CONTENT_CHARACTERS


class Traced:
    """One request's part of its trace."""

    __slots__ = ("_capture", "asked", "content", "finish_reasons", "told", "trace")

    def __init__(self, trace: Trace, capture: ContentCapture | None = None) -> None:
        self.trace = trace
        self.asked: Attributes = {}
        self.told = Told()
        self.finish_reasons: tuple[str | None, ...] = ()
        self.content: Attributes = {}
        self._capture = capture

    def ask(self, body: Mapping[str, Any]) -> None:
        """Notes what a decoded request asks for."""
        if not self.trace.sampled:
            return
        self.asked = request_attributes(body)
        if self._capture is not None:
            for name, members in (("gen_ai.input.messages", _INPUT), ("gen_ai.system_instructions", _SYSTEM)):
                for member in members:
                    if member in body:
                        self.content[name] = self._shown(body[member])
            if "tools" in body:
                self.content["gen_ai.tool.definitions"] = self._shown(body["tools"])

    def tell(self, answer: bytes, finish_reasons: tuple[str | None, ...]) -> None:
        """Notes what a complete answer, in the form of the inbound dialect, says of itself."""
        if not self.trace.sampled:
            return
        self.told = told_by(answer)
        self.finish_reasons = finish_reasons
        if self._capture is not None:
            text = answer.decode("utf-8", "replace")
            self.content["gen_ai.output.messages"] = self._cut(text)

    def _shown(self, value: object) -> str:
        return self._cut(msgspec.json.encode(value).decode())

    def _cut(self, text: str) -> str:
        capture = self._capture
        return "" if capture is None else capture.clean(text[: 2 * capture.max_characters])[: capture.max_characters]


OFF = Sampler("always_off")
"""For a gateway that exports nothing: a caller's trace is in the log all the same."""


class Tracer:
    """Finds each request's place in a trace."""

    def __init__(self, sampler: Sampler, capture: ContentCapture | None = None) -> None:
        self.exports = sampler != OFF
        """Whether every request begins or continues a trace; else only those of callers that say theirs."""
        self._sampler = sampler
        self._capture = capture
        # Seeded by the system, of this process's own: forked workers must not draw the same ids.
        self._bits = random.Random(os.urandom(32)).getrandbits  # noqa: S311  ids, not secrets

    def begin(self, headers: Mapping[bytes, bytes]) -> Traced:
        """The request's part of the caller's trace, or of one that begins with it."""
        parent = parse_parent(headers.get(b"traceparent"), headers.get(b"tracestate"))
        return Traced(begin(parent, self._sampler, self._bits), self._capture)

    def again(self, before: Traced) -> Traced:
        """For the same request, come again: in the same caller's span, or in a trace of its own."""
        trace = before.trace
        if trace.parent_span_id is None:
            return Traced(begin(None, self._sampler, self._bits), self._capture)
        renewed = Traced(trace._replace(span_id=self.new_span_id()), self._capture)
        renewed.asked, renewed.content = before.asked, before.content
        return renewed

    def new_span_id(self) -> str:
        return f"{self._bits(64) or 1:016x}"
