"""Every way a request can fail: one enum member per kind, carrying what follows from it in one row.

Whoever meets a failure raises `GatewayError(kind, message)`; nobody logs where an error is made. Statuses, types and
codes follow OpenAI's error reference and, for what comes from Anthropic, its error page (mapping in
`dialects/chat_to_messages/errors.py`).
"""

from collections.abc import Callable, Mapping
from enum import Enum, unique
from typing import Literal, NamedTuple


class Facets(NamedTuple):
    """What follows from one kind of failure."""

    fault: Literal["client", "upstream", "gateway"]
    """Whose fault it is."""
    label: str
    """Value of the `error_type` label in metrics, from the closed list of docs/observability."""
    status: int
    """HTTP status on the OpenAI surface."""
    type: str
    """OpenAI's `error.type`."""
    code: str | None
    """OpenAI's `error.code` unless the raiser knows a better one."""
    try_another: bool
    """Whether another deployment may succeed with the same request."""
    blame: bool
    """Whether it counts against the health of the deployment."""


@unique
class ErrorKind(Enum):
    """The closed list of failures. Values are `Facets`; the comment of a group says whose fault it is."""

    # The client's request.
    INVALID_REQUEST = Facets("client", "invalid_request", 400, "invalid_request_error", "invalid_value", False, False)
    INVALID_JSON = Facets("client", "invalid_request", 400, "invalid_request_error", "invalid_json", False, False)
    INVALID_TYPE = Facets("client", "invalid_request", 400, "invalid_request_error", "invalid_type", False, False)
    MISSING_PARAMETER = Facets(
        "client", "invalid_request", 400, "invalid_request_error", "missing_required_parameter", False, False
    )
    UNSUPPORTED = Facets("client", "unsupported", 400, "invalid_request_error", "unsupported_parameter", False, False)
    BAD_HTTP = Facets("client", "invalid_request", 400, "invalid_request_error", "bad_request", False, False)
    UNAUTHENTICATED = Facets("client", "auth", 401, "invalid_request_error", "invalid_api_key", False, False)
    MODEL_NOT_FOUND = Facets("client", "not_found", 404, "invalid_request_error", "model_not_found", False, False)
    UNKNOWN_URL = Facets("client", "not_found", 404, "invalid_request_error", "unknown_url", False, False)
    METHOD_NOT_ALLOWED = Facets("client", "not_found", 405, "invalid_request_error", "method_not_allowed", False, False)
    REQUEST_TIMEOUT = Facets("client", "timeout", 408, "invalid_request_error", "request_timeout", False, False)
    TOO_LARGE = Facets("client", "too_large", 413, "invalid_request_error", "request_too_large", False, False)
    URI_TOO_LONG = Facets("client", "too_large", 414, "invalid_request_error", "uri_too_long", False, False)
    UNSUPPORTED_MEDIA = Facets(
        "client", "unsupported", 415, "invalid_request_error", "unsupported_media_type", False, False
    )
    EXPECTATION_FAILED = Facets(
        "client", "unsupported", 417, "invalid_request_error", "expectation_failed", False, False
    )
    HEADERS_TOO_LARGE = Facets("client", "too_large", 431, "invalid_request_error", "headers_too_large", False, False)
    RATE_LIMITED = Facets("client", "rate_limit_local", 429, "requests", "rate_limit_exceeded", False, False)
    CLIENT_GONE = Facets("client", "cancelled", 499, "server_error", "client_closed_request", False, False)

    # The upstream refused the request itself: status, code and message of the provider are kept by the raiser.
    UPSTREAM_REJECTED = Facets(
        "upstream", "invalid_request", 400, "invalid_request_error", "invalid_value", False, False
    )
    CONTEXT_LENGTH = Facets(
        "upstream", "context_length", 400, "invalid_request_error", "context_length_exceeded", False, False
    )
    CONTENT_FILTER = Facets("upstream", "invalid_request", 400, "invalid_request_error", "content_filter", False, False)

    # The upstream could not answer.
    UPSTREAM_RATE_LIMIT = Facets("upstream", "rate_limit_upstream", 429, "requests", "rate_limit_exceeded", True, False)
    UPSTREAM_QUOTA = Facets("upstream", "quota", 429, "insufficient_quota", "insufficient_quota", True, False)
    UPSTREAM_AUTH = Facets("upstream", "auth", 502, "server_error", "upstream_authentication_failed", True, False)
    UPSTREAM_ERROR = Facets("upstream", "upstream_5xx", 502, "server_error", "upstream_error", True, True)
    UPSTREAM_OVERLOADED = Facets("upstream", "overloaded", 503, "server_error", "overloaded", True, True)
    UPSTREAM_CONNECTION = Facets("upstream", "connect", 502, "server_error", "upstream_connection_error", True, True)
    UPSTREAM_INVALID = Facets("upstream", "upstream_5xx", 502, "server_error", "upstream_invalid", True, True)
    UPSTREAM_TOO_LARGE = Facets("upstream", "too_large", 502, "server_error", "upstream_too_large", False, False)
    UPSTREAM_TIMEOUT = Facets("upstream", "timeout", 504, "server_error", "upstream_timeout", True, True)
    STREAM_INTERRUPTED = Facets(
        "upstream", "stream_interrupted", 502, "server_error", "upstream_stream_interrupted", True, True
    )

    # The cache had no answer, and the client wanted none from elsewhere.
    NOT_CACHED = Facets("client", "not_found", 504, "invalid_request_error", "not_cached", False, False)

    # The gateway itself.
    INTERNAL = Facets("gateway", "internal", 500, "server_error", "internal_error", False, False)
    CIRCUIT_OPEN = Facets("gateway", "circuit_open", 503, "server_error", "circuit_open", True, False)
    NO_HEALTHY_UPSTREAM = Facets("gateway", "circuit_open", 503, "server_error", "no_healthy_upstream", True, False)
    OVERLOADED = Facets("gateway", "overloaded", 503, "server_error", "gateway_overloaded", False, False)
    SHUTTING_DOWN = Facets("gateway", "overloaded", 503, "server_error", "shutting_down", False, False)


