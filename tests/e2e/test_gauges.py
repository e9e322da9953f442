"""What a gateway tells of itself while it works: requests by endpoint, connections by provider, a loop held up."""

import asyncio
import json
import time

from tests.canaries import prompt
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import CLAUDE, ask, eventually, gateway_config, running
from tests.e2e.scripted_upstream import completion, hang, reply, says, scripted


async def test_what_is_in_flight_is_told_by_endpoint_and_provider() -> None:
    async with (
        scripted(hang) as openai,
        scripted(hang) as anthropic,
        running(gateway_config(openai.url, anthropic.url)) as gateway,
    ):
        embedding = json.dumps({"model": "text-embedding-3-small", "input": prompt("tea")}).encode()
        requests = (
            request_bytes(ask()),
            request_bytes(ask("another")),
            request_bytes(ask(model=CLAUDE)),
            request_bytes(embedding, path="/v1/embeddings"),
        )
        pending = [asyncio.ensure_future(gateway.exchange(each)) for each in requests]
        await eventually(lambda: gateway.metric("llm_edge_upstream_connections", state="in_use") == 4)
        active = {name: gateway.metric("llm_edge_active_requests", endpoint=name) for name in ("chat", "embeddings")}
        assert active == {"chat": 3, "embeddings": 1}
        assert gateway.metric("llm_edge_active_requests") == 4
        assert gateway.metric("llm_edge_upstream_connections", provider="openai", state="in_use") == 3
        assert gateway.metric("llm_edge_upstream_connections", provider="anthropic", state="in_use") == 1
        assert gateway.metric("llm_edge_upstream_connections_opened_total") == 4
        assert gateway.metric("llm_edge_connections") == 4
        for each in pending:
            each.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await eventually(lambda: gateway.metric("llm_edge_active_requests") == 0)


async def test_what_holds_up_the_loop_is_seen_and_said() -> None:
    async with scripted(says(reply(completion()))) as upstream, running(gateway_config(upstream.url)) as gateway:
        assert (await gateway.chat()).status == 200
        await asyncio.sleep(0.15)
        time.sleep(1.2)
        await asyncio.sleep(0.15)
        assert gateway.metric("llm_edge_event_loop_lag_seconds") >= 1.0
        (line,) = await gateway.logged("loop_lag")
        assert (line["level"], line["event"]) == ("warning", "loop_lag")
        assert gateway.metric("llm_edge_overhead_seconds_count", cache="miss") == 1
