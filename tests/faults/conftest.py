"""A bench for faults: scripted providers and gateways that are closed and looked through after every test."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

from llm_edge_agent.config import OtelConfig
from llm_edge_agent.http.tasks import running_tasks
from tests.canaries import ALICE_KEY, ANTHROPIC_KEY, BOB_KEY, OPENAI_KEY
from tests.e2e.collector import Collector
from tests.e2e.running_gateway import RunningGateway, eventually, gateway_config, running
from tests.e2e.scripted_upstream import Line, Script, ScriptedUpstream, scripted


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the gateway runs on in service."""
    return {"uvloop": uvloop.new_event_loop}


class Bench:
    """Starts providers and gateways; whatever it started it stops."""

    def __init__(self, folder: Path, stack: contextlib.AsyncExitStack, receiver: ScriptedUpstream) -> None:
        self._folder = folder
        self._stack = stack
        self._receiver = receiver
        self.gateways: list[RunningGateway] = []
        self.upstreams: list[ScriptedUpstream] = []
        self.internal_errors = 0
        """How many failures of the gateway itself a test provokes."""

    async def upstream(self, script: Script, tls: ssl.SSLContext | None = None) -> ScriptedUpstream:
        upstream = await self._stack.enter_async_context(scripted(script, tls))
        self.upstreams.append(upstream)
        return upstream

    async def gateway(self, upstream: ScriptedUpstream | str, **changes: Any) -> RunningGateway:
        url = upstream if isinstance(upstream, str) else upstream.url
        log_path = str(self._folder / f"gateway-{len(self.gateways)}.log")
        changes.setdefault("otel", OtelConfig(endpoint=self._receiver.url, delay_ms=50))
        gateway = await self._stack.enter_async_context(running(gateway_config(url, **changes), log_path))
        self.gateways.append(gateway)
        return gateway

    async def pair(self, script: Script, **changes: Any) -> tuple[ScriptedUpstream, RunningGateway]:
        """A provider and a gateway in front of it."""
        upstream = await self.upstream(script)
        return upstream, await self.gateway(upstream, **changes)


@pytest.fixture(autouse=True)
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    collector = Collector()

    async def searched(line: Line) -> None:
        await collector.script(line)
        collector.forget()  # tests measure the memory of this process
        receiver.received.clear()

    async with scripted(searched) as receiver, contextlib.AsyncExitStack() as stack:
        bench = Bench(tmp_path, stack, receiver)
        yield bench
        for gateway in bench.gateways:
            await eventually(lambda gateway=gateway: gateway.state.pool.in_use == 0)  # type: ignore[misc]  # mypy cannot infer the default
    await eventually(lambda: running_tasks() == 0)
    for gateway in bench.gateways:
        _search_log(gateway.log(), bench.internal_errors)
        assert b"Traceback" not in gateway.sent
        ledger = gateway.state.ledger
        assert ledger is not None
        assert (ledger.lost, ledger.errors) == (0, 0)
    for upstream in bench.upstreams:
        _search_requests(upstream)


def _search_log(log: str, internal_errors: int) -> None:
    assert "Traceback" not in log
    assert log.count('"logger":"llm_edge_agent.faults"') == internal_errors
    assert "escaped from" not in log
    for line in log.splitlines():
        assert isinstance(json.loads(line), dict)


def _search_requests(upstream: ScriptedUpstream) -> None:
    """Each provider got its own key, in the one field where it belongs, and no other."""
    for request in upstream.received:
        whole = request.head + request.body
        own, other = (
            (ANTHROPIC_KEY, OPENAI_KEY) if request.target.endswith("/messages") else (OPENAI_KEY, ANTHROPIC_KEY)
        )
        field = "x-api-key" if own is ANTHROPIC_KEY else "authorization"
        assert whole.count(own.encode()) == 1
        assert own in request.headers[field]
        for foreign in (other, ALICE_KEY, BOB_KEY):
            assert foreign.encode() not in whole