class GatewayError(Exception):
    """A failure on its way to the client.

    `message` is shown to the client: it never holds a key, a URL with credentials or a traceback. `status`, `type` and
    `code` default to those of the kind; an upstream's own are kept by passing them. `retry_after_s` becomes a
    `Retry-After` header (rounded up to whole seconds). `extra` members (str -> JSON scalar) are added inside the
    `error` object, where SDKs ignore them: `provider`, `upstream_status`, `upstream_request_id`.
    """

    def __init__(
        self,
        kind: ErrorKind,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        type: str | None = None,
        retry_after_s: float | None = None,
        should_retry: bool | None = None,
        extra: Mapping[str, str | int] | None = None,
        verbatim: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.param = param
        self.status = status if status is not None else kind.value.status
        self.type = type if type is not None else kind.value.type
        self.code = code if code is not None else kind.value.code
        self.retry_after_s = retry_after_s
        self.should_retry = should_retry
        """Becomes `x-should-retry`: what the vendors' SDKs obey. None sends no header."""
        self.extra: dict[str, str | int] = dict(extra) if extra else {}
        self.verbatim = verbatim
        """The provider's own error object, where a client of the same dialect gets it as it came."""
        self.told = False
        """Whether the events of the stream that it ends say so already, in the provider's words."""

    def conceal(self, hide: Callable[[bytes], bytes]) -> None:
        """Takes out of all that a client is shown what `hide` does not let through."""

        def hidden(text: str) -> str:
            return hide(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

        self.message = hidden(self.message)
        self.type = hidden(self.type)
        self.code = hidden(self.code) if self.code is not None else None
        self.param = hidden(self.param) if self.param is not None else None
        self.extra = {name: hidden(value) if isinstance(value, str) else value for name, value in self.extra.items()}
        self.verbatim = hide(self.verbatim) if self.verbatim is not None else None
