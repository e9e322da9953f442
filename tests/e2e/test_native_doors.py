"""The native doors over real sockets: bytes through, the gateway's own words in the caller's dialect, the cache."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from llm_edge_agent.config import Secret, ServerLimits
from llm_edge_agent.gateway import relay
from tests.canaries import ALICE_KEY, ANTHROPIC_KEY, BOB_KEY, OPENAI_KEY, PROMPT_CANARY, key_of
from tests.dialects.native_samples import (
    COMPLETION,
    MESSAGE,
    RESPONSE,
    completion_events,
    completion_usage,
    message_events,
    named,
    nameless,
    response_events,
)
from tests.e2e.raw_client import Answer, request_bytes
from tests.e2e.running_gateway import CLAUDE, MODEL, TENANTS, RunningGateway, eventually, gateway_config, running
from tests.e2e.scripted_upstream import (
    SSE_HEAD,
    Script,
    chunked,
    either,
    reply,
    says,
    scripted,
    streams,
)

EMBEDDING_MODEL = "text-embedding-3-small"
EMBEDDINGS = b'{"object":"list", "data":[{"index":0,"embedding":[0.25]}],"usage":{"prompt_tokens":4,"total_tokens":4}}'


class Door:
    """One door, with a request that it takes and what a provider says to it."""

    def __init__(self, path: str, upstream: str, model: str, members: str, whole: bytes, events: list[bytes]) -> None:
        self.path = path
        self.upstream = upstream
        self.whole = whole
        self.events = events
        self.model = model
        self.members = members

    def body(self, *, stream: bool = False, **changes: Any) -> bytes:
        """Odd but valid JSON: order, white space, digits and unicode that a re-encoding would lose."""
        changed = "".join(f', "{key}": {json.dumps(value)}' for key, value in changes.items())
        model = "" if "model" in changes else f'"model" : "{self.model}",\n'
        text = (
            f' {{ "new_member":{{"z":0.1000000000000000055,"a":[1E2,"\\u017c/\\/"]}}, {model}'
            f'\t"stream":{json.dumps(stream)},{self.members}{changed}}}\r\n'
        )
        return text.encode()

    @property
    def begun(self) -> list[bytes]:
        """The events to the first that holds a piece of the answer: from there on the stream is the client's."""
        first = next(i for i, event in enumerate(self.events) if b'"delta":' in event or b'"text":"' in event)
        return self.events[: first + 1]

    def script(self) -> Script:
        return either(reply(self.whole), self.events)


