"""What each provider's models take and refuse, read from the model table of the package."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIModel:
    id: str
    aliases: tuple[str, ...] = ()
    mode: Literal["chat", "responses", "completion", "embedding"] = "chat"
    retired: bool = False
    shutdown_date: str | None = None
    max_output_tokens: int = 16_384
    context_window: int = 128_000
    vision: bool = True
    audio: bool = False
    efforts: tuple[str, ...] = ()
    """Values of reasoning_effort; empty: not a reasoning model."""
    default_effort: str = "none"
    sampling: Literal["yes", "no", "effort_none"] = "yes"
    takes_max_tokens: bool = True
    tools_in_chat: Literal["yes", "explicit_effort", "effort_none", "no"] = "yes"
    """explicit_effort: refused only beside a reasoning_effort other than none; effort_none: the default effort counts
    too."""
    bills_cache_writes: bool = False
    dimensions: int = 0
    dimensions_adjustable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnthropicModel:
    id: str
    aliases: tuple[str, ...] = ()
    retired: bool = False
    deprecated: bool = False
    shutdown_date: str | None = None
    max_output_tokens: int = 64_000
    context_window: int = 200_000
    generation: tuple[int, int] = (5, 0)
    sampling: bool = False
    prefill: bool = False
    forced_tools: bool = True
    min_cacheable_tokens: int = 1024
    thinking_types: frozenset[str] = frozenset()
    thinks_by_default: bool = False
    efforts: tuple[str, ...] = ()
    default_effort: str = "high"

    @property
    def temperature_and_top_p(self) -> bool:
        """Both in one request: refused from the 4.5 generation on."""
        return self.generation < (4, 5)

    @property
    def mid_conversation_system(self) -> bool:
        return self.generation >= (4, 8)

    @property
    def shows_thinking(self) -> bool:
        """Default of thinking.display: summarized up to 4.6, omitted after."""
        return self.generation <= (4, 6)

    @property
    def structured_outputs(self) -> bool:
        return self.generation >= (4, 5)


class Catalog:
    """Models by any of their names."""

    def __init__(self, openai: Iterable[OpenAIModel], anthropic: Iterable[AnthropicModel]) -> None:
        self.openai: dict[str, OpenAIModel] = {}
        self.anthropic: dict[str, AnthropicModel] = {}
        for model in openai:
            self.openai.update(dict.fromkeys((model.id, *model.aliases), model))
        for claude in anthropic:
            self.anthropic.update(dict.fromkeys((claude.id, *claude.aliases), claude))

    def with_extra(self, names: Iterable[str]) -> "Catalog":
        """A copy that also serves `names` on the OpenAI side, refusing nothing by model."""
        extra = [OpenAIModel(id=name, audio=True) for name in names]
        return Catalog([*self.openai.values(), *extra], self.anthropic.values())


@cache
def shipped_catalog() -> Catalog:
    """The models of data/models-and-prices.json."""
    table = msgspec.json.decode((files("llm_edge_agent.data") / "models-and-prices.json").read_bytes())
    records = [*table["models"], *table["embeddings"]]
    return Catalog(
        [_openai(record) for record in records if record["provider"] == "openai"],
        [_anthropic(record) for record in records if record["provider"] == "anthropic"],
    )


def _openai(record: Mapping[str, Any]) -> OpenAIModel:
    rules = record.get("request_rules") or {}
    able = record.get("capabilities") or {}
    efforts = tuple(rules.get("reasoning_effort") or ())
    tools_rule = rules.get("tools_in_chat_completions", "")
    return OpenAIModel(
        id=record["id"],
        aliases=tuple(record.get("aliases") or ()),
        mode=record["mode"],
        retired=record["status"] == "retired",
        shutdown_date=record.get("shutdown_date"),
        max_output_tokens=record.get("max_output_tokens") or 16_384,
        context_window=record.get("context_window") or record.get("max_input_tokens") or 128_000,
        vision=able.get("vision", True),
        audio=able.get("audio", False),
        efforts=efforts,
        default_effort=_default_effort(record["id"], rules.get("default_effort"), efforts),
        sampling=_sampling(rules.get("sampling_params", "accepted")),
        takes_max_tokens=rules.get("max_tokens_param", "max_tokens") == "max_tokens",
        tools_in_chat=_tools_in_chat(tools_rule),
        bills_cache_writes=bool((record.get("price_usd_per_mtok") or {}).get("cache_write_5m")),
        dimensions=record.get("dimensions_default") or 0,
        dimensions_adjustable=record.get("dimensions_adjustable", False),
    )


def _sampling(rule: str) -> Literal["yes", "no", "effort_none"]:
    if rule.startswith("only with reasoning_effort=none"):
        return "effort_none"
    return "yes" if rule.startswith("accepted") else "no"


def _tools_in_chat(rule: str) -> Literal["yes", "explicit_effort", "effort_none", "no"]:
    if rule.startswith("refused"):
        return "no"
    if rule.startswith("only with reasoning_effort=none"):
        return "effort_none"
    return "explicit_effort" if rule else "yes"


def _default_effort(model: str, rule: str | None, efforts: tuple[str, ...]) -> str:
    """The table says `none (5.2, 5.4) / medium (5.5)` where generations share a row."""
    if not efforts:
        return "none"
    options = [option.partition(" (") for option in (rule or "medium").split(" / ")]
    for effort, _, generations in options:
        if any(model.startswith(f"gpt-{each}") for each in generations.rstrip(")").split(", ") if each):
            return effort if effort in efforts else efforts[0]
    return options[0][0] if options[0][0] in efforts else efforts[0]


def _anthropic(record: Mapping[str, Any]) -> AnthropicModel:
    rules = record["request_rules"]
    default = rules.get("thinking_default", "")
    return AnthropicModel(
        id=record["id"],
        aliases=tuple(record["aliases"]),
        retired=record["status"] == "retired",
        deprecated=record["status"] == "deprecated",
        shutdown_date=record.get("shutdown_date"),
        max_output_tokens=record["max_output_tokens"],
        context_window=record["context_window"],
        generation=_generation(record["id"]),
        sampling=rules["sampling_params"].startswith("accepted"),
        prefill=rules["assistant_prefill"],
        forced_tools=rules["forced_tool_choice"],
        min_cacheable_tokens=rules.get("min_cacheable_prompt_tokens", 1024),
        thinking_types=frozenset(kind.split(" ")[0] for kind in rules["thinking_types"]),
        thinks_by_default=default.startswith("adaptive"),
        efforts=tuple(rules.get("effort") or ()),
        default_effort=rules.get("default_effort", "high"),
    )


def _generation(model: str) -> tuple[int, int]:
    """(4, 5) of claude-haiku-4-5-20251001; older and odder names count as (3, 0)."""
    found = re.fullmatch(r"claude-(?:opus|sonnet|haiku|fable|mythos)-(\d)(?:-(\d{1,2}))?(?:-\d{8})?", model)
    return (int(found[1]), int(found[2] or 0)) if found else (3, 0)
