"""What is known of each model: prices, limits, capabilities and the rules a request to it must obey.

The table is data (`data/models-and-prices.json`, overridable in the configuration file); this module turns one
record into one `Model` and finds a model by the name a client used. A model that is not in the table is not an error:
`Model.unknown` describes it with the provider's newest generation's rules and no price.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from llm_edge_agent.core.pricing import Price, PriceList, picodollars_per_token

Dialect = Literal["openai", "anthropic"]

WEB_SEARCH_PICODOLLARS = 10 * 10**12 // 1000  # Anthropic: 10 USD per 1,000 searches

ThinkingStyle = Literal[
    "always",
    "between_tools",
    "default_on",
    "adaptive",
    "adaptive_or_enabled",
    "enabled_effort",
    "enabled",
    "none",
]
"""How a Claude generation takes thinking, one column each of the reasoning table in docs (mapping section 6):
always = Fable, Mythos, Opus 5.5; between_tools = Sonnet 5.5; default_on = Opus 5, Sonnet 5, Haiku 5.5;
adaptive = Opus 4.7/4.8; adaptive_or_enabled = Opus/Sonnet 4.6; enabled_effort = Opus 4.5; enabled = Haiku 4.5,
Sonnet 4.5 and older with thinking; none = models without thinking."""


ToolsInChat = Literal["yes", "no_explicit_effort", "effort_none", "no"]
"""When OpenAI's Chat Completions takes function tools: always; unless an effort other than `none` is named; only where
`none` is named; never. Where not, the Responses API does."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a request to the model may say. Defaults describe a permissive OpenAI-dialect model."""

    sampling_params: bool = True
    """temperature, top_p and top_k are taken (Anthropic: on version 2023-06-01)."""
    sampling_needs_no_effort: bool = False
    """They are taken only beside `reasoning_effort: "none"`."""
    temperature_and_top_p: bool = True
    """Both in one request are taken; False from Claude's 4.5 generation on."""
    assistant_prefill: bool = True
    forced_tool_choice: bool = True
    mid_conversation_system: bool = False
    thinking: ThinkingStyle = "none"
    efforts: tuple[str, ...] = ()
    """Values of Anthropic's output_config.effort or OpenAI's reasoning_effort that the model takes."""
    min_cacheable_tokens: int = 1024
    max_tokens_param: Literal["max_tokens", "max_completion_tokens"] = "max_completion_tokens"
    tools_in_chat: ToolsInChat = "yes"
    stop_param: bool = True
    """OpenAI's `stop` is taken: not by models that reason."""
    structured_outputs: bool = True


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `id` is the canonical (dated) id; a client's own name goes upstream, not this one."""

    id: str
    dialect: Dialect
    provider: str
    mode: Literal["chat", "responses", "completion", "embedding"] = "chat"
    aliases: tuple[str, ...] = ()
    status: Literal["active", "deprecated", "retired", "limited", "unknown"] = "active"
    shutdown_date: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    prices: PriceList | None = None
    vision: bool = True
    pdf: bool = True
    tools: bool = True
    json_schema: bool = True
    streaming: bool = True
    reasoning: bool = False
    rules: Rules = Rules()
    known: bool = True

    @staticmethod
    def unknown(name: str, provider: str, dialect: Dialect) -> "Model":
        """A model the table does not hold: no price, the rules of the newest generation of its dialect."""
        rules = NEWEST_CLAUDE_RULES if dialect == "anthropic" else Rules()
        return Model(id=name, dialect=dialect, provider=provider, status="unknown", rules=rules, known=False)


NEWEST_CLAUDE_RULES = Rules(
    sampling_params=False,
    temperature_and_top_p=False,
    assistant_prefill=False,
    forced_tool_choice=False,
    mid_conversation_system=True,
    thinking="always",
    efforts=("low", "medium", "high", "xhigh", "max"),
    min_cacheable_tokens=512,
)


class ModelTable:
    """Models by id and alias. Exact names only; guessing a provider from an unknown name is `provider_of_name`."""

    def __init__(self, models: Iterable[Model]) -> None:
        self.models: tuple[Model, ...] = tuple(models)
        self._by_name: dict[str, Model] = {}
        for model in self.models:
            for name in (model.id, *model.aliases):
                self._by_name.setdefault(name, model)

    def find(self, name: str) -> Model | None:
        """The model with this id or alias, else None."""
        return self._by_name.get(name)

    def names(self) -> Sequence[str]:
        """Every id and alias, in table order."""
        return tuple(self._by_name)


def provider_of_name(name: str) -> str | None:
    """The provider an unknown model name suggests: `openai`, `anthropic`, or None."""
    lowered = name.lower()
    if lowered.startswith("claude"):
        return "anthropic"
    if lowered.startswith(("gpt-", "gpt4", "chatgpt-", "text-embedding-", "ft:gpt")):
        return "openai"
    if len(lowered) > 1 and lowered[0] == "o" and lowered[1].isdigit():
        return "openai"
    return None


