"""What the translation of a request must remember until its answer comes back."""

from collections.abc import Mapping

import msgspec


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of one translated request that the translation of its answer needs. Everything else is forgotten."""

    requested_model: str
    """The client's own name for the model."""
    include_usage: bool = False
    legacy_function_call: bool = False
    """The client used `functions`: answer with `function_call` and finish reason `function_call`."""
    custom_tools: frozenset[str] = frozenset()
    """Names of custom (free-form) tools: their `input` string is unwrapped on the way back."""
    schema_tool: str | None = None
    """Structured output was emulated by this forced tool: its input is the content, finish reason `stop`."""
    expose_thinking: bool = False
    tool_ids: Mapping[str, str] = {}
    """Rewritten tool-use id -> the client's own, where an id had to be made legal."""


class Translated(msgspec.Struct, frozen=True, kw_only=True):
    """A request ready for `POST /v1/messages`."""

    body: bytes
    sent: Sent
    warnings: tuple[str, ...] = ()
    """`dropped:<field>` / `changed:<field>` items for `x-llm-edge-warnings`, in order, without repeats."""
    betas: tuple[str, ...] = ()
    """Values for the `anthropic-beta` header."""
    breakpoints: bool = False
    """The gateway set breakpoints for the provider's prompt cache."""


class TranslationOptions(msgspec.Struct, frozen=True, kw_only=True):
    strict: bool = False
    """`TRANSLATION_MODE=strict`: whatever would be dropped with a warning is refused with 400 instead."""
    expose_thinking: bool = False
    anthropic_version: str = "2023-06-01"
    default_max_tokens: int = 16_000
    default_max_tokens_stream: int = 32_000
    prompt_cache: bool = False
    """Set breakpoints for the provider's prompt cache where the client set none."""
