"""Replaying a log: the arithmetic, against cases that can be worked out by hand."""

import json
from typing import Any, Literal

import msgspec
import pytest

from llm_edge_agent.core.cache_policy import Policies, Policy, PolicyRule
from llm_edge_agent.core.models import table_from_document
from llm_edge_agent.core.routing import Account, Directory
from llm_edge_agent.data import model_document
from llm_edge_agent.workloads import generate
from llm_edge_agent.workloads.records import LoggedRequest, LoggedUsage
from llm_edge_agent.workloads.simulation import Log, Outcome, prepare, repeats, replay

DIRECTORY = Directory(
    table_from_document(model_document(())),
    [Account("openai", "openai"), Account("anthropic", "anthropic")],
    {"fast": "gpt-5.4-mini"},
)
USAGE = LoggedUsage(1000, 100)
COST = 1000 * 750_000 + 100 * 4_500_000
"""Of a request with that usage, in picodollars."""


def asked(
    text: str = "Hi",
    time: float | None = 0.0,
    tenant: str = "default",
    *,
    usage: LoggedUsage | None = USAGE,
    cost_usd: float | None = None,
    **members: Any,
) -> LoggedRequest:
    request = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": text}], **members}
    raw = msgspec.Raw(json.dumps(request).encode())
    return LoggedRequest(request=raw, time=time, tenant=tenant, usage=usage, cost_usd=cost_usd)


def prepared(*records: LoggedRequest, policy: Policy = "all", scope: Literal["tenant", "global"] = "tenant") -> Log:
    return prepare(records, DIRECTORY, policies=Policies(policy), scope=scope)


def run(log: Log, *, entries: int = 100, ttl_s: float = 300, idle_s: float = 300) -> Outcome:
    return replay(log.asked, max_entries=entries, max_bytes=2**20, ttl_s=ttl_s, idle_s=idle_s)


def test_what_repeats_is_saved() -> None:
    log = prepared(asked(), asked(stream=True, user="me"), asked("Ho"), asked())
    assert run(log) == repeats(log.asked) == (4, 4, 2, 4 * COST, 2 * COST)
    assert run(log).hit_rate == 0.5
    assert run(log).saved_share == 0.5


@pytest.mark.parametrize(
    ("times", "ttl_s", "idle_s", "hits"),
    [
        ((0, 299), 300, 300, 1),
        ((0, 300), 300, 300, 0),
        ((0, 100, 250), 300, 120, 1),
        ((0, 100, 200, 299), 300, 120, 3),
        ((0, 200, 400), 300, 300, 1),
        ((0, 301, 600), 300, 300, 1),
    ],
)
def test_expiry_is_by_the_logs_clock(times: tuple[float, ...], ttl_s: float, idle_s: float, hits: int) -> None:
    log = prepared(*(asked(time=float(time)) for time in times))
    assert run(log, ttl_s=ttl_s, idle_s=idle_s).hits == hits


def test_requests_are_taken_in_the_order_of_their_times() -> None:
    log = prepared(asked(time=400.0), asked(time=0.0), asked(time=100.0))
    assert run(log).hits == 1
    assert log.timed
    assert not prepared(asked(time=None)).timed


def test_tenants_share_nothing_unless_they_are_to() -> None:
    records = [asked(tenant="a"), asked(tenant="b")]
    assert run(prepared(*records)).hits == 0
    assert run(prepared(*records, scope="global")).hits == 1


def test_the_policy_is_the_gateways() -> None:
    records = [asked(), asked(), asked(seed=1), asked(seed=1)]
    assert run(prepared(*records)).hits == 2
    assert run(prepared(*records, policy="deterministic"))[:3] == (4, 2, 1)
    assert run(prepared(*records, policy="off"))[:3] == (4, 0, 0)
    assert repeats(prepared(*records, policy="off").asked)[:3] == (4, 0, 0)


def test_a_policy_may_shorten_the_life_of_a_models_answers() -> None:
    rules = [PolicyRule(("gpt-5.4-*",), None, 50.0), PolicyRule(("gpt-5.5",), "off")]
    records = [asked(model=model, time=time) for model in ("gpt-5.4-mini", "gpt-5.5") for time in (0.0, 40.0, 100.0)]
    log = prepare(records, DIRECTORY, policies=Policies("all", rules), scope="tenant")
    assert run(log)[:3] == (6, 3, 1)


def test_costs_come_from_the_log_else_from_usage_else_from_an_estimate() -> None:
    body = bytes(asked().request)
    log = prepared(asked(cost_usd=0.25), asked(), asked(usage=None), asked(model="gpt-unheard-of"))
    assert [each.cost_picodollars for each in log.asked] == [
        250_000_000_000,
        COST,
        len(body) // 4 * 750_000 + 200 * 4_500_000,
        None,
    ]
    assert (log.unpriced, log.estimated, log.refused) == (1, 1, 0)


def test_what_the_gateway_would_refuse_is_left_out() -> None:
    nonsense = LoggedRequest(request=msgspec.Raw(b'{"messages": 1}'))
    assert prepared(nonsense, asked(model="who-knows"), asked(model="fast")).refused == 2


def test_a_small_cache_keeps_less_than_a_large_one_and_none_more_than_repeats() -> None:
    log = prepare(generate("support-bot", 3000, 5), DIRECTORY, policies=Policies("all"), scope="tenant")
    rates = [run(log, entries=entries, ttl_s=1e6, idle_s=1e6).hit_rate for entries in (20, 100)]
    large = replay(log.asked, max_entries=10_000, max_bytes=2**26, ttl_s=1e6, idle_s=1e6)
    assert rates[0] < rates[1] < large.hit_rate == repeats(log.asked).hit_rate
    told: list[int] = []
    replay(log.asked, max_entries=9, max_bytes=2**20, ttl_s=1, idle_s=1, progress=told.append)
    assert sum(told) == 3000 // 64 * 64


def test_nothing_asked_is_nothing_saved() -> None:
    nothing = run(prepared())
    assert (nothing.hit_rate, nothing.saved_share) == (0.0, 0.0)
