"""What the translation of a Messages request must remember until its answer comes back."""

from collections.abc import Mapping

import msgspec


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of one translated request that the translation of its answer needs. Everything else is forgotten."""

    requested_model: str
    """The client's own name for the model."""
    stop_sequences: tuple[str, ...] = ()
    """Sequences that the gateway applies itself, because the model does not take them."""
    hide_thinking: bool = False
    """The client switched thinking off: what the model reasons all the same is not shown."""
    omit_thinking: bool = False
    """The client asked for thinking blocks without their text (`display: omitted`)."""
    tool_names: Mapping[str, str] = {}
    """Shortened tool name -> the client's own, where one had to be made to fit."""


class Translated(msgspec.Struct, frozen=True, kw_only=True):
    """A request ready for `POST /chat/completions`."""

    body: bytes
    sent: Sent
    warnings: tuple[str, ...] = ()
    """`dropped:<field>` / `changed:<field>` items for `x-llm-edge-warnings`, in order, without repeats."""
    summarized: bool = False
    """The client wants to read the thinking (`display: summarized`). Without it no summaries are asked for at the
    Responses API, which refuses to make them for accounts that OpenAI has not verified."""
    to_responses: bool = False
    """The model takes such a request only at the Responses API: the body goes on through `chat_to_responses`."""
