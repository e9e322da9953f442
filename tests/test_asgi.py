"""The pipeline as an ASGI application under a real ASGI server, and as one call."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from llm_edge_agent import asgi_app, handle_chat_completions, initialize_app_state
from llm_edge_agent.asgi import ASGIApp, _unless_gone
from llm_edge_agent.http.tasks import running_tasks
from tests import canaries
from tests.canaries import ALICE_KEY
from tests.e2e.raw_client import Wire, connected, request_bytes, streamed_text
from tests.e2e.running_gateway import TENANTS, ask, bearer, eventually, gateway_config, running
from tests.e2e.scripted_upstream import (
    SSE_HEAD,
    Line,
    ScriptedUpstream,
    chunked,
    completion,
    either,
    event,
    hang,
    pieces,
    reply,
    scripted,
    streams,
    whole_stream,
)

ANSWERS = either(reply(completion("Hello.")), whole_stream(["Hel", "lo."]))


class Hosted:
    """A port on which an ASGI server serves the application."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self, *, limit: int = 65536) -> contextlib.AbstractAsyncContextManager[Wire]:
        return connected(self.port, bytearray(), limit=limit)

    async def exchange(self, data: bytes, *, bodyless: bool = False) -> Any:
        async with self.connect() as wire:
            await wire.send(data)
            return await wire.answer(bodyless=bodyless)


@contextlib.asynccontextmanager
async def hosted(app: Any, *, lifespan: Any = "on") -> AsyncIterator[Hosted]:
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, log_level="critical", lifespan=lifespan, ws="none")
    )
    serving = asyncio.ensure_future(server.serve())
    await eventually(lambda: server.started or serving.done(), 10.0)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Hosted(port)
        await asyncio.to_thread(canaries.look_at_pages, port)
    finally:
        server.should_exit = True
        async with asyncio.timeout(20):
            await serving


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted(ANSWERS) as found:
        yield found
    await eventually(lambda: running_tasks() == 0)


@pytest.fixture
async def app(upstream: ScriptedUpstream) -> ASGIApp:
    config = gateway_config(upstream.url, stream_idle_timeout_s=5.0)
    return asgi_app(config)


async def test_whole_and_from_the_cache(app: ASGIApp, upstream: ScriptedUpstream) -> None:
    async with hosted(app) as host:
        for tier in ("miss", "hit-l1"):
            answer = await host.exchange(request_bytes(ask(), {"x-request-id": "mine"}))
            assert (answer.status, answer.text) == (200, "Hello.")
            assert answer.headers["x-llm-edge-cache"] == tier
            assert answer.headers["x-request-id"] == "mine"
            assert answer.headers["content-type"] == "application/json"
    assert upstream.calls == 1
    assert upstream.received[0].body == ask()


async def test_no_trailers_are_announced_that_could_not_be_sent(upstream: ScriptedUpstream) -> None:
    async with hosted(asgi_app(gateway_config(upstream.url, response_metadata="headers"))) as host:
        answer = await host.exchange(request_bytes(ask(stream=True)))
    assert streamed_text(answer.events) == "Hello."
    assert "trailer" not in answer.headers
    assert not answer.trailers


async def test_a_stream_comes_as_it_is_made(app: ASGIApp, upstream: ScriptedUpstream) -> None:
    proceed = asyncio.Event()

    async def script(line: Line) -> None:
        first, *rest = whole_stream(["Hel", "lo."])
        await line.send(SSE_HEAD + chunked(first))
        await proceed.wait()
        await line.send(b"".join(map(chunked, rest)) + b"0\r\n\r\n")

    upstream.script = script
    async with hosted(app) as host, host.connect() as wire:
        await wire.send(request_bytes(ask(stream=True)))
        status, headers = await wire.head()
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        async with asyncio.timeout(10):
            assert await wire.chunk()
        proceed.set()
        body = b""
        while (piece := await wire.chunk()) is not None:
            body += piece
    assert body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_stops_generation(
    stream: bool, begun: bool, app: ASGIApp, upstream: ScriptedUpstream
) -> None:
    async def begins_and_hangs(line: Line) -> None:
        if begun and stream:
            await line.send(SSE_HEAD + b"".join(map(chunked, pieces(["one", "two"]))))
        await hang(line)

    upstream.script = begins_and_hangs
    async with hosted(app) as host:
        async with host.connect() as wire:
            await wire.send(request_bytes(ask(stream=stream)))
            await eventually(lambda: upstream.exchanges_open == 1)
            if begun and stream:
                await wire.until(b"two")
        await eventually(lambda: upstream.exchanges_open == 0, 5.0)
        assert (await app.state()).pool.in_use == 0  # type: ignore[attr-defined]  # the state is the gateway's


