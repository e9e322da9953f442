"""What the gateway says that requests used and cost, against the provider's bills.

Whatever the provider has told is compared to the last digit, also of requests that their clients broke off. What it had
not told by then is the gateway's estimate: it must be marked as one wherever it is shown, and be a good one.
"""

import asyncio
import json
import re
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from llm_edge_agent.core.pricing import Estimated, usd
from llm_edge_agent.data import model_document
from llm_edge_agent.simulator import Billed, RunningSimulator, SimulatorSettings, start_simulator, tokens
from tests.e2e.random_requests import CUT_AFTER, Asked, Requests
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import RunningGateway, eventually, gateway_config, running

REQUESTS = 1000
CLIENTS = 8
PIECE = re.compile(
    rb'event: (?:content_block_delta|response\.output_text\.delta)\n|"delta":\{"content":"[^"]|\{"text":"[^"]'
)
"""A piece of text in the stream of any door."""
NUMBER = re.compile(rb"\((\d+)\)")
"""Stands in the text of every request; that of one whose client leaves is in no other's."""
MARKS = {
    "everything": Estimated.NOTHING,
    "prompt": Estimated.COMPLETION,
    "nothing": Estimated.ALL,
    "unanswered": Estimated.ALL,
}
"""What the gateway must call an estimate, by what of the bill the reply had told."""


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

    @property
    def aborted(self) -> bool:
        return self.asked.outcome in ("cut", "gone")


Record = Mapping[str, Any]


@dataclass(frozen=True)
class Account:
    """One request that went to a provider: what the gateway says of it, and the bill."""

    done: Done
    line: Record
    row: Record
    bill: Billed

    @property
    def exact(self) -> bool:
        return self.bill.told == "everything"

    @property
    def prompt_told(self) -> bool:
        return self.bill.told in ("prompt", "everything")


@pytest.fixture
async def provider() -> AsyncIterator[RunningSimulator]:
    found = await start_simulator(SimulatorSettings(extra_models=("own-instruct",), kept_requests=2 * REQUESTS))
    yield found
    await found.stop()


def unsent(asked: Asked) -> bool:
    """A client that leaves when it has sent half of its question."""
    return asked.outcome == "gone" and int(asked.headers["x-request-id"].rpartition("-")[2]) % 4 == 0


