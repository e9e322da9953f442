"""Composition root: the only place where the edges meet."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from llm_edge_agent.cache.epoch_memory import EpochMemory
from llm_edge_agent.config import AppConfig
from llm_edge_agent.core.access import ANYONE, Keyring, Principal
from llm_edge_agent.core.breaker import State
from llm_edge_agent.core.cache_policy import Policies
from llm_edge_agent.core.models import ModelTable, table_from_document
from llm_edge_agent.core.routing import Directory
from llm_edge_agent.data import model_document
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.gateway.admin import Admin
from llm_edge_agent.gateway.answer_tiers import answers_of, health_of, longest_ttl_s, tiers_of
from llm_edge_agent.gateway.cache_admin import CacheAdmin
from llm_edge_agent.gateway.exports import Exports, exports
from llm_edge_agent.gateway.fleet import Fleet, Upstream, build_fleet
from llm_edge_agent.gateway.gate import Bounds
from llm_edge_agent.gateway.pipeline import Pipeline
from llm_edge_agent.gateway.pipeline_settings import PipelineSettings
from llm_edge_agent.gateway.prompt_caching import PromptCaching
from llm_edge_agent.gateway.request_ids import RequestIds
from llm_edge_agent.gateway.routes import GatewayHandler
from llm_edge_agent.gateway.stored import Answers
from llm_edge_agent.http.deadlines import running_sweep
from llm_edge_agent.http.pool import ProxySettings, UpstreamPool, tls_context
from llm_edge_agent.telemetry.board import Board
from llm_edge_agent.telemetry.exposition import Labels
from llm_edge_agent.telemetry.families import EVICTION_REASONS
from llm_edge_agent.telemetry.gauges import Published, decode
from llm_edge_agent.telemetry.ledger import Ledger
from llm_edge_agent.telemetry.logs import LogSink, configure
from llm_edge_agent.telemetry.loop_lag import LoopLag
from llm_edge_agent.telemetry.metrics import Metrics
from llm_edge_agent.telemetry.slots import SlotBlock
from llm_edge_agent.telemetry.totals import Totals

__all__ = ["AppState", "Totals", "initialize_app_state"]


_PRESET_ENDPOINTS = ("chat", "messages", "responses", "embeddings")
"""Doors whose series exist from the start; the others' come with their traffic, within the bounds of the metrics."""


class AppState:
    """Everything a running gateway consists of, but its listeners. Close it with `close()`."""

    def __init__(
        self,
        config: AppConfig,
        models: ModelTable,
        handler: GatewayHandler,
        admin: Admin,
        metrics: Metrics,
        logs: LogSink,
        pool: UpstreamPool,
        answers: Answers | None,
        exporting: Exports,
        lag: LoopLag,
        pipeline: Pipeline,
        fleet: Fleet,
        ledger: Ledger | None,
    ) -> None:
        self.config = config
        self.pipeline = pipeline
        self.fleet = fleet
        self.models = models
        self.handler = handler
        self.admin = admin
        self.metrics = metrics
        self.logs = logs
        self.pool = pool
        self.answers = answers
        self.exporting = exporting
        self.ledger = ledger
        self._lag = lag
        lag.start()

    @property
    def max_body_bytes(self) -> int:
        """Bound on a request body, for those who read it themselves."""
        return self.config.server.max_body_bytes

    def totals(self) -> Totals:
        """What was served since the start."""
        return self.metrics.totals()

    def adopt(self, config: AppConfig, models: ModelTable) -> None:
        """Another configuration from the next request on, whole; what its listeners, cache, log and certificates say
        must be as before. Raises ValueError with nothing changed."""
        fleet = build_fleet(config, models, self.fleet)
        self.logs.redactor.learn(config.provider_keys())
        self.config, self.models, self.fleet = config, models, fleet
        self.pipeline.adopt(_pipeline_settings(config), fleet)
        self.admin.adopt(models, fleet.directory, config.aliases, fleet.states)
        self.handler.adopt(_keyring(config))

    def begin_serving(self) -> None:
        """From now on, until `close`, readiness says yes: whoever leads requests here is ready to."""
        self.admin.serving = True

    async def close(self) -> None:
        """Closes upstream connections and the cache, sends what waits for a collector, flushes ledger and log."""
        self.admin.serving = False
        self._lag.stop()
        await self.pool.close()
        if self.answers is not None:
            await self.answers.close()
        if self.exporting.close is not None:
            await self.exporting.close()
        if self.ledger is not None:
            self.ledger.close()
        self.logs.close()


@dataclass(frozen=True)
class Seat:
    """What a worker process shares with the others of its gateway. Made before they are forked."""

    number: int
    counters: SlotBlock
    board: Board
    epochs: EpochMemory

    def peers(self) -> list[Published]:
        """What the other workers say of themselves."""
        others = (number for number in range(self.board.workers) if number != self.number)
        return [said for number in others if (said := decode(self.board.read(number))) is not None]


