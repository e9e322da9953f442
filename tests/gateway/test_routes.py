import pytest

from llm_edge_agent.gateway.routes import (
    CHAT,
    COUNT_TOKENS,
    EMBEDDINGS,
    HEALTH,
    MESSAGES,
    METRICS,
    MODEL,
    MODELS,
    RESPONSES,
    UNKNOWN,
    UNKNOWN_OF_ANTHROPIC,
    Route,
    find_route,
)


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/chat/completions", CHAT),
        ("/v1/chat/completions/", CHAT),
        ("/chat/completions", CHAT),
        ("/v1/models", MODELS),
        ("/v1/models/", MODELS),
        ("/v1/models/gpt-5.5", MODEL),
        ("/v1/models/groq/openai/gpt-oss", MODEL),
        ("/v1/messages", MESSAGES),
        ("/v1/messages/", MESSAGES),
        ("/v1/messages/count_tokens", COUNT_TOKENS),
        ("/v1/messages/batches", UNKNOWN_OF_ANTHROPIC),
        ("/v1/responses", RESPONSES),
        ("/embeddings", EMBEDDINGS),
        ("/v1/responses/resp_1", UNKNOWN),
        ("/health", HEALTH),
        ("/metrics", METRICS),
        ("/", UNKNOWN),
        ("", UNKNOWN),
        ("*", UNKNOWN),
        ("/v1/chat/completions//", UNKNOWN),
        ("/V1/chat/completions", UNKNOWN),
        ("/v1/chat/completions/../completions", UNKNOWN),
        ("/v1/chat%2Fcompletions", UNKNOWN),
        ("/health/../v1/chat/completions", UNKNOWN),
    ],
)
def test_paths_are_taken_literally(path: str, route: Route) -> None:
    assert find_route(path) is route
