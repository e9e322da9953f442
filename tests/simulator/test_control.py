"""What the simulator shows of itself, and what can be asked of it while it runs."""

import asyncio
import base64
from typing import Any

import pytest

from llm_edge_agent.http.messages import Complete, Request
from llm_edge_agent.simulator import Behaviour, Limits, Simulator
from llm_edge_agent.simulator.behaviour import QuotaWindow
from llm_edge_agent.simulator.exchange_log import ExchangeLog
from tests.simulator.direct import CHAT, MESSAGES, OPENAI_KEY, Got, ask, chat, message, request, simulator, started


async def control(sim: Simulator, part: str, body: Any = b"", method: str = "GET", query: str = "") -> Got:
    asked = request(f"/simulator/{part}", body, {}, method)
    reply = sim.handle(Request(method, asked.path, query, asked.headers, body=asked.body))
    assert isinstance(reply, Complete)
    return Got(reply.status, {}, reply.body)


@pytest.mark.parametrize("part", ["billing", "exchanges", "behaviour"])
async def test_nothing_is_shown_unless_asked_for(part: str) -> None:
    sim = simulator()
    assert (await ask(sim, f"/simulator/{part}", b"", method="GET")).status == 404
    await ask(sim, CHAT, chat())
    assert len(sim.exchanges) == 0


async def test_billing() -> None:
    sim = simulator(record=True)
    first = await ask(sim, CHAT, chat())
    await ask(sim, CHAT, chat("[[sim: status=500]]"))
    second = await ask(sim, MESSAGES, message())
    shown = (await control(sim, "billing")).json
    assert [bill["request_id"] for bill in shown["billed"]] == [
        first.headers["x-request-id"],
        second.headers["request-id"],
    ]
    assert (shown["total"], shown["open"]) == (2, 0)
    assert shown["billed"][0]["output_tokens"] == first.json["usage"]["completion_tokens"]
    assert shown["billed"][1]["path"] == MESSAGES
    assert shown["billed"][1]["completed"] is True
    assert len((await control(sim, "billing", query="after=1")).json["billed"]) == 1
    assert (await control(sim, "billing", query="after=2")).json["billed"] == []
    assert (await control(sim, "billing", query="after=x")).status == 400
    await control(sim, "billing", method="DELETE")
    assert (await control(sim, "billing")).json == {"billed": [], "total": 0, "open": 0}
    assert sim.calls == 3


async def test_exchanges_byte_for_byte() -> None:
    sim = simulator(record=True)
    raw = b'{ "model":"gpt-4o" ,"messages":[{"content":"h\\u00e9","role":"user"}] }'
    whole = await ask(sim, CHAT, raw, {**OPENAI_KEY, "x-own": "a,  b"})
    streamed = await ask(sim, MESSAGES, message(stream=True))
    refused = await ask(sim, CHAT, b"{")
    entries = (await control(sim, "exchanges")).json["exchanges"]
    assert base64.b64decode(entries[0]["body_base64"]) == raw
    assert ["x-own", "a,  b"] in entries[0]["headers"]
    assert [base64.b64decode(entry["answer_base64"]) for entry in entries] == [whole.body, streamed.body, refused.body]
    assert [(entry["status"], entry["end"]) for entry in entries] == [(200, "complete")] * 2 + [(400, "complete")]
    assert ["request-id", streamed.headers["request-id"]] in entries[1]["answer_headers"]
    asked = Request("GET", "/v1/models", "limit=1&x=%20", {b"authorization": b"Bearer k"})
    sim.handle(asked)
    assert (await control(sim, "exchanges")).json["exchanges"][-1]["target"] == "/v1/models?limit=1&x=%20"
    await control(sim, "exchanges", method="DELETE")
    assert (await control(sim, "exchanges")).json["exchanges"] == []


