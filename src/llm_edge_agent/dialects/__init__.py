"""Pure wire formats. No sockets, clocks or settings of our own: bytes and values in, bytes and values out.

`ENDPOINTS` are the inbound doors; `TRANSLATORS[endpoint, upstream dialect]` is the whole knowledge of which dialects
can be joined. The pipeline knows no dialect; it asks the door and the pair. No entry means an estimate or a clear 400.
"""

from collections.abc import Callable, Mapping

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Dialect
from llm_edge_agent.dialects.chat_endpoint import ChatEndpoint, ChatToChat, ChatToMessages
from llm_edge_agent.dialects.chat_to_responses.translator import ChatToOpenAI
from llm_edge_agent.dialects.completions import CompletionsEndpoint, CompletionsToOpenAI
from llm_edge_agent.dialects.embeddings import EmbeddingsEndpoint, EmbeddingsToOpenAI
from llm_edge_agent.dialects.endpoint import Call, Endpoint, Translator
from llm_edge_agent.dialects.messages import (
    CountTokensEndpoint,
    CountTokensToMessages,
    MessagesEndpoint,
    MessagesToMessages,
)
from llm_edge_agent.dialects.messages_to_chat.count import count_tokens
from llm_edge_agent.dialects.messages_to_chat.translator import MessagesToOpenAI
from llm_edge_agent.dialects.responses import ResponsesEndpoint, ResponsesToOpenAI

CHAT: Endpoint = ChatEndpoint()

_ALL: tuple[Endpoint, ...] = (
    CHAT,
    MessagesEndpoint(),
    CountTokensEndpoint(),
    ResponsesEndpoint(),
    EmbeddingsEndpoint(),
    CompletionsEndpoint(),
)
ENDPOINTS: Mapping[str, Endpoint] = {endpoint.name: endpoint for endpoint in _ALL}

TRANSLATORS: Mapping[tuple[str, Dialect], Translator] = {
    ("chat", "openai"): ChatToOpenAI(ChatToChat()),
    ("chat", "anthropic"): ChatToMessages(),
    ("messages", "anthropic"): MessagesToMessages(),
    ("messages", "openai"): MessagesToOpenAI(),
    ("count_tokens", "anthropic"): CountTokensToMessages(),
    ("responses", "openai"): ResponsesToOpenAI(),
    ("embeddings", "openai"): EmbeddingsToOpenAI(),
    ("completions", "openai"): CompletionsToOpenAI(),
}

_ESTIMATES: Mapping[str, Callable[[Call], bytes]] = {"count_tokens": count_tokens}


def estimate(endpoint: str, call: Call) -> bytes:
    """What the gateway says by itself where no translator joins the endpoint with the model's dialect. Raises
    GatewayError (400) where that is nothing."""
    known = _ESTIMATES.get(endpoint)
    if known is None:
        raise GatewayError(
            ErrorKind.UNSUPPORTED, f"Model `{call.model[:128]}` cannot be used on this endpoint.", param="model"
        )
    return known(call)
