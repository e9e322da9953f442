"""After requests of every kind, failures included: no key and no prompt stands anywhere but where it belongs."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_edge_agent.config import OtelConfig
from tests.canaries import ALICE_KEY, BOB_KEY, CANARY_KEYS, CANARY_TEXTS, PROMPT_CANARY
from tests.e2e.collector import Collector
from tests.e2e.raw_client import Answer, request_bytes
from tests.e2e.running_gateway import (
    CLAUDE,
    MODEL,
    TENANTS,
    RunningGateway,
    ask,
    bearer,
    eventually,
    gateway_config,
    running,
)
from tests.e2e.scripted_upstream import (
    LAST_CHUNK,
    SSE_HEAD,
    Line,
    chunked,
    completion,
    failure,
    pieces,
    reply,
    scripted,
    whole_stream,
)

MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": CLAUDE,
    "content": [{"type": "text", "text": CANARY_TEXTS[1]}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 10, "output_tokens": 5},
}
EMBEDDING = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
    "model": "text-embedding-3-small",
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}
FAILURES = ("400", "401", "403", "404", "429", "500", "503", "garbage", "not-http", "reset", "silence", "error-object")


def what(case: str) -> str:
    """A prompt that says what the provider shall do."""
    return f"{PROMPT_CANARY} case={case};"


async def provider(line: Line) -> None:
    """Does what the prompt asks for. Its refusals quote the key that it was shown."""
    request = line.request
    text = request.body.decode()
    case = text.partition("case=")[2].partition(";")[0]
    key = request.headers.get("authorization") or request.headers.get("x-api-key", "")
    if case.isdigit():
        await line.send(failure(int(case), f"Incorrect API key provided: {key}", code=key))
    elif case == "garbage":
        await line.send(reply(f"<html>{key} {text}</html>".encode(), content_type="text/html"))
    elif case == "error-object":
        await line.send(reply(json.dumps({"error": {"message": f"{key} {text}"}}).encode()))
    elif case == "not-http":
        await line.send(f"{key} {text}\r\n\r\n".encode())
        line.finish()
    elif case == "reset":
        line.reset()
    elif case == "silence":
        await line.left()
        line.finish()
    elif case in ("cut", "stall"):
        await line.send(SSE_HEAD)
        for each in pieces((CANARY_TEXTS[1], " and")):
            await line.send(chunked(each))
        if case == "cut":
            line.reset()
        else:
            await line.left()
            line.finish()
    elif request.target.endswith("/messages"):
        await line.send(reply(json.dumps(MESSAGE).encode()))
    elif request.target.endswith("/count_tokens"):
        await line.send(reply(b'{"input_tokens": 3}'))
    elif request.target.endswith("/embeddings"):
        await line.send(reply(json.dumps(EMBEDDING).encode()))
    elif request.json.get("stream"):
        await line.send(SSE_HEAD)
        for each in whole_stream():
            await line.send(chunked(each))
        await line.send(LAST_CHUNK)
    else:
        await line.send(reply(completion()))


def requests() -> list[bytes]:
    """By every door, good and bad."""
    alice, bob = bearer(ALICE_KEY), bearer(BOB_KEY)
    turns = [{"role": "user", "content": what("ok")}]
    claude: dict[str, Any] = {"model": CLAUDE, "max_tokens": 9, "messages": turns}
    odd = {
        "user-agent": PROMPT_CANARY,
        "cookie": f"session={ALICE_KEY}",
        "traceparent": PROMPT_CANARY,
        "tracestate": f"a={ALICE_KEY}",
        "x-request-id": f"not an id: {PROMPT_CANARY}",
        "baggage": f"prompt={PROMPT_CANARY}",
    }
    found = [
        request_bytes(ask(what("ok")), alice),
        request_bytes(ask(what("ok")), alice),
        request_bytes(ask(what("ok")), bob),
        request_bytes(ask(what("ok"), stream=True, tools=[_tool()]), {**alice, **odd}),
        request_bytes(json.dumps(claude).encode(), {"x-api-key": ALICE_KEY}, path="/v1/messages"),
        request_bytes(json.dumps(claude).encode(), alice, path="/v1/messages/count_tokens"),
        request_bytes(ask(what("ok"), model=CLAUDE), alice),
        request_bytes(_embedding(), alice, path="/v1/embeddings"),
        request_bytes(json.dumps({"model": MODEL, "input": what("ok")}).encode(), alice, path="/v1/responses"),
        request_bytes(b"", alice, path="/v1/models", method="GET"),
        # Not let in, and not understood.
        request_bytes(ask(what("ok")), bearer(f"wrong-{PROMPT_CANARY}")),
        request_bytes(ask(what("ok")), {"x-api-key": CANARY_KEYS[0]}),
        request_bytes(b'{"messages": "%b' % PROMPT_CANARY.encode(), alice),
        request_bytes(json.dumps({"model": MODEL, "messages": PROMPT_CANARY}).encode(), alice),
        request_bytes(ask(what("ok"), temperature=PROMPT_CANARY), alice),
        request_bytes(ask(what("ok")), {**alice, "content-type": PROMPT_CANARY}, method="PUT"),
        b"GET /%b HTTP/9.9\r\nauthorization: Bearer %b\r\n\r\n" % (PROMPT_CANARY.encode(), ALICE_KEY.encode()),
    ]
    for number, case in enumerate(FAILURES):
        found.append(request_bytes(ask(what(case), stream=number % 2 == 0), alice))
        found.append(request_bytes(ask(what(case), model=CLAUDE), bob))
    return [*found, *(request_bytes(ask(what(case), stream=True), alice) for case in ("cut", "stall"))]


def _tool() -> dict[str, Any]:
    return {"type": "function", "function": {"name": "find", "description": PROMPT_CANARY, "parameters": {}}}


def _embedding() -> bytes:
    return json.dumps({"model": "text-embedding-3-small", "input": [what("ok")]}).encode()


async def leave(gateway: RunningGateway, data: bytes) -> None:
    """Asks, and goes away before the answer."""
    async with gateway.connect() as wire:
        await wire.send(data)
        await asyncio.sleep(0.05)
        wire.reset()


def holding(text: bytes, words: tuple[str, ...]) -> list[str]:
    return [word for word in words if word.encode() in text]


async def test_no_key_and_no_prompt_is_left_behind(tmp_path: Path) -> None:
    collector = Collector()
    log, ledger = tmp_path / "gateway.log", tmp_path / "ledger.db"
    log.touch()
    async with scripted(collector.script) as receiver, scripted(provider) as upstream:
        config = replace(
            gateway_config(upstream.url),
            auth_enabled=True,
            keys=TENANTS,
            ledger_path=str(ledger),
            log_level="debug",
            max_retries=0,
            breaker_failures=10**6,
            attempt_timeout_s=0.5,
            stream_idle_timeout_s=0.5,
            otel=OtelConfig(endpoint=receiver.url, delay_ms=50, metric_interval_ms=200),
        )
        asked = requests()
        async with running(config, str(log)) as gateway:
            answers: list[Answer] = [await gateway.exchange(each) for each in asked]
            await leave(gateway, request_bytes(ask(what("silence")), bearer(ALICE_KEY)))
            await eventually(lambda: gateway.server.in_flight == 0)
            await eventually(lambda: gateway.log().count('"event":"request"') == len(asked) + 1)
            exposed = b"".join(
                gateway.state.metrics.render(accept)[0] for accept in (None, "application/openmetrics-text")
            )
        written = ledger.read_bytes()
    statuses = {answer.status for answer in answers}
    assert {200, 400, 401, 404, 405, 429, 502, 503, 504, 505} <= statuses
    assert len(collector.spans) > len(asked)
    assert collector.metrics
    everything = (*CANARY_KEYS, *CANARY_TEXTS)
    assert holding(log.read_bytes(), everything) == []
    assert holding(exposed, everything) == []
    assert holding(b"".join(collector.bodies), everything) == []
    assert holding(written, everything) == []
    errors = [answer for answer in answers if answer.status >= 400]
    assert [
        found for answer in errors if (found := holding(answer.body + repr(answer.headers).encode(), everything))
    ] == []
    assert holding(b"".join(answer.body for answer in answers), CANARY_KEYS) == []
    assert b"chat" in written
    assert b"attempt failed" in log.read_bytes()
