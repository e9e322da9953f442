"""Which group answers a model name. A decision over values: names, tables, configured providers and groups."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from llm_edge_agent.core.deployments import Deployment, DeploymentState
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Dialect, Model, ModelTable, provider_of_name
from llm_edge_agent.core.plan import NO_FALLBACKS, Fallbacks, Group


class Account(NamedTuple):
    """One provider account that can be called, as far as a decision needs to know it."""

    name: str
    dialect: Dialect
    models: tuple[str, ...] = ()
    """Ids that the configuration says are served here."""
    state: DeploymentState | None = None
    """What was learned of it, shared by all models that are asked for there by name. None: nothing, and it is kept by
    the directory."""


class Directory:
    """Every model name the gateway can place. Resolving is memoised, in a table bounded in entries and in the length of
    a name: names come from clients, and may be as long as a request."""

    MEMO_SIZE = 4096
    MEMO_CHARACTERS = 256

    def __init__(
        self,
        table: ModelTable,
        accounts: Sequence[Account],
        aliases: Mapping[str, str],
        groups: Mapping[str, Group] | None = None,
        fallbacks: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        """`fallbacks`: what is tried when a model's own deployments could not answer, for names that are no group."""
        self._table = table
        self._accounts = {account.name: account for account in accounts}
        self._states = {account.name: account.state or DeploymentState() for account in accounts}
        self._aliases = dict(aliases)
        self._groups = dict(groups or {})
        self._fallbacks = dict(fallbacks or {})
        self._served = {name: account for account in accounts for name in account.models}
        self._memo: dict[str, Group] = {}

    def resolve(self, name: str) -> Group:
        """The group of a client's model name; for most names one deployment alone.

        In this order: a configured alias, a configured group, a `provider/` prefix, an id listed for a provider in the
        configuration, the model table, and the provider that an unknown name suggests (gpt-, o-series, chatgpt- and
        claude). Raises GatewayError MODEL_NOT_FOUND (404) where nothing fits or the provider is not configured.
        """
        group = self._memo.get(name)
        if group is None:
            group = self._resolve(name)
            if len(name) > self.MEMO_CHARACTERS:
                return group
            if len(self._memo) >= self.MEMO_SIZE:
                self._memo.clear()
            self._memo[name] = group
        return group

    def served_names(self) -> Sequence[str]:
        """The groups, and the ids that the configuration lists for a provider."""
        return (*self._groups, *(name for name in self._served if name not in self._groups))

    def groups(self) -> Sequence[Group]:
        """The configured groups."""
        return tuple(self._groups.values())

    def _resolve(self, asked: str) -> Group:
        name = self._aliases.get(asked, asked)
        group = self._groups.get(name)
        if group is not None:
            return group
        account, upstream_model = self._place(name, asked)
        model = model_at(self._table, upstream_model, account)
        deployment = Deployment(
            f"{account.name}/{upstream_model}",
            model,
            self._states[account.name],
            provider=account.name,
            upstream_model=upstream_model,
            dialect=account.dialect,
        )
        general = self._fallbacks.get(asked) or self._fallbacks.get(name) or ()
        return Group(asked, (deployment,), asked=name, fallbacks=Fallbacks(general) if general else NO_FALLBACKS)

    def _place(self, name: str, asked: str) -> tuple[Account, str]:
        prefix, slash, rest = name.partition("/")
        if slash and rest and prefix in self._accounts:
            return self._accounts[prefix], rest
        account = self._served.get(name)
        if account is not None:
            return account, name
        model = self._table.find(name)
        suggested = model.provider if model is not None else provider_of_name(name)
        if suggested is None:
            raise _not_found(asked, self._hint())
        account = self._accounts.get(suggested)
        if account is None:
            raise _not_found(asked, f" No provider '{suggested}' is configured on this gateway.")
        return account, name

    def _hint(self) -> str:
        others = [name for name in self._accounts if name not in ("openai", "anthropic")]
        return f" Models of other providers are named like '{others[0]}/<model>'." if others else ""


def model_at(table: ModelTable, upstream_model: str, account: Account) -> Model:
    """What is known of a model where it is asked for: the table's record where it is of that provider, else nothing."""
    model = table.find(upstream_model)
    if model is None or model.provider not in (account.name, _home(account)):
        return Model.unknown(upstream_model, account.name, account.dialect)
    return model


def _home(account: Account) -> str:
    """The provider whose price table rules an account of another name: none but itself, except for Azure, which
    sells OpenAI's models at OpenAI's prices."""
    return "openai" if account.name == "azure-openai" else account.name


def _not_found(name: str, hint: str) -> GatewayError:
    return GatewayError(
        ErrorKind.MODEL_NOT_FOUND,
        f"The model `{name[:128]}` does not exist or you do not have access to it.{hint}",
        param="model",
    )
