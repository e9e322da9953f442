"""Providers known by name: a table. Which variables switch one on, where it lives, what carries the key, its quirks.

Addresses, variables and quirks are those of the `providers` part of data/models-and-prices.json.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from llm_edge_agent.core.models import Dialect

AuthHeader = Literal["authorization", "x-api-key", "api-key"]
"""The field that carries the key; `authorization` means `Bearer <key>`."""


class KeyVariable(NamedTuple):
    """A variable that may hold a provider's key, and the field that this kind of key goes in."""

    name: str
    auth_header: AuthHeader = "authorization"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One provider known by name. Variables are names in the environment."""

    name: str
    title: str
    """As its maker writes it."""
    base_url: str | None
    """As its SDK takes it; None where every customer has an address of their own."""
    keys: tuple[KeyVariable, ...] = ()
    """The first that is set wins."""
    key_required: bool = True
    endpoint_variable: str | None = None
    """A variable of the provider's own that holds an address in the provider's own form."""
    endpoint_form: Literal["ollama", "azure"] | None = None
    endpoint_enables: bool = False
    """Whether an address without a key switches the provider on: for servers of one's own."""
    dialect: Dialect = "openai"
    header_variables: Mapping[str, str] = field(default_factory=dict)
    """Variable -> header that its value is sent in with every request."""
    custom_headers_variable: str | None = None
    """A variable with whole header lines, `Name: value`, one a line."""
    stream_usage_option: bool = True
    """Whether `stream_options.include_usage` may be sent; without it the provider tells the usage anyway."""

    @property
    def auth_header(self) -> AuthHeader:
        """The header of a key that comes from somewhere else than the variables."""
        return self.keys[0].auth_header if self.keys else "authorization"

    @property
    def variables(self) -> tuple[str, ...]:
        """Every variable that says something about this provider."""
        others = (self.base_url_variable, self.endpoint_variable, *self.header_variables, self.custom_headers_variable)
        return (*(key.name for key in self.keys), *(name for name in others if name is not None))

    @property
    def base_url_variable(self) -> str:
        """The variable that replaces the base URL, in the form of `base_url`."""
        return f"{self.name.upper().replace('-', '_')}_BASE_URL"


def _bearer(*variables: str) -> tuple[KeyVariable, ...]:
    return tuple(KeyVariable(name) for name in variables)


_TABLE = (
    Preset(
        name="openai",
        title="OpenAI",
        base_url="https://api.openai.com/v1",
        keys=_bearer("OPENAI_API_KEY"),
        header_variables={"OPENAI_ORG_ID": "OpenAI-Organization", "OPENAI_PROJECT_ID": "OpenAI-Project"},
    ),
    Preset(
        name="anthropic",
        title="Anthropic",
        base_url="https://api.anthropic.com",
        keys=(KeyVariable("ANTHROPIC_API_KEY", "x-api-key"), KeyVariable("ANTHROPIC_AUTH_TOKEN")),
        dialect="anthropic",
        custom_headers_variable="ANTHROPIC_CUSTOM_HEADERS",
    ),
    Preset(
        name="azure-openai",
        title="Azure OpenAI",
        base_url=None,
        keys=(KeyVariable("AZURE_OPENAI_API_KEY", "api-key"),),
        endpoint_variable="AZURE_OPENAI_ENDPOINT",
        endpoint_form="azure",
    ),
    Preset(
        name="gemini",
        title="Google Gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        keys=_bearer("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    ),
    Preset(
        name="mistral",
        title="Mistral",
        base_url="https://api.mistral.ai/v1",
        keys=_bearer("MISTRAL_API_KEY"),
        stream_usage_option=False,
    ),
    Preset(name="groq", title="Groq", base_url="https://api.groq.com/openai/v1", keys=_bearer("GROQ_API_KEY")),
    Preset(
        name="deepseek",
        title="DeepSeek",
        base_url="https://api.deepseek.com",
        keys=_bearer("DEEPSEEK_API_KEY"),
    ),
    Preset(name="xai", title="xAI", base_url="https://api.x.ai/v1", keys=_bearer("XAI_API_KEY")),
    Preset(
        name="together",
        title="Together AI",
        base_url="https://api.together.ai/v1",
        keys=_bearer("TOGETHER_API_KEY"),
    ),
    Preset(
        name="fireworks",
        title="Fireworks AI",
        base_url="https://api.fireworks.ai/inference/v1",
        keys=_bearer("FIREWORKS_API_KEY"),
    ),
    Preset(
        name="openrouter",
        title="OpenRouter",
        base_url="https://openrouter.ai/api/v1",
        keys=_bearer("OPENROUTER_API_KEY"),
    ),
    Preset(
        name="ollama",
        title="Ollama",
        base_url="http://localhost:11434/v1",
        key_required=False,
        endpoint_variable="OLLAMA_HOST",
        endpoint_form="ollama",
        endpoint_enables=True,
    ),
    Preset(
        name="vllm",
        title="vLLM",
        base_url="http://localhost:8000/v1",
        keys=_bearer("VLLM_API_KEY"),
        key_required=False,
        endpoint_enables=True,
    ),
)

PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in _TABLE}

VARIABLES = tuple(name for preset in _TABLE for name in preset.variables)
"""Every variable that says something about a provider."""


def ollama_base_url(host: str) -> str:
    """The base URL for a value of OLLAMA_HOST, in every form Ollama itself takes: `host`, `host:port`, `:port`, with
    or without scheme and path. Port 11434 unless a scheme says otherwise. The addresses a server listens on to be
    reached from everywhere (0.0.0.0, ::) become loopback. The result is checked as a URL by the caller."""
    text = host.strip().strip("\"'")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    if text == "ollama.com":
        scheme = separator = "https"
    port = {"http": "80", "https": "443"}.get(scheme, "") if separator else "11434"
    authority, _, path = rest.partition("/")
    if authority.startswith("["):
        name, _, tail = authority[1:].partition("]")
        given = tail.removeprefix(":")
    elif authority.count(":") > 1:
        name, given = authority, ""
    else:
        name, _, given = authority.partition(":")
    name = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)  # noqa: S104  compared, not bound
    name = f"[{name}]" if ":" in name else name
    path = path.strip("/")
    if path != "v1" and not path.endswith("/v1"):
        path = f"{path}/v1".lstrip("/")
    return f"{scheme}://{name}:{given or port}/{path}"


def azure_base_url(endpoint: str) -> str:
    """The base URL of Azure's v1 route for a resource endpoint, which may already name the route."""
    base = endpoint.strip().rstrip("/")
    for ending in ("/openai/v1", "/openai"):
        base = base.removesuffix(ending)
    return f"{base}/openai/v1"
