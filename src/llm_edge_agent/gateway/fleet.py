"""The deployments of one configuration, ready to be called: names, addresses, credentials, and what was learned.

A fleet never changes. A new configuration makes a new one, which takes over what the old one had learned of deployments
that are still the same: same address, model and keys.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

from llm_edge_agent.config import AppConfig, ProviderConfig
from llm_edge_agent.config.values import DeploymentConfig, DeploymentTimeouts, GroupConfig
from llm_edge_agent.core.breaker import BreakerPolicy
from llm_edge_agent.core.deployments import CallPolicies, Deployment, DeploymentState
from llm_edge_agent.core.models import Dialect, ModelTable
from llm_edge_agent.core.plan import Fallbacks, Group
from llm_edge_agent.core.quotas import KeyPool, Quota
from llm_edge_agent.core.resilience import RetryPolicy
from llm_edge_agent.core.routing import Account, Directory, model_at
from llm_edge_agent.http.origins import Origin, Timeouts
from llm_edge_agent.telemetry.redaction import concealer
from llm_edge_agent.telemetry.traced import Address
from llm_edge_agent.version import __version__

Identity = tuple[str, ...]
"""What makes a deployment the same as one of an older configuration. Holds a digest of its keys, never a key."""


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """One provider account, ready to be called."""

    name: str
    """The provider's, as it is shown."""
    dialect: Dialect
    origin: Origin
    headers: tuple[bytes, ...] = field(repr=False)
    """Finished lines, with the credentials, once per key of the account."""
    ask_usage: bool
    trace_context: bool
    """Whether it is told of the trace."""
    address: Address
    timeouts: Timeouts
    """Of an answer that comes whole."""
    stream_timeouts: Timeouts
    """`answer_s` is the time to its first event."""
    conceal: Callable[[bytes], bytes] = field(repr=False)
    """Takes the account's keys out of what the provider says."""


@dataclass(frozen=True)
class Fleet:
    directory: Directory
    upstreams: Mapping[str, Upstream]
    """By account name."""
    states: Mapping[str, tuple[DeploymentState, ...]]
    """By provider: what health is told from."""
    learned: Mapping[Identity, DeploymentState] = field(default_factory=dict)
    pools: Mapping[Identity, KeyPool] = field(default_factory=dict)


def build_fleet(config: AppConfig, table: ModelTable, before: Fleet | None = None) -> Fleet:
    """Nobody is called. `before`: the fleet whose experience is taken over."""
    return _Builder(config, table, before).fleet()


class _Builder:
    def __init__(self, config: AppConfig, table: ModelTable, before: Fleet | None) -> None:
        self._config = config
        self._table = table
        self._before = before
        self._upstreams: dict[str, Upstream] = {}
        self._learned: dict[Identity, DeploymentState] = {}
        self._pools: dict[Identity, KeyPool] = {}
        self._states: dict[str, list[DeploymentState]] = {}

    def fleet(self) -> Fleet:
        config = self._config
        accounts = []
        for provider in config.providers:
            self._upstreams[provider.name] = self._upstream(provider, DeploymentTimeouts())
            state = self._state(provider, model="")
            accounts.append(Account(provider.name, provider.dialect, provider.models, state))
        by_name = {account.name: account for account in accounts}
        groups = {group.name: self._group(group, by_name) for group in config.groups}
        directory = Directory(self._table, accounts, config.aliases, groups, config.fallbacks)
        states = {name: tuple(states) for name, states in self._states.items()}
        return Fleet(directory, self._upstreams, states, self._learned, self._pools)

    def _group(self, group: GroupConfig, accounts: Mapping[str, Account]) -> Group:
        config = self._config
        return Group(
            group.name,
            [self._deployment(group, each, accounts[each.provider]) for each in group.deployments],
            strategy=group.strategy or config.strategy,
            weights=group.weights,
            fallbacks=Fallbacks(
                group.fallbacks or config.fallbacks.get(group.name, ()),
                group.context_window_fallbacks,
                group.content_filter_fallbacks,
            ),
            configured=True,
        )

    def _deployment(self, group: GroupConfig, given: DeploymentConfig, home: Account) -> Deployment:
        provider = next(each for each in self._config.providers if each.name == given.provider)
        account = provider.name
        if given.base_url is not None or given.api_keys or given.timeouts != DeploymentTimeouts():
            account = f"{group.name}: {given.name}"
            if given.base_url is not None:
                provider = replace(provider, base_url=given.base_url)
            if given.api_keys:
                provider = replace(provider, api_key=given.api_keys[0], more_keys=given.api_keys[1:])
            self._upstreams[account] = self._upstream(provider, given.timeouts)
        quota = Quota(rpm=given.rpm, tpm=given.tpm) if given.rpm is not None or given.tpm is not None else None
        return Deployment(
            given.name,
            model_at(self._table, given.model, home),
            self._state(provider, given.model, max_in_flight=given.max_concurrency, quota=quota),
            provider=provider.name,
            account=account,
            upstream_model=given.model,
            dialect=provider.dialect,
            prices=given.prices,
            weight=given.weight,
            priority=given.priority,
            region=given.region,
            tags=given.tags,
        )

    def _state(
        self, provider: ProviderConfig, model: str, *, max_in_flight: int | None = None, quota: Quota | None = None
    ) -> DeploymentState:
        """`model` empty: the account as such, for whatever is asked there by name."""
        config = self._config
        keys = provider.credentials()
        secret = sha256(repr(keys).encode()).hexdigest()
        account = (provider.name, provider.base_url, secret)
        pool = self._pools.get(account) or (self._before.pools.get(account) if self._before is not None else None)
        pool = self._pools[account] = pool or KeyPool(max(1, len(keys)))
        identity = (*account, model)
        policies = CallPolicies(
            BreakerPolicy(config.breaker_failures, config.breaker_timeout_s), RetryPolicy(config.max_retries)
        )
        state = self._learned.get(identity)
        if state is None:
            state = self._before.learned.get(identity) if self._before is not None else None
            if state is None:
                state = DeploymentState(policies, pool, max_in_flight=max_in_flight, quota=quota)
            else:
                state.adopt(policies, max_in_flight=max_in_flight, quota=quota)
            self._learned[identity] = state
            self._states.setdefault(provider.name, []).append(state)
        return state

    def _upstream(self, provider: ProviderConfig, own: DeploymentTimeouts) -> Upstream:
        config = self._config
        origin = Origin.from_url(provider.base_url)
        common = [f"user-agent: llm-edge-agent/{__version__}", "content-type: application/json"]
        common += [f"{name}: {value}" for name, value in provider.headers.items()]
        credentials: list[tuple[str, ...]] = [(": ".join(each),) for each in provider.credentials()]
        attempt_s = min(own.attempt_s or config.attempt_timeout_s, config.total_timeout_s)
        timeouts = Timeouts(
            connect_s=own.connect_s or config.connect_timeout_s,
            answer_s=attempt_s,
            idle_s=own.idle_s or config.stream_idle_timeout_s,
        )
        return Upstream(
            name=provider.name,
            dialect=provider.dialect,
            origin=origin,
            headers=tuple(_lines((*common, *credential)) for credential in credentials or [()]),
            ask_usage=provider.stream_usage_option,
            trace_context=provider.trace_context,
            address=Address(origin.host, origin.port, provider.base_url),
            timeouts=timeouts,
            stream_timeouts=replace(timeouts, answer_s=min(own.first_token_s or attempt_s, attempt_s)),
            conceal=concealer(key.reveal() for key in (provider.api_key, *provider.more_keys) if key is not None),
        )


def _lines(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")
