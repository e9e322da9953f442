"""The whole configuration as one frozen value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from llm_edge_agent.config.otel import OtelConfig
from llm_edge_agent.config.redis_address import RedisAddress
from llm_edge_agent.config.secret import Secret
from llm_edge_agent.core.cache_policy import Policy, PolicyRule
from llm_edge_agent.core.models import Dialect
from llm_edge_agent.core.pricing import PriceList
from llm_edge_agent.core.strategies import HybridWeights, StrategyName
from llm_edge_agent.presets import AuthHeader

NO_PROVIDERS = "No providers configured"


class ConfigError(ValueError):
    """The configuration cannot be used. `problems`: one line each, naming the variable or the place in the file, never
    holding a value."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class NoProvidersError(ConfigError):
    """Nothing is wrong but that there is nobody to send a request to."""

    hint = (
        "Set OPENAI_API_KEY or ANTHROPIC_API_KEY (or GEMINI_API_KEY, MISTRAL_API_KEY, GROQ_API_KEY, OLLAMA_HOST, ...) "
        "in the environment or in .env, or name providers in a configuration file (LLM_EDGE_CONFIG). "
        "To look around without an account: llm-edge-agent demo"
    )

    def __init__(self) -> None:
        super().__init__((NO_PROVIDERS,))


@dataclass(frozen=True, kw_only=True)
class ProviderConfig:
    """One upstream provider account. `base_url` is as its SDK takes it: with `/v1` for the OpenAI dialect, without
    for Anthropic. `auth_header` is the field that carries the key (`authorization` means `Bearer <key>`)."""

    name: str
    dialect: Dialect
    base_url: str
    api_key: Secret | None
    auth_header: AuthHeader = "authorization"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request to it (OpenAI-Organization, HTTP-Referer, ...). May hold secrets: not printed."""
    models: tuple[str, ...] = ()
    """Ids that only this provider serves, from the file; empty for the presets."""
    stream_usage_option: bool = True
    """Whether `stream_options.include_usage` may be sent to it."""
    trace_context: bool = False
    """Whether the provider is told of the trace (W3C `traceparent`): for servers of one's own."""
    more_keys: tuple[Secret, ...] = ()
    """Other keys of the same account, used in turn with `api_key`."""

    def credentials(self) -> tuple[tuple[str, str], ...]:
        """`credential` of every key, none without one."""
        keys = (self.api_key, *self.more_keys)
        return tuple(each for key in keys if (each := replace(self, api_key=key).credential()) is not None)

    def credential(self) -> tuple[str, str] | None:
        """The header that carries the key, in clear, as it goes on the wire; None without a key."""
        if self.api_key is None:
            return None
        key = self.api_key.reveal()
        return self.auth_header, f"Bearer {key}" if self.auth_header == "authorization" else key


@dataclass(frozen=True, kw_only=True)
class DeploymentTimeouts:
    """Seconds; None: as for everybody. `first_token_s` is until the first event of a stream."""

    connect_s: float | None = None
    attempt_s: float | None = None
    first_token_s: float | None = None
    idle_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class DeploymentConfig:
    """One place behind a group: a model at a configured provider, with what differs from that provider's account."""

    name: str
    """As it is shown: unlike the others of its group."""
    provider: str
    model: str
    base_url: str | None = None
    api_keys: tuple[Secret, ...] = ()
    weight: float = 1.0
    priority: int = 0
    prices: PriceList | None = None
    """In the place of the table's."""
    rpm: int | None = None
    tpm: int | None = None
    max_concurrency: int | None = None
    region: str | None = None
    tags: tuple[str, ...] = ()
    timeouts: DeploymentTimeouts = DeploymentTimeouts()


@dataclass(frozen=True, kw_only=True)
class GroupConfig:
    """A model name of the operator's own. `strategy` None: the global one."""

    name: str
    deployments: tuple[DeploymentConfig, ...]
    strategy: StrategyName | None = None
    weights: HybridWeights | None = None
    fallbacks: tuple[str, ...] = ()
    context_window_fallbacks: tuple[str, ...] = ()
    content_filter_fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GatewayKey:
    """One key that clients may present: SHA-256 digest, never the key."""

    tenant: str
    digest: bytes
    key_id: str
    """First 8 hex digits of the digest: what logs show."""


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    l1_enabled: bool = True
    l1_entries: int = 10_000
    l1_bytes: int = 64 * 1024 * 1024
    l1_ttl_s: float = 300.0
    l1_tti_s: float = 120.0
    l2_enabled: bool = False
    redis: RedisAddress | None = None
    """Where L2 is; None: in `directory`."""
    directory: str | None = None
    """Folder of the embedded L2; None only where there is none."""
    l2_bytes: int = 1024 * 1024 * 1024
    """Bound of the embedded L2."""
    l2_ttl_s: float = 3600.0
    l2_connect_timeout_s: float = 1.0
    l2_timeout_s: float = 0.1
    """The most that a request waits for L2."""
    policy: Policy = "all"
    scope: Literal["tenant", "global"] = "tenant"
    policies: tuple[PolicyRule, ...] = ()
    """File: cache.policies; for some models, before `policy`."""
    stale_if_error_s: float = 0.0
    """How long beyond its time an answer is kept, for when no provider answers; 0: not at all."""


