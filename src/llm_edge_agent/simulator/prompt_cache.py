"""The providers' prompt caches: which prefixes were seen, and what a request reads from and writes to them."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from llm_edge_agent.simulator.prompts import Segment

_MAX_PREFIXES = 10_000
_LOOKBACK = 20
"""Anthropic looks so many blocks back from a breakpoint for a prefix it knows."""
_STEP_TOKENS = 128
_MIN_TOKENS = 1024
"""OpenAI caches prompts of at least 1,024 tokens, in steps of 128."""
_TTL_S = {"5m": 300.0, "1h": 3600.0}
_OPENAI_TTL_S = 1800.0


@dataclass(frozen=True, slots=True)
class CacheUse:
    """Tokens of the prompt by what the cache did with them; the rest of the prompt is neither read nor written."""

    read: int = 0
    written_5m: int = 0
    written_1h: int = 0
    to_remember: tuple[tuple[bytes, float], ...] = ()
    """Prefixes and how long (seconds) they are to be known, once the request succeeded."""


class PrefixMemory:
    """Known prefixes with their expiry, oldest forgotten first."""

    def __init__(self) -> None:
        self._expiry_s: OrderedDict[bytes, float] = OrderedDict()

    def remember(self, use: CacheUse, now_s: float) -> None:
        for key, ttl_s in use.to_remember:
            self._expiry_s[key] = max(now_s + ttl_s, self._expiry_s.get(key, 0.0))
            self._expiry_s.move_to_end(key)
        while len(self._expiry_s) > _MAX_PREFIXES:
            self._expiry_s.popitem(last=False)

    def knows(self, key: bytes, now_s: float) -> bool:
        return self._expiry_s.get(key, 0.0) > now_s

    def explicit(self, model: str, segments: Sequence[Segment], minimum: int, now_s: float) -> CacheUse:
        """Anthropic's rule: prefixes that end at a breakpoint, if they have `minimum` tokens."""
        keys, sums = _running(model, segments)
        marked = [
            (index, segment.breakpoint)
            for index, segment in enumerate(segments)
            if segment.breakpoint and sums[index] >= minimum
        ]
        if not marked:
            return CacheUse()
        read_to = -1
        for index, _ in marked:
            for candidate in range(index, max(-1, index - _LOOKBACK - 1), -1):
                if self.knows(keys[candidate], now_s):
                    read_to = max(read_to, candidate)
                    break
        read = sums[read_to] if read_to >= 0 else 0
        written: dict[str, int] = {"5m": 0, "1h": 0}
        done = read
        for index, ttl in marked:
            if sums[index] > done:
                written[ttl] += sums[index] - done
                done = sums[index]
        remembered = tuple((keys[index], _TTL_S[ttl]) for index, ttl in marked)
        return CacheUse(read, written["5m"], written["1h"], remembered)

    def implicit(self, model: str, segments: Sequence[Segment], total: int, now_s: float) -> CacheUse:
        """OpenAI's rule: the longest known prefix in steps of 128 tokens, for prompts of 1,024 tokens or more."""
        if total < _MIN_TOKENS:
            return CacheUse()
        digest = hashlib.blake2b(model.encode(), digest_size=16)
        ends: list[tuple[int, bytes]] = []
        reached = 0
        next_step = _MIN_TOKENS
        for segment in segments:
            digest.update(b"\0")
            for start in range(0, segment.tokens, _STEP_TOKENS):
                part = segment.text[start * 4 : (start + _STEP_TOKENS) * 4]
                digest.update(part.encode("utf-8", "surrogatepass"))
                reached += min(_STEP_TOKENS, segment.tokens - start)
                if reached >= next_step:
                    ends.append((reached // _STEP_TOKENS * _STEP_TOKENS, digest.digest()))
                    next_step = ends[-1][0] + _STEP_TOKENS
        read = max((reach for reach, key in ends if self.knows(key, now_s)), default=0)
        written = ends[-1][0] - read if ends else 0
        return CacheUse(read, written, 0, tuple((key, _OPENAI_TTL_S) for _, key in ends))


def _running(model: str, segments: Sequence[Segment]) -> tuple[list[bytes], list[int]]:
    """For each segment, the key and the tokens of the prefix that ends with it."""
    digest = hashlib.blake2b(model.encode(), digest_size=16)
    keys, sums, reached = [], [], 0
    for segment in segments:
        data = segment.text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8) + data)
        reached += segment.tokens
        keys.append(digest.digest())
        sums.append(reached)
    return keys, sums
