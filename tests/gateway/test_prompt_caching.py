"""Breakpoints from request to bill: set where they pay, for the tenant who pays, and given up where they do not."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llm_edge_agent.core.prompt_caching import CREDIT
from llm_edge_agent.simulator import RunningSimulator, SimulatorSettings, start_simulator
from tests.canaries import ALICE_KEY, BOB_KEY, prompt
from tests.e2e.running_gateway import TENANTS, RunningGateway, bearer, gateway_config, running

MODEL = "claude-sonnet-5"
TOOLS = [{"type": "function", "function": {"name": "search", "parameters": {"type": "object", "properties": {}}}}]
RULES = "The customer is king, and the king reads the terms. " * 200


@pytest.fixture
async def simulator() -> AsyncIterator[RunningSimulator]:
    found = await start_simulator(SimulatorSettings())
    yield found
    await found.stop()


def asked(task: str, turns: int = 0, **members: Any) -> bytes:
    """A request of an agent after so many tool calls."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": RULES}, {"role": "user", "content": prompt(task)}]
    for turn in range(turns):
        call = {"id": f"c{turn}", "type": "function", "function": {"name": "search", "arguments": "{}"}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"c{turn}", "content": f"{task} {turn} " * 300})
    return json.dumps({"model": MODEL, "tools": TOOLS, "messages": messages, **members}).encode()


def marked(simulator: RunningSimulator) -> bool:
    """Whether the last request that the provider saw carried breakpoints."""
    return b"cache_control" in simulator.simulator.requests[-1].body


async def chat(gateway: RunningGateway, body: bytes, key: str | None = None) -> dict[str, Any]:
    answer = await gateway.chat(body, bearer(key) if key else None)
    assert answer.status == 200
    found: dict[str, Any] = json.loads(answer.body) if not json.loads(body).get("stream") else {}
    return found


async def test_an_agents_turns_read_what_the_turns_before_wrote(simulator: RunningSimulator) -> None:
    async with running(gateway_config(simulator.url_anthropic)) as gateway:
        for turn in range(6):
            before = simulator.simulator.billed[-1] if turn else None
            await chat(gateway, asked("find it", turn, stream=turn % 2 == 1))
            bill = simulator.simulator.billed[-1]
            if before is not None:
                assert bill.cache_read_tokens == before.cache_read_tokens + before.cache_write_5m_tokens
            assert bill.cache_write_5m_tokens > 0
            assert bill.input_tokens < 20
        bills = simulator.simulator.billed
        read = sum(bill.cache_read_tokens for bill in bills)
        written = sum(bill.cache_write_5m_tokens for bill in bills)
        saved = gateway.metric("llm_edge_prompt_cache_saved_usd_total", provider="anthropic", model=MODEL)
        surcharge = gateway.metric("llm_edge_prompt_cache_surcharge_usd_total", provider="anthropic", model=MODEL)
        assert saved == pytest.approx(read * 1.8e-6)
        assert surcharge == pytest.approx(written * 0.5e-6)
        assert gateway.metric("llm_edge_cost_saved_usd_total") == 0


async def test_off_means_off(simulator: RunningSimulator) -> None:
    async with running(gateway_config(simulator.url_anthropic, prompt_cache="off")) as gateway:
        await chat(gateway, asked("find it", 2))
    assert not marked(simulator)


async def test_where_nothing_is_read_it_stops_for_this_tenant_alone(simulator: RunningSimulator) -> None:
    config = gateway_config(simulator.url_anthropic, auth_enabled=True, keys=TENANTS)
    async with running(config) as gateway:
        for number in range(int(CREDIT / 0.2)):
            # The beginning is never the same, so nothing that was written is ever read.
            body = json.loads(asked(f"task {number}"))
            body["messages"][0]["content"] = f"{number:08d} {RULES}"
            body["tools"][0]["function"]["description"] = f"of run {number:08d}"
            await chat(gateway, json.dumps(body).encode(), ALICE_KEY)
        assert not marked(simulator)
        await chat(gateway, asked("find it"), BOB_KEY)
        assert marked(simulator)


async def test_a_cut_stream_teaches_nothing_and_native_bodies_stay_as_they_are(simulator: RunningSimulator) -> None:
    async with running(gateway_config(simulator.url_anthropic)) as gateway:
        body = json.loads(asked("find it"))
        body["messages"][1]["cache_control"] = {"type": "ephemeral"}
        await chat(gateway, json.dumps(body).encode())
        assert simulator.simulator.requests[-1].body.count(b"cache_control") == 1
