"""Groups of deployments at providers that fail, limit, slow down or refuse: another one answers."""

import asyncio
import json
import random
import time
from collections import Counter
from typing import Any

import pytest

from llm_edge_agent.config import ProviderConfig, Secret
from llm_edge_agent.config.values import DeploymentConfig, DeploymentTimeouts, GroupConfig
from tests.canaries import ANSWER_CANARY, ANTHROPIC_KEY, OPENAI_KEY
from tests.e2e.raw_client import Answer, streamed_text
from tests.e2e.running_gateway import CLAUDE, MODEL, RunningGateway, ask
from tests.e2e.scripted_upstream import (
    SSE_HEAD,
    Line,
    Script,
    ScriptedUpstream,
    chunked,
    completion,
    either,
    event,
    failure,
    hang,
    head,
    pieces,
    reply,
    says,
    says_once,
    streams,
    whole_stream,
)
from tests.faults.conftest import Bench

WELL = either(reply(completion()), whole_stream())
FROM_B = either(reply(completion("from b")), whole_stream(["from", " b"]))


def claude_message(text: str) -> bytes:
    return json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": CLAUDE,
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 9, "output_tokens": 2},
        }
    ).encode()


def place(name: str, model: str = MODEL, **members: Any) -> DeploymentConfig:
    return DeploymentConfig(name=f"{name}/{model}", provider=name, model=model, **members)


async def several(
    bench: Bench, scripts: dict[str, Script], group: GroupConfig | None = None, **changes: Any
) -> tuple[dict[str, ScriptedUpstream], RunningGateway]:
    """Providers by name, and the group `smart` of them all; `claude` speaks Anthropic's dialect."""
    upstreams = {name: await bench.upstream(script) for name, script in scripts.items()}
    providers = tuple(
        ProviderConfig(
            name=name,
            dialect="anthropic" if name == "claude" else "openai",
            base_url=upstream.url if name == "claude" else f"{upstream.url}/v1",
            api_key=Secret(ANTHROPIC_KEY if name == "claude" else OPENAI_KEY),
            auth_header="x-api-key" if name == "claude" else "authorization",
        )
        for name, upstream in upstreams.items()
    )
    listed = tuple(place(name, CLAUDE if name == "claude" else MODEL) for name in scripts)
    if group is None:
        group = GroupConfig(name="smart", strategy="failover", deployments=listed)
    return upstreams, await bench.gateway("http://127.0.0.1:9", providers=providers, groups=(group,), **changes)


def smart(text: str = "hi", **members: Any) -> bytes:
    return ask(text, **{"model": "smart", **members})


def text_of(answer: Answer) -> str:
    assert answer.status == 200, answer.body
    return str(answer.json["choices"][0]["message"]["content"])


