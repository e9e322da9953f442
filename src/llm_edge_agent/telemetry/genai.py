"""OpenTelemetry's words for what the gateway does: GenAI semantic conventions v1.41, HTTP conventions (stable)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from llm_edge_agent.core.errors import ErrorKind

OPERATIONS = {
    "chat": "chat",
    "messages": "chat",
    "responses": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "count_tokens": "count_tokens",
}
"""`gen_ai.operation.name` by endpoint. The conventions have no word for counting tokens; ours follows their form."""

_PROVIDERS = {
    "azure-openai": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "bedrock": "aws.bedrock",
}
_ERROR_TYPES = {
    ErrorKind.UPSTREAM_TIMEOUT: "timeout",
    ErrorKind.UPSTREAM_CONNECTION: "connect_error",
    ErrorKind.UPSTREAM_RATE_LIMIT: "rate_limit_exceeded",
}

# Request member of any dialect -> attribute and the types it may have.
_NUMBERS: Mapping[str, tuple[str, type]] = {
    "max_tokens": ("gen_ai.request.max_tokens", int),
    "max_completion_tokens": ("gen_ai.request.max_tokens", int),
    "max_output_tokens": ("gen_ai.request.max_tokens", int),
    "temperature": ("gen_ai.request.temperature", float),
    "top_p": ("gen_ai.request.top_p", float),
    "top_k": ("gen_ai.request.top_k", float),
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
    "seed": ("gen_ai.request.seed", int),
    "n": ("gen_ai.request.choice.count", int),
}
_TEXTS = {
    "reasoning_effort": "gen_ai.request.reasoning.level",
    "service_tier": "openai.request.service_tier",
}
_MAX_TEXT = 64
_BEYOND = 1 << 63
"""Numbers of this size have no place in an attribute. A client may send them all the same."""

Attributes = dict[str, "str | int | float | bool | list[str]"]


def provider_name(provider: str) -> str:
    """`gen_ai.provider.name`: the conventions' own where they have one."""
    return _PROVIDERS.get(provider, provider)


def error_type(kind: ErrorKind, status: int | None) -> str:
    """`error.type`: of few values."""
    return _ERROR_TYPES.get(kind) or (str(status) if status is not None and status >= 400 else kind.value.label)


def request_attributes(body: Mapping[str, Any]) -> Attributes:
    """What a request asked for, without any of its content. `body` is a decoded request of any endpoint; numbers with
    a fraction are `msgspec.Raw`."""
    found: Attributes = {}
    for member, (name, kind) in _NUMBERS.items():
        value = _number(body.get(member))
        if value is not None and -_BEYOND <= value < _BEYOND:
            found[name] = kind(value)
    if found.get("gen_ai.request.choice.count") == 1:
        del found["gen_ai.request.choice.count"]
    for member, name in _TEXTS.items():
        text = body.get(member)
        if isinstance(text, str):
            found[name] = text[:_MAX_TEXT]
    stops = body.get("stop", body.get("stop_sequences"))
    if isinstance(stops, str):
        stops = [stops]
    if isinstance(stops, list) and stops and all(isinstance(each, str) for each in stops):
        found["gen_ai.request.stop_sequences"] = [each[:_MAX_TEXT] for each in stops[:8]]
    if _wants_json(body):
        found["gen_ai.output.type"] = "json"
    return found


def _number(value: object) -> float | int | None:
    if isinstance(value, msgspec.Raw):
        return float(bytes(value))
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _wants_json(body: Mapping[str, Any]) -> bool:
    places = (body.get("response_format"), body.get("output_config"), body.get("text"))
    for place in places:
        if isinstance(place, Mapping):
            form = place.get("format", place)
            if isinstance(form, Mapping) and form.get("type") in ("json_object", "json_schema"):
                return True
    return False


class Told(NamedTuple):
    """What an answer says of itself."""

    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None


class _Answer(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None


_answer_decoder = msgspec.json.Decoder(_Answer)


def told_by(answer: bytes | None) -> Told:
    """Reads the few members that spans carry; an answer that cannot be read says nothing."""
    if answer is None:
        return Told()
    try:
        read = _answer_decoder.decode(answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Told()
    return Told(read.id, read.model, read.service_tier, read.system_fingerprint)