def shared_counters(config: AppConfig, workers: int) -> SlotBlock:
    """Memory for the counters of so many workers."""
    providers, models = _label_lists(config, table_from_document(model_document(config.model_overrides)))
    return Metrics.shared_block(providers, models, workers, endpoints=_PRESET_ENDPOINTS, tiers=tiers_of(config.cache))


async def initialize_app_state(config: AppConfig, seat: Seat | None = None) -> AppState:
    """Builds the gateway from its configuration. Nothing listens yet, no provider is called; a shared cache is tried
    to be reached once. `seat`: it is one of several worker processes.

    Raises ValueError where the configuration names a certificate file that cannot be read, MissingExtraError where it
    asks for traces and the package that encodes them is not installed.
    """
    models = table_from_document(model_document(config.model_overrides))
    fleet = build_fleet(config, models)
    metrics = _metrics(config, models, seat)
    secrets = [*config.provider_keys(), *(config.cache.redis.secrets() if config.cache.redis is not None else ())]
    if config.admin_key is not None:
        secrets.append(config.admin_key.reveal())
    logs = configure(config.log_level, config.log_format, secrets=secrets, shared=seat is not None)
    sweep = running_sweep()
    proxy = ProxySettings.from_config(
        config.https_proxy.reveal() if config.https_proxy is not None else None, config.no_proxy
    )
    exporting = exports(config.otel, logs.redactor.clean, sweep, proxy, config.ssl_cert_file)
    pool = UpstreamPool(
        sweep=sweep,
        tls=tls_context(config.ssl_cert_file),
        proxy=proxy,
        max_response_bytes=config.max_response_bytes,
    )
    answers = answers_of(config.cache, metrics, worker_epochs=seat.epochs if seat is not None else None)
    lag = LoopLag()
    _register_gauges(metrics, pool, answers, logs, lag)
    if exporting.dropped is not None:
        metrics.gauge("llm_edge_traces_dropped_total", {}, exporting.dropped)
    ids = RequestIds()
    prompt_caching = PromptCaching(_translation(config), enabled=config.prompt_cache == "auto")
    pipeline = Pipeline(_pipeline_settings(config), fleet, pool, answers, prompt_caching, sweep, ids)
    admin = Admin(
        models,
        fleet.directory,
        config.aliases,
        fleet.states,
        metrics.render,
        cache_health=lambda: health_of(config.cache, answers),
        started_unix_s=int(time.time()),
        peers=(lambda: [peer.facts for peer in seat.peers()]) if seat is not None else list,
    )
    ledger = _ledger(config, metrics, logs.redactor.clean)
    observers = (
        metrics.observe,
        *([logs.access] if config.log_requests else []),
        *exporting.observers,
        *([ledger.observe] if ledger is not None else []),
    )
    cache_admin = CacheAdmin(
        answers,
        pipeline,
        metrics.cache_counts,
        lambda name: _identities(state.models, state.fleet.directory, name),
        tenants_apart=config.cache.scope == "tenant",
    )
    handler = GatewayHandler(
        pipeline,
        admin,
        _keyring(config),
        ids,
        observers,
        exporting.tracer,
        cache_admin=cache_admin,
        admin_keyring=_admin_keyring(config),
    )
    state = AppState(
        config, models, handler, admin, metrics, logs, pool, answers, exporting, lag, pipeline, fleet, ledger
    )
    metrics.gauge_group("llm_edge_upstream_connections", lambda: _connections(pool, state.fleet.upstreams))
    metrics.gauge("llm_edge_queued_requests", {}, lambda: pipeline.gate.waiting)
    metrics.mirror("llm_edge_shed_total", lambda: pipeline.gate.shed)
    metrics.gauge_group("llm_edge_circuit_state", lambda: _circuits(state.fleet), merge="max")
    if answers is not None:
        await answers.start()
    return state


def _keyring(config: AppConfig) -> Keyring | None:
    if not config.auth_enabled:
        return None
    return Keyring([(key.digest, Principal(key.tenant, key.key_id)) for key in config.keys])


def _admin_keyring(config: AppConfig) -> Keyring | None:
    if config.admin_key is None:
        return None
    return Keyring([(sha256(config.admin_key.reveal().encode()).digest(), ANYONE)])


def _identities(table: ModelTable, directory: Directory, name: str) -> list[str]:
    """Every name that stands in cache keys for the model that a client calls `name`: its own, and those of the model's
    other names. Raises GatewayError (404)."""
    group = directory.resolve(name)
    names = [name]
    if not group.configured:
        model = table.find(group.deployments[0].upstream_model)
        names += (model.id, *model.aliases) if model is not None else ()
    return list(dict.fromkeys(directory.resolve(each).identity for each in names))


