"""Pure wire formats. No sockets, clocks or settings of our own: bytes and values in, bytes and values out.

`ENDPOINTS` are the inbound doors; `TRANSLATORS[endpoint, upstream dialect]` is the whole knowledge of which dialects
can be joined. The pipeline knows no dialect; it asks the door and the pair. No entry means a clear 400.
"""

from collections.abc import Mapping

from llm_edge_agent.core.models import Dialect
from llm_edge_agent.dialects.chat_endpoint import ChatEndpoint, ChatToChat, ChatToMessages
from llm_edge_agent.dialects.chat_to_responses.translator import ChatToOpenAI
from llm_edge_agent.dialects.completions import CompletionsEndpoint, CompletionsToOpenAI
from llm_edge_agent.dialects.embeddings import EmbeddingsEndpoint, EmbeddingsToOpenAI
from llm_edge_agent.dialects.endpoint import Endpoint, Translator
from llm_edge_agent.dialects.messages import (
    CountTokensEndpoint,
    CountTokensToMessages,
    MessagesEndpoint,
    MessagesToMessages,
)
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