async def perform(gateway: RunningGateway, provider: RunningSimulator, asked: Asked) -> Done:
    async with gateway.connect(limit=1 << 20) as wire:
        data = request_bytes(asked.body, asked.headers, path=asked.path)
        if unsent(asked):
            await wire.send(data[: -len(asked.body) // 2])
            await asyncio.sleep(0.02)
            wire.reset()
            return Done(asked, 499, None, None)
        await wire.send(data)
        if asked.outcome == "gone":
            number = numbered(asked.body)
            await eventually(lambda: any(numbered(each.body) == number for each in provider.simulator.requests))
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


def numbered(body: bytes) -> bytes | None:
    """The number that only this request has in its text."""
    found = NUMBER.search(body)
    return found[1] if found else None


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


def written_of(bill: Billed) -> int:
    return bill.cache_write_5m_tokens + bill.cache_write_1h_tokens


def prompt_of(bill: Billed) -> int:
    return bill.input_tokens + bill.cache_read_tokens + written_of(bill)


def as_accounted(account: Account, *, one_hour: bool = False) -> Billed:
    """The bill with the gateway's estimates in the place of what it was not told: their cost must be right, too.
    `one_hour`: what is estimated to have been written to the provider's cache was written for so long."""
    told, bill = account.line["tokens"], account.bill
    if not account.exact:
        bill = replace(bill, output_tokens=told["completion"])
    if not account.prompt_told:
        read, written = told["cached"], account.row["cache_write_tokens"]
        bill = replace(bill, input_tokens=told["prompt"] - read - written, cache_read_tokens=read)
        bill = replace(bill, cache_write_5m_tokens=0 if one_hour else written)
        bill = replace(bill, cache_write_1h_tokens=written if one_hour else 0)
    return bill


# The seed, and the characters of a token: the gateway takes four until it has learnt better.
RUNS = [(20261126, 4), (20261127, 3), *(pytest.param(seed, 3 + seed % 2, marks=pytest.mark.long) for seed in range(20))]


@pytest.mark.parametrize(("seed", "characters"), RUNS)
async def test_usage_and_cost_are_the_providers_bill(
    provider: RunningSimulator, seed: int, characters: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "CHARS_PER_TOKEN", characters)
    ledger = str(tmp_path / "ledger.db")
    config = gateway_config(provider.url_anthropic, breaker_failures=10**6, ledger_path=ledger)
    async with running(config) as gateway:
        done = await all_of(gateway, provider, Requests(seed))
        await eventually(lambda: provider.simulator.open_exchanges == 0)
        await eventually(lambda: gateway.log().count('"event":"request"') == REQUESTS)
        lines = [json.loads(line, parse_float=Decimal) for line in gateway.log().splitlines() if '"request"' in line]
        logged = {line["request_id"]: line for line in lines}
        kept = gateway.state.ledger
        assert kept is not None
        await eventually(lambda: kept.written == REQUESTS)
        rows = rows_of(ledger)
        assert len(logged) == len(rows) == len(done) == REQUESTS
        accounts = matched(done, logged, rows, provider)
        table = published()
        for account in accounts:
            compared(account, table)
        totals(gateway, accounts, rows.values())
        counts(gateway, done, rows.values(), accounts)
    varied(done, [account.bill for account in accounts])
    print(good(accounts, table))


async def all_of(gateway: RunningGateway, provider: RunningSimulator, supply: Requests) -> list[Done]:
    done: list[Done] = []
    left = REQUESTS

    async def client() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            done.append(await perform(gateway, provider, supply.next()))

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return done


def rows_of(ledger: str) -> dict[str, Record]:
    database = sqlite3.connect(ledger)
    database.row_factory = sqlite3.Row
    try:
        return {row["request_id"]: dict(row) for row in database.execute("SELECT * FROM requests")}
    finally:
        database.close()


def matched(
    done: Iterable[Done], logged: Mapping[str, Record], rows: Mapping[str, Record], provider: RunningSimulator
) -> list[Account]:
    """Every request with its own bill; whatever has none costs nothing, and no bill is left over."""
    bills = {bill.request_id: bill for bill in provider.simulator.billed}
    calls = {numbered(each.body): each.request_id for each in provider.simulator.requests}
    accounts = []
    for each in done:
        request_id = each.asked.headers["x-request-id"]
        line, row = logged[request_id], rows[request_id]
        upstream_id = calls.get(numbered(each.asked.body)) if each.asked.outcome == "gone" else each.upstream_id
        bill = None if each.retold else bills.pop(upstream_id or "", None)
        if bill is not None:
            accounts.append(Account(each, line, row, bill))
            continue
        free = each.retold or unsent(each.asked) or each.asked.outcome in ("refused", "uncounted")
        told = (line["tokens"], line["cost_usd"] or 0, row["prompt_tokens"], row["cost_picodollars"] or 0)
        assert (free, told) == (True, (None, 0, None, 0)), (each, line)
        assert row["estimated"] == 0
        assert (each.status < 400) == (each.retold or each.asked.outcome == "uncounted"), (each, line)
    assert bills == {}
    return accounts


def compared(account: Account, table: Mapping[str, Record]) -> None:
    """One request: log, ledger and head against the bill."""
    done, line, row, bill = account.done, account.line, account.row, account.bill
    told, context = line["tokens"], account
    mark = MARKS[bill.told]
    assert (told["estimated"], row["estimated"]) == (mark.label, mark), context
    whole = not done.aborted and done.asked.outcome != "broken"
    assert (bill.aborted, bill.completed, account.exact) == (done.aborted, whole, whole), context
    prompt = (row["prompt_tokens"], row["cache_read_tokens"], row["cache_write_tokens"])
    assert (told["prompt"], told["cached"]) == prompt[:2], context
    assert (told["completion"], told["reasoning"]) == (row["completion_tokens"], row["reasoning_tokens"]), context
    if account.prompt_told:
        assert prompt == (prompt_of(bill), bill.cache_read_tokens, written_of(bill)), context
    if account.exact:
        assert (told["completion"], told["reasoning"]) == (bill.output_tokens, bill.reasoning_tokens), context
    price, said = table.get(bill.model, {}), line["cost_usd"]
    least, most = cost(as_accounted(account), price), cost(as_accounted(account, one_hour=True), price)
    if account.prompt_told or least is None or most is None:
        assert said == least == most, context
    else:
        assert least <= said <= most, context
    assert row["cost_picodollars"] == (None if said is None else said * 10**12), context
    if account.exact and not done.asked.stream:
        assert (None if done.cost_usd is None else Decimal(done.cost_usd)) == said, context


def totals(gateway: RunningGateway, accounts: list[Account], rows: Iterable[Record]) -> None:
    """The counters: all that they say, less what they call estimates, is what the provider told."""
    exact = [account for account in accounts if account.exact]
    told = [account.bill for account in accounts if account.prompt_told]
    estimates = {
        kind: gateway.metric("llm_edge_tokens_estimated_total", kind=kind)
        for kind in ("uncached", "cache_read", "cache_write")
    }
    assert {
        kind: gateway.metric("llm_edge_tokens_prompt_total", kind=kind) - estimate
        for kind, estimate in estimates.items()
    } == {
        "uncached": sum(bill.input_tokens for bill in told),
        "cache_read": sum(bill.cache_read_tokens for bill in told),
        "cache_write": sum(written_of(bill) for bill in told),
    }
    guessed = [account.row for account in accounts if not account.prompt_told]
    assert sum(estimates.values()) == sum(row["prompt_tokens"] for row in guessed)
    assert estimates["cache_read"] == sum(row["cache_read_tokens"] for row in guessed)
    assert min(estimates.values()) > 0
    estimated = gateway.metric("llm_edge_tokens_estimated_total", kind="completion")
    assert estimated == sum(each.line["tokens"]["completion"] for each in accounts if not each.exact) > 0
    completion = gateway.metric("llm_edge_tokens_completion_total")
    assert completion - estimated == sum(account.bill.output_tokens for account in exact)
    reasoning = gateway.metric("llm_edge_tokens_completion_total", kind="reasoning")
    assert reasoning == sum(account.bill.reasoning_tokens for account in exact)
    spent = gateway.state.totals().cost_picodollars
    assert spent == sum(row["cost_picodollars"] or 0 for row in rows)
    of_estimates = sum(account.row["cost_picodollars"] or 0 for account in accounts if not account.exact)
    text = gateway.state.metrics.render(None)[0].decode()
    printed = re.findall(r"^llm_edge_cost_estimated_usd_total\{.*\} (\S+)$", text, re.MULTILINE)
    assert sum(map(Decimal, printed)) == Decimal(usd(of_estimates)) > 0
    assert spent - of_estimates == sum(account.row["cost_picodollars"] or 0 for account in exact)


def counts(gateway: RunningGateway, done: list[Done], rows: Iterable[Record], accounts: list[Account]) -> None:
    """Requests, and those broken off, are as many for everybody."""
    aborted, never_sent = sum(each.aborted for each in done), sum(unsent(each.asked) for each in done)
    assert sum(row["outcome"] == "cancelled" for row in rows) == aborted
    assert sum(account.line["status"] == 499 for account in accounts) == aborted - never_sent
    assert sum(account.bill.aborted for account in accounts) == aborted - never_sent
    assert gateway.metric("llm_edge_requests_total", status="cancelled") == aborted
    assert gateway.metric("llm_edge_requests_total") == REQUESTS


def varied(done: list[Done], bills: list[Billed]) -> None:
    """That the run had what it is about."""
    assert {each.cache for each in done if each.retold} >= {"hit-l1"}
    assert min(Counter(each.asked.outcome for each in done).values()) >= 10
    assert min(sum(bill.cache_read_tokens for bill in bills), sum(bill.reasoning_tokens for bill in bills)) > 0
    assert sum(bill.cache_write_1h_tokens for bill in bills) > 0
    assert max(prompt_of(bill) for bill in bills) > 100_000
    assert {bill.service_tier for bill in bills} == {"default", "flex", "priority"}
    assert min(Counter(bill.told for bill in bills if bill.aborted).values()) >= 3


def good(accounts: list[Account], table: Mapping[str, Record]) -> str:
    """That the estimates are good ones; returns how good, which `pytest -s` shows."""
    broken = [account for account in accounts if not account.exact]
    guessed = [account for account in broken if not account.prompt_told]
    pairs = [(account.line["tokens"]["prompt"], prompt_of(account.bill)) for account in guessed]
    errors = sorted(abs(guess - billed) / billed for guess, billed in pairs)
    prompts = Decimal(sum(guess for guess, _ in pairs)) / sum(billed for _, billed in pairs) - 1
    untaught = [abs(len(account.done.asked.body) / 4 / prompt_of(account.bill) - 1) for account in guessed]
    for account in broken:
        # Reasoning is billed and not shown, or as a summary of another length: nobody can guess it.
        seen, billed = account.line["tokens"]["completion"], account.bill.output_tokens
        assert seen == billed or account.bill.reasoning_tokens > 0, account
    of_broken, of_all = (off_by(each, table) for each in (broken, accounts))
    assert median(errors) < 0.05
    assert abs(prompts) < 0.1
    assert -0.5 < of_broken < 1  # how much of a prompt was in the provider's cache is anybody's guess
    assert abs(of_all) < 0.05
    return (
        f"{len(accounts)} went to a provider; {len(accounts) - len(broken)} whole, {len(broken)} broken off ("
        f"{sum(account.done.aborted for account in broken)} by their clients): "
        f"{len(broken) - len(guessed)} with the prompt told, {len(guessed)} with the prompt estimated. Error of one: "
        f"median {median(errors):.1%} (by four bytes a token {median(untaught):.1%}), nine in ten below "
        f"{errors[len(errors) * 9 // 10]:.0%}; of all {prompts:+.1%}. Of the cost of those broken "
        f"off {of_broken:+.0%}, of the cost of all requests {of_all:+.2%}"
    )


def off_by(accounts: list[Account], table: Mapping[str, Record]) -> Decimal:
    """What is wrong with the sum of their costs, as a part of it."""
    said, billed = Decimal(0), Decimal(0)
    for account in accounts:
        truth = cost(account.bill, table.get(account.bill.model, {}))
        if truth is not None:
            said += account.line["cost_usd"]
            billed += truth
    return said / billed - 1