@dataclass(frozen=True, kw_only=True)
class ServerLimits:
    """Bounds of the inbound leg. Sizes in bytes, times in seconds."""

    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    body_bytes_per_s: int = 16 * 1024
    """One more second of body timeout for every so many bytes received."""
    keepalive_timeout_s: float = 75.0
    write_timeout_s: float = 60.0
    max_body_bytes: int = 20 * 1024 * 1024
    max_header_bytes: int = 32 * 1024
    max_headers: int = 128
    max_target_bytes: int = 8 * 1024
    max_connections: int = 20_000


@dataclass(frozen=True, kw_only=True)
class AppConfig:
    """Everything the gateway was told. Built by `from_env`, validated whole, never changed."""

    host: str = "0.0.0.0"  # noqa: S104  a gateway serves its network; serve warns when it has no keys
    port: int = 8080
    metrics_port: int = 9090
    workers: int | Literal["auto"] = 1
    """Processes that share the ports; `auto`: as many as there are cores to run on."""
    """0: no second listener."""
    providers: tuple[ProviderConfig, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Public name -> model name (may carry a `provider/` prefix). Only these rename."""
    groups: tuple[GroupConfig, ...] = ()
    """Model names of the operator's own, each with deployments of its own."""
    strategy: StrategyName = "model"
    """How groups choose that do not say."""
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Model name -> names to try when its own deployments could not answer."""
    model_overrides: tuple[Mapping[str, object], ...] = ()
    """Records in the form of data/models-and-prices.json that replace or extend the table."""
    auth_enabled: bool = False
    keys: tuple[GatewayKey, ...] = ()
    admin_key: Secret | None = None
    """Opens the admin API; None: there is none."""
    response_metadata: Literal["body", "headers", "off"] = "body"
    translation_mode: Literal["lenient", "strict"] = "lenient"
    expose_thinking: bool = False
    """File: translation.expose_thinking."""
    anthropic_version: str = "2023-06-01"
    """File: translation.anthropic_version; sent upstream when the gateway builds the request."""
    prompt_cache: Literal["auto", "off"] = "auto"
    """Whether translated requests to Claude get breakpoints for the provider's prompt cache."""
    cache: CacheConfig = CacheConfig()
    server: ServerLimits = ServerLimits()
    max_response_bytes: int = 64 * 1024 * 1024
    max_json_depth: int = 128
    total_timeout_s: float = 600.0
    attempt_timeout_s: float = 120.0
    connect_timeout_s: float = 5.0
    stream_idle_timeout_s: float = 60.0
    max_retries: int = 2
    """Repeats of a request on deployments that were tried for it already."""
    max_concurrency: int = 1000
    """Calls to providers at a time, per worker."""
    queue_size: int = 1000
    queue_timeout_ms: int = 1000
    rate_limit_enabled: bool = False
    rate_limit_rpm: int = 1000
    rate_limit_burst: int = 100
    breaker_failures: int = 5
    breaker_timeout_s: float = 30.0
    shutdown_timeout_s: float = 30.0
    https_proxy: Secret | None = None
    no_proxy: tuple[str, ...] = ()
    ssl_cert_file: str | None = None
    ledger_path: str | None = None
    """Where each request is written down; None: nowhere."""
    ledger_max_bytes: int = 512 * 1024 * 1024
    ledger_max_days: int = 90
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_requests: bool = True
    """Whether requests are logged at all. No setting: a gateway inside another program's command leaves the terminal to
    that program, its failed requests included."""
    log_format: Literal["json", "text", "auto"] = "auto"
    """auto: text on a terminal, else JSON."""
    metrics_enabled: bool = True
    otel: OtelConfig = field(default_factory=OtelConfig)
    config_file: str | None = None
    """The configuration file that was read."""
    warnings: tuple[str, ...] = ()
    """What the operator should hear at the start: accepted, but without effect or likely not meant."""

    def provider_keys(self) -> list[str]:
        """Every key that goes to a provider, in clear: what a log must never show."""
        secrets = [key for each in self.providers for key in (each.api_key, *each.more_keys) if key is not None]
        secrets += [key for group in self.groups for each in group.deployments for key in each.api_keys]
        return [secret.reveal() for secret in secrets]

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        config_file: Path | None = None,
        flags: Mapping[str, object] | None = None,
        dotenv: Path | None = None,
        directory: Path | None = None,
        require_provider: bool = True,
    ) -> "AppConfig":
        """The configuration from, in this order, `flags` (named like the variables, in any case; None means not
        given), the environment, `.env`, the YAML file and the defaults.

        The result depends on the arguments and the files they name alone. `environ` None means this process's
        environment, and the working directory as `directory`. `directory` is where `.env` (unless `dotenv` names
        another file) and `llm-edge-agent.yaml` are looked for; None: neither these nor the per-user and system-wide
        files are read, only `config_file` or, without it, the file that `LLM_EDGE_CONFIG` names. Raises ConfigError,
        with every problem at once; NoProvidersError where the only one is that there is no provider, unless none is
        required.
        """
        # Loading builds these values: it is imported when called, and the values stay cheap to import.
        from llm_edge_agent.config.loading import load

        return load(
            environ,
            config_file=config_file,
            flags=flags or {},
            dotenv=dotenv,
            directory=directory,
            require_provider=require_provider,
        )