def pretty(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


DOORS = {
    "messages": Door(
        "/v1/messages?beta=true",
        "/v1/messages?beta=true",
        CLAUDE,
        '"max_tokens":5,"messages":[]',
        pretty(MESSAGE),
        message_events(),
    ),
    "responses": Door(
        "/v1/responses",
        "/v1/responses",
        MODEL,
        f'"store":false,"input":"{PROMPT_CANARY}"',
        pretty(RESPONSE),
        response_events(),
    ),
    "completions": Door(
        "/v1/completions",
        "/v1/completions",
        "gpt-3.5-turbo-instruct",
        f'"n":2,"prompt":"{PROMPT_CANARY}","stream_options":{{"include_usage":true}}',
        pretty(COMPLETION),
        completion_events(),
    ),
    "embeddings": Door(
        "/v1/embeddings", "/v1/embeddings", EMBEDDING_MODEL, f'"input":"{PROMPT_CANARY}"', EMBEDDINGS, []
    ),
    "count_tokens": Door(
        "/v1/messages/count_tokens",
        "/v1/messages/count_tokens",
        CLAUDE,
        '"messages":[]',
        b' {"input_tokens": 12}\n',
        [],
    ),
}
STREAMING = ("messages", "responses", "completions")
doors = pytest.mark.parametrize("name", DOORS)
streaming = pytest.mark.parametrize("name", STREAMING)


async def post(gateway: RunningGateway, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    return await gateway.exchange(request_bytes(body, headers, path=path))


@doors
@pytest.mark.parametrize("stream", [False, True])
async def test_bytes_through_in_both_directions(name: str, stream: bool) -> None:
    door = DOORS[name]
    if stream and not door.events:
        pytest.skip("no streams by this door")
    body = door.body(stream=stream)
    async with scripted(door.script()) as upstream, running(gateway_config(upstream.url)) as gateway:
        answer = await post(gateway, door.path, body, {"anthropic-beta": "a-1,b-2", "anthropic-version": "2026-10-21"})
        assert answer.status == 200
        assert answer.body == (b"".join(door.events) if stream else door.whole)
        received = upstream.received[0]
        assert received.body == body
        assert received.target == door.upstream
        if name in ("messages", "count_tokens"):
            assert received.headers["anthropic-beta"] == "a-1,b-2"
            assert received.headers["anthropic-version"] == "2026-10-21"
            assert answer.headers["request-id"] == answer.headers["x-request-id"]
        else:
            assert "anthropic-beta" not in received.headers
        assert answer.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
        assert answer.headers["x-llm-edge-cache"] == ("bypass" if name == "count_tokens" else "miss")
        assert gateway.metric("llm_edge_requests_total", endpoint=name, status="ok") == 1


@streaming
async def test_a_stream_cut_at_every_byte(name: str) -> None:
    door = DOORS[name]
    raw = b"".join(door.events)

    async def script(line: Any) -> None:
        await line.send(SSE_HEAD)
        await line.drip(b"".join(chunked(raw[i : i + 1]) for i in range(len(raw))) + b"0\r\n\r\n", size=7)

    async with scripted(script) as upstream, running(gateway_config(upstream.url)) as gateway:
        assert (await post(gateway, door.path, door.body(stream=True))).body == raw


@doors
async def test_an_alias_changes_the_name_and_nothing_else(name: str) -> None:
    door = DOORS[name]
    aliases = {"mine": door.model}
    body = door.body(model="mine")
    async with scripted(door.script()) as upstream, running(gateway_config(upstream.url, aliases=aliases)) as gateway:
        await post(gateway, door.path, body)
        assert upstream.received[0].body == body.replace(b'"mine"', f'"{door.model}"'.encode())


@pytest.mark.parametrize("name", [name for name in DOORS if name != "count_tokens"])
@pytest.mark.parametrize("first", [False, True])
async def test_one_stored_answer_serves_both_framings(name: str, first: bool) -> None:
    door = DOORS[name]
    if first and not door.events:
        pytest.skip("no streams by this door")
    async with scripted(door.script()) as upstream, running(gateway_config(upstream.url)) as gateway:
        await post(gateway, door.path, door.body(stream=first))
        whole = await post(gateway, door.path, door.body(stream=False))
        assert whole.headers["x-llm-edge-cache"] == "hit-l1"
        told = json.loads(door.whole)
        for member in ("id", "created", "created_at", "completed_at"):
            if member in told:
                assert whole.json[member] != told[member]
                told[member] = whole.json[member]
        assert whole.json == told
        if door.events:
            stream = await post(gateway, door.path, door.body(stream=True))
            assert stream.headers["x-llm-edge-cache"] == "hit-l1"
            assert stream.headers["x-llm-edge-cost-usd"] == "0.0"
            assert stream.body.endswith((b'"message_stop"}\n\n', b"}}\n\n", b"[DONE]\n\n"))
            assert stream.headers["x-request-id"].encode() in stream.body
        assert upstream.calls == 1


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"anthropic-beta": "other"}, "/v1/messages?beta=true"),
        ({"anthropic-version": "2026-10-21"}, "/v1/messages?beta=true"),
        ({}, "/v1/messages"),
    ],
)
async def test_what_travels_beside_the_body_is_part_of_the_key(headers: dict[str, str], path: str) -> None:
    door = DOORS["messages"]
    async with scripted(door.script()) as upstream, running(gateway_config(upstream.url)) as gateway:
        await post(gateway, door.path, door.body())
        again = await post(gateway, path, door.body(), headers)
        assert (again.headers["x-llm-edge-cache"], upstream.calls) == ("miss", 2)


async def test_tenants_do_not_share() -> None:
    door = DOORS["messages"]
    config: dict[str, Any] = {"auth_enabled": True, "keys": TENANTS}
    async with scripted(door.script()) as upstream, running(gateway_config(upstream.url, **config)) as gateway:
        found = [
            (await post(gateway, door.path, door.body(), {header: key})).headers["x-llm-edge-cache"]
            for header, key in (
                ("x-api-key", ALICE_KEY),
                ("authorization", f"Bearer {BOB_KEY}"),
                ("authorization", f"Bearer {ALICE_KEY}"),
            )
        ]
        assert found == ["miss", "miss", "hit-l1"]


