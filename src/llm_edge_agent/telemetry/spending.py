"""Tokens of one request as they are accounted, wherever they are: the kinds always add up to the whole."""

from typing import NamedTuple

from llm_edge_agent.core.pricing import MOST_TOKENS, TokenUsage

__all__ = ["MOST_TOKENS", "Tokens", "tokens_of"]


class Tokens(NamedTuple):
    """`read` and `written` (in the provider's prompt cache) are parts of `prompt`, `reasoning` of `completion`."""

    prompt: int
    read: int
    written: int
    completion: int
    reasoning: int


def tokens_of(usage: TokenUsage) -> Tokens:
    """A usage with its parts cut to what they can be."""
    prompt, completion = _bounded(usage.prompt_tokens), _bounded(usage.completion_tokens)
    read = min(_bounded(usage.cache_read_tokens), prompt)
    written = min(_bounded(usage.cache_write_tokens + usage.cache_write_1h_tokens), prompt - read)
    return Tokens(prompt, read, written, completion, min(_bounded(usage.reasoning_tokens), completion))


def _bounded(tokens: int) -> int:
    return min(max(0, tokens), MOST_TOKENS)
