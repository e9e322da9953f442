"""Anthropic's refusals and failures as `GatewayError` (mapping section 8.4), whole answers and `error` events alike."""

import re
from collections.abc import Mapping

import msgspec

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.provider_errors import retry_after_s, safe_message

_QUOTA_CODES = frozenset(
    {
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "linked_organization_spend_limit_reached",
        "ramp_limit_exceeded",
    }
)
_QUOTA_TEXT = re.compile(r"credit balance is too low|specified API usage limits", re.IGNORECASE)
_TOO_LONG = re.compile(r"prompt is too long|exceed(?:s|ed)? (?:the )?(?:context|model's context)", re.IGNORECASE)
_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What an error event inside a 200 stream would have had as its status."""

_CODE_OF_STATUS = {404: "model_not_found", 409: "conflict", 413: "request_too_large"}
_CODE_OF_TEXT = (
    (re.compile(r"extra inputs are not permitted", re.IGNORECASE), "unknown_parameter"),
    (re.compile(r"field required", re.IGNORECASE), "missing_required_parameter"),
    (re.compile(r"deprecated for this model|not supported|does not support", re.IGNORECASE), "unsupported_parameter"),
)
_PLACE = re.compile(r"([a-z_]+)(?:\.[\w.\-]+)?: ")
_CHAT_NAMES = {
    "system": "messages",
    "stop_sequences": "stop",
    "thinking": "reasoning_effort",
    "output_config": "response_format",
}
"""Where a member of the Messages request came from in the client's."""


class _Details(msgspec.Struct):
    error_code: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None
    message: str | None = None
    details: _Details | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error
    request_id: str | None = None


_decoder = msgspec.json.Decoder(_ErrorBody)


def _read(body: bytes) -> _ErrorBody:
    """The error object, empty where the body (HTML of a proxy, nonsense) holds none."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _ErrorBody(error=_Error())


def translate_error(
    status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
) -> GatewayError:
    """An answer of status other than 2xx. `headers` has lower-case names; `provider` is the name that is shown.

    Refusals of the request itself keep the provider's status and words; anything about the gateway's own account,
    key or load is said in ours. The provider's `x-should-retry` is not taken over.
    """
    read = _read(body)
    extra: dict[str, str | int] = {"provider": provider, "upstream_status": status}
    request_id = headers.get(b"request-id", b"").decode("latin-1") or read.request_id
    if request_id:
        extra["upstream_request_id"] = safe_message(request_id)[:128]
    return _classify(status, read.error, provider, retry_after_s(headers, now_unix_s), extra)


def error_event(data: bytes, *, provider: str = "The provider") -> GatewayError:
    """The `error` event of a stream."""
    read = _read(data)
    status = _STATUS_OF_TYPE.get(read.error.type or "", 500)
    extra: dict[str, str | int] = {}
    if read.request_id:
        extra["upstream_request_id"] = safe_message(read.request_id)[:128]
    return _classify(status, read.error, provider, None, extra)


def event_status(data: bytes) -> int:
    """The status that the `error` event of a stream would have had as a whole answer."""
    return _STATUS_OF_TYPE.get(_read(data).error.type or "", 500)


def _classify(
    status: int, error: _Error, provider: str, wait_s: float | None, extra: dict[str, str | int]
) -> GatewayError:
    message = error.message or ""
    error_code = error.details.error_code if error.details is not None else None
    if status == 402 or error_code in _QUOTA_CODES or (status == 400 and _QUOTA_TEXT.search(message)):
        return GatewayError(
            ErrorKind.UPSTREAM_QUOTA,
            f"{provider}: the gateway's quota or spending limit with this provider is used up.",
            retry_after_s=wait_s if error_code == "ramp_limit_exceeded" else None,
            extra=extra,
        )
    if status in (401, 403):
        return GatewayError(
            ErrorKind.UPSTREAM_AUTH, f"{provider} refused the gateway's own credentials or rights.", extra=extra
        )
    if status == 429:
        return GatewayError(
            ErrorKind.UPSTREAM_RATE_LIMIT,
            f"{provider}: the rate limit of the gateway's account is reached. Try again later.",
            type="tokens" if "token" in message.lower() else "requests",
            retry_after_s=wait_s,
            extra=extra,
        )
    if status in (503, 529) or error.type == "overloaded_error":
        kind, text = ErrorKind.UPSTREAM_OVERLOADED, f"{provider} is overloaded. Try again later."
    elif status in (408, 504) or error.type == "timeout_error":
        kind, text = ErrorKind.UPSTREAM_TIMEOUT, f"{provider} did not answer in time."
    elif status in (400, 404, 409, 413, 422):
        return _rejected(status, message, provider, wait_s, extra)
    else:
        kind, text = ErrorKind.UPSTREAM_ERROR, f"{provider} failed with status {status}."
    return GatewayError(kind, text, retry_after_s=wait_s, extra=extra)


def _rejected(
    status: int, message: str, provider: str, wait_s: float | None, extra: dict[str, str | int]
) -> GatewayError:
    text = safe_message(message) or f"{provider} refused the request with status {status}."
    if status == 400 and _TOO_LONG.search(message):
        return GatewayError(ErrorKind.CONTEXT_LENGTH, text, param="messages", extra=extra)
    code = _CODE_OF_STATUS.get(status, "invalid_value")
    if code == "invalid_value":
        code = next((known for pattern, known in _CODE_OF_TEXT if pattern.search(message)), code)
    place = _PLACE.match(message)
    param = _CHAT_NAMES.get(place[1], place[1]) if place is not None else None
    return GatewayError(
        ErrorKind.UPSTREAM_REJECTED, text, status=status, param=param, code=code, retry_after_s=wait_s, extra=extra
    )
