"""The whole configuration as one frozen value, and its loading: environment, `.env`, YAML; every problem at once.

The only reader of the environment and of configuration files.
"""

from llm_edge_agent.config.values import (
    NO_PROVIDERS,
    AppConfig,
    CacheConfig,
    ConfigError,
    GatewayKey,
    NoProvidersError,
    ProviderConfig,
    Secret,
    ServerLimits,
)

__all__ = [
    "NO_PROVIDERS",
    "AppConfig",
    "CacheConfig",
    "ConfigError",
    "GatewayKey",
    "NoProvidersError",
    "ProviderConfig",
    "Secret",
    "ServerLimits",
]