BROKEN: dict[str, Script] = {
    "500": says(failure(500)),
    "503": says(failure(503)),
    "429": says(failure(429, "slow", "Retry-After: 30")),
    "quota": says(failure(429, "no money", code="insufficient_quota")),
    "401": says(failure(401)),
    "reset": says_once(b"", reset=True),
    "half a head": says_once(b"HTTP/1.1 200"),
    "half a body": says_once(head(200, "Content-Length: 500") + b'{"id"'),
    "not HTTP": says_once(b"SSH-2.0-x\r\n"),
    "a page": says(reply(b"<html>", content_type="text/html")),
    "an error object": says(reply(b'{"error":{"message":"x"}}')),
    "a redirect": says(reply(b"", 302, "Location: http://127.0.0.1:1/")),
    "404": says(failure(404, "The model does not exist", code="model_not_found")),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("stream", [False, True])
async def test_another_deployment_answers(name: str, stream: bool, bench: Bench) -> None:
    upstreams, gateway = await several(bench, {"a": BROKEN[name], "b": FROM_B})
    answer = await gateway.chat(smart(stream=stream))
    assert answer.status == 200
    assert (streamed_text(answer.events) if stream else text_of(answer)) == "from b"
    assert (upstreams["a"].calls, upstreams["b"].calls) == (1, 1)
    assert answer.headers["x-llm-edge-route"] == f"b/{MODEL}; group=smart; by=failover; try=2"
    assert answer.headers["x-llm-edge-provider"] == "b"
    (line,) = await gateway.logged('"event":"request"')
    assert (line["attempts"], line["provider"], line["status"]) == (2, "b", 200)


async def test_a_provider_of_another_dialect_answers_in_openais_form(bench: Bench) -> None:
    upstreams, gateway = await several(bench, {"a": says(failure(503)), "claude": says(reply(claude_message("Salut")))})
    answer = await gateway.chat(smart())
    assert text_of(answer) == "Salut"
    assert answer.json["object"] == "chat.completion"
    assert upstreams["claude"].received[0].json["model"] == CLAUDE
    assert upstreams["claude"].received[0].target == "/v1/messages"


async def test_a_request_that_is_wrong_is_tried_once(bench: Bench) -> None:
    upstreams, gateway = await several(bench, {"a": says(failure(400, "bad", param="temperature")), "b": WELL})
    answer = await gateway.chat(smart())
    assert (answer.status, answer.json["error"]["param"]) == (400, "temperature")
    assert upstreams["b"].calls == 0


async def test_the_last_error_reaches_the_client_with_its_status(bench: Bench) -> None:
    upstreams, gateway = await several(
        bench, {"a": says(failure(500)), "b": says(failure(429, "later", "Retry-After: 21"))}
    )
    answer = await gateway.chat(smart())
    assert (answer.status, answer.headers["retry-after"], answer.headers["x-llm-edge-attempts"]) == (429, "21", "2")
    assert "x-should-retry" not in answer.headers
    upstreams["b"].script = says(failure(503))
    answer = await gateway.chat(smart("again"))
    assert (answer.status, answer.headers["x-should-retry"]) == (503, "false")


ROLE = event({"role": "assistant", "content": ""})
ERROR_EVENT = b'data: {"error":{"message":"The server had an error","type":"server_error"}}\n\n'

BEFORE_CONTENT: dict[str, Script] = {
    "an error event": streams([ERROR_EVENT]),
    "an error event after the role": streams([ROLE, ERROR_EVENT]),
    "the end": streams([]),
    "the end after the role": streams([ROLE]),
    "a reset": says_once(SSE_HEAD + chunked(ROLE), reset=True),
    "JSON": says(reply(completion())),
}


@pytest.mark.parametrize("name", BEFORE_CONTENT)
async def test_what_breaks_a_stream_before_its_first_content_is_not_seen(name: str, bench: Bench) -> None:
    _, gateway = await several(bench, {"a": BEFORE_CONTENT[name], "b": FROM_B})
    answer = await gateway.chat(smart(stream=True))
    assert streamed_text(answer.events) == "from b"
    assert not any("error" in each for each in answer.events)


async def test_claude_overloaded_after_its_stream_began_to_announce(bench: Bench) -> None:
    start = {"id": "m", "type": "message", "role": "assistant", "model": CLAUDE, "content": [], "usage": {}}
    events = [
        b"event: message_start\ndata: %b\n\n" % json.dumps({"type": "message_start", "message": start}).encode(),
        b'event: ping\ndata: {"type":"ping"}\n\n',
        b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n',
    ]
    _, gateway = await several(bench, {"claude": streams(events, pause_s=0.05), "b": FROM_B})
    answer = await gateway.chat(smart(stream=True))
    assert streamed_text(answer.events) == "from b"


async def test_two_models_are_never_spliced(bench: Bench) -> None:
    broken = streams([*pieces([ANSWER_CANARY]), ERROR_EVENT])
    upstreams, gateway = await several(bench, {"a": broken, "b": FROM_B}, max_retries=2)
    answer = await gateway.chat(smart(stream=True))
    assert streamed_text(answer.events) == ANSWER_CANARY
    assert "error" in answer.events[-1]
    assert (upstreams["a"].calls, upstreams["b"].calls) == (1, 0)


async def test_a_stream_that_only_announces_an_answer_is_not_kept_for_ever(bench: Bench) -> None:
    async def script(line: Line) -> None:
        await line.send(SSE_HEAD + chunked(ROLE))
        await line.left()
        line.finish()

    timeouts = DeploymentTimeouts(first_token_s=0.4)
    group = GroupConfig(name="smart", strategy="failover", deployments=(place("a", timeouts=timeouts), place("b")))
    _, gateway = await several(bench, {"a": hang, "b": FROM_B}, group)
    began_s = time.monotonic()
    answer = await gateway.chat(smart(stream=True))
    assert streamed_text(answer.events) == "from b"
    assert 0.3 < time.monotonic() - began_s < 1.5


async def test_an_attempt_has_its_own_time_and_the_request_has_one_too(bench: Bench) -> None:
    slow = DeploymentTimeouts(attempt_s=0.4)
    group = GroupConfig(name="smart", strategy="failover", deployments=(place("a", timeouts=slow), place("b")))
    upstreams, gateway = await several(bench, {"a": hang, "b": FROM_B}, group)
    assert text_of(await gateway.chat(smart())) == "from b"
    group = GroupConfig(name="smart", strategy="failover", deployments=(place("a"), place("b")))
    upstreams, gateway = await several(bench, {"a": hang, "b": FROM_B}, group, total_timeout_s=0.6)
    began_s = time.monotonic()
    answer = await gateway.chat(smart())
    assert answer.status == 504
    assert time.monotonic() - began_s < 1.5
    assert upstreams["b"].calls == 0


async def test_fallbacks_of_plain_models(bench: Bench) -> None:
    upstream, gateway = await bench.pair(
        says(failure(500)), fallbacks={MODEL: ("gpt-4.1-mini",), "gpt-4.1-mini": ("nobody",)}, max_retries=1
    )

    async def by_model(line: Line) -> None:
        await line.send(failure(500) if line.request.json["model"] == MODEL else reply(completion("other")))

    upstream.script = by_model
    answer = await gateway.chat()
    assert text_of(answer) == "other"
    assert [received.json["model"] for received in upstream.received] == [MODEL, MODEL, "gpt-4.1-mini"]
    assert answer.headers["x-llm-edge-route"].startswith("openai/gpt-4.1-mini; group=gpt-4.1-mini; by=fallback; try=3")
    assert answer.headers["x-llm-edge-model"].startswith("gpt-4.1-mini")
    assert text_of(await gateway.chat()) == "other"
    assert upstream.calls > 3, "another model's answer was stored as this one's"


async def test_a_prompt_too_long_and_a_filter_have_chains_of_their_own(bench: Bench) -> None:
    too_long = says(failure(400, "too long", code="context_length_exceeded"))
    group = GroupConfig(
        name="smart",
        strategy="failover",
        deployments=(place("a"),),
        context_window_fallbacks=("b/long",),
        content_filter_fallbacks=("b/free",),
    )
    upstreams, gateway = await several(bench, {"a": too_long, "b": WELL}, group)
    assert (await gateway.chat(smart())).status == 200
    upstreams["a"].script = says(failure(400, "no", code="content_filter"))
    assert (await gateway.chat(smart("more"))).status == 200
    assert [received.json["model"] for received in upstreams["b"].received] == ["long", "free"]


async def test_a_deployment_is_parked_before_it_refuses(bench: Bench) -> None:
    spent = reply(completion("from a"), 200, "x-ratelimit-remaining-requests: 0", "x-ratelimit-reset-requests: 1s")
    upstreams, gateway = await several(bench, {"a": says(spent), "b": FROM_B})
    assert text_of(await gateway.chat(smart())) == "from a"
    assert text_of(await gateway.chat(smart("2"))) == "from b"
    await asyncio.sleep(1.1)
    assert text_of(await gateway.chat(smart("3"))) == "from a"
    assert (upstreams["a"].calls, upstreams["b"].calls) == (2, 1)


async def test_a_parked_deployment_that_is_the_only_one_is_asked(bench: Bench) -> None:
    upstreams, gateway = await several(bench, {"a": says(failure(429, "slow", "Retry-After: 60"))})
    assert [(await gateway.chat(smart(str(number)))).status for number in range(3)] == [429] * 3
    assert upstreams["a"].calls == 3


async def test_a_dead_key_is_set_aside_and_the_others_go_on(bench: Bench) -> None:
    dead, alive = f"{OPENAI_KEY}-dead", f"{OPENAI_KEY}-alive"

    async def by_key(line: Line) -> None:
        bad = line.request.headers["authorization"].endswith(dead)
        await line.send(failure(401) if bad else reply(completion()))

    upstream = await bench.upstream(by_key)
    provider = ProviderConfig(
        name="openai",
        dialect="openai",
        base_url=f"{upstream.url}/v1",
        api_key=Secret(dead),
        more_keys=(Secret(alive),),
    )
    gateway = await bench.gateway("http://127.0.0.1:9", providers=(provider,))
    answers = [await gateway.chat(ask(str(number))) for number in range(6)]
    assert {answer.status for answer in answers} == {200}
    keys = Counter(received.headers["authorization"].endswith(dead) for received in upstream.received)
    assert (keys[True], keys[False]) == (1, 6)
    bench.upstreams.clear()  # its requests hold keys that are no canaries of the bench


async def test_a_third_of_failures_is_hardly_seen(bench: Bench) -> None:
    """One of two providers fails 30 % at random."""
    dice = random.Random(7)

    async def flaky(line: Line) -> None:
        await line.send(failure(500) if dice.random() < 0.3 else reply(completion()))

    upstreams, gateway = await several(
        bench,
        {"a": flaky, "b": WELL},
        GroupConfig(name="smart", strategy="round_robin", deployments=(place("a"), place("b"))),
        max_retries=2,
    )
    asked, statuses = 2000, Counter[int]()

    async def client(numbers: range) -> None:
        for number in numbers:
            statuses[(await gateway.chat(smart(f"q{number}"))).status] += 1

    await asyncio.gather(*(client(range(start, asked, 20)) for start in range(20)))
    calls = upstreams["a"].calls + upstreams["b"].calls
    assert statuses[200] >= 0.999 * asked
    assert calls <= 1.5 * asked


async def test_a_total_outage_is_answered_fast_not_multiplied_and_over_when_it_is_over(bench: Bench) -> None:
    upstreams, gateway = await several(
        bench, {"a": says(failure(500)), "b": says(failure(503))}, max_retries=2, breaker_timeout_s=2.0
    )
    for number in range(10):
        assert (await gateway.chat(smart(f"w{number}"))).status >= 500
    calls = sum(each.calls for each in upstreams.values())
    began_s = time.monotonic()
    answers = [await gateway.chat(smart(f"o{number}")) for number in range(200)]
    took_s = time.monotonic() - began_s
    assert {answer.status for answer in answers} == {503}
    assert answers[-1].json["error"]["code"] == "no_healthy_upstream"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert took_s / 200 < 0.02
    assert sum(each.calls for each in upstreams.values()) - calls <= 1.2 * 200
    for each in upstreams.values():
        each.script = WELL
    well_s = time.monotonic()
    while (await gateway.chat(smart(f"r{time.monotonic()}"))).status != 200:
        assert time.monotonic() - well_s < 3.0
        await asyncio.sleep(0.05)


async def test_a_deployment_that_turns_slow_loses_its_traffic(bench: Bench) -> None:
    pause_s = {"a": 0.02, "b": 0.02}

    def paced(name: str) -> Script:
        async def script(line: Line) -> None:
            await asyncio.sleep(pause_s[name])
            await line.send(reply(completion()))

        return script

    group = GroupConfig(name="smart", strategy="latency", deployments=(place("a"), place("b")))
    upstreams, gateway = await several(bench, {"a": paced("a"), "b": paced("b")}, group)
    until_s = time.monotonic() + 4.0

    async def client(number: int) -> None:
        asked = 0
        while time.monotonic() < until_s:
            asked += 1
            assert (await gateway.chat(smart(f"{number} {asked}"))).status == 200

    clients = [asyncio.ensure_future(client(number)) for number in range(4)]
    await asyncio.sleep(1.2)
    assert min(each.calls for each in upstreams.values()) > 0.2 * sum(each.calls for each in upstreams.values())
    pause_s["a"] = 8 * 0.02
    await asyncio.sleep(1.2)
    before = {name: each.calls for name, each in upstreams.items()}
    await asyncio.gather(*clients)
    since = {name: each.calls - before[name] for name, each in upstreams.items()}
    assert since["a"] < 0.1 * sum(since.values()), since
