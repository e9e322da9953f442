"""A Responses provider's refusals in the words of Chat Completions: the same errors, other names of members."""

import re
from collections.abc import Mapping

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects import chat_to_chat

_NAMES = {
    "input": "messages",
    "max_output_tokens": "max_completion_tokens",
    "text.format": "response_format",
    "text.verbosity": "verbosity",
    "reasoning.effort": "reasoning_effort",
    "reasoning.summary": "include_reasoning",
}
"""Where a member of the Responses request came from in the client's. None of them is a name in a chat request."""

_FORMAT = "text.format."
_ITEM = re.compile(r"input\[[0-9]+\]")


def translate_error(
    status: int, headers: Mapping[bytes, bytes], body: bytes, *, provider: str, now_unix_s: float
) -> GatewayError:
    """A provider's answer of status other than 200; as `chat_to_chat.read_error`, in the caller's words."""
    return in_chat_words(chat_to_chat.read_error(status, headers, body, provider=provider, now_unix_s=now_unix_s))


def in_chat_words(error: GatewayError) -> GatewayError:
    """The error itself, its `param` as a chat client knows it. An item of the input has no place of its own in a chat:
    it is `messages`."""
    if error.param is not None:
        error.param = _chat_name(error.param)
    return error


def _chat_name(param: str) -> str:
    if param.startswith(_FORMAT):
        return f"response_format.json_schema.{param.removeprefix(_FORMAT)}"
    if _ITEM.match(param):
        return "messages"
    return _NAMES.get(param, param)
