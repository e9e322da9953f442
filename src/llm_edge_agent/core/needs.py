"""What a request needs of a model, and why a model cannot do it: the filter before every strategy.

The model table says what a model can do; it may be wrong or older than the model. So the filter only chooses between
deployments: where none passes, all are candidates and the provider has the last word.
"""

from collections.abc import Callable
from typing import NamedTuple

from llm_edge_agent.core.models import Model

VISION = 1
PDF = 2
TOOLS = 4
JSON_SCHEMA = 8
SAMPLING = 16
FORCED_TOOL = 32
STOP = 64
STREAMING = 128
AUDIO = 256
"""Of no model is it known that it lacks this."""

DEFAULT_OUTPUT_TOKENS = 500
"""What an answer is taken to be as long as where the client sets no bound, or a higher one."""


class Needs(NamedTuple):
    """Estimates and flags of one request."""

    features: int = 0
    """The flags above, or-ed."""
    prompt_tokens: int = 0
    max_output_tokens: int = 0
    """The client's own bound, 0 without one."""

    @property
    def output_tokens(self) -> int:
        """What the answer will probably be as long as."""
        return min(self.max_output_tokens, DEFAULT_OUTPUT_TOKENS) if self.max_output_tokens else DEFAULT_OUTPUT_TOKENS


NOTHING = Needs()


class _Feature(NamedTuple):
    flag: int
    name: str
    lacks: Callable[[Model], bool]


def _openai(model: Model) -> bool:
    return model.dialect == "openai"


FEATURES = (
    _Feature(VISION, "vision", lambda model: not model.vision),
    _Feature(PDF, "pdf", lambda model: not model.pdf),
    _Feature(TOOLS, "tools", lambda model: not model.tools),
    _Feature(JSON_SCHEMA, "json_schema", lambda model: not model.json_schema),
    _Feature(STREAMING, "streaming", lambda model: not model.streaming),
    # What a translation to Claude drops with a warning, a provider of the client's own dialect refuses.
    _Feature(SAMPLING, "sampling_params", lambda model: _openai(model) and not model.rules.sampling_params),
    _Feature(STOP, "stop", lambda model: _openai(model) and not model.rules.stop_param),
    _Feature(FORCED_TOOL, "forced_tool_choice", lambda model: not model.rules.forced_tool_choice),
)
"""One row per flag: what it is called, and which models lack it."""


def lacking(model: Model) -> int:
    """The flags of everything a model cannot do."""
    return sum(feature.flag for feature in FEATURES if model.known and feature.lacks(model))


def why_unable(model: Model, lacks: int, needs: Needs) -> str | None:
    """The reasons why a model cannot do a request, or None. `lacks` is what `lacking` said of the model."""
    reasons = [feature.name for feature in FEATURES if feature.flag & lacks & needs.features]
    if not fits(model, needs):
        reasons.append("context_window")
    return ", ".join(reasons) or None


def fits(model: Model, needs: Needs) -> bool:
    """Whether prompt and answer go into the context window, by estimate."""
    window = model.context_window
    return window is None or needs.prompt_tokens + needs.max_output_tokens <= window
