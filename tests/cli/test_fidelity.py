"""`doctor fidelity`: that it finds nothing, and that it would."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llm_edge_agent.cli.fidelity.cases import LEGACY_GPT, Case, cases
from llm_edge_agent.cli.fidelity.command import plain
from llm_edge_agent.cli.fidelity.comparison import OWN_HEADER, Seen, differences
from llm_edge_agent.cli.fidelity.sending import PATHS, Outcome, Sender
from llm_edge_agent.cli.inprocess import running_gateway, simulated_config
from llm_edge_agent.http.deadlines import running_sweep
from llm_edge_agent.http.origins import Origin
from llm_edge_agent.http.pool import UpstreamPool
from llm_edge_agent.simulator import RunningSimulator, SimulatorSettings, start_simulator
from tests.cli.programs import call, program
from tests.cli.test_mock import FAST, base_urls
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import gateway_config, running
from tests.e2e.scripted_upstream import SSE_HEAD, Line, chunked, scripted

KEY = "a-key"


@pytest.fixture
async def simulator() -> AsyncIterator[RunningSimulator]:
    found = await start_simulator(SimulatorSettings(record=True, extra_models=(LEGACY_GPT,)))
    yield found
    await found.stop()


@pytest.fixture
async def pool() -> AsyncIterator[UpstreamPool]:
    found = UpstreamPool(sweep=running_sweep(), max_response_bytes=1 << 30)
    yield found
    await found.close()


async def outcomes(pool: UpstreamPool, gateway: str, simulator: str, chosen: list[Case]) -> list[Outcome]:
    sender = Sender(pool, Origin.from_url(gateway), Origin.from_url(simulator), KEY)
    return [outcome async for outcome in sender.outcomes(chosen)]


async def test_every_byte_arrives_at_every_door(simulator: RunningSimulator, pool: UpstreamPool) -> None:
    """And once more with each stream told byte by byte, as no network cuts it and any might."""
    told: dict[bytes, bytes] = {}
    async with running_gateway(plain(simulated_config(simulator))) as gateway:
        address = f"http://127.0.0.1:{gateway.port}"
        sender = Sender(pool, Origin.from_url(address), Origin.from_url(simulator.url_anthropic), KEY)
        found = []
        async for outcome in sender.outcomes(cases()):
            found.append(outcome)
            (exchange,) = simulator.simulator.exchanges.to_json()
            if outcome.case.stream and outcome.status == 200:
                told[outcome.case.body] = base64.b64decode(exchange["answer_base64"])
    assert [outcome.differences for outcome in found] == [()] * len(found)
    assert {outcome.case.door for outcome in found} == set(PATHS)
    assert {outcome.status for outcome in found} == {200, 400, 429, 500, 529}
    assert len(found) > len(cases())

    async def script(line: Line) -> None:
        raw = told[line.request.body]
        framed = b"".join([chunked(raw[i : i + 1]) for i in range(len(raw))]) + b"0\r\n\r\n"
        await line.send(SSE_HEAD)
        await line.drip(framed, size=1 if len(raw) < 600 else 61)

    async with scripted(script) as upstream, running(gateway_config(upstream.url, response_metadata="off")) as second:
        for outcome in found:
            if outcome.case.stream and outcome.status == 200:
                path = PATHS[outcome.case.door] + (f"?{outcome.case.query}" if outcome.case.query else "")
                answer = await second.exchange(request_bytes(outcome.case.body, outcome.case.headers, path=path))
                assert answer.body == told[outcome.case.body], outcome.case.name
                assert upstream.received[-1].body == outcome.case.body


CASE = Case(door="messages", name="n", body=b'{"a": 1}', headers={"anthropic-beta": "b"}, query="beta=true")
PROVIDER = Seen(
    target="/v1/messages?beta=true",
    headers={"anthropic-beta": "b", "x-api-key": "theirs"},
    body=CASE.body,
    status=200,
    answer_headers={"x-should-retry": "true", "anthropic-ratelimit-a": "1", "retry-after": "7", "server": "s"},
    answer=b'{"b": 2}',
)
CLIENT = replace(PROVIDER, headers={"anthropic-beta": "b", "authorization": f"Bearer {KEY}", OWN_HEADER: "stays"})


def test_what_is_the_same_is_found_to_be() -> None:
    assert differences(CASE, KEY, CLIENT, PROVIDER) == []


CHANGES: list[tuple[str, Callable[[Seen, Seen], tuple[Seen, Seen]]]] = [
    ("request: 8 bytes became 7; at 5:", lambda c, p: (c, replace(p, body=b'{"a":1}'))),
    ("request: 8 bytes became 9; at 8:", lambda c, p: (c, replace(p, body=p.body + b" "))),
    ("the provider was asked for /v1/messages", lambda c, p: (c, replace(p, target="/v1/messages"))),
    ("anthropic-beta arrived as None", lambda c, p: (c, replace(p, headers={}))),
    ("a header that is none", lambda c, p: (c, replace(p, headers={**p.headers, OWN_HEADER: "stays"}))),
    ("the gateway's own key", lambda c, p: (c, replace(p, headers={**p.headers, "x-api-key": KEY}))),
    ("the provider answered 404", lambda c, p: (replace(c, status=404), replace(p, status=404))),
    ("the provider's status 200 arrived as 502", lambda c, p: (replace(c, status=502), p)),
    ("answer: 8 bytes became 7", lambda c, p: (replace(c, answer=b'{"b":2}'), p)),
    ("the provider's x-should-retry arrived as None", lambda c, p: (replace(c, answer_headers={"anthropic-ratelimit-a":
     "1", "retry-after": "7"}), p)),
    ("retry-after 7 arrived as '8'", lambda c, p: (replace(c, answer_headers={**c.answer_headers, "retry-after": "8"}),
     p)),
]  # fmt: skip


@pytest.mark.parametrize(("words", "change"), CHANGES, ids=[words for words, _ in CHANGES])
def test_what_differs_is_found(words: str, change: Callable[[Seen, Seen], tuple[Seen, Seen]]) -> None:
    (found,) = differences(CASE, KEY, *change(CLIENT, PROVIDER))
    assert found.startswith(words)


def test_only_chat_carries_metadata() -> None:
    spliced = b'{"b": 2,"metadata":{"provider":"p","cached":false,"cost_usd":null}}'
    client = replace(CLIENT, answer=spliced)
    assert differences(replace(CASE, door="chat"), KEY, client, PROVIDER) == []
    assert len(differences(CASE, KEY, client, PROVIDER)) == 1


async def test_a_gateway_that_tidies_up_is_caught(simulator: RunningSimulator, pool: UpstreamPool) -> None:
    """A renaming alias stands for one: it changes the bytes on their way up."""
    config = replace(simulated_config(simulator), aliases={"mine": "claude-haiku-4-5"})
    case = replace(cases()[0], body=cases()[0].body.replace(b'"claude-haiku-4-5"', b'"mine"'))
    async with running_gateway(config) as gateway:
        (found,) = await outcomes(pool, f"http://127.0.0.1:{gateway.port}", simulator.url_anthropic, [case])
    assert [each.partition(":")[0] for each in found.differences] == ["request"]


async def test_what_never_arrived_is_a_difference(simulator: RunningSimulator, pool: UpstreamPool) -> None:
    case = replace(cases()[0], body=b'{"model":"no-such-model"}')
    async with running_gateway(simulated_config(simulator)) as gateway:
        address = f"http://127.0.0.1:{gateway.port}"
        (refused,) = await outcomes(pool, address, simulator.url_anthropic, [case])
        assert refused.differences[0].startswith("0 requests reached the simulator")
        (astray,) = await outcomes(pool, address, address, cases()[:1])
        assert "no simulator that records" in astray.differences[0]
    (silent,) = await outcomes(pool, "http://127.0.0.1:9", simulator.url_anthropic, cases()[:1])
    assert (silent.status, silent.differences[0].startswith("no answer")) == (None, True)


def test_the_command(tmp_path: Path) -> None:
    table = call(tmp_path, "doctor", "fidelity")
    assert table.returncode == 0
    assert "byte for byte" in table.stdout
    assert "differs" not in table.stdout
    assert table.stderr == ""
    document = call(tmp_path, "doctor", "fidelity", "--json")
    found: Any = json.loads(document.stdout)
    assert (document.returncode, found["same"]) == (0, True)
    assert {row["door"] for row in found["requests"]} == set(PATHS)


def test_a_running_gateway_that_leads_elsewhere(tmp_path: Path) -> None:
    with program(tmp_path, "mock", "--record", "--port", "0", *FAST) as simulator:
        address = base_urls(simulator.wait_for("ANTHROPIC_BASE_URL="))["ANTHROPIC_BASE_URL"]
        done = call(tmp_path, "doctor", "fidelity", "--gateway", "http://127.0.0.1:9", "--simulator", address)
    assert done.returncode == 1
    assert "no answer" in done.stdout
    alone = call(tmp_path, "doctor", "fidelity", "--gateway", "http://127.0.0.1:9")
    assert alone.returncode == 2