@streaming
@pytest.mark.parametrize("leader_streams", [True, False])
async def test_identical_requests_share_a_call_in_either_framing(name: str, leader_streams: bool) -> None:
    door = DOORS[name]

    script = either(reply(door.whole), door.events, pause_s=0.01)

    async def slow(line: Any) -> None:
        await asyncio.sleep(0.2)
        await script(line)

    async with scripted(slow) as upstream, running(gateway_config(upstream.url)) as gateway:
        leader = asyncio.ensure_future(post(gateway, door.path, door.body(stream=leader_streams)))
        await eventually(lambda: upstream.calls == 1)
        streamed, whole = await asyncio.gather(
            post(gateway, door.path, door.body(stream=True)), post(gateway, door.path, door.body(stream=False))
        )
        first = await leader
        assert first.body == (b"".join(door.events) if leader_streams else door.whole)
        assert (streamed.status, whole.status) == (200, 200)
        if leader_streams:
            assert streamed.body == first.body
        assert whole.json["usage"] == json.loads(door.whole)["usage"]
        assert upstream.calls == 1


# Usage.


async def test_cache_reads_and_writes_are_billed_by_kind() -> None:
    """Haiku 5.5, picodollars a token: what the table says of plain input, reads, writes of 5 minutes and of an hour."""
    door = DOORS["messages"]
    for stream in (False, True):
        async with scripted(door.script()) as upstream, running(gateway_config(upstream.url)) as gateway:
            await post(gateway, door.path, door.body(stream=stream))
            model = gateway.state.models.find(CLAUDE)
            assert model is not None
            assert model.prices is not None
            price = model.prices.base
            assert None not in (price.cache_read, price.cache_write, price.cache_write_1h)
            cost = 5 * price.input + 200 * (price.cache_read or 0) + 40 * price.output
            cost += 10 * (price.cache_write or 0) + 20 * (price.cache_write_1h or 0)
            assert gateway.state.totals().cost_picodollars == cost


# Refusals.


OWN_ERROR = b'{"type":"error", "error":{"type":"overloaded_error","message":"Overloaded \\u017c"},"request_id":"req_9"}'


async def test_the_providers_refusal_is_handed_through() -> None:
    lines = (
        "retry-after: 7",
        "x-should-retry: true",
        "anthropic-ratelimit-unified-status: allowed",
        "request-id: req_9",
    )
    door = DOORS["messages"]
    async with (
        scripted(says(reply(OWN_ERROR, 529, *lines))) as upstream,
        running(gateway_config(upstream.url)) as gateway,
    ):
        for stream in (False, True):
            answer = await post(gateway, door.path, door.body(stream=stream))
            assert (answer.status, answer.body) == (529, OWN_ERROR)
            assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("7", "true")
            assert answer.headers["anthropic-ratelimit-unified-status"] == "allowed"
            assert answer.headers["x-llm-edge-upstream-id"] == "req_9"


@pytest.mark.parametrize(("status", "content"), [(401, OWN_ERROR), (403, OWN_ERROR), (500, b"<html>no</html>")])
async def test_what_is_not_handed_through_is_told_in_our_words(status: int, content: bytes) -> None:
    door = DOORS["messages"]
    async with scripted(says(reply(content, status))) as upstream, running(gateway_config(upstream.url)) as gateway:
        answer = await post(gateway, door.path, door.body())
        assert answer.status == (500 if status == 500 else 502)
        assert answer.json["type"] == "error"
        assert content not in answer.body


UGLY_KEY = f'no-usual/"shape"-of-a-{key_of("provider")}'


@doors
@pytest.mark.parametrize("status", [400, 404, 429, 500])
async def test_a_refusal_that_quotes_the_gateways_key_is_handed_through_without_it(name: str, status: int) -> None:
    door = DOORS[name]
    refusal = '{"type":"error", "error":{"message":"%s\\u017c","type":"some_error"}}'
    quoted = json.dumps(UGLY_KEY)[1:-1]
    async with scripted(says(reply((refusal % quoted).encode(), status))) as upstream:
        config = gateway_config(upstream.url)
        providers = tuple(replace(each, api_key=Secret(UGLY_KEY)) for each in config.providers)
        async with running(replace(config, providers=providers)) as gateway:
            answer = await post(gateway, door.path, door.body())
            assert (answer.status, answer.body) == (status, (refusal % "[redacted]").encode())


