"""One place that can answer a request, and what its traffic has taught us: latency, failures, limits, load.

A `Deployment` is what the configuration says and never changes; its `DeploymentState` is what was learned and outlives
a reload of the configuration. Whoever calls a deployment takes a `Try` from `begin` and ends it once, on every path.
State and try stand in one file, long as it is, because each end of a try moves what only the state may move.
"""

import sys
from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple

from llm_edge_agent.core.breaker import Breaker, BreakerPolicy, State
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.latency import Wait
from llm_edge_agent.core.models import Dialect, Model
from llm_edge_agent.core.pricing import PriceList, TokenUsage
from llm_edge_agent.core.quotas import KeyPool, Quota
from llm_edge_agent.core.resilience import RetryBudget, RetryPolicy

UNHEALTHY_AFTER_FAILURES = 3
"""In a row: what health pages show. Routing goes by the breaker and by ejection."""

SUSTAINED_REFUSALS = 10
"""A rate limit is no failure; so many in a row, without one answer, are."""

EJECT_AFTER_FAILURES = 5
EJECT_AT_SHARE = 0.3
EJECT_AT_CALLS = 20
EJECT_S = 30.0
MOST_EJECTIONS = 10
"""Ejection: after 5 failures in a row, or 30 % of recent calls once there were 20, for 30 s times the number of
ejections lately. Unlike an open breaker it only chooses between candidates (`plan.py` keeps at least half)."""

FAILING_WEIGHT = 1 / 20
FORGIVEN = 1e-3
"""A share of failures so small is none."""
FAILURE_PENALTY = 4.0
"""How much a share of failures weighs in an expected wait: a call that fails costs another one."""
SET_ASIDE_S = 300.0
"""A key that was refused (401, 402, 403) or is out of quota, where nobody says until when."""
PARKED_S = 5.0
"""A deployment that said 429 without saying for how long."""
NOMINAL_TOKENS = 200
"""Whole answers longer than this are timed per so many tokens: a long answer is no slow deployment."""


class CallPolicies(NamedTuple):
    """What rules every deployment alike."""

    breaker: BreakerPolicy = BreakerPolicy()
    retries: RetryPolicy = RetryPolicy()


