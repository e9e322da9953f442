"""OpenAI Chat Completions on the wire: what the gateway reads of a request and of an answer, and the edits it makes.

Only what is read is typed. Everything else stays in the bytes that came, and passes on: a request is forwarded as the
client's own bytes, an answer as the provider's, each with the smallest splice that the job needs. Field types follow
OpenAI's API reference; ranges are the provider's business.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from llm_edge_agent.core import strict_json
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.core.strict_json import Body
from llm_edge_agent.dialects.endpoint import Answer, Call


class ContentPart(msgspec.Struct):
    type: str


class FunctionCall(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    id: str | None = None
    type: str | None = None
    function: FunctionCall | None = None


class Message(msgspec.Struct):
    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    refusal: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: FunctionCall | None = None


class FunctionDefinition(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct):
    type: str
    function: FunctionDefinition | None = None
    custom: dict[str, Any] | None = None


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ResponseFormat(msgspec.Struct):
    type: str
    json_schema: dict[str, Any] | None = None


class ChatRequest(msgspec.Struct):
    """The members whose JSON type is checked. A null member counts as absent, but for `model` and `messages`."""

    model: str
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    function_call: str | dict[str, Any] | None = None
    functions: list[FunctionDefinition] | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    metadata: dict[str, str] | None = None
    modalities: list[str] | None = None
    moderation: dict[str, Any] | None = None
    n: int | None = None
    parallel_tool_calls: bool | None = None
    prediction: dict[str, Any] | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    response_format: ResponseFormat | None = None
    safety_identifier: str | None = None
    seed: int | None = None
    service_tier: str | None = None
    stop: str | list[str] | None = None
    store: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    user: str | None = None
    verbosity: str | None = None
    web_search_options: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None


_request_decoder = msgspec.json.Decoder(ChatRequest)
CONVERTED_BYTES = 4 * 1024
"""From this size on reading the text twice costs more than converting the value."""


def _checked(body: Body) -> ChatRequest:
    """The members as their types. Those of a large body are taken from the value that was read already, so that its
    strings are looked at once; where that does not fit, the text decides, since numbers may stand in the value as text.
    Raises ValidationError."""
    if len(body.raw) < CONVERTED_BYTES:
        return _request_decoder.decode(body.raw)
    value = body.value
    numbers = {key: float(bytes(item)) for key, item in value.items() if type(item) is msgspec.Raw}
    try:
        return msgspec.convert({**value, **numbers} if numbers else value, ChatRequest)
    except msgspec.ValidationError:
        return _request_decoder.decode(body.raw)


def read_request(raw: bytes, *, max_depth: int) -> Call:
    """Checks a request body once. Raises GatewayError (400), naming the member at fault in `param`."""
    body = strict_json.read_object(raw, max_depth=max_depth)
    try:
        request = _checked(body)
    except msgspec.ValidationError as error:
        raise type_error(str(error), body.value) from None
    stream = bool(request.stream)
    options = request.stream_options
    include_usage = stream and options is not None and bool(options.include_usage)
    return Call(body, request.model, stream, include_usage, request.n or 1)


def type_error(reason: str, value: Mapping[str, Any]) -> GatewayError:
    """msgspec's words as OpenAI's: `Expected `str`, got `int` - at `$.messages[0].role``."""
    complaint, _, place = reason.partition(" - at `$")
    param = place.rstrip("`").removeprefix(".") or None
    if complaint.startswith("Object missing required field `"):
        missing = complaint.split("`")[1]
        param = f"{param}.{missing}" if param else missing
        return GatewayError(ErrorKind.MISSING_PARAMETER, f"Missing required parameter: '{param}'.", param=param)
    if complaint.startswith("Expected `array` of length"):
        return GatewayError(
            ErrorKind.INVALID_REQUEST, "Invalid 'messages': empty array. Expected at least one message.", param=param
        )
    if param in ("model", "messages") and value.get(param) is None:
        return GatewayError(ErrorKind.MISSING_PARAMETER, f"Missing required parameter: '{param}'.", param=param)
    shown = complaint.replace("`", "").replace("Expected", "expected")
    return GatewayError(ErrorKind.INVALID_TYPE, f"Invalid type for '{param}': {shown}.", param=param)


def with_model(raw: bytes, name: str) -> bytes:
    """The body with another model name: every other byte as it was."""
    span = strict_json.members(raw)["model"]
    return b"%b%b%b" % (raw[: span.start], msgspec.json.encode(name), raw[span.end :])


def with_usage_chunk(raw: bytes, *, has_options: bool = True) -> bytes:
    """A streaming request that also asks for the usage chunk: every other byte as it was. `has_options` False: it is
    known that there is no `stream_options`, and need not be looked for."""
    span = strict_json.members(raw).get("stream_options") if has_options else None
    if span is None:
        opening = raw.index(b"{") + 1
        return b'%b"stream_options":{"include_usage":true},%b' % (raw[:opening], raw[opening:])
    options = raw[span.start : span.end]
    inner = strict_json.members(options) if options != b"null" else {}
    flag = inner.get("include_usage")
    if flag is not None:
        options = options[: flag.start] + b"true" + options[flag.end :]
    elif inner:
        options = b'{"include_usage":true,%b' % options[1:]
    else:
        options = b'{"include_usage":true}'
    return raw[: span.start] + options + raw[span.end :]


ABSENT = msgspec.Raw(b"")
"""Default of a raw member: msgspec takes no `Raw | None`, so an absent one is empty and a null one says `null`."""


LIST_PRICE_TIERS = (None, "auto", "default", "standard")
"""Values of an answer's `service_tier` that are billed by the price list. `flex` costs less, `priority` more."""