@streaming
@pytest.mark.parametrize("begun", [False, True])
async def test_an_error_event_that_quotes_the_gateways_key_goes_on_without_it(name: str, begun: bool) -> None:
    door = DOORS[name]
    key = ANTHROPIC_KEY if name == "messages" else OPENAI_KEY
    error = STREAM_ERRORS[name].replace(b"Overloaded", key.encode()).replace(b"It broke.", key.encode())
    events = [*(door.begun if begun else []), error]
    async with scripted(streams(events)) as upstream, running(gateway_config(upstream.url)) as gateway:
        answer = await post(gateway, door.path, door.body(stream=True))
        assert key.encode() not in answer.body
        assert (answer.status == 200) is begun
        if begun:
            assert answer.body == b"".join(events).replace(key.encode(), b"[redacted]")


async def test_a_status_that_http_does_not_know_is_not_handed_through() -> None:
    door = DOORS["messages"]
    async with scripted(says(reply(OWN_ERROR, 999))) as upstream, running(gateway_config(upstream.url)) as gateway:
        assert (await post(gateway, door.path, door.body())).status == 503


async def test_the_gateways_own_refusals_in_the_callers_dialect() -> None:
    config: dict[str, Any] = {"auth_enabled": True, "keys": TENANTS, "server": ServerLimits(max_body_bytes=4096)}
    known = {"x-api-key": ALICE_KEY}
    async with scripted(says(b"")) as upstream, running(gateway_config(upstream.url, **config)) as gateway:
        cases: list[tuple[bytes, dict[str, str], int, str]] = [
            (b"{}", {}, 401, "authentication_error"),
            (b"{}", known, 400, "invalid_request_error"),
            (b"nonsense", known, 400, "invalid_request_error"),
            (b'{"model":"no-such-model"}', known, 404, "not_found_error"),
            (b'{"model":"claude-haiku-5-5","x":"' + b"x" * 5000 + b'"}', known, 413, "request_too_large"),
        ]
        for body, headers, status, kind in cases:
            answer = await post(gateway, "/v1/messages?beta=true", body, headers)
            assert (answer.status, answer.json["type"], answer.error["type"]) == (status, "error", kind)
            assert answer.headers["request-id"] == answer.headers["x-request-id"]
            other = await post(gateway, "/v1/responses", body, headers)
            assert (other.status, set(other.error) >= {"message", "type", "param", "code"}) == (status, True)
        missing = await gateway.get("/v1/messages/batches", known)
        assert (missing.status, missing.json["type"], missing.error["type"]) == (404, "error", "not_found_error")
        wrong = await gateway.get("/v1/messages", known)
        assert (wrong.status, wrong.json["type"], wrong.headers["allow"]) == (405, "error", "POST")


@pytest.mark.parametrize(("name", "model"), [("embeddings", CLAUDE), ("completions", CLAUDE)])
async def test_a_pair_that_does_not_exist_is_a_clear_400(name: str, model: str) -> None:
    async with scripted(says(b"")) as upstream, running(gateway_config(upstream.url)) as gateway:
        answer = await post(gateway, DOORS[name].path, DOORS[name].body(model=model))
        assert answer.status == 400
        assert "cannot be used on this endpoint" in answer.error["message"]
        assert upstream.calls == 0


# Streams that fail.


STREAM_ERRORS = {
    "messages": named("error", error={"type": "overloaded_error", "message": "Overloaded"}),
    "responses": named("error", code="server_error", message="It broke.", param=None, sequence_number=3),
    "completions": nameless({"error": {"message": "It broke.", "type": "server_error", "code": None}}),
}


@streaming
async def test_an_error_event_of_the_provider_is_its_last(name: str) -> None:
    door = DOORS[name]
    events = [*door.begun, STREAM_ERRORS[name]]
    async with scripted(streams(events)) as upstream, running(gateway_config(upstream.url)) as gateway:
        answer = await post(gateway, door.path, door.body(stream=True))
        assert (answer.status, answer.body) == (200, b"".join(events))
        assert gateway.metric("llm_edge_requests_total", endpoint=name, status="error") == 1


@pytest.mark.parametrize("before", [0, 1])
async def test_an_error_event_before_the_answer_has_a_status(before: int) -> None:
    door = DOORS["messages"]
    events = [*door.events[:before], STREAM_ERRORS["messages"]]
    async with scripted(streams(events)) as upstream, running(gateway_config(upstream.url)) as gateway:
        answer = await post(gateway, door.path, door.body(stream=True))
        assert (answer.status, answer.error["type"]) == (529, "overloaded_error")
        assert answer.body in STREAM_ERRORS["messages"]


