"""A gateway on its listeners: from binding to the signal that ends it."""

import asyncio
import gc
import os
import signal
from collections.abc import Callable

from llm_edge_agent.app import AppState, initialize_app_state
from llm_edge_agent.config import AppConfig
from llm_edge_agent.gateway.routes import MetricsHandler
from llm_edge_agent.http.server import Server


class GatewayServer:
    """The listeners of one gateway. `start`, then `stop`; not restartable."""

    def __init__(self, state: AppState) -> None:
        self.state = state
        self._api = Server(state.handler, state.config.server)
        self._metrics: Server | None = None
        if state.config.metrics_enabled and state.config.metrics_port:
            self._metrics = Server(MetricsHandler(state.admin), state.config.server)
        state.metrics.gauge("llm_edge_active_requests", {}, lambda: self._api.in_flight)

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


async def serve_until_signalled(config: AppConfig, on_ready: Callable[[GatewayServer], None]) -> int:
    """Runs a gateway until SIGTERM or SIGINT, then drains. A second signal exits at once, with 128 + its number.

    Returns the exit code, 0 after a drain. Raises OSError where a port cannot be bound.
    """
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
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    # What exists now lives as long as the process: the collector need not walk it, nor run after every 700 objects.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    on_ready(server)
    await stopping.wait()
    await server.stop(config.shutdown_timeout_s)
    return 0
