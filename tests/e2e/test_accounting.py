"""What the gateway says that requests used and cost, against the provider's bills, to the last digit."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from llm_edge_agent.data import model_document
from llm_edge_agent.simulator import Billed, RunningSimulator, SimulatorSettings, start_simulator
from tests.e2e.random_requests import CUT_AFTER, Asked, Requests
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import RunningGateway, eventually, gateway_config, running

REQUESTS = 1000
CLIENTS = 8
PIECE = re.compile(
    rb'event: (?:content_block_delta|response\.output_text\.delta)\n|"delta":\{"content":"[^"]|\{"text":"[^"]'
)
"""A piece of text in the stream of any door."""


@dataclass(frozen=True)
class Done:
    """One request as its client saw it."""

    asked: Asked
    status: int
    upstream_id: str | None
    cost_usd: str | None
    """As the head told it."""
    cache: str = ""

    @property
    def retold(self) -> bool:
        """Answered without a call of its own: from the cache, or along with an identical request."""
        return self.cache.startswith(("hit", "join"))


@pytest.fixture
async def provider() -> AsyncIterator[RunningSimulator]:
    found = await start_simulator(SimulatorSettings(extra_models=("own-instruct",)))
    yield found
    await found.stop()


async def perform(gateway: RunningGateway, asked: Asked) -> Done:
    async with gateway.connect(limit=1 << 20) as wire:
        await wire.send(request_bytes(asked.body, asked.headers, path=asked.path))
        if asked.outcome == "gone":
            await asyncio.sleep(0.02)
            wire.reset()
            return Done(asked, 499, None, None)
        if asked.outcome != "cut":
            answer = await wire.answer()
            assert answer.whole
            told = [answer.headers.get(f"x-llm-edge-{name}") for name in ("upstream-id", "cost-usd", "cache")]
            return Done(asked, answer.status, told[0], told[1], told[2] or "")
        status, headers = await wire.head()
        text = b""
        while len(PIECE.findall(text)) < CUT_AFTER:
            text += await wire.chunk() or b""
        wire.reset()
        return Done(asked, status, headers.get("x-llm-edge-upstream-id"), None)


Record = Mapping[str, Any]
_KINDS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")


def published() -> Mapping[str, Record]:
    """The records of the price table, by model."""
    document: Any = json.loads(json.dumps(model_document(())), parse_float=Decimal)
    return {record["id"]: record for record in [*document["models"], *document["embeddings"]]}


def cost(bill: Billed, record: Record) -> Decimal | None:
    """Dollars, from the bill and the published prices alone; None where none was published, for the model or for the
    tier that it was served at."""
    if not record or bill.service_tier != "default":
        return None
    price = record["price_usd_per_mtok"]
    long = record.get("long_context_price")
    if long and prompt_of(bill) > long["threshold_prompt_tokens"]:
        price = long
    plain = price["input"]
    write = price.get("cache_write_5m") or plain
    of_kind = {
        "input": plain,
        "cache_read": price.get("cache_read") or plain,
        "cache_write_5m": write,
        "cache_write_1h": price.get("cache_write_1h") or write,
        "output": price.get("output") or 0,
    }
    return sum((getattr(bill, f"{kind}_tokens") * Decimal(of_kind[kind]) for kind in _KINDS), Decimal(0)) / 1_000_000


def prompt_of(bill: Billed) -> int:
    written = bill.cache_write_5m_tokens + bill.cache_write_1h_tokens
    return bill.input_tokens + bill.cache_read_tokens + written


@pytest.mark.parametrize("seed", [20261126, *(pytest.param(number, marks=pytest.mark.long) for number in range(20))])
async def test_usage_and_cost_are_the_providers_bill(provider: RunningSimulator, seed: int) -> None:
    async with running(gateway_config(provider.url_anthropic, breaker_failures=10**6)) as gateway:
        supply = Requests(seed)
        done: list[Done] = []

        async def client() -> None:
            while (asked := take()) is not None:
                done.append(await perform(gateway, asked))

        left = REQUESTS

        def take() -> Asked | None:
            nonlocal left
            left -= 1
            return supply.next() if left >= 0 else None

        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        await eventually(lambda: provider.simulator.open_exchanges == 0)
        await eventually(lambda: gateway.log().count('"event":"request"') == REQUESTS)
        lines = [json.loads(line, parse_float=Decimal) for line in gateway.log().splitlines() if '"request"' in line]
        logged = {line["request_id"]: line for line in lines}
        bills = {bill.request_id: bill for bill in provider.simulator.billed}
        assert len(logged) == len(done) == REQUESTS
        table = published()
        known = Decimal(0)
        estimated = Counter[str]()
        for each in done:
            line = logged[each.asked.headers["x-request-id"]]
            bill = None if each.retold else bills.pop(each.upstream_id or "", None)
            compared(each, line, bill, table)
            known += line["cost_usd"] or 0
            if each.asked.outcome == "gone" and line["tokens"] is not None:
                estimated["prompt"] += line["tokens"]["prompt"]
            if each.asked.outcome == "cut" and each.asked.provider == "openai":
                estimated["prompt"] += line["tokens"]["prompt"] - prompt_of(bill) if bill is not None else 0
        # Whoever leaves before the answer is billed for the question, and the gateway is never told how much.
        assert [bill.output_tokens for bill in bills.values()] == [0] * len(bills)
        assert len(bills) <= sum(each.asked.outcome == "gone" for each in done)
        totals(gateway, provider, list(bills.values()), known, estimated["prompt"])
        assert {each.cache for each in done if each.retold} >= {"hit-l1"}
        outcomes = Counter(each.asked.outcome for each in done)
        assert min(outcomes.values()) >= 10
        billed = provider.simulator.billed
        assert min(sum(bill.cache_read_tokens for bill in billed), sum(bill.reasoning_tokens for bill in billed)) > 0
        assert sum(bill.cache_write_1h_tokens for bill in billed) > 0
        assert max(prompt_of(bill) for bill in billed) > 100_000
        assert {bill.service_tier for bill in billed} == {"default", "flex", "priority"}


def compared(each: Done, line: Mapping[str, Any], bill: Billed | None, table: Mapping[str, Record]) -> None:
    """One request: the log and the head against the bill."""
    asked, told = each.asked, line["tokens"]
    context = (each, line, bill)
    if each.retold:
        assert (each.status, told, line["cost_usd"]) == (200, None, 0), context
        return
    if asked.outcome == "gone":
        assert bill is None, context
        assert told is None or (told["estimated"], told["completion"]) == ("all", 0), context
        return
    if asked.outcome in ("refused", "uncounted"):
        assert (told, line["cost_usd"], bill) == (None, None, None), context
        assert (each.status < 400) == (asked.outcome == "uncounted"), context
        return
    assert (each.status, bill is not None) == (200, True), context
    assert bill is not None
    assert told["completion"] == bill.output_tokens, context
    if asked.outcome == "cut" and asked.provider == "openai":
        return  # OpenAI tells the prompt's tokens at the end: until then they are a guess
    expected = cost(bill, table.get(bill.model, {}))
    assert (told["prompt"], told["cached"]) == (prompt_of(bill), bill.cache_read_tokens), context
    assert line["cost_usd"] == expected, context
    if asked.outcome != "cut":
        assert told["reasoning"] == bill.reasoning_tokens, context
        if not asked.stream:
            assert (None if each.cost_usd is None else Decimal(each.cost_usd)) == expected, context


def totals(
    gateway: RunningGateway, provider: RunningSimulator, unknown: list[Billed], known: Decimal, guessed_more: int
) -> None:
    """The metrics against all bills: what no answer told is missing, what was guessed is off by as much."""
    bills = [bill for bill in provider.simulator.billed if bill not in unknown]
    dollars = Decimal(gateway.state.totals().cost_picodollars) / 10**12
    assert dollars == known
    kinds = {
        kind: gateway.metric("llm_edge_tokens_prompt_total", kind=kind)
        for kind in ("uncached", "cache_read", "cache_write")
    }
    assert kinds == {
        "uncached": sum(bill.input_tokens for bill in bills) + guessed_more,
        "cache_read": sum(bill.cache_read_tokens for bill in bills),
        "cache_write": sum(bill.cache_write_5m_tokens + bill.cache_write_1h_tokens for bill in bills),
    }
    completion = sum(gateway.metric("llm_edge_tokens_completion_total", kind=kind) for kind in ("text", "reasoning"))
    assert completion == sum(bill.output_tokens for bill in bills)
    reasoning = gateway.metric("llm_edge_tokens_completion_total", kind="reasoning")
    assert reasoning == sum(bill.reasoning_tokens for bill in bills)