async def test_a_stream_that_breaks_ends_in_an_error(app: ASGIApp, upstream: ScriptedUpstream) -> None:
    upstream.script = streams(pieces(["one", "two"]))
    async with hosted(app) as host:
        answer = await host.exchange(request_bytes(ask(stream=True)))
    assert streamed_text(answer.events[:-1]) == "onetwo"
    assert answer.events[-1]["error"]["code"] == "upstream_stream_interrupted"


async def test_refusals(app: ASGIApp, upstream: ScriptedUpstream) -> None:
    async with hosted(app) as host:
        for data, status, code in (
            (request_bytes(b"x" * (20 * 2**20 + 1)), 413, "request_too_large"),
            (request_bytes(b"{"), 400, "invalid_json"),
            (request_bytes(ask(), {"content-encoding": "gzip"}), 415, "unsupported_media_type"),
            (request_bytes(ask(), path="/v1/nothing"), 404, "unknown_url"),
            (request_bytes(b"", method="GET"), 405, "method_not_allowed"),
        ):
            async with host.connect() as wire:
                with contextlib.suppress(ConnectionError):
                    await wire.send(data)
                answer = await wire.answer()
                assert (answer.status, answer.error["code"]) == (status, code)
    assert upstream.calls == 0


async def test_keys(upstream: ScriptedUpstream) -> None:
    app = asgi_app(gateway_config(upstream.url, auth_enabled=True, keys=TENANTS))
    async with hosted(app) as host:
        assert (await host.exchange(request_bytes(ask()))).status == 401
        assert (await host.exchange(request_bytes(ask(), bearer(ALICE_KEY)))).status == 200
        assert (await host.exchange(request_bytes(b"", path="/health", method="GET"))).status == 200


async def test_ready_while_it_is_served(app: ASGIApp) -> None:
    async with hosted(app) as host:
        for path in ("/health/ready", "/health/live", "/v1/models", "/metrics"):
            assert (await host.exchange(request_bytes(b"", path=path, method="GET"))).status == 200
        head = await host.exchange(request_bytes(b"", path="/v1/models", method="HEAD"), bodyless=True)
        assert (head.status, head.body) == (200, b"")


async def test_lifespan_loads_and_closes(upstream: ScriptedUpstream) -> None:
    states = []

    async def load() -> Any:
        states.append(await initialize_app_state(gateway_config(upstream.url)))
        return states[-1]

    async with hosted(ASGIApp(load)) as host:
        assert len(states) == 1
        assert (await host.exchange(request_bytes(ask()))).status == 200
    assert states[0].pool.closed
    assert len(states) == 1