class DeploymentState:
    """What was learned of one deployment. Times are seconds on one clock that does not go back."""

    __slots__ = (
        "_calls",
        "_met",
        "_turn",
        "blocked_until_s",
        "breaker",
        "budget",
        "ejected_until_s",
        "ejections",
        "failing",
        "first_token",
        "keys",
        "max_in_flight",
        "outstanding",
        "parked_until_s",
        "quota",
        "refusals",
        "unhealthy",
        "whole",
    )

    def __init__(
        self,
        policies: CallPolicies | None = None,
        keys: KeyPool | None = None,
        *,
        max_in_flight: int | None = None,
        quota: Quota | None = None,
    ) -> None:
        policies = policies or CallPolicies()
        self.breaker = Breaker(policies.breaker)
        self.budget = RetryBudget(policies.retries)
        self.keys = keys or KeyPool(1)
        self.quota = quota
        self.max_in_flight = max_in_flight if max_in_flight is not None else 1 << 30
        self.outstanding = 0
        """Calls under way."""
        self.first_token = Wait()
        """For the first event of a stream."""
        self.whole = Wait()
        """For a whole answer (of at most NOMINAL_TOKENS, longer ones per so many)."""
        self.failing = 0.0
        """Share of recent calls that failed, the last ones weighing most."""
        self.refusals = 0
        self.unhealthy = 0
        """Failures in a row, those of our own keys included."""
        self.ejections = 0
        self.ejected_until_s = 0.0
        self.parked_until_s = [0.0] * self.keys.size
        """Per key: until when this deployment refuses it."""
        self.blocked_until_s = 0.0
        """Before this something speaks against a call, and `why_not` says what: the one comparison of the quick path.
        Infinite while a probe is under way, and at the bound of calls under way."""
        self._calls = 0
        self._met = False
        self._turn = 0

    def adopt(self, policies: CallPolicies, *, max_in_flight: int | None, quota: Quota | None) -> None:
        """Other rules for the same deployment: what was learned of it stays."""
        self.breaker.policy = policies.breaker
        self.budget.policy = policies.retries
        self.max_in_flight = max_in_flight if max_in_flight is not None else 1 << 30
        if self.quota is None or quota is None or self.quota.limits != quota.limits:
            self.quota = quota
        self._block()

    @property
    def healthy(self) -> bool:
        return self.unhealthy < UNHEALTHY_AFTER_FAILURES

    @property
    def known(self) -> bool:
        """Whether any traffic has shown anything yet."""
        return self._met

    def free(self, now_s: float) -> bool:
        """Whether nothing speaks against a call: `why_not` would be None."""
        return now_s >= self.blocked_until_s

    def open(self, now_s: float) -> bool:
        """Whether the breaker lets no call pass."""
        return not self.breaker.allows(now_s)

    def callable(self, now_s: float) -> bool:
        """Whether a call is not forbidden."""
        return self.outstanding < self.max_in_flight and self.breaker.allows(now_s)

    def why_not(self, now_s: float) -> str | None:
        """What speaks against a call now, most serious first; None if nothing does. `circuit_open` and `full` forbid
        it, the others are a reason to prefer somebody else."""
        if self.open(now_s):
            return "circuit_open"
        if self.outstanding >= self.max_in_flight:
            return "full"
        if now_s < self.keys_free_at_s():
            return "parked"
        if self.quota is not None and now_s < self.quota.free_at_s:
            return "quota"
        if now_s < self.ejected_until_s:
            return "ejected"
        return None

    def free_at_s(self, now_s: float) -> float:
        """When what speaks against a call will be over, as far as is known."""
        if self.breaker.state is State.HALF_OPEN:
            return now_s + 1.0
        return max(now_s, self._held_until_s())

    def wait_s(self, now_s: float, turn: int, *, stream: bool) -> float:
        """How long a call would probably wait that begins now, more where calls fail; 0 where nothing is known. Waits
        for a first token and for a whole answer stand in for each other where only one is known. Where calls fail it is
        not remembered, so that whoever chooses sees that they do."""
        wait = self.first_token if stream else self.whole
        seconds = wait.expect(now_s, turn)
        if not wait.value_s:
            other = self.whole if stream else self.first_token
            if other.value_s:
                seconds = other.expect(now_s, turn)
                other.fresh_until_s = 0.0  # remembered for its own kind only
        if self.failing:
            seconds *= 1.0 + FAILURE_PENALTY * self.failing
            wait.fresh_until_s = 0.0
        wait.expected_s = seconds
        return seconds

    def keys_free_at_s(self) -> float:
        """When the first of the keys may be used."""
        return min(map(max, self.parked_until_s, self.keys.set_aside_until_s))

    def key(self, now_s: float) -> int:
        """The key to use: the usable ones in turn, else the one that is usable first."""
        aside, parked = self.keys.set_aside_until_s, self.parked_until_s
        if self.keys.size == 1:
            return 0
        self._turn += 1
        for step in range(self.keys.size):
            index = (self._turn + step) % self.keys.size
            if aside[index] <= now_s and parked[index] <= now_s:
                return index
        return min(range(self.keys.size), key=lambda each: max(aside[each], parked[each]))

    def another_key(self, now_s: float) -> bool:
        """Whether some key is usable right now."""
        return now_s >= self.keys_free_at_s()

    def begin(self, now_s: float, *, stream: bool, tokens: int = 0) -> "Try":
        """A call begins; `tokens` are those of its prompt, by estimate, for the quota. The result must be ended."""
        self.outstanding += 1
        (self.first_token if stream else self.whole).begun(now_s)
        probe = self.breaker.state is not State.CLOSED and self.breaker.begin()
        if probe or self.outstanding >= self.max_in_flight:
            self.blocked_until_s = inf
        if self.quota is not None:
            self.quota.begin(now_s, tokens)
            self._block()
        return Try(self, now_s, self.key(now_s), probe, stream, tokens)

    def park(self, until_s: float, key: int) -> None:
        """The provider says that it will refuse this key here until then."""
        if until_s > self.parked_until_s[key]:
            self.parked_until_s[key] = until_s
            self._block()

    def _set_aside(self, until_s: float, key: int) -> None:
        self.keys.set_aside_until_s[key] = max(until_s, self.keys.set_aside_until_s[key])
        self._block()

    def _block(self) -> None:
        """Recomputes the quick path after anything that it depends on has moved."""
        if self.breaker.state is State.HALF_OPEN or self.outstanding >= self.max_in_flight:
            self.blocked_until_s = inf
        else:
            self.blocked_until_s = self._held_until_s()

    def _held_until_s(self) -> float:
        """When the last of those reasons against a call will be over whose time is known."""
        until_s = max(self.ejected_until_s, self.keys_free_at_s())
        if self.quota is not None:
            until_s = max(until_s, self.quota.free_at_s)
        if self.breaker.state is State.OPEN:
            until_s = max(until_s, self.breaker.opens_at_s)
        return until_s

    def _fails(self, share: float) -> None:
        """The share of failures has changed, and with it what is expected."""
        self.failing = share if share > FORGIVEN else 0.0
        self.first_token.fresh_until_s = self.whole.fresh_until_s = 0.0

    def _succeeded(self, now_s: float, *, probe: bool) -> None:
        if self.failing:
            self._fails(self.failing - self.failing * FAILING_WEIGHT)
        self._calls += 1
        self._met = True
        self.refusals = self.unhealthy = 0
        self.breaker.succeeded(now_s, probe=probe)
        if probe:
            self.ejected_until_s = min(self.ejected_until_s, now_s)
            self._block()

    def _failed(self, now_s: float, *, probe: bool) -> None:
        self._fails(self.failing + (1 - self.failing) * FAILING_WEIGHT)
        self._calls += 1
        self._met = True
        self.unhealthy += 1
        self.breaker.failed(now_s, probe=probe)
        in_a_row = self.breaker.failures >= EJECT_AFTER_FAILURES
        often = self._calls >= EJECT_AT_CALLS and self.failing >= EJECT_AT_SHARE
        if (in_a_row or often) and now_s >= self.ejected_until_s:
            quiet_s = now_s - self.ejected_until_s
            self.ejections = min(max(0, self.ejections - int(quiet_s / EJECT_S)) + 1, MOST_EJECTIONS)
            self.ejected_until_s = now_s + EJECT_S * self.ejections
            self._fails(0.0)
            self._calls = 0
        self._block()

    def _abandoned(self, now_s: float, *, probe: bool) -> None:
        self.breaker.abandoned(now_s, probe=probe)
        if probe:
            self._block()


