"""An application that mounts the gateway has every door of it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llm_edge_agent import asgi_app
from llm_edge_agent.asgi import ASGIApp
from llm_edge_agent.simulator import SimulatorSettings, start_simulator
from tests.canaries import prompt
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import gateway_config
from tests.test_asgi import Hosted, hosted

ASKED = [{"role": "user", "content": prompt("hi")}]
LEGACY = "gpt-legacy-completions"


@pytest.fixture
async def host() -> AsyncIterator[Hosted]:
    simulator = await start_simulator(SimulatorSettings(extra_models=(LEGACY,)))
    app: ASGIApp = asgi_app(gateway_config(simulator.url_anthropic))
    async with hosted(app) as found:
        yield found
    await simulator.stop()


@pytest.mark.parametrize(
    ("path", "body", "ending"),
    [
        ("/v1/chat/completions", {"model": "gpt-5.5", "messages": ASKED}, "data: [DONE]"),
        ("/v1/messages", {"model": "claude-sonnet-5", "max_tokens": 9, "messages": ASKED}, "event: message_stop"),
        ("/v1/messages", {"model": "gpt-5.5", "max_tokens": 9, "messages": ASKED}, "event: message_stop"),
        ("/v1/responses", {"model": "gpt-5.5", "input": prompt("hi")}, "event: response.completed"),
        ("/v1/completions", {"model": f"openai/{LEGACY}", "prompt": prompt("hi")}, "data: [DONE]"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": prompt("hi")}, None),
        ("/v1/messages/count_tokens", {"model": "claude-sonnet-5", "messages": ASKED}, None),
        ("/v1/route/explain", {"model": "gpt-5.5", "messages": ASKED}, None),
    ],
)
async def test_every_door(host: Hosted, path: str, body: dict[str, Any], ending: str | None) -> None:
    whole = await host.exchange(request_bytes(json.dumps(body).encode(), path=path))
    assert whole.status == 200
    assert isinstance(json.loads(whole.body), dict)
    if ending is not None:
        told = await host.exchange(request_bytes(json.dumps({**body, "stream": True}).encode(), path=path))
        assert told.status == 200
        assert ending in told.body.decode()
