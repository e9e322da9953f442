"""Who is asked next: the decisions of one request between its tries. The edge asks, calls, tells what came, asks again.

    own deployments, each once, at once        failover
    those again, after a pause, from a budget  repeats, at most `max_retries`
    the groups of the fallback chain           each once, with their own deployments, in the same manner

A refusal that is about the request ends the walk, but for two that another model may not share: a prompt too long for
the context window, and a content filter. Both lead to a chain of their own.

Nothing here waits or calls: time and chance are told, pauses are returned.
"""

from collections.abc import Callable
from typing import NamedTuple

from llm_edge_agent.core.deployments import Deployment
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.needs import Needs
from llm_edge_agent.core.plan import Group, Plan
from llm_edge_agent.core.resilience import pause_s

_ABOUT_THE_KEY = frozenset({ErrorKind.UPSTREAM_AUTH, ErrorKind.UPSTREAM_QUOTA, ErrorKind.UPSTREAM_RATE_LIMIT})
_CONFIGURED_SO = frozenset({ErrorKind.MODEL_NOT_FOUND, ErrorKind.UNSUPPORTED})
"""In a configured group it is the configuration that named the model, or chose a dialect that cannot carry the
request: another deployment may do better."""
_KEEP_ADVICE = frozenset({ErrorKind.UPSTREAM_RATE_LIMIT, ErrorKind.UPSTREAM_QUOTA})


class Ask(NamedTuple):
    """The deployment to call, and how long to wait before."""

    deployment: Deployment
    pause_s: float = 0.0


