"""What the pipeline knows of a dialect: the vocabulary that every door and every pair of dialects fills in.

An `Endpoint` is one inbound door (how its requests are read, its answers told again, its errors worded); a `Translator`
is one pair of an endpoint and an upstream dialect. The tables of both stand in `dialects/__init__.py`.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import msgspec

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.models import Model
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.core.strict_json import Body
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions


class Call(msgspec.Struct, frozen=True):
    """A checked request: the client's body, and what the gateway decides by."""

    body: Body
    model: str
    stream: bool
    include_usage: bool = False
    """Whether the client asked for the usage chunk of a stream (chat completions and completions)."""
    choices: int = 1
    """How many answers were asked for (`n`)."""


class Answer(msgspec.Struct, frozen=True):
    """A complete answer in the form of the inbound dialect, as bytes, with what the gateway reads of it."""

    body: bytes
    usage: TokenUsage | None
    finish_reasons: tuple[str | None, ...]
    """How each choice ended, in OpenAI's words, whatever the dialect: the cache takes `stop` and `tool_calls`."""


class Passed(NamedTuple):
    """What of a request's head travels to an upstream of the same dialect. Part of the cache key."""

    query: bytes = b""
    """The query string, without its question mark."""
    headers: bytes = b""
    """Ready header lines."""


PASSED_NOTHING = Passed()


class AnswerStream(Protocol):
    """One streamed answer: upstream bytes in, client bytes out. Feed it every read; call `finish` at the end of input
    unless it is complete; then `close` once for the tail. It never raises: what goes wrong is in `failure`, so that
    what came before it in the same read still goes out."""

    @property
    def events(self) -> int:
        """Upstream events so far, comments not counted. The first one is the commit point."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the terminal event has come and the answer is whole."""
        ...

    @property
    def failure(self) -> GatewayError | None: ...

    @property
    def usage(self) -> TokenUsage | None:
        """What the provider reported, of a complete answer."""
        ...

    def feed(self, data: bytes) -> bytes:
        """The bytes to send now. Sets `complete` or `failure`; then nothing more may be fed."""
        ...

    def finish(self) -> bytes:
        """The end of input. Sets `complete` where the terminal event has come, else `failure`."""
        ...

    def close(self, metadata: bytes | None) -> bytes:
        """The tail of a complete answer, with `metadata` (a JSON object, encoded) where the endpoint carries it."""
        ...

    def usage_so_far(self) -> TokenUsage | None:
        """What a cut stream has cost as far as can be told; None where nothing had come."""
        ...

    def answer(self) -> Answer | None:
        """The complete answer as it would have come whole, for the cache. None where it was not kept."""
        ...


class Replay(Protocol):
    """A stored answer made ready: rendering costs one join."""

    def whole(self, suffix: bytes, created: bytes, metadata: bytes | None) -> bytes:
        """The answer as one JSON object. `suffix` makes the new id (plain characters), `created` is a JSON number,
        `metadata` an encoded object or None."""
        ...

    def stream(self, suffix: bytes, created: bytes, metadata: bytes | None, *, show_usage: bool) -> bytes:
        """The answer as the complete event stream. Arguments as for `whole`."""
        ...


class Endpoint(Protocol):
    """One inbound door. Pure; raises only GatewayError."""

    @property
    def name(self) -> str:
        """The label of metrics, and part of the cache key."""
        ...

    @property
    def in_body(self) -> bool:
        """Whether the gateway's `metadata` may be added to bodies; native bodies stay as they came."""
        ...

    @property
    def not_keyed(self) -> frozenset[str]:
        """Members that cannot change what the model says, and so are no part of the cache key."""
        ...

    @property
    def keepalive(self) -> bytes:
        """What a client takes as a sign of life in a silent stream, and nothing else."""
        ...

    def passed(self, query: str, headers: Mapping[bytes, bytes]) -> Passed: ...

    def read_request(self, raw: bytes, *, max_depth: int) -> Call:
        """Checks a body once. Raises GatewayError (400), naming the member at fault in `param`."""
        ...

    def cacheable(self, call: Call) -> bool:
        """Whether the meaning of the request lets it meet the cache at all; policy and headers may still forbid it."""
        ...

    def replay(self, body: bytes) -> Replay | None:
        """A stored answer made ready, or None where it cannot be told again in every framing."""
        ...

    def with_metadata(self, body: bytes, metadata: bytes) -> bytes: ...

    def request_id_lines(self, request_id: bytes) -> bytes:
        """The header lines in which clients of this dialect look for the request's id; `x-request-id` in any case."""
        ...

    def error_body(self, error: GatewayError) -> bytes: ...

    def error_event(self, error: GatewayError) -> bytes:
        """The error as the last, in-band event of a stream; nothing where it is `told` already."""
        ...


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the upstream takes it."""

    path: bytes
    """Appended to the provider's base URL."""
    body: bytes
    headers: bytes = b""
    """Ready header lines of the dialect itself (versions, betas); credentials are the caller's business."""
    warnings: tuple[str, ...] = ()
    sent: object = None
    """What a translation must remember until its answer comes; its own business."""
    breakpoints: bool = False
    """The gateway set breakpoints for the provider's prompt cache, as `TranslationOptions.prompt_cache` wants."""


class Translator(Protocol):
    """One pair of dialects. Every method is a pure function of its arguments and raises only GatewayError."""

    def request(
        self,
        call: Call,
        model: Model,
        upstream_model: str,
        options: TranslationOptions,
        *,
        ask_usage: bool,
        passed: Passed = PASSED_NOTHING,
    ) -> Prepared: ...

    def answer(self, body: bytes, prepared: Prepared, *, created: int) -> Answer: ...

    def stream(self, call: Call, prepared: Prepared, *, created: int, keep_limit_bytes: int) -> AnswerStream:
        """The state machine of one streamed answer. `keep_limit_bytes`: how much of it may be kept for `answer`."""
        ...

    def error(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
    ) -> GatewayError: ...
