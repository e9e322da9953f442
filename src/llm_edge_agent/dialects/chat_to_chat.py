"""Chat Completions to an upstream that speaks Chat Completions: bytes through, with the smallest edits."""

from collections.abc import Mapping

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.chat import with_model, with_usage_chunk
from llm_edge_agent.dialects.endpoint import Call
from llm_edge_agent.dialects.provider_errors import retry_after_s, safe_message


def edit_request(call: Call, upstream_model: str, *, ask_usage: bool) -> bytes:
    """The body for the upstream: the client's bytes, but for a renamed model and, in a stream whose client did not
    ask for the usage chunk, `stream_options.include_usage` (`ask_usage` is False for providers that report usage
    unasked and refuse the option)."""
    body = call.body.raw
    if upstream_model != call.model:
        body = with_model(body, upstream_model)
    if call.stream and ask_usage and not call.include_usage:
        body = with_usage_chunk(body, has_options="stream_options" in call.body.value)
    return body


class _ErrorObject(msgspec.Struct):
    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _ErrorBody(msgspec.Struct):
    error: _ErrorObject


_error_decoder = msgspec.json.Decoder(_ErrorBody)

_REQUEST_STATUSES = frozenset({400, 404, 405, 409, 410, 413, 415, 422})
"""Refusals that are about the request: status, code and message of the provider go to the client."""

_CODE_KINDS = {
    "context_length_exceeded": ErrorKind.CONTEXT_LENGTH,
    "content_filter": ErrorKind.CONTENT_FILTER,
    "content_policy_violation": ErrorKind.CONTENT_FILTER,
    "model_not_found": ErrorKind.MODEL_NOT_FOUND,
}


def read_error(
    status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
) -> GatewayError:
    """A provider's non-2xx answer as our error (after OpenAI's error reference; the kinds are rows of core/errors.py).

    401 and 403 are about the gateway's own key, so the client gets a 502 that names the provider and quotes nothing.
    A redirect is never followed: it would carry the key elsewhere.
    """
    try:
        error = _error_decoder.decode(body).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        error = _ErrorObject()
    extra: dict[str, str | int] = {"provider": provider, "upstream_status": status}
    request_id = headers.get(b"x-request-id")
    if request_id is not None:
        extra["upstream_request_id"] = safe_message(request_id.decode("latin-1"))[:128]
    code = safe_message(str(error.code)) if error.code is not None else None
    retry_s = retry_after_s(headers, now_unix_s)

    if status in (401, 403):
        return GatewayError(
            ErrorKind.UPSTREAM_AUTH,
            f"The provider '{provider}' refused the gateway's credentials (status {status}).",
            extra=extra,
        )
    if status == 402 or (status == 429 and "insufficient_quota" in (error.code, error.type)):
        return GatewayError(
            ErrorKind.UPSTREAM_QUOTA, f"The gateway's quota at provider '{provider}' is used up.", extra=extra
        )
    if status == 429:
        message = safe_message(error.message) if error.message else f"Provider '{provider}' limits the request rate."
        kind = safe_message(error.type) if error.type else None
        return GatewayError(
            ErrorKind.UPSTREAM_RATE_LIMIT, message, code=code, type=kind, retry_after_s=retry_s, extra=extra
        )
    if status in _REQUEST_STATUSES and (error.message or status != 404):
        message = safe_message(error.message) if error.message else f"Provider '{provider}' refused the request."
        return GatewayError(
            _CODE_KINDS.get(str(error.code), ErrorKind.UPSTREAM_REJECTED),
            message,
            param=safe_message(error.param) if error.param else None,
            code=code,
            status=status,
            type=safe_message(error.type) if error.type else None,
            extra=extra,
        )
    if status in (503, 529):
        return GatewayError(
            ErrorKind.UPSTREAM_OVERLOADED,
            f"Provider '{provider}' is overloaded (status {status}).",
            retry_after_s=retry_s,
            extra=extra,
        )
    if status in (408, 504):
        return GatewayError(
            ErrorKind.UPSTREAM_TIMEOUT, f"Provider '{provider}' timed out (status {status}).", extra=extra
        )
    return GatewayError(
        ErrorKind.UPSTREAM_ERROR,
        f"Provider '{provider}' failed with status {status}.",
        retry_after_s=retry_s,
        extra=extra,
    )
