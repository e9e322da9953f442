"""A gateway in this process, on a port of its own, with its log in a file and every byte it sent in a ledger."""

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from llm_edge_agent.app import AppState, initialize_app_state
from llm_edge_agent.config import AppConfig, GatewayKey, ProviderConfig, Secret, ServerLimits
from llm_edge_agent.serving import GatewayServer
from tests import canaries
from tests.canaries import ALICE_KEY, ANTHROPIC_KEY, BOB_KEY, OPENAI_KEY, prompt
from tests.e2e.raw_client import Answer, Wire, connected, request_bytes

MODEL = "gpt-4o-mini"
CLAUDE = "claude-haiku-5-5"


def gateway_key(tenant: str, key: str) -> GatewayKey:
    digest = sha256(key.encode()).digest()
    return GatewayKey(tenant=tenant, digest=digest, key_id=digest.hex()[:8])


TENANTS = (gateway_key("alice", ALICE_KEY), gateway_key("bob", BOB_KEY))


def ask(text: str = "", **members: Any) -> bytes:
    """The body of a chat completion request, its text a canary."""
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": prompt(text)}], **members}).encode()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def gateway_config(openai_url: str, anthropic_url: str | None = None, **changes: Any) -> AppConfig:
    """A configuration on a free loopback port with timeouts of a test's size, and no repeats: a fault shows after one
    call. `server` limits are given by
    `server=ServerLimits(...)`, everything else as AppConfig names it."""
    config = AppConfig(
        host="127.0.0.1",
        port=0,
        metrics_port=0,
        providers=(
            ProviderConfig(name="openai", dialect="openai", base_url=f"{openai_url}/v1", api_key=Secret(OPENAI_KEY)),
            ProviderConfig(
                name="anthropic",
                dialect="anthropic",
                base_url=anthropic_url if anthropic_url is not None else openai_url,
                api_key=Secret(ANTHROPIC_KEY),
                auth_header="x-api-key",
            ),
        ),
        server=ServerLimits(),
        connect_timeout_s=2.0,
        max_retries=0,
        log_format="json",
    )
    return replace(config, **changes)


@dataclass
class RunningGateway:
    """What a test asks the gateway, and what it may look at afterwards."""

    state: AppState
    server: GatewayServer
    log_path: str
    sent: bytearray = field(default_factory=bytearray)
    """Every byte that the gateway sent to a `Wire`."""

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, *, limit: int = 65536) -> AbstractAsyncContextManager[Wire]:
        return connected(self.port, self.sent, limit=limit)

    async def exchange(self, data: bytes, *, bodyless: bool = False) -> Answer:
        """Sends bytes on a fresh connection and reads one reply."""
        async with self.connect() as wire:
            await wire.send(data)
            return await wire.answer(bodyless=bodyless)

    async def chat(self, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.exchange(request_bytes(ask() if body is None else body, headers))

    async def get(self, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET") -> Answer:
        data = request_bytes(b"", headers, path=path, method=method)
        return await self.exchange(data, bodyless=method == "HEAD")

    def samples(self, prefix: str = "") -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Every metric sample whose name begins so, by name and labels."""
        text = self.state.metrics.render(None)[0].decode()
        if prefix:  # some tests ask a hundred times, and took most of their time for parsing whole pages
            text = "".join(line for line in text.splitlines(keepends=True) if line.startswith(prefix))
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples that carry these labels; 0 where there is none."""
        wanted = set(labels.items())
        return sum(value for (found, having), value in self.samples(name).items() if found == name and wanted <= having)

    def log(self) -> str:
        """What was logged so far; complete only once the gateway is closed."""
        with open(self.log_path, encoding="utf-8") as file:
            return file.read()

    async def logged(self, word: str) -> list[dict[str, Any]]:
        """The log lines that hold `word`, once there is one."""
        await eventually(lambda: word in self.log())
        return [json.loads(line) for line in self.log().splitlines() if word in line]


@contextlib.contextmanager
def stderr_into(path: str) -> Iterator[None]:
    """Descriptor 2 leads into a file meanwhile; whoever duplicates it keeps that file."""
    saved = os.dup(2)
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 2)
    os.close(file)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


@contextlib.asynccontextmanager
async def running(config: AppConfig, log_path: str | None = None) -> AsyncIterator[RunningGateway]:
    """Starts a gateway, with a ledger, and stops it, without grace, in the end. Then what it let out is searched."""
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        path = log_path or f"{folder}/gateway.log"
        ledger_path = config.ledger_path or f"{folder}/ledger"
        with stderr_into(path):
            state = await initialize_app_state(replace(config, ledger_path=ledger_path))
        gateway = RunningGateway(state, GatewayServer(state), path)
        try:
            await gateway.server.start()
            yield gateway
        finally:
            await gateway.server.stop(0)
            canaries.look_at_ledger(Path(ledger_path))
            _search(gateway)


def _search(gateway: RunningGateway) -> None:
    """Everything else that a gateway let out, once it is closed."""
    state = gateway.state
    canaries.look_at_log(Path(gateway.log_path))
    for accept in (None, "application/openmetrics-text"):
        canaries.look(canaries.METRICS, "of a closed gateway", state.metrics.render(accept)[0])
    canaries.look(canaries.HEALTH, "of a closed gateway", json.dumps(state.admin.health()).encode())
    canaries.look(canaries.ANSWER, "to all clients", gateway.sent)


async def eventually(condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
    """Waits for something that must come about by itself."""
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline_s, "it never came about"
        await asyncio.sleep(0.01)


def rss_bytes() -> int:
    """Resident memory of this process, gateway, provider and client together."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