class Walk:
    """One request's way through its group and that group's fallbacks."""

    __slots__ = (
        "_chain",
        "_deadline_s",
        "_errors",
        "_last",
        "_max_retries",
        "_rekeyed",
        "_repeats",
        "_resolve",
        "_seen",
        "_stream",
        "asked",
        "group",
        "needs",
        "plan",
        "repeating",
    )

    def __init__(
        self,
        group: Group,
        needs: Needs,
        resolve: Callable[[str], Group],
        *,
        stream: bool,
        max_retries: int,
        deadline_s: float,
    ) -> None:
        """`resolve` finds the groups of fallback chains; names it refuses with GatewayError are passed over.
        `deadline_s`: when the whole request must be answered; no try begins after it, and no pause crosses it."""
        self.group = group
        self.needs = needs
        self.plan = Plan(group, needs, stream=stream)
        self.asked = 0
        """How many tries were handed out."""
        self.repeating = False
        """Whether the last one goes to a deployment that was tried before."""
        self._stream = stream
        self._resolve = resolve
        self._max_retries = max_retries
        self._deadline_s = deadline_s
        self._repeats = 0
        self._errors: dict[Deployment, GatewayError] | None = None
        self._rekeyed: dict[Deployment, int] | None = None
        self._chain: list[str] | None = None
        self._seen: set[str] | None = None
        self._last: Deployment | None = None

    @property
    def fallback(self) -> bool:
        """Whether the walk has left the group that was asked for."""
        return self.plan.group is not self.group

    def first(self, now_s: float, chance: float) -> Ask:
        """Whom to ask first. Raises GatewayError CIRCUIT_OPEN or NO_HEALTHY_UPSTREAM (503) where nobody may be
        called, here and in the fallbacks, with the time to wait; OVERLOADED where that is only because of bounds on
        calls under way, and may be asked again."""
        ask = self._next(now_s, chance)
        if ask is None:
            raise self._nobody(now_s)
        return ask

    def began_with(self, deployment: Deployment) -> None:
        """The only deployment of the group was asked without asking here: what needs no choice needs no walk."""
        self.plan.tried.append(deployment)
        self._hand_out(deployment)

    def after(self, error: GatewayError, now_s: float, chance: float) -> Ask | None:
        """Whom to ask after the last one failed with `error`; None: the client gets the error.

        After a pause the caller asks once more with the same error where the deployment's breaker has opened
        meanwhile: nobody's budget is spent on a call that is not made.
        """
        last = self._last
        if last is None or now_s >= self._deadline_s:
            return None
        if self._errors is None:
            self._errors = {}
        self._errors[last] = error
        kind = error.kind
        if kind is ErrorKind.CONTEXT_LENGTH:
            self.plan.only_larger_than(last.model.context_window)
            chosen = self.plan.next(now_s, chance)
            if chosen is not None:
                return self._hand_out(chosen)
            return self._elsewhere(self.group.fallbacks.context_window, now_s, chance)
        if kind is ErrorKind.CONTENT_FILTER:
            return self._elsewhere(self.group.fallbacks.content_filter, now_s, chance)
        if not kind.value.try_another and not (self.plan.group.configured and kind in _CONFIGURED_SO):
            return None
        if kind in _ABOUT_THE_KEY and self._has_another_key(last, now_s):
            return self._hand_out(last, again=True)
        return self._next(now_s, chance)

    def spent(self, error: GatewayError) -> bool:
        """Whether the gateway did what a client's library would do about `error`, so that it had better not."""
        return self.asked > 1 and error.kind.value.try_another and error.kind not in _KEEP_ADVICE

    def _next(self, now_s: float, chance: float) -> Ask | None:
        chosen = self.plan.next(now_s, chance)
        if chosen is not None:
            chosen.state.budget.called()
            return self._hand_out(chosen)
        return self._repeat(now_s, chance) or self._elsewhere(None, now_s, chance)

    def _repeat(self, now_s: float, chance: float) -> Ask | None:
        """The first of those tried whose failure may be over, after its pause."""
        if self._errors is None or self._repeats >= self._max_retries:
            return None
        for deployment in self.plan.tried:
            pause = pause_s(self._errors[deployment], self._repeats, chance) if deployment in self._errors else None
            if pause is None or now_s + pause >= self._deadline_s or deployment.state.open(now_s):
                continue
            if deployment.state.budget.spend(now_s):
                self._repeats += 1
                return self._hand_out(deployment, pause, again=True)
        return None

    def _elsewhere(self, chain: tuple[str, ...] | None, now_s: float, chance: float) -> Ask | None:
        """The next group of a chain that somebody can be asked in. `chain` None: go on with the one begun, at first
        the general one. A chain of its own replaces it."""
        if self._chain is None or self._seen is None:
            self._chain = list(self.group.fallbacks.general)
            self._seen = {self.group.name}
        if chain is not None:
            self._chain = list(chain)
        while self._chain:
            try:
                group = self._resolve(self._chain.pop(0))
            except GatewayError:
                continue
            if group.name in self._seen:
                continue
            self._seen.add(group.name)
            self.plan = Plan(group, self.needs, stream=self._stream)
            chosen = self.plan.next(now_s, chance)
            if chosen is not None:
                chosen.state.budget.called()
                return self._hand_out(chosen)
        return None

    def _hand_out(self, deployment: Deployment, pause_s: float = 0.0, *, again: bool = False) -> Ask:
        self.asked += 1
        self.repeating = again
        self._last = deployment
        return Ask(deployment, pause_s)

    def _has_another_key(self, deployment: Deployment, now_s: float) -> bool:
        state = deployment.state
        if state.keys.size == 1 or not state.another_key(now_s):
            return False
        if self._rekeyed is None:
            self._rekeyed = {}
        times = self._rekeyed.get(deployment, 0)
        if times >= state.keys.size - 1 or not state.budget.spend(now_s):
            return False
        self._rekeyed[deployment] = times + 1
        return True

    def _nobody(self, now_s: float) -> GatewayError:
        group = self.group
        if any(deployment.state.why_not(now_s) == "full" for deployment in group.deployments):
            return GatewayError(
                ErrorKind.OVERLOADED, "Every deployment of this model has all it may have to do.", retry_after_s=1
            )
        wait_s = max(1.0, min(deployment.state.free_at_s(now_s) for deployment in group.deployments) - now_s)
        if len(group.deployments) == 1:
            provider = group.deployments[0].provider
            return GatewayError(
                ErrorKind.CIRCUIT_OPEN,
                f"The provider '{provider}' has failed repeatedly and is not called for the moment.",
                retry_after_s=wait_s,
                extra={"provider": provider},
            )
        return GatewayError(
            ErrorKind.NO_HEALTHY_UPSTREAM,
            "Every deployment of this model has failed repeatedly and is not called for the moment.",
            retry_after_s=wait_s,
        )
