"""An LLM intercepting proxy: one OpenAI-compatible API for every provider.

As a library: build an `AppConfig`, then either hand `asgi_app(config)` to an ASGI server or mount it, or
`state = await initialize_app_state(config)` and `await handle_chat_completions(state, headers, body)`.
"""

from typing import TYPE_CHECKING, Any

from llm_edge_agent.version import __version__

if TYPE_CHECKING:
    from llm_edge_agent.app import AppState, initialize_app_state
    from llm_edge_agent.asgi import ASGIApp, Reply, handle_chat_completions
    from llm_edge_agent.config import AppConfig

__all__ = [
    "AppConfig",
    "AppState",
    "Reply",
    "__version__",
    "asgi_app",
    "handle_chat_completions",
    "initialize_app_state",
]

_HOMES = {
    "AppConfig": "llm_edge_agent.config",
    "AppState": "llm_edge_agent.app",
    "Reply": "llm_edge_agent.asgi",
    "handle_chat_completions": "llm_edge_agent.asgi",
    "initialize_app_state": "llm_edge_agent.app",
}


def __getattr__(name: str) -> Any:
    """Public names are loaded when first used, so that `llm-edge-agent --version` does not load a gateway."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def asgi_app(config: "AppConfig | None" = None) -> "ASGIApp":
    """The gateway as an ASGI application; without a configuration, that of the environment, read when it loads."""
    from llm_edge_agent.app import AppState, initialize_app_state
    from llm_edge_agent.asgi import ASGIApp
    from llm_edge_agent.config import AppConfig

    async def load() -> AppState:
        return await initialize_app_state(config if config is not None else AppConfig.from_env())

    return ASGIApp(load)
