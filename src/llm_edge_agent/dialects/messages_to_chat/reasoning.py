"""How hard the model is to think: Anthropic's `thinking` and `output_config.effort` as OpenAI's `reasoning_effort`
(mapping section 6, reverse)."""

from typing import NamedTuple

from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.fields import (
    Json,
    Losses,
    integer,
    invalid,
    members,
    missing,
    present,
    required_text,
    text,
)

_WORDS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""OpenAI's words in order; Anthropic's efforts are those from `low` on."""

_BUDGETS = ((2048, "low"), (8192, "medium"), (24000, "high"))
_KINDS = ("enabled", "adaptive", "disabled", "between_tools")


class Reasoning(NamedTuple):
    effort: str | None = None
    """`reasoning_effort`, None to send none."""
    hidden: bool = False
    omitted: bool = False
    """As in `Sent`."""
    summarized: bool = False
    """As in `Translated`."""


def plan(request: Json, model: Model, losses: Losses) -> Reasoning:
    """Raises GatewayError (400) for words that do not exist."""
    thinking = present(members(request.get("thinking", {}), "thinking"))
    config = present(members(request.get("output_config", {}), "output_config"))
    field, word = "output_config.effort", None
    if "effort" in config:
        word = text(config["effort"], field)
        if word not in _WORDS[2:]:
            raise invalid(f"Invalid value: '{word[:64]}'. Supported values are: {', '.join(_WORDS[2:])}.", field)
    if "thinking" not in request:
        return Reasoning(_taken(field, word, model, losses))
    kind = required_text(thinking, "type", "thinking")
    if kind not in _KINDS:
        raise invalid(f"Invalid value: '{kind[:64]}'. Supported values are: {', '.join(_KINDS)}.", "thinking.type")
    if kind == "disabled":
        return Reasoning(_taken("thinking", "none", model, losses), hidden=True)
    if kind == "enabled":
        if "budget_tokens" not in thinking:
            raise missing("thinking.budget_tokens")
        budget = integer(thinking["budget_tokens"], "thinking.budget_tokens", 1024)
        if word is None:
            field, word = "thinking", next((name for bound, name in _BUDGETS if budget <= bound), "xhigh")
    display = text(thinking.get("display", ""), "thinking.display")
    effort = _taken(field, word, model, losses)
    return Reasoning(effort, omitted=display == "omitted", summarized=display == "summarized")


def _taken(field: str, word: str | None, model: Model, losses: Losses) -> str | None:
    """The word as the model takes it: itself, the strongest below it, else the weakest. None where there is nothing to
    say, or a model that does not reason is to think."""
    efforts = model.rules.efforts
    if word is None or word in efforts:
        return word
    if not efforts:
        if word != "none":
            losses.dropped(field)
        return None
    losses.changed(field)
    known = [each for each in _WORDS[1:] if each in efforts]
    below = [each for each in known if _WORDS.index(each) < _WORDS.index(word)]
    nearest = below[-1:] or known[:1]
    return nearest[0] if nearest else None