class Try:
    """One call under way. Exactly one of `succeeded`, `failed` and `abandoned` counts, the first; later ones are
    ignored, so that every path out may end it without knowing of the others."""

    __slots__ = ("_ended", "_state", "_tokens", "_waits", "began_s", "key", "on_end", "probe", "stream")

    def __init__(
        self, state: DeploymentState, began_s: float, key: int, probe: bool, stream: bool, tokens: int
    ) -> None:
        self._state = state
        self.began_s = began_s
        self.key = key
        """Which of the account's keys to use."""
        self.probe = probe
        self.stream = stream
        self._tokens = tokens
        self.on_end: Callable[[DeploymentState], None] | None = None
        """Told once, when the call has ended whichever way."""
        self._ended = False
        self._waits = True

    def first_token(self, now_s: float) -> None:
        """The first event of a stream has come. Called once, before the end."""
        self._waits = False
        self._state.first_token.answered(now_s - self.began_s, now_s)

    def park(self, wait_s: float, now_s: float) -> None:
        """The answer says that the next call with this key would be refused for so long."""
        self._state.park(now_s + wait_s, self.key)

    def succeeded(self, now_s: float, usage: TokenUsage | None = None) -> None:
        """A whole answer has come; `usage` as billed, None where it was not told."""
        state = self._state
        if not self.stream and self._waits:
            self._waits = False
            written = usage.completion_tokens if usage is not None else 0
            shorter = NOMINAL_TOKENS / written if written > NOMINAL_TOKENS else 1.0
            state.whole.answered((now_s - self.began_s) * shorter, now_s)
        if self._end():
            if state.quota is not None:
                tokens = usage.prompt_tokens + usage.completion_tokens if usage is not None else 0
                state.quota.ended(now_s, max(0, tokens - self._tokens))
                state._block()
            state._succeeded(now_s, probe=self.probe)

    def failed(self, now_s: float, error: GatewayError) -> None:
        """The call failed: what that says of the deployment follows from the error's kind."""
        if not self._end():
            return
        state, kind, wait_s = self._state, error.kind, error.retry_after_s
        if kind.value.blame:
            state._failed(now_s, probe=self.probe)
            if wait_s:
                state.park(now_s + wait_s, self.key)
        elif kind is ErrorKind.UPSTREAM_RATE_LIMIT:
            state.refusals += 1
            state.park(now_s + (PARKED_S if wait_s is None else wait_s), self.key)
            if state.refusals >= SUSTAINED_REFUSALS:
                state._failed(now_s, probe=self.probe)
            else:
                state._abandoned(now_s, probe=self.probe)
        elif kind in (ErrorKind.UPSTREAM_AUTH, ErrorKind.UPSTREAM_QUOTA):
            state.unhealthy += 1
            state._met = True
            until_s = now_s + (SET_ASIDE_S if wait_s is None else wait_s)
            if error.extra.get("upstream_status") == 403:  # this key may not use this model, perhaps others
                state.park(until_s, self.key)
            else:
                state._set_aside(until_s, self.key)
            state._abandoned(now_s, probe=self.probe)
        elif kind.value.fault == "upstream" and kind is not ErrorKind.UPSTREAM_TOO_LARGE:
            state._succeeded(now_s, probe=self.probe)  # it refused the request: it is well
        else:
            state._abandoned(now_s, probe=self.probe)

    def abandoned(self, now_s: float) -> None:
        """The call ended without an outcome: its client left, or the gateway failed."""
        if self._end():
            self._state._abandoned(now_s, probe=self.probe)

    def _end(self) -> bool:
        if self._ended:
            return False
        self._ended = True
        state = self._state
        state.outstanding -= 1
        if self._waits:
            self._waits = False
            (state.first_token if self.stream else state.whole).left()
        if state.blocked_until_s == inf:
            state._block()
        if self.on_end is not None:
            self.on_end(state)
        return True