async def test_settings_that_are_wrong_stop_the_server() -> None:
    async def load() -> Any:
        raise ValueError("PORT: must be a number")

    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    await ASGIApp(load)({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.failed", "message": "PORT: must be a number"}]


async def test_mounted_under_a_prefix(app: ASGIApp, upstream: ScriptedUpstream) -> None:
    """A mounted application gets no lifespan: it loads at its first request."""
    async with hosted(Starlette(routes=[Mount("/a/llm", app=app)]), lifespan="off") as host:
        answer = await host.exchange(request_bytes(ask(), path="/a/llm/v1/chat/completions"))
        assert answer.text == "Hello."
        assert (await host.exchange(request_bytes(b"", path="/a/llm/v1/models", method="GET"))).status == 200
        escaped = await host.exchange(request_bytes(b"", path="/a/llm/v1/models/no%252Fmodel", method="GET"))
        assert "`no%2Fmodel`" in escaped.error["message"]  # decoded once
        missing = await host.exchange(request_bytes(b"", path="/a/llm/nothing", method="GET"))
        assert missing.error["code"] == "unknown_url"
    await app.close()
    await app.close()


async def test_concurrent_first_requests_load_once(upstream: ScriptedUpstream) -> None:
    loaded = 0

    async def load() -> Any:
        nonlocal loaded
        loaded += 1
        await asyncio.sleep(0.05)
        return await initialize_app_state(gateway_config(upstream.url))

    app = ASGIApp(load)
    async with hosted(app, lifespan="off") as host:
        answers = await asyncio.gather(*(host.exchange(request_bytes(ask(f"{n}"))) for n in range(10)))
    assert {answer.status for answer in answers} == {200}
    assert loaded == 1
    await app.close()


async def test_a_slow_reader_holds_the_upstream(app: ASGIApp, upstream: ScriptedUpstream) -> None:
    block = chunked(event({"content": "x" * 60_000}))

    async def script(line: Line) -> None:
        await line.send(SSE_HEAD)
        for _ in range(200 * 2**20 // len(block)):
            await line.send(block)

    upstream.script = script
    async with hosted(app) as host:
        async with host.connect(limit=1024) as wire:
            await wire.send(request_bytes(ask(stream=True)))
            await wire.head()
            wire.pause_reading()
            before = -1
            while upstream.sent_bytes > before:
                before = upstream.sent_bytes
                await asyncio.sleep(0.3)
            assert 0 < upstream.sent_bytes < 32 * 2**20
        await eventually(lambda: upstream.exchanges_open == 0)


async def test_a_slow_reader_gets_everything_in_the_end(app: ASGIApp, upstream: ScriptedUpstream) -> None:
    texts = [f"<{number}>" + "x" * 30_000 for number in range(200)]
    upstream.script = streams(whole_stream(texts))
    async with hosted(app) as host, host.connect(limit=1024) as wire:
        await wire.send(request_bytes(ask(stream=True)))
        await asyncio.sleep(0.5)
        answer = await wire.answer()
    assert streamed_text(answer.events) == "".join(texts)
    assert answer.events[-1] == "[DONE]"


async def test_a_stream_that_nobody_reads_yet_is_held_back(upstream: ScriptedUpstream) -> None:
    texts = [f"<{number}>" + "x" * 30_000 for number in range(1000)]
    upstream.script = streams(whole_stream(texts))
    async with (
        running(gateway_config(upstream.url)) as gateway,
        await handle_chat_completions(gateway.state, {}, ask(stream=True)) as reply,
    ):
        before = -1
        while upstream.sent_bytes > before:
            before = upstream.sent_bytes
            await asyncio.sleep(0.3)
        assert 0 < upstream.sent_bytes < 16 * 2**20
        body = await reply.read()
    assert [int(number) for number in re.findall(rb"<(\d+)>x", body)] == list(range(1000))
    assert body.endswith(b"data: [DONE]\n\n")


async def test_a_client_that_leaves_before_its_request_was_complete_is_counted(
    app: ASGIApp, upstream: ScriptedUpstream
) -> None:
    async with hosted(app) as host:
        async with host.connect() as wire:
            await wire.send(request_bytes(ask())[:-5])
            await asyncio.sleep(0.1)
        state: Any = await app.state()
        await eventually(lambda: state.totals().requests == 1)
    assert upstream.calls == 0


async def test_a_stream_that_comes_in_the_moment_of_a_cancellation_is_ended() -> None:
    reasons: list[str] = []

    class Stream:
        def abort(self, reason: str) -> None:
            reasons.append(reason)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(_unless_gone(answer, receive))
    await asyncio.sleep(0)
    answer.set_result(Stream())
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert reasons == ["client_gone"]


async def test_one_call(upstream: ScriptedUpstream) -> None:
    async with running(gateway_config(upstream.url, auth_enabled=True, keys=TENANTS)) as gateway:
        state = gateway.state
        for headers, body, status in (
            ({}, ask(), 401),
            (bearer(ALICE_KEY), b"[]", 400),
            (bearer(ALICE_KEY), b"x" * (state.max_body_bytes + 1), 413),
            ({**bearer(ALICE_KEY), "Content-Encoding": "gzip"}, ask(), 415),
        ):
            async with await handle_chat_completions(state, headers, body) as refused:
                assert refused.status == status
                assert b'"error"' in await refused.read()
        capitals = {"Authorization": f"Bearer {ALICE_KEY}"}
        async with await handle_chat_completions(state, capitals, ask()) as answer:
            assert answer.status == 200
            assert dict(answer.headers)[b"x-llm-edge-cache"] == b"miss"
            assert b"Hello." in await answer.read()
            with pytest.raises(RuntimeError):
                await answer.read()
        upstream.script = streams(pieces(["one"] * 50), pause_s=0.05)
        async with await handle_chat_completions(state, capitals, ask(stream=True, seed=1)) as left_early:
            async for piece in left_early:
                assert piece
                break
        await eventually(lambda: upstream.exchanges_open == 0, 5.0)
        never_read = await handle_chat_completions(state, capitals, ask(stream=True, seed=2))
        assert upstream.exchanges_open == 1
        await never_read.aclose()
        await never_read.aclose()
        await eventually(lambda: upstream.exchanges_open == 0, 5.0)
        assert gateway.metric("llm_edge_requests_total", status="cancelled") == 2
