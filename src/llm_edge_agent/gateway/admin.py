"""What the gateway tells about itself: health, models, metrics. Never an address, a key or a setting."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from llm_edge_agent.core.deployments import DeploymentState
from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.models import Model, ModelTable
from llm_edge_agent.core.routing import Directory
from llm_edge_agent.gateway.answer_tiers import CacheHealth
from llm_edge_agent.gateway.replies import JSON_HEADERS
from llm_edge_agent.http.messages import Complete, Request
from llm_edge_agent.version import __version__

MAX_PAGE = 1000
"""Models on one page of the list, as Anthropic has it."""

_SERVED_MODES = ("chat", "responses", "embedding", "completion")
"""Ways of asking a model that have a door here."""

RenderMetrics = Callable[[str | None], tuple[bytes, str]]


class Admin:
    """Answers every path that is about the gateway and not about a completion."""

    def __init__(
        self,
        table: ModelTable,
        directory: Directory,
        aliases: Mapping[str, str],
        states: Mapping[str, Sequence[DeploymentState]],
        render_metrics: RenderMetrics,
        *,
        cache_health: Callable[[], CacheHealth],
        started_unix_s: int,
        peers: Callable[[], list[Mapping[str, Any]]] = list,
    ) -> None:
        """`states`: what was learned of the deployments of each configured provider. `peers` tells the facts of the
        other workers, where there are any."""
        self._render_metrics = render_metrics
        self._cache_health = cache_health
        self._peers = peers
        self._started_unix_s = started_unix_s
        self._states: Mapping[str, Sequence[DeploymentState]] = {}
        self._models: dict[str, dict[str, Any]] = {}
        self.adopt(table, directory, aliases, states)
        self.serving = False
        """Set by the composition root once the listeners are bound, cleared when draining begins."""

    def adopt(
        self,
        table: ModelTable,
        directory: Directory,
        aliases: Mapping[str, str],
        states: Mapping[str, Sequence[DeploymentState]],
    ) -> None:
        """What another configuration says, from now on."""
        listed = _listed_models(table, directory, aliases, states, self._started_unix_s)
        self._states = states
        self._models = {item["id"]: item for item in listed}

    def reply(self, template: str, request: Request, request_id: str) -> Complete:
        """Health and metrics, by route template."""
        if template == "/metrics":
            accept = request.headers.get(b"accept")
            body, content_type = self._render_metrics(accept.decode("latin-1") if accept else None)
            headers = b"content-type: %b\r\nx-content-type-options: nosniff\r\n" % content_type.encode()
            return Complete(200, headers + b"x-request-id: %b\r\n" % request_id.encode(), body)
        if template == "/health":
            return _json(200, self.health(), request_id)
        if template == "/health/ready":
            ready = self.serving and bool(self._states)
            return _json(200 if ready else 503, {"status": "ready" if ready else "not_ready"}, request_id)
        return _json(200, {"status": "alive"}, request_id)

    def facts(self) -> dict[str, Any]:
        """What this worker tells the others: of each provider that its traffic met, whether it is healthy."""
        met = {name: [state.healthy for state in states if state.known] for name, states in self._states.items()}
        return {"providers": {name: all(healthy) for name, healthy in met.items() if healthy}}

    def _healthy(self) -> dict[str, bool]:
        """By provider: what most of the workers say that met it. Where none did, there is nothing to complain of."""
        told = [self.facts()["providers"], *(peer["providers"] for peer in self._peers())]
        verdicts = {}
        for name in self._states:
            votes = [facts[name] for facts in told if name in facts]
            verdicts[name] = not votes or 2 * sum(votes) > len(votes)
        return verdicts

    def health(self) -> dict[str, Any]:
        """The verdict and its parts, for all workers. Provider health is what traffic showed; nobody is called to find
        out."""
        verdicts = self._healthy()
        providers = {name: {"configured": True, "healthy": healthy} for name, healthy in verdicts.items()}
        for name in ("openai", "anthropic"):
            providers.setdefault(name, {"configured": False, "healthy": False})
        usable = verdicts.values()
        cache = self._cache_health()
        sound = all(usable) and cache.l2_healthy == cache.l2_configured
        status = "unhealthy" if not any(usable) else "healthy" if sound else "degraded"
        return {
            "status": status,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "version": __version__,
            "cache": cache._asdict(),
            "providers": providers,
        }

    def models(self, request: Request, request_id: str) -> Complete:
        """The list of models, or one of them. Raises GatewayError: MODEL_NOT_FOUND (404), or 400 for a page that
        cannot be."""
        _, _, wanted = request.path.partition("/models/")
        if not wanted:
            items, has_more = _page(list(self._models.values()), request.query)
            listing = {
                "object": "list",
                "data": items,
                "has_more": has_more,
                "first_id": items[0]["id"] if items else None,
                "last_id": items[-1]["id"] if items else None,
            }
            return _json(200, listing, request_id)
        name = unquote(wanted, errors="replace")
        item = self._models.get(name)
        if item is None:
            raise GatewayError(
                ErrorKind.MODEL_NOT_FOUND,
                f"The model `{name[:128]}` does not exist or you do not have access to it.",
                param="model",
            )
        return _json(200, item, request_id)


def _page(items: list[dict[str, Any]], query: str) -> tuple[list[dict[str, Any]], bool]:
    """The part of the list that Anthropic's parameters ask for, and whether more follows in its direction. Without a
    `limit` it is all the rest: OpenAI's clients know no pages."""
    asked = parse_qs(query, keep_blank_values=True)
    limit = asked.get("limit", [str(MAX_PAGE)])[-1]
    if not (limit.isascii() and limit.isdigit() and len(limit) < 10 and 0 < int(limit) <= MAX_PAGE):
        raise _invalid("limit", f"a number from 1 to {MAX_PAGE}")
    ids = [item["id"] for item in items]
    for name in ("after_id", "before_id"):
        if name in asked and asked[name][-1] not in ids:
            raise _invalid(name, "the id of a listed model")
    if "before_id" in asked:
        items = items[: ids.index(asked["before_id"][-1])]
        return items[-int(limit) :], len(items) > int(limit)
    if "after_id" in asked:
        items = items[ids.index(asked["after_id"][-1]) + 1 :]
    return items[: int(limit)], len(items) > int(limit)


