"""The ledger, the counters, the log and what clients were told agree to the last digit, whatever happened to whom."""

import asyncio
import json
import random
import re
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from llm_edge_agent.core.pricing import usd
from llm_edge_agent.simulator import SimulatorSettings, start_simulator
from llm_edge_agent.telemetry.usage import Sums, read_usage
from tests.canaries import ALICE_KEY, BOB_KEY, CANARY_TEXTS
from tests.e2e.random_requests import CUT_AFTER, Asked, Requests
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import TENANTS, RunningGateway, bearer, eventually, gateway_config, running
from tests.e2e.test_accounting import PIECE

REQUESTS = 5_000
CLIENTS = 16
TOLD_COST = re.compile(rb'"cost_usd": ?([0-9.eE+-]+|null)')
SAMPLE = re.compile(r"(llm_edge_\w+)\{([^}]*)\} (\S+)")
LABEL = re.compile(r'(\w+)="([^"]*)"')
ENDPOINTS = ("chat", "messages", "responses", "embeddings", "completions", "count_tokens")

Sample = tuple[str, dict[str, str], Decimal]
"""Name, labels and value."""


@dataclass(frozen=True)
class Told:
    """What a client was told of its request."""

    status: int
    cost_usd: Decimal | None
    """None where it was told none, or that nobody knows it."""


class Mixed:
    """Random requests of two tenants, more than half of them asked before, some by two at once, some by strangers."""

    def __init__(self, seed: int, count: int) -> None:
        self._rng = random.Random(seed)
        self._supply = Requests(seed)
        self._lately: deque[Asked] = deque(maxlen=200)
        self._number = 0
        self._left = count

    def next(self) -> list[Asked]:
        """One or two requests, to be sent at once; none when all have been."""
        if self._left <= 0:
            return []
        if self._lately and self._rng.random() < 0.6:
            asked = self._rng.choice(self._lately)
        else:
            asked = self._supply.next()
            if asked.outcome == "whole":
                self._lately.append(asked)
        twins = 2 if self._rng.random() < 0.1 and self._left > 1 and asked.outcome == "whole" else 1
        key = "nobody's" if self._rng.random() < 0.01 else self._rng.choice((ALICE_KEY, ALICE_KEY, BOB_KEY))
        self._left -= twins
        return [self._named(asked, key) for _ in range(twins)]

    def _named(self, asked: Asked, key: str) -> Asked:
        self._number += 1
        return replace(asked, headers={**asked.headers, **bearer(key), "x-request-id": f"agreed-{self._number}"})


async def perform(gateway: RunningGateway, asked: Asked) -> Told:
    async with gateway.connect(limit=1 << 20) as wire:
        await wire.send(request_bytes(asked.body, asked.headers, path=asked.path))
        if asked.outcome == "gone":
            await asyncio.sleep(0.02)
            wire.reset()
            return Told(499, None)
        if asked.outcome == "cut" and asked.headers["authorization"] != "Bearer nobody's":
            status, _ = await wire.head()
            text = b""
            while len(PIECE.findall(text)) < CUT_AFTER:
                text += await wire.chunk() or b""
            wire.reset()
            return Told(status, None)
        answer = await wire.answer()
        assert answer.whole
        costs = TOLD_COST.findall(answer.body) or [answer.headers.get("x-llm-edge-cost-usd", "null").encode()]
        assert len(costs) == 1, answer.body
        return Told(answer.status, None if costs[0] == b"null" else Decimal(costs[0].decode()))


def samples(gateway: RunningGateway) -> list[Sample]:
    """Every sample as it is printed, exactly."""
    text = gateway.state.metrics.render(None)[0].decode()
    return [(name, dict(LABEL.findall(labels)), Decimal(value)) for name, labels, value in SAMPLE.findall(text)]


def added_up(found: list[Sample], name: str, by: str, **labels: str) -> defaultdict[str, Any]:
    """Samples by one of their labels, among those that carry the others."""
    total = defaultdict[str, Decimal](Decimal)
    for each, having, value in found:
        if each == name and labels.items() <= having.items() and value:
            total[having[by]] += value
    return total


def dollars(picodollars: int) -> Decimal:
    return Decimal(usd(picodollars))


def compare_groups(found: list[Sample], by: str, groups: Mapping[str, Sums]) -> None:
    """The ledger's groups against the counters with that label."""
    for name, field in (
        ("llm_edge_cost_usd_total", "cost_picodollars"),
        ("llm_edge_cost_saved_usd_total", "saved_picodollars"),
        ("llm_edge_tokens_prompt_total", "prompt_tokens"),
        ("llm_edge_tokens_completion_total", "completion_tokens"),
    ):
        values = {group: getattr(sums, field) for group, sums in groups.items()}
        expected = {
            group: dollars(value) if field.endswith("picodollars") else value
            for group, value in values.items()
            if value
        }
        assert added_up(found, name, by) == expected, name


