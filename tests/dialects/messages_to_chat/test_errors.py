"""Refusals in the words of the Messages API. Provider answers of every kind are golden cases (`error_*`)."""

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.dialects.messages_to_chat.errors import in_caller_words


@pytest.mark.parametrize(
    ("error", "param", "message"),
    [
        (GatewayError(ErrorKind.UPSTREAM_ERROR, "It broke."), None, "It broke."),
        (GatewayError(ErrorKind.UPSTREAM_REJECTED, "No.", param="stop"), "stop_sequences", "stop_sequences: No."),
        (GatewayError(ErrorKind.UPSTREAM_REJECTED, "Bad model.", param="model"), "model", "Bad model."),
        (GatewayError(ErrorKind.CONTEXT_LENGTH, "a", param="messages"), "messages", "prompt is too long: a"),
        (GatewayError(ErrorKind.CONTEXT_LENGTH, "prompt is too long"), None, "prompt is too long"),
    ],
)
def test_names_and_words(error: GatewayError, param: str | None, message: str) -> None:
    for _ in range(2):  # said twice, it is the same
        error = in_caller_words(error)
        assert (error.param, error.message) == (param, message)
