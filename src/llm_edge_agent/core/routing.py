"""Which deployment answers a model name. A decision over values: names, tables, configured providers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Dialect, Model, ModelTable, provider_of_name


class Deployment(NamedTuple):
    """One provider account that can be called, as far as a decision needs to know it."""

    name: str
    dialect: Dialect
    models: tuple[str, ...] = ()
    """Ids that the configuration says are served here."""


class Target(NamedTuple):
    """Where a request goes, and under which name."""

    provider: str
    dialect: Dialect
    upstream_model: str
    model: Model
    renamed: bool
    """Whether `upstream_model` differs from what the client wrote, so that the body must be edited."""


class Directory:
    """Every model name the gateway can place. Resolving is memoised, in a table bounded in entries and in the length of
    a name: names come from clients, and may be as long as a request."""

    MEMO_SIZE = 4096
    MEMO_CHARACTERS = 256

    def __init__(self, table: ModelTable, deployments: Sequence[Deployment], aliases: Mapping[str, str]) -> None:
        self._table = table
        self._deployments = {deployment.name: deployment for deployment in deployments}
        self._aliases = dict(aliases)
        self._served = {name: deployment for deployment in deployments for name in deployment.models}
        self._memo: dict[str, Target] = {}

    def resolve(self, name: str) -> Target:
        """The target of a client's model name.

        In this order: a configured alias, a `provider/` prefix, an id listed for a provider in the configuration, the
        model table, and the provider that an unknown name suggests (gpt-, o-series, chatgpt- and claude). Raises
        GatewayError MODEL_NOT_FOUND (404) where nothing fits or the provider is not configured.
        """
        target = self._memo.get(name)
        if target is None:
            target = self._resolve(name)
            if len(name) > self.MEMO_CHARACTERS:
                return target
            if len(self._memo) >= self.MEMO_SIZE:
                self._memo.clear()
            self._memo[name] = target
        return target

    def served_names(self) -> Sequence[str]:
        """The ids that the configuration lists for a provider."""
        return tuple(self._served)

    def _resolve(self, asked: str) -> Target:
        name = self._aliases.get(asked, asked)
        prefix, slash, rest = name.partition("/")
        if slash and rest and prefix in self._deployments:
            return self._target(self._deployments[prefix], rest, asked)
        deployment = self._served.get(name)
        if deployment is not None:
            return self._target(deployment, name, asked)
        model = self._table.find(name)
        suggested = model.provider if model is not None else provider_of_name(name)
        if suggested is None:
            raise _not_found(asked, self._hint())
        deployment = self._deployments.get(suggested)
        if deployment is None:
            raise _not_found(asked, f" No provider '{suggested}' is configured on this gateway.")
        return self._target(deployment, name, asked)

    def _target(self, deployment: Deployment, upstream_model: str, asked: str) -> Target:
        model = self._table.find(upstream_model)
        if model is None or model.provider not in (deployment.name, _home(deployment)):
            model = Model.unknown(upstream_model, deployment.name, deployment.dialect)
        return Target(deployment.name, deployment.dialect, upstream_model, model, upstream_model != asked)

    def _hint(self) -> str:
        others = [name for name in self._deployments if name not in ("openai", "anthropic")]
        return f" Models of other providers are named like '{others[0]}/<model>'." if others else ""


def _home(deployment: Deployment) -> str:
    """The provider whose price table rules a deployment of another name: none but itself, except for Azure, which
    sells OpenAI's models at OpenAI's prices."""
    return "openai" if deployment.name == "azure-openai" else deployment.name


def _not_found(name: str, hint: str) -> GatewayError:
    return GatewayError(
        ErrorKind.MODEL_NOT_FOUND,
        f"The model `{name[:128]}` does not exist or you do not have access to it.{hint}",
        param="model",
    )
