"""Random requests by every door, each with what the provider will make of it. The same seed, the same requests."""

import json
import random
from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.canaries import prompt

Outcome = Literal["whole", "repeated", "uncounted", "refused", "broken", "cut", "gone"]
"""whole: answered to the end. repeated: a whole one again, by the provider or by the gateway itself. uncounted:
answered, and costs nothing. refused: an error, and costs nothing. broken: the provider fails in the middle of a stream.
cut: the client leaves there. gone: it leaves before the answer."""

LONG = [f"{name} " + name * 1500 for name in ("alpha", "bravo", "delta")]
"""Prefixes that come again and again, long enough for every provider's prompt cache."""
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CUT_AFTER = 5
_CUT = f"[[sim: tokens=40, fail_after={CUT_AFTER}, mode=stall]]"
_FAILURES = ("error", "fin", "eof_tidy")
_TORN = ("cut", "broken")
_GONE = "[[sim: latency=30]]"
_REFUSALS = {"openai": (400, 429, 500, 503), "anthropic": (400, 413, 429, 500, 529)}


@dataclass(frozen=True)
class Asked:
    path: str
    body: bytes
    headers: dict[str, str]
    stream: bool
    provider: str
    outcome: Outcome


class Requests:
    """An endless supply."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._made = 0
        self._lately: deque[Asked] = deque(maxlen=20)

    def next(self) -> Asked:
        self._made += 1
        if self._lately and self._rng.random() < 0.1:
            again = self._rng.choice(self._lately)
            headers = {**again.headers, "x-request-id": f"request-{self._made}"}
            return replace(again, headers=headers, outcome="repeated")
        asked = self._new()
        if asked.outcome == "whole":
            self._lately.append(asked)
        return asked

    def _new(self) -> Asked:
        draw = self._rng.random()
        bounds: tuple[tuple[float, Outcome], ...] = ((0.06, "cut"), (0.1, "gone"), (0.2, "refused"), (0.23, "broken"))
        outcome: Outcome = next((each for bound, each in bounds if draw < bound), "whole")
        if outcome == "whole" and self._rng.random() < 0.02:
            return self._long_context()
        door = self._rng.choice(
            (
                self._chat,
                self._chat_with_claude,
                self._chat_by_responses,
                self._messages,
                self._messages,
                self._messages_with_gpt,
                self._responses,
                self._responses,
            )
            if self._rng.random() < 0.85
            else (self._embeddings, self._completions, self._count_tokens)
        )
        return door(outcome)

    def _text(self, outcome: Outcome, provider: str) -> str:
        if outcome == "refused":
            return prompt(f"[[sim: status={self._rng.choice(_REFUSALS[provider])}]]")
        broken = f"[[sim: tokens=40, fail_after={CUT_AFTER}, mode={self._rng.choice(_FAILURES)}]]"
        script = {"cut": _CUT, "gone": _GONE, "broken": broken}.get(outcome, "")
        words = self._rng.choice(("What is the capital of France?", "Tell me about tea.", "call get_weather for Oslo"))
        if outcome in _TORN:  # text is what it is torn in
            words = "Tell me about rivers."
        return prompt(f"{script} {words} ({self._made})")

    def _stream(self, outcome: Outcome) -> bool:
        return outcome in _TORN or self._rng.random() < 0.5

    def _asked(
        self, path: str, body: dict[str, Any], outcome: Outcome, provider: str, headers: dict[str, str] | None = None
    ) -> Asked:
        named = {"x-request-id": f"request-{self._made}", **(headers or {})}
        return Asked(path, json.dumps(body).encode(), named, bool(body.get("stream")), provider, outcome)

    def _chat(self, outcome: Outcome) -> Asked:
        rng = self._rng
        models = ("gpt-4o-mini", "gpt-5.5", "gpt-5.6", "gpt-6-luna")
        model = rng.choice(models[:2] if outcome in _TORN else models)
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": self._text(outcome, "openai")}],
        }
        if rng.random() < 0.5:
            body["messages"].insert(0, {"role": "system", "content": rng.choice(LONG)})
        if rng.random() < 0.4 and model in ("gpt-4o-mini", "gpt-5.5"):
            body["tools"] = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
        if outcome == "whole" and rng.random() < 0.2:
            body["n"] = rng.choice((2, 3))
        if rng.random() < 0.1:
            body["service_tier"] = rng.choice(("auto", "flex", "priority"))
        if self._stream(outcome):
            body["stream"] = True
            if rng.random() < 0.5:
                body["stream_options"] = {"include_usage": True}
        return self._asked("/v1/chat/completions", body, outcome, "openai")

    def _chat_with_claude(self, outcome: Outcome) -> Asked:
        rng = self._rng
        model = "claude-haiku-4-5" if outcome in _TORN else rng.choice(("claude-haiku-4-5", "claude-opus-5"))
        body: dict[str, Any] = {
            "model": model,
            "messages": [
                {"role": "system", "content": [self._marked(rng.choice(LONG))]},
                {"role": "user", "content": self._text(outcome, "anthropic")},
            ],
            "max_tokens": 2000,
            "stream": self._stream(outcome),
        }
        return self._asked("/v1/chat/completions", body, outcome, "anthropic")

    def _chat_by_responses(self, outcome: Outcome) -> Asked:
        """Tools on a model that takes them at the Responses API only."""
        body: dict[str, Any] = {
            "model": "gpt-6-astra",
            "messages": [
                {"role": "system", "content": self._rng.choice(LONG)},
                {"role": "user", "content": self._text("whole" if outcome in _TORN else outcome, "openai")},
            ],
            "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}],
            "stream": self._stream("whole"),
        }
        return self._asked("/v1/chat/completions", body, "whole" if outcome in _TORN else outcome, "openai")

    def _messages_with_gpt(self, outcome: Outcome) -> Asked:
        body: dict[str, Any] = {
            "model": self._rng.choice(("gpt-4o-mini", "gpt-5.5", "gpt-5.6")),
            "max_tokens": 2000,
            "messages": [{"role": "user", "content": self._text(outcome, "openai")}],
            "stream": self._stream(outcome),
        }
        if self._rng.random() < 0.6:
            body["system"] = self._rng.choice(LONG)
        return self._asked("/v1/messages", body, outcome, "openai", _VERSION)

    def _marked(self, text: str) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "text", "text": text}
        lifetime = self._rng.choice((None, "5m", "1h"))
        if lifetime is not None:
            block["cache_control"] = {"type": "ephemeral", "ttl": lifetime}
        return block

    def _messages(self, outcome: Outcome) -> Asked:
        rng = self._rng
        models = ("claude-haiku-4-5",) if outcome in _TORN else ("claude-haiku-4-5", "claude-opus-5", "claude-sonnet-5")
        long, short = self._marked(rng.choice(LONG)), self._marked(rng.choice(LONG))
        if short.get("cache_control", {}).get("ttl") == "1h":
            long, short = short, {"type": "text", "text": "Be brief."}
        body: dict[str, Any] = {
            "model": rng.choice(models),
            "max_tokens": 2000,
            "system": [long, short],
            "messages": [{"role": "user", "content": self._text(outcome, "anthropic")}],
            "stream": self._stream(outcome),
        }
        if rng.random() < 0.4:
            body["tools"] = [{"name": "get_weather", "input_schema": SCHEMA}]
        if body["model"] == "claude-haiku-4-5" and outcome == "whole" and rng.random() < 0.4:
            body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        return self._asked("/v1/messages?beta=true", body, outcome, "anthropic", _VERSION)

    def _long_context(self) -> Asked:
        """A prompt on either side of where the whole request gets dearer."""
        size = self._rng.choice((380_000, 420_000))
        block = {"type": "text", "text": "c" * size, "cache_control": {"type": "ephemeral"}}
        body = {
            "model": "claude-haiku-5-5",
            "max_tokens": 500,
            "system": [block],
            "messages": [{"role": "user", "content": self._text("whole", "anthropic")}],
            "stream": self._stream("whole"),
        }
        return self._asked("/v1/messages", body, "whole", "anthropic", _VERSION)

    def _count_tokens(self, outcome: Outcome) -> Asked:
        text = self._text("whole", "anthropic")
        body = {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": text}]}
        return self._asked("/v1/messages/count_tokens", body, "uncounted", "anthropic", _VERSION)

    def _responses(self, outcome: Outcome) -> Asked:
        rng = self._rng
        model = rng.choice(("gpt-4o-mini", "gpt-5.6", "gpt-6-astra"))
        body: dict[str, Any] = {
            "model": model,
            "input": self._text(outcome, "openai"),
            "store": rng.random() < 0.5,
            "stream": self._stream(outcome),
        }
        if rng.random() < 0.6:
            body["instructions"] = rng.choice(LONG)
        if rng.random() < 0.4:
            body["tools"] = [{"type": "function", "name": "get_weather", "parameters": SCHEMA}]
        if rng.random() < 0.1:
            body["service_tier"] = rng.choice(("default", "flex", "priority"))
        if model != "gpt-4o-mini" and rng.random() < 0.5:
            body["reasoning"] = {"effort": rng.choice(("low", "high")), "summary": "auto"}
        return self._asked("/v1/responses", body, outcome, "openai")

    def _embeddings(self, outcome: Outcome) -> Asked:
        texts = [self._text("refused" if outcome == "refused" else "whole", "openai")]
        texts += self._rng.sample(LONG, self._rng.randint(0, 2))
        body = {
            "model": self._rng.choice(("text-embedding-3-small", "text-embedding-3-large")),
            "input": texts,
            "dimensions": 8,
        }
        return self._asked("/v1/embeddings", body, "refused" if outcome == "refused" else "whole", "openai")

    def _completions(self, outcome: Outcome) -> Asked:
        """A model without a price: its tokens are told, its cost is unknown."""
        body: dict[str, Any] = {
            "model": "openai/own-instruct",
            "prompt": self._text(outcome, "openai"),
            "max_tokens": 60,
            "stream": self._stream(outcome),
        }
        return self._asked("/v1/completions", body, outcome, "openai")


_VERSION = {"anthropic-version": "2023-06-01"}
