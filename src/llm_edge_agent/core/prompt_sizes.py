"""What a prompt comes to whose usage nobody told: learnt from the requests of which it was told.

Pure: it is told the size of a request's body and the usage it was billed. What is learnt are the bytes that go into a
token, and which part of the tokens the provider reads from its own cache or writes there; by door, model and size of
the body (to a power of two): of a short request most is JSON, which counts for little, of a long one all but a little
is text.
"""

from typing import NamedTuple

from llm_edge_agent.core.pricing import MOST_TOKENS, TokenUsage

BYTES_PER_TOKEN = 4.0
"""Of text in English; what is taken where nothing has been learnt."""
LEAST_WEIGHT = 1 / 16
"""Of one more bill against those before it; the first sixteen weigh the same."""
LARGE_BYTES = 8 * 1024
MOST_BYTES_PER_TOKEN = 16.0
"""A large body with more bytes to a token carries an image or a file, and says nothing of text."""
MAX_KNOWN = 4096
"""Doors, models and sizes together."""
MAX_MODEL_CHARACTERS = 128
"""Names of unknown models are the clients' own."""
_SIZES = 64


class PromptEstimate(NamedTuple):
    """Tokens, named as in `TokenUsage`. The parts are what is usual, so that many requests come out right together: a
    single one is either in the cache or it is not."""

    prompt_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0


class _Seen:
    """Of bodies of one size: bytes in a token, and shares of a prompt's tokens."""

    __slots__ = ("bytes_per_token", "cached", "read", "weight", "written", "written_1h")

    def __init__(self, bytes_per_token: float, usage: TokenUsage) -> None:
        tokens = usage.prompt_tokens
        self.bytes_per_token = bytes_per_token
        self.read = usage.cache_read_tokens / tokens
        self.written = usage.cache_write_tokens / tokens
        self.written_1h = usage.cache_write_1h_tokens / tokens
        self.cached = self.read + self.written + self.written_1h > 0
        self.weight = 1 / 2
        """Of the next bill."""

    def learn(self, read: float, written: float, written_1h: float) -> None:
        """The shares of one more bill."""
        weight = self.weight
        self.cached = True
        self.read += (read - self.read) * weight
        self.written += (written - self.written) * weight
        self.written_1h += (written_1h - self.written_1h) * weight


class PromptSizes:
    """What was learnt in one process."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, int], _Seen] = {}
        """By door, model and size: the number of bits of a body's length."""

    def learn(self, door: str, model: str, size_bytes: int, usage: TokenUsage) -> None:
        """A body of so many bytes was billed as `usage`. On the path of every request."""
        tokens = usage.prompt_tokens
        if not 0 < tokens <= MOST_TOKENS:
            return
        read, written, written_1h = usage.cache_read_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens
        cached = read or written or written_1h
        if cached and (min(read, written, written_1h) < 0 or read + written + written_1h > tokens):
            return
        ratio = size_bytes / tokens
        if ratio > MOST_BYTES_PER_TOKEN and size_bytes > LARGE_BYTES:
            return
        key = door, model[:MAX_MODEL_CHARACTERS], size_bytes.bit_length()
        seen = self._seen.get(key)
        if seen is None:
            if len(self._seen) >= MAX_KNOWN:
                self._seen.clear()
            self._seen[key] = _Seen(ratio, usage)
            return
        weight = seen.weight
        seen.bytes_per_token += (ratio - seen.bytes_per_token) * weight
        if cached or seen.cached:
            seen.learn(read / tokens, written / tokens, written_1h / tokens)
        if weight > LEAST_WEIGHT:
            seen.weight = weight / (1 + weight)

    def estimate(self, door: str, model: str, size_bytes: int) -> PromptEstimate:
        """Of a prompt in a body of so many bytes, by the bills of bodies as large. What goes into a token is else taken
        from the next larger: what is learnt of shorter ones, which are mostly JSON, says nothing of text."""
        own = size_bytes.bit_length()
        model = model[:MAX_MODEL_CHARACTERS]
        for size in range(own, _SIZES):
            seen = self._seen.get((door, model, size))
            if seen is not None:
                tokens = round(size_bytes / seen.bytes_per_token)
                if size > own:
                    return PromptEstimate(tokens)
                shares = (seen.read, seen.written, seen.written_1h)
                return PromptEstimate(tokens, *(int(tokens * share) for share in shares))
        return PromptEstimate(round(size_bytes / BYTES_PER_TOKEN))
