"""What the translation of a request must remember until its answer comes back."""

import msgspec


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of one translated request that the translation of its answer needs. Everything else is forgotten."""

    requested_model: str
    """The client's own name for the model."""
    include_usage: bool = False
    stop: tuple[str, ...] = ()
    """Stop sequences, which the Responses API does not know: the gateway applies them."""
    expose_thinking: bool = False
    """Show summaries of the reasoning, and every reasoning item as a block to send back. Without it, only what a tool
    loop needs to go on is sent along."""


class Translated(msgspec.Struct, frozen=True, kw_only=True):
    """A request ready for `POST /responses`."""

    body: bytes
    sent: Sent
    warnings: tuple[str, ...] = ()
    """`dropped:<field>` / `changed:<field>` items for `x-llm-edge-warnings`, in order, without repeats."""
