"""How hard the model thinks: the table of mapping section 6, one style per Claude generation."""

from typing import NamedTuple

from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.fields import Json, Losses, invalid

EFFORTS = ("low", "medium", "high", "xhigh", "max")
"""Anthropic's words, which OpenAI shares, in order. OpenAI adds `none` and `minimal` below them."""

_WORDS = ("none", "minimal", *EFFORTS)
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16384, "xhigh": 24000, "max": 32000}
_BUDGETS_BESIDE_EFFORT = {"low": 1024, "medium": 4096, "high": 16384, "xhigh": 32000, "max": 48000}
_MIN_BUDGET = 1024
_ROOM_FOR_ANSWER = 1025
"""max_tokens counts thinking: this much more than the budget is left for the answer."""

THINKS_BY_DEFAULT = frozenset({"always", "between_tools", "default_on"})
_OMITS_BY_DEFAULT = THINKS_BY_DEFAULT | {"adaptive"}
"""Generations whose thinking comes back empty unless `display: summarized` is asked for."""


class Wish(NamedTuple):
    """What the request says about thinking, directly and by what thinking does not go with."""

    effort: str | None
    """`reasoning_effort`."""
    forced_tool: bool
    """A tool must be called."""
    must_not_think: bool
    """The conversation or another demand rules manual thinking out."""
    show: bool
    """The client wants to see the thinking."""


class Reasoning(NamedTuple):
    thinking: Json | None
    """The `thinking` member, None to send none."""
    effort: str | None
    """`output_config.effort`, None to send none."""
    on: bool
    """Whether the model will think."""


def plan(wish: Wish, model: Model, losses: Losses) -> Reasoning:
    """The row of the table for this model. Raises GatewayError (400) for a word that does not exist."""
    style, word = model.rules.thinking, wish.effort
    if word is not None and word not in _WORDS:
        raise invalid(f"Invalid value: '{word[:64]}'. Supported values are: {', '.join(_WORDS)}.", "reasoning_effort")
    thinking: Json | None = None
    effort = "low" if word == "minimal" else word
    if style == "none":
        if word not in (None, "none"):
            losses.dropped("reasoning_effort")
        return Reasoning(None, None, False)
    if style in THINKS_BY_DEFAULT:
        if style == "default_on" and (word == "none" or (word is None and wish.forced_tool)):
            if word is None:
                losses.changed("reasoning_effort")
            return Reasoning({"type": "disabled"}, None, False)
        if word == "none":
            effort = "low"
            if style == "between_tools":
                thinking = {"type": "between_tools"}
            else:
                losses.changed("reasoning_effort")
    elif word in (None, "none"):
        return Reasoning(None, None, False)
    elif style in ("adaptive", "adaptive_or_enabled"):
        thinking = {"type": "adaptive"}
    elif style == "enabled_effort":
        thinking = _enabled(_BUDGETS_BESIDE_EFFORT.get(word or ""))
        effort = effort if effort in model.rules.efforts else None
    else:
        thinking = _enabled(_BUDGETS[word or ""])
        effort = None
    if wish.must_not_think and thinking is not None and thinking["type"] == "enabled":
        losses.changed("reasoning_effort")
        thinking = None
    on = style in THINKS_BY_DEFAULT or thinking is not None
    if wish.show and style in _OMITS_BY_DEFAULT:
        if thinking is None:
            thinking = {"type": "adaptive"}
        if thinking["type"] == "adaptive":
            thinking["display"] = "summarized"
    return Reasoning(thinking, _nearest(effort, model.rules.efforts, losses), on)


def _enabled(budget: int | None) -> Json | None:
    return None if budget is None else {"type": "enabled", "budget_tokens": budget}


def _nearest(effort: str | None, taken: tuple[str, ...], losses: Losses) -> str | None:
    """The strongest effort the model takes that is not above `effort`, else its weakest."""
    if effort is None or effort in taken:
        return effort
    losses.changed("reasoning_effort")
    known = [each for each in EFFORTS if each in taken]
    below = [each for each in known if EFFORTS.index(each) < EFFORTS.index(effort)]
    nearest = below[-1:] or known[:1]
    return nearest[0] if nearest else None


def fit_budget(
    reasoning: Reasoning, max_tokens: int, *, chosen: bool, model: Model, losses: Losses
) -> tuple[Reasoning, int]:
    """Makes room for a thinking budget: raises max_tokens up to the model's bound, else shrinks the budget, and gives
    up thinking where not even the least fits. `chosen`: the client named max_tokens itself."""
    thinking = reasoning.thinking
    if thinking is None or thinking["type"] != "enabled":
        return reasoning, max_tokens
    budget = thinking["budget_tokens"]
    wanted = budget + _ROOM_FOR_ANSWER
    if max_tokens >= wanted:
        return reasoning, max_tokens
    if model.max_output_tokens is not None and wanted > model.max_output_tokens:
        wanted = model.max_output_tokens
        budget = wanted - _ROOM_FOR_ANSWER
        losses.changed("reasoning_effort")
        if budget < _MIN_BUDGET:
            return reasoning._replace(thinking=None, on=False), max_tokens
    if chosen:
        losses.changed("max_tokens")
    return reasoning._replace(thinking=_enabled(budget)), max(wanted, max_tokens)