def _label_lists(config: AppConfig, models: ModelTable) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The closed lists of providers and of models that metrics name."""
    served = [name for provider in config.providers for name in provider.models]
    return tuple(provider.name for provider in config.providers), (*(model.id for model in models.models), *served)


def _metrics(config: AppConfig, models: ModelTable, seat: Seat | None) -> Metrics:
    providers, names = _label_lists(config, models)
    if seat is None:
        return Metrics(providers, names, endpoints=_PRESET_ENDPOINTS, tiers=tiers_of(config.cache))
    metrics = Metrics(
        providers,
        names,
        endpoints=_PRESET_ENDPOINTS,
        tiers=tiers_of(config.cache),
        block=seat.counters,
        slot=seat.number,
        peers=seat.peers,
    )
    metrics.gauge("llm_edge_workers", {}, lambda: 1)
    metrics.gauge("llm_edge_worker_restarts_total", {}, lambda: seat.board.restarts, merge="max")
    return metrics


def _pipeline_settings(config: AppConfig) -> PipelineSettings:
    return PipelineSettings(
        max_json_depth=config.max_json_depth,
        cache_policies=_policies(config),
        stale_if_error_s=config.cache.stale_if_error_s,
        longest_ttl_s=longest_ttl_s(config.cache),
        cache_scope=config.cache.scope,
        response_metadata=config.response_metadata,
        total_timeout_s=config.total_timeout_s,
        max_retries=config.max_retries,
        bounds=Bounds(config.max_concurrency, config.queue_size, config.queue_timeout_ms / 1000),
        rate_limit=(config.rate_limit_rpm, config.rate_limit_burst) if config.rate_limit_enabled else None,
    )


def _policies(config: AppConfig) -> Policies:
    return Policies(config.cache.policy, config.cache.policies)


def _translation(config: AppConfig) -> TranslationOptions:
    return TranslationOptions(
        strict=config.translation_mode == "strict",
        expose_thinking=config.expose_thinking,
        anthropic_version=config.anthropic_version,
    )


def _register_gauges(
    metrics: Metrics,
    pool: UpstreamPool,
    answers: Answers | None,
    logs: LogSink,
    lag: LoopLag,
) -> None:
    metrics.gauge("llm_edge_log_lines_dropped", {}, lambda: logs.dropped)
    metrics.gauge("llm_edge_event_loop_lag_seconds", {}, lag.worst_s, merge="max")
    metrics.mirror("llm_edge_upstream_connections_opened_total", lambda: pool.connections_opened)
    metrics.mirror("llm_edge_upstream_reconnects_total", lambda: pool.requests_retried_stale)
    if answers is not None and answers.shared:
        metrics.gauge("llm_edge_l2_up", {}, lambda: answers.shared_up, merge="max")
    if answers is not None:
        metrics.gauge("llm_edge_cache_entries", {"tier": "l1"}, answers.entries)
        metrics.gauge("llm_edge_cache_bytes", {"tier": "l1"}, answers.weight)
        for reason in EVICTION_REASONS:
            metrics.mirror_evictions("l1", reason, partial(answers.evicted, reason))


def _ledger(config: AppConfig, metrics: Metrics, clean: Callable[[str], str]) -> Ledger | None:
    if config.ledger_path is None:
        return None
    ledger = Ledger(
        config.ledger_path,
        max_bytes=config.ledger_max_bytes,
        max_days=config.ledger_max_days,
        clean=clean,
    )
    metrics.mirror("llm_edge_ledger_rows_total", lambda: ledger.written)
    metrics.mirror("llm_edge_ledger_rows_lost_total", lambda: ledger.lost)
    metrics.mirror("llm_edge_ledger_errors_total", lambda: ledger.errors)
    metrics.gauge("llm_edge_ledger_bytes", {}, lambda: ledger.size_bytes, merge="max")
    return ledger


def _connections(pool: UpstreamPool, upstreams: Mapping[str, Upstream]) -> dict[Labels, float]:
    """By provider and state. Where two providers have one address, its connections are shown as the first one's."""
    found: dict[Labels, float] = {}
    seen: set[tuple[bool, str, int]] = set()
    for upstream in upstreams.values():
        origin = upstream.origin
        place = (origin.tls, origin.host, origin.port)
        in_use, idle = pool.connections_to(origin) if place not in seen else (0, 0)
        seen.add(place)
        for state, count in (("in_use", in_use), ("idle", idle)):
            labels = ("provider", upstream.name), ("state", state)
            found[labels] = found.get(labels, 0) + count
    return found


_CIRCUITS = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


def _circuits(fleet: Fleet) -> dict[Labels, float]:
    """By provider, the worst of its deployments' breakers."""
    return {
        (("provider", name),): max(_CIRCUITS[state.breaker.state] for state in states)
        for name, states in fleet.states.items()
    }