async def test_the_end_of_an_exchange_is_told() -> None:
    sim = simulator(record=True, tokens_per_s=1000.0)
    await ask(sim, CHAT, chat("[[sim: fail_after=1, tokens=9]]", stream=True))
    reply, _ = await started(sim, CHAT, chat("[[sim: tokens=1000]]", stream=True))
    reply.pause()
    reply.resume()
    open_ones = (await control(sim, "exchanges")).json
    assert (open_ones["open"], open_ones["exchanges"][-1]["end"]) == (1, "open")
    reply.abort("client_gone")
    waiting = asyncio.ensure_future(ask(sim, CHAT, chat("[[sim: latency=9]]")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    entries = (await control(sim, "exchanges")).json["exchanges"]
    assert [entry["end"] for entry in entries] == ["cut", "aborted", "aborted"]


def test_the_log_is_bounded() -> None:
    log = ExchangeLog(max_exchanges=3, max_bytes=100)
    for _ in range(5):
        log.follow(Request("POST", "/", "", {}, body=b"x"), "r", Complete(200, b"", b"y"))
    assert len(log) == 3
    log.follow(Request("POST", "/", "", {}, body=b"x" * 99), "r", Complete(200, b"", b"y" * 99))
    assert len(log) == 1


async def test_behaviour_changes_at_run_time() -> None:
    sim = simulator(record=True)
    assert (await ask(sim, CHAT, chat())).status == 200
    set_to = (await control(sim, "behaviour", {"error_rate": 1, "status": 503}, "POST")).json
    assert (set_to["error_rate"], set_to["status"], set_to["latency_factor"]) == (1.0, 503, 1.0)
    got = await ask(sim, CHAT, chat())
    assert (got.status, got.headers["retry-after"]) == (503, "1")
    assert (await ask(sim, "/v1/models", b"", method="GET")).status == 200
    await control(sim, "behaviour", {"retry_after_s": 2.5}, "POST")
    assert (await ask(sim, MESSAGES, message())).headers["retry-after"] == "2.5"
    assert (await control(sim, "behaviour")).json["error_rate"] == 1
    await control(sim, "behaviour", method="DELETE")
    assert (await ask(sim, CHAT, chat())).status == 200
    wrongs: list[Any] = [b"{", {"error_rate": 2}, {"unknown": 1}, [], {"requests": {"limit": 1}}]
    for wrong in wrongs:
        refused = await control(sim, "behaviour", wrong, "POST")
        assert refused.status == 400
        assert refused.json["error"]
    assert (await control(sim, "behaviour", method="PUT")).status == 404


async def test_latency() -> None:
    sim = simulator(latency_s=20.0)
    sim.behave(Behaviour(latency_factor=0))
    await asyncio.wait_for(ask(sim, CHAT, chat("[[sim: chunk_delay=20]]", stream=True)), 5)
    sim.behave(Behaviour(latency_s=0.05, latency_factor=2))
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await ask(sim, CHAT, chat())
    assert 0.1 <= loop.time() - began_s < 5


async def test_a_quota() -> None:
    sim = simulator()
    sim.behave(Behaviour(quota_per_minute=2))
    left = [await ask(sim, CHAT, chat()) for _ in range(3)]
    assert [got.status for got in left] == [200, 200, 429]
    assert [got.headers["x-ratelimit-remaining-requests"] for got in left] == ["1", "0", "0"]
    assert left[0].headers["x-ratelimit-limit-requests"] == "2"
    assert 55 <= int(left[2].headers["retry-after"]) <= 60
    claude = await ask(sim, MESSAGES, message())
    assert (claude.status, claude.headers["anthropic-ratelimit-requests-remaining"]) == (429, "0")
    window = QuotaWindow()
    assert window.limits(1, 0.0) == Limits(1, 1, 60.0)
    assert [window.take(1, at_s) for at_s in (0.0, 59.0, 60.0)] == [True, False, True]


async def test_rate_limit_headers() -> None:
    sim = simulator()
    sim.behave(Behaviour(requests=Limits(100, 7, 90.5), tokens=Limits(5000, 12, 0.25)))
    openai = (await ask(sim, CHAT, chat())).headers
    assert [openai[f"x-ratelimit-{part}-requests"] for part in ("limit", "remaining", "reset")] == [
        "100",
        "7",
        "1m30.5s",
    ]
    assert [openai[f"x-ratelimit-{part}-tokens"] for part in ("limit", "remaining", "reset")] == ["5000", "12", "250ms"]
    claude = (await ask(sim, MESSAGES, message())).headers
    assert claude["anthropic-ratelimit-requests-remaining"] == "7"
    assert claude["anthropic-ratelimit-input-tokens-limit"] == "5000"


async def test_a_request_may_fail_by_its_own_odds() -> None:
    sim = simulator(seed=5)
    statuses = [(await ask(sim, CHAT, chat("[[sim: error_rate=0.5]]"))).status for _ in range(60)]
    assert set(statuses) == {200, 429, 500, 503}
    named = [(await ask(sim, MESSAGES, message("[[sim: error_rate=0.5, status=529]]"))).status for _ in range(60)]
    assert set(named) == {200, 529}