class Deployment:
    """One place that can answer: an account at a provider and the model it is asked for there."""

    __slots__ = (
        "account",
        "base_up_to",
        "dialect",
        "input_price",
        "long_input_price",
        "long_output_price",
        "model",
        "name",
        "output_price",
        "prices",
        "priority",
        "provider",
        "region",
        "state",
        "tags",
        "upstream_model",
        "weight",
    )

    def __init__(
        self,
        name: str,
        model: Model,
        state: DeploymentState,
        *,
        provider: str,
        upstream_model: str,
        account: str | None = None,
        dialect: Dialect | None = None,
        prices: PriceList | None = None,
        weight: float = 1.0,
        priority: int = 0,
        region: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.provider = provider
        self.account = account if account is not None else provider
        """Whose address and keys are used: a name that the edge resolves."""
        self.dialect: Dialect = dialect if dialect is not None else model.dialect
        self.upstream_model = upstream_model
        self.model = model
        self.prices = prices = prices if prices is not None else model.prices
        self.input_price, self.output_price = 0.0, inf
        """Base prices, picodollars a token; what a request costs stays exact below 2**53 of them, 9,007 USD."""
        self.base_up_to = sys.maxsize
        """They rule prompts of at most so many tokens, and those of the long context the others."""
        self.long_input_price, self.long_output_price = self.input_price, self.output_price
        if prices is not None:
            self.input_price, self.output_price = float(prices.base.input), float(prices.base.output)
            if prices.long_context is not None and prices.long_context_threshold is not None:
                self.base_up_to = prices.long_context_threshold
                self.long_input_price = float(prices.long_context.input)
                self.long_output_price = float(prices.long_context.output)
        self.weight = weight
        self.priority = priority
        self.region = region
        self.tags = tuple(tags)
        self.state = state

    def __repr__(self) -> str:
        return f"Deployment({self.name})"
