"""A chat provider's refusals in the words of the Messages API: names of members, and the wording that clients know."""

from collections.abc import Mapping

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.chat_to_responses import errors as responses_errors

_NAMES = {
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "thinking",
    "response_format": "output_config.format",
    "stop": "stop_sequences",
    "user": "metadata.user_id",
    "safety_identifier": "metadata.user_id",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
}
"""Where a member of the chat request came from in the client's."""

TOO_LONG = "prompt is too long"
"""Clients of the Messages API compact their history when a refusal says so."""


def translate_error(
    status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
) -> GatewayError:
    """A provider's answer of status other than 200, of either of OpenAI's APIs, in the caller's words."""
    error = responses_errors.translate_error(status, headers, body, provider=provider, now_unix_s=now_unix_s)
    return in_caller_words(error)


def in_caller_words(error: GatewayError) -> GatewayError:
    """The error itself, its `param` and message as a client of the Messages API knows them."""
    if error.param is not None:
        error.param = _NAMES.get(error.param, error.param)
    if error.kind is ErrorKind.CONTEXT_LENGTH:
        if TOO_LONG not in error.message:
            error.message = f"{TOO_LONG}: {error.message}"
        return error
    return named(error)


def named(error: GatewayError) -> GatewayError:
    """The error itself, its message naming the place: Anthropic's errors have no member for it."""
    if error.param is not None and error.param not in error.message:
        error.message = f"{error.param}: {error.message}"
    return error
