"""Failures that pass, and failures that stay: repeats within bounds, breakers, and what the client is told."""

import asyncio
import time

from tests.canaries import ANSWER_CANARY
from tests.e2e.raw_client import streamed_text
from tests.e2e.running_gateway import ask, eventually
from tests.e2e.scripted_upstream import (
    Line,
    Script,
    completion,
    either,
    event,
    failure,
    hang,
    reply,
    says,
    says_once,
    streams,
    whole_stream,
)
from tests.faults.conftest import Bench

WELL = either(reply(completion()), whole_stream())


def in_turn(*scripts: Script) -> Script:
    """Each request the next script; the last one goes on."""
    left = list(scripts)

    async def script(line: Line) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(line)

    return script


async def test_a_failure_that_passes_is_repeated_and_not_seen(bench: Bench) -> None:
    upstream, gateway = await bench.pair(in_turn(says_once(b"", reset=True), says(failure(500)), WELL), max_retries=2)
    answer = await gateway.chat()
    assert (answer.status, answer.headers["x-llm-edge-attempts"], upstream.calls) == (200, "3", 3)
    assert "x-should-retry" not in answer.headers


async def test_repeats_end_and_the_client_is_told_not_to_go_on(bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(failure(503, "no", "x-should-retry: true")), max_retries=2)
    began_s = time.monotonic()
    answer = await gateway.chat()
    assert (answer.status, answer.headers["x-should-retry"], upstream.calls) == (503, "false", 3)
    assert answer.headers["x-llm-edge-attempts"] == "3"
    assert time.monotonic() - began_s < 2.5
    (line,) = await gateway.logged('"event":"request"')
    assert (line["attempts"], line["error_type"]) == (3, "overloaded")


async def test_a_provider_that_forbids_repeats_is_obeyed(bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(failure(500, "no", "x-should-retry: false")), max_retries=2)
    answer = await gateway.chat()
    assert (answer.status, upstream.calls) == (502, 1)


async def test_a_short_wait_that_was_asked_for_is_waited(bench: Bench) -> None:
    limited = says(failure(429, "slow down", "retry-after-ms: 300"))
    upstream, gateway = await bench.pair(in_turn(limited, WELL), max_retries=2)
    began_s = time.monotonic()
    assert (await gateway.chat()).status == 200
    assert upstream.calls == 2
    assert time.monotonic() - began_s >= 0.3


async def test_a_long_wait_is_the_clients(bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(failure(429, "slow down", "Retry-After: 17")), max_retries=2)
    answer = await gateway.chat()
    assert (answer.status, answer.headers["retry-after"], upstream.calls) == (429, "17", 1)
    assert "x-should-retry" not in answer.headers


async def test_an_error_before_the_first_content_is_repeated_with_its_real_status_in_the_end(bench: Bench) -> None:
    role = event({"role": "assistant", "content": ""})
    broken = streams([role, b'data: {"error":{"message":"The server had an error","type":"server_error"}}\n\n'])
    upstream, gateway = await bench.pair(in_turn(broken, WELL), max_retries=1)
    answer = await gateway.chat(ask(stream=True))
    assert streamed_text(answer.events) == f"{ANSWER_CANARY} and more"
    assert upstream.calls == 2
    upstream.script = broken
    answer = await gateway.chat(ask("again", stream=True))
    assert answer.status == 502
    assert upstream.calls == 4


async def test_nothing_is_repeated_once_the_client_left(bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(failure(500)), max_retries=10)
    async with asyncio.timeout(5):
        asking = asyncio.ensure_future(gateway.chat())
        await eventually(lambda: upstream.calls >= 1)
        asking.cancel()
    await asyncio.sleep(0.2)
    calls = upstream.calls
    await asyncio.sleep(1.0)
    assert upstream.calls == calls


async def test_a_breaker_opens_answers_at_once_probes_and_closes(bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(failure(500)), breaker_failures=3, breaker_timeout_s=0.5)
    for _ in range(3):
        assert (await gateway.chat()).status == 502
    began_s = time.monotonic()
    refused = [await gateway.chat() for _ in range(20)]
    assert time.monotonic() - began_s < 0.4
    assert upstream.calls == 3
    assert {(answer.status, answer.json["error"]["code"]) for answer in refused} == {(503, "circuit_open")}
    assert refused[0].headers["retry-after"] == "1"
    assert refused[0].headers["x-llm-edge-attempts"] == "0"
    await asyncio.sleep(0.6)
    assert (await gateway.chat()).status == 502
    assert (await gateway.chat()).status == 503
    assert upstream.calls == 4
    upstream.script = WELL
    await asyncio.sleep(0.6)
    assert (await gateway.chat()).status == 200
    assert (await gateway.chat(ask("more"))).status == 200


async def test_a_probe_whose_client_leaves_does_not_wedge_the_breaker(bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(failure(500)), breaker_failures=1, breaker_timeout_s=0.3)
    await gateway.chat()
    await asyncio.sleep(0.4)
    for stream in (False, True):
        upstream.script = hang
        calls = upstream.calls
        probing = asyncio.ensure_future(gateway.chat(ask(stream=stream)))
        await eventually(lambda calls=calls: upstream.calls == calls + 1)  # type: ignore[misc]  # mypy cannot infer the default
        assert (await gateway.chat(ask("another"))).json["error"]["code"] == "circuit_open"
        probing.cancel()
        await eventually(lambda: upstream.exchanges_open == 0)
    upstream.script = WELL
    assert (await gateway.chat()).status == 200


async def test_refusals_of_requests_open_no_breaker(bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(failure(400)), breaker_failures=2)
    for _ in range(6):
        assert (await gateway.chat()).status == 400
    upstream.script = WELL
    assert (await gateway.chat()).status == 200
