"""Whether breakpoints for the provider's prompt cache pay, learnt from what they did to earlier bills.

A breakpoint costs before it pays: Anthropic bills what is written to its cache at 1.25 times the input price and what
is read from it at a tenth. Traffic whose prefixes come again within minutes (agents, conversations) saves most of its
input; traffic whose prefixes never do pays a quarter more.

Theory of operation. Requests of one tenant with the same shape share an account. It opens with credit for `CREDIT`
whole prompts. Each answer to a request with our breakpoints moves it by its gain: what it saved less what it cost,
as a fraction of its prompt at the plain price (-0.25 for a prompt that was written and no more, +0.9 for one that was
read). While there is credit, breakpoints are set. Without, they are set in one probe at a time, each `probe interval`
after the last; the interval doubles with each probe that gains nothing, and the first that gains brings credit back.

    paying --credit used up--> stopped --interval over--> one probe --gain--> paying
                                  ^                           |
                                  `------ no gain: doubled ---'

So hopeless traffic pays for about sixteen prompts and then for one more every hour.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from llm_edge_agent.core.pricing import PromptCacheEffect, TokenUsage

CREDIT = 4.0
"""Prompts' worth of loss that an account may make before it stops: sixteen that were written and never read."""
FIRST_INTERVAL_S = 2.0
LAST_INTERVAL_S = 3600.0
MAX_ACCOUNTS = 4096
"""Accounts kept; the one that has not learnt for longest is forgotten, and would begin anew."""

READ_RATE = 0.9
WRITE_RATE = 0.25
WRITE_1H_RATE = 1.0
"""Anthropic's published ratios, for models whose own price is not known."""


class Shape(NamedTuple):
    """What requests of one application have in common. Coarse, so that a system prompt with the time of day in it, or
    a user's name, does not make every request a stranger from whom nothing can be learnt."""

    model: str
    tools: bytes
    """Digest of the tools' names, in order; empty without tools."""
    system_size: int
    """Size class of the system prompt: the bits of its length in characters."""
    turns: bool
    """Whether the model has spoken before."""


class _Account:
    __slots__ = ("credit", "interval_s", "probe_at_s", "probing")

    def __init__(self) -> None:
        self.credit = CREDIT
        self.interval_s = FIRST_INTERVAL_S
        self.probe_at_s = 0.0
        self.probing = False


class PromptCacheLearner:
    """Accounts by tenant and shape."""

    def __init__(self, max_accounts: int = MAX_ACCOUNTS) -> None:
        self._max_accounts = max_accounts
        self._accounts: dict[tuple[str, Shape], _Account] = {}

    def wants(self, tenant: str, shape: Shape, now_s: float) -> bool:
        """Whether a request of this tenant and shape should get breakpoints. `now_s`: monotonic."""
        account = self._accounts.get((tenant, shape))
        if account is None or account.credit > 0:
            return True
        if now_s < account.probe_at_s:
            return False
        account.probing = True
        account.probe_at_s = now_s + account.interval_s
        return True

    def learn(self, tenant: str, shape: Shape, gain: float, now_s: float) -> None:
        """What a request with our breakpoints gained (`relative_gain`). A gain of 0 says that the provider took no
        notice of them (a prompt below its minimum), and teaches nothing."""
        if gain == 0:
            return
        key = (tenant, shape)
        account = self._accounts.pop(key, None)
        if account is None:
            account = _Account()
            if len(self._accounts) >= self._max_accounts:
                del self._accounts[next(iter(self._accounts))]
        self._accounts[key] = account  # the end of the line: learnt last, forgotten last
        had_credit = account.credit > 0
        account.credit = min(CREDIT, max(0.0, account.credit + gain))
        if account.credit > 0:
            account.interval_s = FIRST_INTERVAL_S
            account.probing = False
        elif had_credit:
            account.probe_at_s = now_s + account.interval_s
        elif account.probing:
            account.probing = False
            account.interval_s = min(LAST_INTERVAL_S, account.interval_s * 2)
            account.probe_at_s = now_s + account.interval_s

    def __len__(self) -> int:
        return len(self._accounts)


def shape_of(request: Mapping[str, Any], model: str) -> Shape:
    """The shape of a checked chat completion request (decoded) to a model."""
    names = []
    for tool in request.get("tools") or ():
        inner = tool.get("function") or tool.get("custom") or {}
        names.append(str(inner.get("name")))
    names += [str(function.get("name")) for function in request.get("functions") or ()]
    system = 0
    turns = False
    for message in request["messages"]:
        role = message["role"]
        if role in ("system", "developer"):
            system += _characters(message.get("content"))
        elif role == "assistant":
            turns = True
    tools = sha256("\0".join(names).encode("utf-8", "surrogatepass")).digest()[:8] if names else b""
    return Shape(model, tools, system.bit_length(), turns)


def _characters(content: object) -> int:
    if isinstance(content, str):
        return len(content)
    parts = content if isinstance(content, list) else []
    return sum(len(part["text"]) for part in parts if isinstance(part.get("text"), str))


def relative_gain(effect: PromptCacheEffect, usage: TokenUsage, input_price: int | None) -> float:
    """What the prompt cache gained on one answer, as a fraction of its prompt at the plain price. `input_price` is in
    picodollars a token; without one, the provider's published ratios are taken."""
    if usage.prompt_tokens <= 0:
        return 0.0
    if input_price:
        return (effect.saved - effect.surcharge) / (usage.prompt_tokens * input_price)
    gained = usage.cache_read_tokens * READ_RATE
    lost = usage.cache_write_tokens * WRITE_RATE + usage.cache_write_1h_tokens * WRITE_1H_RATE
    return (gained - lost) / usage.prompt_tokens