@streaming
async def test_a_stream_cut_short_ends_with_an_error_in_its_dialect(name: str) -> None:
    door = DOORS[name]
    events = door.begun

    async def script(line: Any) -> None:
        await line.send(SSE_HEAD + chunked(b"".join(events) + b"event: half"))
        line.finish()

    async with scripted(script) as upstream, running(gateway_config(upstream.url)) as gateway:
        answer = await post(gateway, door.path, door.body(stream=True))
        assert answer.body.startswith(b"".join(events))
        last = answer.body.removeprefix(b"".join(events))
        assert last.endswith(b"\n\n")
        event = json.loads(last.partition(b"data: ")[2])
        assert event["error"]["message"]
        assert last.startswith(b"data: " if name == "completions" else b"event: error\ndata: ")
        assert event.get("type") == (None if name == "completions" else "error")
        again = await post(gateway, door.path, door.body(stream=True))
        assert (again.headers["x-llm-edge-cache"], upstream.calls) == ("miss", 2)


@streaming
async def test_silence_gets_a_sign_of_life_and_a_shutdown_an_error_in_the_dialect(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "KEEPALIVE_S", 0.1)
    door = DOORS[name]

    async def script(line: Any) -> None:
        await line.send(SSE_HEAD + chunked(b"".join(door.begun)))
        await line.left()
        line.finish()

    async with (
        scripted(script) as upstream,
        running(gateway_config(upstream.url)) as gateway,
        gateway.connect() as wire,
    ):
        await wire.send(request_bytes(door.body(stream=True), path=door.path))
        sign = b'event: ping\ndata: {"type": "ping"}\n\n' if name == "messages" else b": keep-alive\n\n"
        await wire.until(door.begun[-1])
        await wire.until(sign)
        await gateway.server.stop(0)
        last = await wire.to_end()
    event = b"event: error\ndata: {" if name != "completions" else b"data: {"
    assert event in last
    assert b"shutting down" in last


# What is asked of the gateway itself.


async def test_a_connection_is_warmed_up_without_a_key() -> None:
    async with scripted(says(b"")) as upstream:
        config = gateway_config(upstream.url, auth_enabled=True, keys=TENANTS)
        async with running(config) as gateway:
            assert (await gateway.get("/api/hello", method="HEAD")).status == 200


async def test_a_websocket_is_refused_in_the_way_that_codex_understands() -> None:
    headers = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    async with scripted(says(b"")) as upstream, running(gateway_config(upstream.url)) as gateway:
        answer = await gateway.get("/v1/responses", headers)
        assert (answer.status, answer.headers["upgrade"], answer.headers["allow"]) == (426, "HTTP/1.1", "POST")
        assert (await gateway.get("/v1/responses")).status == 405


async def test_the_list_of_models_has_pages_for_who_asks() -> None:
    async with scripted(says(b"")) as upstream, running(gateway_config(upstream.url)) as gateway:
        everything = (await gateway.get("/v1/models")).json
        ids = [item["id"] for item in everything["data"]]
        assert EMBEDDING_MODEL in ids
        assert everything["has_more"] is False
        found: list[str] = []
        page: dict[str, Any] = {"has_more": True, "last_id": None}
        while page["has_more"]:
            after = f"&after_id={page['last_id']}" if page["last_id"] else ""
            page = (await gateway.get(f"/v1/models?limit=20{after}")).json
            found += [item["id"] for item in page["data"]]
            assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        assert found == ids
        before = (await gateway.get(f"/v1/models?limit=2&before_id={ids[5]}")).json
        assert [item["id"] for item in before["data"]] == ids[3:5]
        assert before["has_more"] is True
        for query in (
            "limit=0",
            "limit=1001",
            "limit=x",
            f"limit=000000001{'9' * 5000}",
            "after_id=nothing",
            "before_id=",
        ):
            assert (await gateway.get(f"/v1/models?{query}")).status == 400
        assert (await gateway.get("/v1/models?limit=1000")).json == everything


async def test_completions_are_asked_for_their_usage_and_the_client_is_not() -> None:
    door = DOORS["completions"]
    body = f'{{"model":"{door.model}","n":2,"prompt":"hi","stream":true}}'.encode()
    async with scripted(door.script()) as upstream, running(gateway_config(upstream.url)) as gateway:
        answer = await post(gateway, door.path, body)
        assert upstream.received[0].json["stream_options"] == {"include_usage": True}
        assert answer.body == b"".join(door.events).replace(completion_usage(), b"")
        assert gateway.state.totals().prompt_tokens + gateway.state.totals().completion_tokens == 7
