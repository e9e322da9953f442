"""A gateway on its listeners, in one process or in several: from binding to the signal that ends it."""

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import Protocol

import uvloop

from llm_edge_agent.app import AppState, Seat, initialize_app_state, shared_counters
from llm_edge_agent.cache.epoch_memory import EpochMemory
from llm_edge_agent.config import AppConfig
from llm_edge_agent.gateway.exchange import Exchange
from llm_edge_agent.gateway.routes import MetricsHandler
from llm_edge_agent.http.server import Server
from llm_edge_agent.http.tasks import spawn
from llm_edge_agent.http.workers import READY, Death, Supervisor, attend, bind_slots, close_all
from llm_edge_agent.reloading import Reloader, Reread
from llm_edge_agent.telemetry.board import Board
from llm_edge_agent.telemetry.exposition import Labels
from llm_edge_agent.telemetry.families import ENDPOINTS, OTHER
from llm_edge_agent.telemetry.gauges import Published, encode
from llm_edge_agent.telemetry.logs import write_record

PUBLISH_S = 0.5
"""How old a gauge of another worker may be at a scrape."""
ORPHANED = 3
"""Exit code of a worker whose supervisor is gone."""

_log = logging.getLogger("llm_edge_agent.workers")


class Listening(Protocol):
    """Where a gateway can be reached."""

    @property
    def port(self) -> int: ...
    @property
    def metrics_port(self) -> int | None: ...


class GatewayServer:
    """The listeners of one gateway. `start`, then `stop`; not restartable."""

    def __init__(self, state: AppState) -> None:
        self.state = state
        self._api = Server(state.handler, state.config.server)
        self._metrics: Server | None = None
        if _has_metrics_port(state.config):
            self._metrics = Server(MetricsHandler(state.admin), state.config.server)
        metrics = state.metrics
        metrics.gauge_group("llm_edge_active_requests", self._active)
        metrics.gauge("llm_edge_connections", {}, lambda: self._api.connections)
        metrics.mirror("llm_edge_accept_errors_total", lambda: sum(each.accept_errors for each in self._servers()))
        metrics.mirror("llm_edge_connections_refused_total", lambda: self._api.refused_connections)

    def _servers(self) -> list[Server]:
        return [self._api] if self._metrics is None else [self._api, self._metrics]

    def _active(self) -> dict[Labels, float]:
        """Requests being served, by endpoint."""
        found: dict[Labels, float] = {(("endpoint", name),): 0 for name in ENDPOINTS}
        for request in self._api.requests():
            exchange = request.context
            found[("endpoint", exchange.endpoint if isinstance(exchange, Exchange) else OTHER),] += 1
        return found

    async def start(self) -> None:
        """Binds. Raises OSError (address in use, ...) with nothing left open."""
        await self._api.start(self.state.config.host, self.state.config.port)
        if self._metrics is not None:
            try:
                await self._metrics.start(self.state.config.host, self.state.config.metrics_port)
            except OSError:
                await self._api.stop(0)
                raise
        self.state.begin_serving()

    def start_on(self, api: Sequence[socket.socket], metrics: Sequence[socket.socket]) -> None:
        """As `start`, on sockets that listen already."""
        self._api.start_on(api)
        if self._metrics is not None:
            self._metrics.start_on(metrics)
        self.state.begin_serving()

    @property
    def port(self) -> int:
        return self._api.port

    @property
    def metrics_port(self) -> int | None:
        return self._metrics.port if self._metrics is not None else None

    @property
    def in_flight(self) -> int:
        return self._api.in_flight

    async def stop(self, grace_s: float) -> None:
        """Drains: readiness says 503, new requests get 503, running ones have `grace_s` seconds, then are cut with an
        error. Closes the state."""
        self.state.admin.serving = False
        self.state.handler.draining = True
        await self._api.stop(grace_s)
        if self._metrics is not None:
            await self._metrics.stop(0)
        await self.state.close()


def serve(config: AppConfig, on_ready: Callable[[Listening], None], reread: Reread | None = None) -> int:
    """Runs a gateway, in as many processes as `config` says, until SIGTERM or SIGINT, then drains. A second signal
    exits at once, with 128 + its number. SIGHUP, or a change of the configuration file, has the configuration read
    again by `reread`.

    Returns the exit code, 0 after a drain. Raises OSError where a port cannot be bound. Not for a process with threads.
    """
    workers = len(os.sched_getaffinity(0)) if config.workers == "auto" else config.workers
    if workers == 1:
        return uvloop.run(serve_until_signalled(config, on_ready, reread))
    return _Workers(config, workers, reread).serve(on_ready)