def compare_totals(found: list[Sample], total: Sums) -> None:
    counted = {
        status: sum(added_up(found, "llm_edge_requests_total", "endpoint", status=status)[each] for each in ENDPOINTS)
        for status in ("ok", "error", "cancelled")
    }
    strangers = added_up(found, "llm_edge_request_errors_total", "error_type", provider="none")["auth"]
    assert strangers > 0
    assert total.requests == sum(counted.values()) - strangers
    assert (total.errors, total.cancelled) == (counted["error"] - strangers, counted["cancelled"])
    lookups = added_up(found, "llm_edge_cache_lookups_total", "result")
    assert total.hits == lookups["hit"] + lookups["join"] + lookups["stale"]
    assert total.lookups == total.hits + lookups["miss"]
    assert min(lookups["hit"], lookups["join"], lookups["miss"], total.errors, total.cancelled) > 10
    guesses = sum(added_up(found, "llm_edge_cost_estimated_usd_total", "provider").values())
    assert guesses == dollars(total.estimated_picodollars)
    assert 0 < guesses < dollars(total.cost_picodollars) / 2
    kinds = added_up(found, "llm_edge_tokens_prompt_total", "kind")
    assert (total.cache_read_tokens, total.cache_write_tokens) == (kinds["cache_read"], kinds["cache_write"])
    reasoning = added_up(found, "llm_edge_tokens_completion_total", "kind")["reasoning"]
    assert total.reasoning_tokens == reasoning > 0


async def test_ledger_counters_log_and_clients_agree(tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger.db")
    provider = await start_simulator(SimulatorSettings(extra_models=("own-instruct",)))
    told: dict[str, Told] = {}
    mixed = Mixed(20261126, REQUESTS)

    async def client(gateway: RunningGateway) -> None:
        while asked := mixed.next():
            results = await asyncio.gather(*(perform(gateway, each) for each in asked))
            told.update((each.headers["x-request-id"], result) for each, result in zip(asked, results, strict=True))

    config = gateway_config(
        provider.url_anthropic,
        breaker_failures=10**6,
        ledger_path=ledger,
        auth_enabled=True,
        keys=TENANTS,
    )
    async with running(config) as gateway:
        await asyncio.gather(*(client(gateway) for _ in range(CLIENTS)))
        await eventually(lambda: gateway.server.in_flight == 0 and provider.simulator.open_exchanges == 0)
        await eventually(lambda: gateway.log().count('"event":"request"') == REQUESTS)
        kept = gateway.state.ledger
        assert kept is not None
        strangers = sum(result.status == 401 for result in told.values())
        await eventually(lambda: kept.written == REQUESTS - strangers)
        found = samples(gateway)
        assert gateway.metric("llm_edge_ledger_rows_total") == kept.written
        totals = gateway.state.totals()
        lines = [json.loads(line, parse_float=Decimal) for line in gateway.log().splitlines() if '"request"' in line]
    await provider.stop()
    usage = {by: read_usage(ledger, by) for by in ("model", "provider", "endpoint", "day", "key", "tenant")}
    total = usage["model"].total
    assert all(each.total == total for each in usage.values())
    assert (totals.cost_picodollars, totals.saved_picodollars) == (total.cost_picodollars, total.saved_picodollars)
    compare_totals(found, total)
    compare_groups(found, "provider", {name or "none": sums for name, sums in usage["provider"].groups})
    known = {labels["model"] for _, labels, _ in found if "model" in labels}
    by_model: dict[str, Sums] = {}
    for name, sums in usage["model"].groups:
        by_model.setdefault(name if name in known and name is not None else "other", Sums()).add(sums)
    compare_groups(found, "model", by_model)
    assert {name for name, _ in usage["tenant"].groups} == {"alice", "bob"}
    compare_log_and_clients(lines, told, total)
    leaked = [text for text in (*CANARY_TEXTS, ALICE_KEY, BOB_KEY) if text.encode() in Path(ledger).read_bytes()]
    assert leaked == []


def compare_log_and_clients(lines: list[dict[str, Any]], told: Mapping[str, Told], total: Sums) -> None:
    """Each client's cost is its log line's, and the sum of all is the ledger's: those untold are known by the log."""
    logged = {line["request_id"]: line for line in lines}
    assert logged.keys() == told.keys()
    used = [line["tokens"] for line in lines if line["tokens"] is not None]
    assert sum(tokens["estimated"] != "none" for tokens in used) == total.estimated > 10
    told_costs = {request_id: each.cost_usd for request_id, each in told.items() if each.cost_usd is not None}
    assert [request_id for request_id, cost in told_costs.items() if logged[request_id]["cost_usd"] != cost] == []
    assert len(told_costs) > REQUESTS / 2
    untold = sum(
        (line["cost_usd"] or Decimal(0) for request_id, line in logged.items() if request_id not in told_costs)
    )
    assert sum(told_costs.values()) + untold == dollars(total.cost_picodollars)
    assert untold < dollars(total.cost_picodollars) / 2