def _price(record: Mapping[str, Any], fallback: Price | None = None) -> Price:
    def one(key: str, default: int | None) -> int | None:
        value = record.get(key)
        return default if value is None else picodollars_per_token(Decimal(str(value)))

    price_in = one("input", fallback.input if fallback else None)
    price_out = one("output", fallback.output if fallback else 0)
    if price_in is None or price_out is None:
        raise ValueError("a price row needs input and output")
    return Price(
        input=price_in,
        output=price_out,
        cache_read=one("cache_read", None),
        cache_write=one("cache_write_5m", None),
        cache_write_1h=one("cache_write_1h", None),
    )


def price_list_from_record(record: Mapping[str, Any]) -> PriceList:
    """Prices in USD per million tokens, named as in the data file. Raises ValueError or ArithmeticError where they are
    no prices, or `input` or `output` is missing."""
    return PriceList(base=_price(record))


def _thinking(rules: Mapping[str, Any], reasoning: bool) -> ThinkingStyle:
    types = tuple(rules.get("thinking_types") or ())
    efforts = rules.get("effort")
    if not reasoning or types in ((), ("disabled",)):
        return "none"
    if "between_tools" in types:
        return "between_tools"
    if "enabled" in types:
        return "enabled_effort" if efforts else "enabled"
    if any(kind.startswith("enabled") for kind in types):
        return "adaptive_or_enabled"
    if "disabled" not in types:
        return "always"
    return "default_on" if str(rules.get("thinking_default", "")).startswith("adaptive") else "adaptive"


def _rules(record: Mapping[str, Any]) -> Rules:
    raw: Mapping[str, Any] = record.get("request_rules") or {}
    capabilities = record["capabilities"]
    sampling = str(raw.get("sampling_params") or "accepted")
    if record["provider"] == "anthropic":
        thinking = _thinking(raw, bool(capabilities["reasoning"]))
        takes_sampling = sampling.startswith("accepted")
        return Rules(
            sampling_params=takes_sampling,
            temperature_and_top_p=takes_sampling and "2023-06-01" not in sampling,
            assistant_prefill=bool(raw.get("assistant_prefill", True)),
            forced_tool_choice=bool(raw.get("forced_tool_choice", True)),
            mid_conversation_system=thinking in ("always", "between_tools", "default_on")
            or record["id"].startswith("claude-opus-4-8"),
            thinking=thinking,
            efforts=tuple(raw.get("effort") or ()),
            min_cacheable_tokens=int(raw.get("min_cacheable_prompt_tokens") or 1024),
            structured_outputs=bool(capabilities["json_schema"]),
        )
    tools_note = str(raw.get("tools_in_chat_completions") or "")
    tools: ToolsInChat = "no_explicit_effort" if tools_note else "yes"
    if tools_note.startswith("refused"):
        tools = "no"
    elif tools_note.startswith("only with reasoning_effort=none"):
        tools = "effort_none"
    return Rules(
        sampling_params=not sampling.startswith("rejected"),
        sampling_needs_no_effort=sampling.startswith("only with reasoning_effort=none"),
        max_tokens_param="max_tokens" if raw.get("max_tokens_param") == "max_tokens" else "max_completion_tokens",
        efforts=tuple(raw.get("reasoning_effort") or ()),
        tools_in_chat=tools,
        stop_param="stop" not in raw and not raw.get("reasoning_effort"),
        structured_outputs=bool(capabilities["json_schema"]),
    )


def model_from_record(record: Mapping[str, Any]) -> Model:
    """One record of the data file as a `Model`. Raises KeyError or ValueError on a record of the wrong form."""
    base = _price(record["price_usd_per_mtok"])
    long_record = record.get("long_context_price")
    anthropic = record["provider"] == "anthropic"
    capabilities = record.get("capabilities")
    prices = PriceList(
        base=base,
        long_context=_price(long_record, base) if long_record else None,
        long_context_threshold=long_record["threshold_prompt_tokens"] if long_record else None,
        web_search=WEB_SEARCH_PICODOLLARS if anthropic else 0,
    )
    if capabilities is None:  # embeddings have no conversation to rule
        return Model(
            id=record["id"],
            dialect="openai",
            provider=record["provider"],
            mode="embedding",
            status=record["status"],
            context_window=record.get("max_input_tokens"),
            prices=prices,
        )
    return Model(
        id=record["id"],
        dialect="anthropic" if anthropic else "openai",
        provider=record["provider"],
        mode=record["mode"],
        aliases=tuple(record["aliases"]),
        status=record["status"],
        shutdown_date=record["shutdown_date"],
        context_window=record["context_window"],
        max_output_tokens=record["max_output_tokens"],
        prices=prices,
        vision=capabilities["vision"],
        pdf=capabilities["pdf"],
        tools=capabilities["tools"],
        json_schema=capabilities["json_schema"],
        streaming=capabilities["streaming"],
        reasoning=capabilities["reasoning"],
        rules=_rules(record),
    )


def table_from_document(document: Mapping[str, Any]) -> ModelTable:
    """The whole data file (`models` and `embeddings`) as a `ModelTable`."""
    return ModelTable(model_from_record(record) for record in (*document["models"], *document.get("embeddings", ())))