def _invalid(param: str, wanted: str) -> GatewayError:
    return GatewayError(ErrorKind.INVALID_REQUEST, f"Invalid '{param}': it has to be {wanted}.", param=param)


def _json(status: int, value: object, request_id: str) -> Complete:
    return Complete(status, b"%bx-request-id: %b\r\n" % (JSON_HEADERS, request_id.encode()), msgspec.json.encode(value))


def _listed_models(
    table: ModelTable,
    directory: Directory,
    aliases: Mapping[str, str],
    providers: Collection[str],
    started_unix_s: int,
) -> list[dict[str, Any]]:
    """Every id and alias that a request could name, retired models left out, in both vendors' list shapes."""
    names = [
        name
        for model in table.models
        if model.status != "retired" and model.mode in _SERVED_MODES and model.provider in providers
        for name in (model.id, *model.aliases)
    ]
    listed = []
    for name in dict.fromkeys([*aliases, *directory.served_names(), *names]):
        try:
            model = directory.resolve(name).deployments[0].model
        except GatewayError:
            continue
        listed.append(_listed(name, model, started_unix_s))
    return listed


def _listed(name: str, model: Model, started_unix_s: int) -> dict[str, Any]:
    """OpenAI's members first, Anthropic's beside them: each client ignores the other's."""
    return {
        "id": name,
        "object": "model",
        "created": started_unix_s,
        "owned_by": model.provider,
        "shutdown_date": model.shutdown_date,
        "type": "model",
        "display_name": name,
        "created_at": datetime.fromtimestamp(started_unix_s, UTC).isoformat().replace("+00:00", "Z"),
        "lifecycle": model.status if model.status in ("deprecated", "retired") else "active",
        "max_input_tokens": model.context_window,
        "max_tokens": model.max_output_tokens,
    }
