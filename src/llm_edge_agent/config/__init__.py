"""The whole configuration as one frozen value, and its loading: environment, `.env`, YAML; every problem at once.

The only reader of the environment and of configuration files.
"""

from llm_edge_agent.config.otel import OtelConfig
from llm_edge_agent.config.redis_address import RedisAddress
from llm_edge_agent.config.secret import Secret
from llm_edge_agent.config.values import (
    NO_PROVIDERS,
    AppConfig,
    CacheConfig,
    ConfigError,
    GatewayKey,
    NoProvidersError,
    ProviderConfig,
    ServerLimits,
)

__all__ = [
    "NO_PROVIDERS",
    "AppConfig",
    "CacheConfig",
    "ConfigError",
    "GatewayKey",
    "NoProvidersError",
    "OtelConfig",
    "ProviderConfig",
    "RedisAddress",
    "Secret",
    "ServerLimits",
]
