import pytest

from llm_edge_agent.gateway.routes import CHAT, HEALTH, METRICS, MODEL, MODELS, UNKNOWN, Route, find_route


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