class _PromptDetails(msgspec.Struct):
    audio_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    audio_tokens: int | None = None
    reasoning_tokens: int | None = None


class WireUsage(msgspec.Struct):
    """OpenAI's `usage`: prompt tokens include cached ones."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    """DeepSeek's name for cached tokens."""

    def tokens(self, service_tier: object) -> TokenUsage:
        """`service_tier`: as the answer says. Only the price of text is known, so audio makes the bill unknown."""
        prompt = self.prompt_tokens_details
        completion = self.completion_tokens_details
        cached = (prompt.cached_tokens if prompt is not None else None) or self.prompt_cache_hit_tokens
        return TokenUsage(
            prompt_tokens=self.prompt_tokens or 0,
            completion_tokens=self.completion_tokens or 0,
            cache_read_tokens=cached or 0,
            cache_write_tokens=(prompt.cache_write_tokens if prompt is not None else None) or 0,
            reasoning_tokens=(completion.reasoning_tokens if completion is not None else None) or 0,
            off_list=service_tier not in LIST_PRICE_TIERS
            or bool(prompt is not None and prompt.audio_tokens)
            or bool(completion is not None and completion.audio_tokens),
        )


class FinishedChoice(msgspec.Struct):
    """How one choice ended. `warnings` come from our own translators: an answer that only paused (`pause_turn`) is
    shown as `stop`, since OpenAI has no word for it, but is not whole."""

    index: int = 0
    finish_reason: str | None = None
    warnings: list[str] | None = None

    @property
    def ending(self) -> str | None:
        """The finish reason, or the warning that qualifies it."""
        return self.warnings[0] if self.warnings else self.finish_reason


class _Answer(msgspec.Struct):
    choices: list[FinishedChoice]
    usage: WireUsage | None = None
    service_tier: Any = None
    error: msgspec.Raw = ABSENT
    metadata: msgspec.Raw = ABSENT


_NO_ERROR = (b"", b"null", b"false", b'""', b"{}")


def is_error(value: msgspec.Raw) -> bool:
    """Whether an `error` member says that something failed: some servers send an empty one with every answer."""
    return bytes(value) not in _NO_ERROR


_answer_decoder = msgspec.json.Decoder(_Answer)


def read_answer(raw: bytes) -> Answer:
    """Checks that a 200's body is a chat completion. Raises GatewayError UPSTREAM_INVALID where it is not: an HTML
    page, broken JSON, an error object, another shape. Nothing of the body is quoted."""
    answer: _Answer | None
    try:
        if not raw.isascii():
            str(raw, "utf-8")  # msgspec does not look into strings it skips
        answer = _answer_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        answer = _read_tolerantly(raw)
    if answer is None or is_error(answer.error) or not answer.choices:
        raise GatewayError(ErrorKind.UPSTREAM_INVALID, "The provider's answer is not a chat completion.")
    usage = answer.usage.tokens(answer.service_tier) if answer.usage is not None else None
    body = raw.strip() if answer.metadata == ABSENT else without_metadata(raw.strip())
    return Answer(body, usage, tuple([choice.ending for choice in answer.choices]))


_SURROGATE_ESCAPE = re.compile(rb"(?<!\\)((?:\\\\)*)\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


def _read_tolerantly(raw: bytes) -> _Answer | None:
    """Some servers split a surrogate pair over two pieces; the answer is still whole. It is read with stand-ins, and
    relayed as it came."""
    try:
        str(raw, "utf-8")
        return _answer_decoder.decode(replace_surrogate_escapes(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def replace_surrogate_escapes(raw: bytes) -> bytes:
    """The JSON text with every escaped UTF-16 surrogate replaced by U+FFFD, for readers that refuse lone ones."""
    return _SURROGATE_ESCAPE.sub(rb"\1\\ufffd", raw)


def without_member(raw: bytes, name: str) -> bytes:
    """A JSON object without one of its top-level members; other bytes as they were. `raw` has no outer white space."""
    spans = strict_json.members(raw)
    span = spans.get(name)
    if span is None:
        return raw
    others = [raw[other.key_start : other.end] for key, other in spans.items() if key != name]
    return b"{%b}" % b",".join(others)


def without_metadata(raw: bytes) -> bytes:
    """A provider's JSON object without its `metadata`, which gives way to ours. Raises GatewayError UPSTREAM_INVALID
    where a member stands twice."""
    try:
        try:
            return without_member(raw, "metadata")
        except msgspec.MsgspecError:
            return without_member(replace_surrogate_escapes(raw), "metadata")
    except (msgspec.MsgspecError, GatewayError):
        raise GatewayError(ErrorKind.UPSTREAM_INVALID, "The provider's answer is ambiguous JSON.") from None


def with_metadata(answer: bytes, metadata: bytes) -> bytes:
    """The answer with a `metadata` member (a JSON object, encoded) added last."""
    return b'%b,"metadata":%b}' % (answer[:-1], metadata)


def error_body(error: GatewayError) -> bytes:
    """OpenAI's error object. Extra facts stand inside `error`, where SDKs ignore them."""
    return msgspec.json.encode(
        {
            "error": {
                "message": error.message,
                "type": error.type,
                "param": error.param,
                "code": error.code,
                **error.extra,
            }
        }
    )