async def serve_until_signalled(
    config: AppConfig, on_ready: Callable[[Listening], None], reread: Reread | None = None
) -> int:
    """`serve` in this process alone."""
    state = await initialize_app_state(config)
    server = GatewayServer(state)
    try:
        await server.start()
    except OSError:
        await state.close()
        raise
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def on_signal(number: int) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    reloader = Reloader(state, reread) if reread is not None else None
    loop.add_signal_handler(signal.SIGHUP, _reload_on_change(reloader, stopping))
    _settle_memory()
    on_ready(server)
    await stopping.wait()
    await server.stop(config.shutdown_timeout_s)
    return 0


class _Workers:
    """One gateway in several processes. Satisfies `Listening`."""

    def __init__(self, config: AppConfig, workers: int, reread: Reread | None) -> None:
        """Binds. Raises OSError."""
        self._config = config
        self._reread = reread
        self._counters = shared_counters(config, workers)
        self._board = Board(workers)
        self._epochs = EpochMemory()
        self._api = bind_slots(config.host, config.port, workers)
        self._metrics: list[list[socket.socket]] = [[] for _ in range(workers)]
        if _has_metrics_port(config):
            try:
                self._metrics = bind_slots(config.host, config.metrics_port, workers)
            except OSError:
                close_all(self._api)
                raise
        self._supervisor = Supervisor(workers, self._work, grace_s=config.shutdown_timeout_s, on_death=self._on_death)

    @property
    def port(self) -> int:
        port: int = self._api[0][0].getsockname()[1]
        return port

    @property
    def metrics_port(self) -> int | None:
        return self._metrics[0][0].getsockname()[1] if self._metrics[0] else None

    def serve(self, on_ready: Callable[[Listening], None]) -> int:
        gc.collect()
        gc.freeze()  # what is shared with the workers stays shared: the collector would write into every object
        try:
            return self._supervisor.run(lambda: on_ready(self))
        finally:
            close_all(self._api)
            close_all(self._metrics)

    def _on_death(self, death: Death) -> None:
        self._board.clear(death.slot)
        self._board.count_restart()
        ending = f"signal {-death.exit_code}" if death.exit_code < 0 else f"exit code {death.exit_code}"
        text = f"worker {death.slot} (pid {death.pid}) ended with {ending}; restarting in {death.restart_in_s:.1f} s"
        write_record(self._config.log_level, self._config.log_format, _log.name, "error", text)

    def _work(self, slot: int, channel: socket.socket) -> int:
        for other in range(len(self._api)):
            if other != slot:
                close_all((self._api[other], self._metrics[other]))
        return uvloop.run(self._serve_slot(slot, channel))

    async def _serve_slot(self, slot: int, channel: socket.socket) -> int:
        config = self._config
        state = await initialize_app_state(config, Seat(slot, self._counters, self._board, self._epochs))
        server = GatewayServer(state)
        loop = asyncio.get_running_loop()
        ending: asyncio.Future[bool] = loop.create_future()

        def end(orphaned: bool) -> None:
            if not ending.done():
                ending.set_result(orphaned)

        stopping = asyncio.Event()
        reloader = Reloader(state, self._reread) if self._reread is not None else None
        if reloader is not None and self._board.restarts:
            # In the place of a worker that may have reloaded: what the command began with may be out of date, and hold
            # a key that was taken away since.
            await reloader.reload()
        reload = _reload_on_change(reloader, stopping)
        attend(channel, on_drain=lambda: end(False), on_reload=reload, on_orphaned=lambda: end(True))
        loop.add_signal_handler(signal.SIGTERM, end, False)

        def publish() -> None:
            gauges = {name: list(series.items()) for name, series in state.metrics.gauge_values().items()}
            self._board.publish(slot, encode(Published(os.getpid(), gauges, state.admin.facts())))
            loop.call_later(PUBLISH_S, publish)

        server.start_on(self._api[slot], self._metrics[slot])
        publish()
        _settle_memory()
        channel.send(READY)
        orphaned = await ending
        stopping.set()
        await server.stop(0 if orphaned else config.shutdown_timeout_s)
        return ORPHANED if orphaned else 0


def _reload_on_change(reloader: Reloader | None, stopping: asyncio.Event) -> Callable[[], None]:
    """Has the configuration file watched. What is returned reloads at once."""
    if reloader is None:
        return lambda: None
    spawn(reloader.watch(stopping))

    def reload() -> None:
        spawn(reloader.reload())

    return reload


def _has_metrics_port(config: AppConfig) -> bool:
    return config.metrics_enabled and config.metrics_port != 0


def _settle_memory() -> None:
    """What exists now lives as long as the process: the collector need not walk it, nor run after every 700 objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
