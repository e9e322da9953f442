"""Who may pass, where requests go, and what is never shown. The bench searches log, answers and requests for keys."""

import asyncio
import json

import pytest

from tests import canaries
from tests.canaries import ALICE_KEY, BOB_KEY, OPENAI_KEY, PROMPT_CANARY
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import MODEL, TENANTS, ask, bearer
from tests.e2e.scripted_upstream import Line, completion, either, failure, reply, says, whole_stream
from tests.faults.conftest import Bench
from tests.faults.shapes import assert_error
from tests.ports import free_port

ANSWERS = either(reply(completion()), whole_stream())

CREDENTIALS: list[tuple[str, dict[str, str], bool]] = [
    ("none", {}, False),
    ("empty bearer", {"authorization": "Bearer "}, False),
    ("bearer without space", {"authorization": f"Bearer{ALICE_KEY}"}, False),
    ("no scheme", {"authorization": ALICE_KEY}, False),
    ("basic", {"authorization": "Basic YWxpY2U6c2VjcmV0"}, False),
    ("another key", bearer("sk-not-a-key-of-this-gateway"), False),
    ("a prefix", bearer(ALICE_KEY[:-1]), False),
    ("a longer one", bearer(ALICE_KEY + "x"), False),
    ("upper case", bearer(ALICE_KEY.upper()), False),
    ("two keys in one", bearer(f"{ALICE_KEY},{BOB_KEY}"), False),
    ("the provider's key", bearer(OPENAI_KEY), False),
    ("the digest", bearer(TENANTS[0].digest.hex()), False),
    ("the digest, marked", bearer("sha256:" + TENANTS[0].digest.hex()), False),
    ("latin-1", bearer("sch\xfcssel"), False),
    ("8 KB", bearer("k" * 8000), False),
    ("injection", bearer("' OR 1=1 --"), False),
    ("a query parameter", {"x-nothing": "1"}, False),
    ("a cookie", {"cookie": f"key={ALICE_KEY}"}, False),
    ("bearer", bearer(ALICE_KEY), True),
    ("lower-case scheme", {"authorization": f"bearer {ALICE_KEY}"}, True),
    ("two spaces", {"authorization": f"Bearer  {ALICE_KEY}"}, True),
    ("x-api-key", {"x-api-key": ALICE_KEY}, True),
    ("api-key", {"api-key": BOB_KEY}, True),
    ("a wrong bearer and a right x-api-key", {**bearer("placeholder"), "x-api-key": BOB_KEY}, True),
]


@pytest.mark.parametrize(("name", "headers", "welcome"), CREDENTIALS, ids=[row[0] for row in CREDENTIALS])
async def test_credentials(name: str, headers: dict[str, str], welcome: bool, bench: Bench) -> None:
    upstream, gateway = await bench.pair(ANSWERS, auth_enabled=True, keys=TENANTS)
    for body in (ask(), b"this is not read before the key is known"):
        answer = await gateway.chat(body, headers)
        if welcome:
            assert answer.status == (200 if body == ask() else 400)
            continue
        assert_error(answer, 401, "missing_api_key" if "Bearer" in answer.error["message"] else "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.headers["content-type"] == "application/json"
        for value in headers.values():
            assert len(value) < 10 or value not in answer.body.decode("latin-1")
    assert upstream.calls == (1 if welcome else 0)
    if not welcome:
        assert gateway.metric("llm_edge_request_errors_total", error_type="auth") == 2


async def test_401_comes_before_the_body(bench: Bench) -> None:
    upstream, gateway = await bench.pair(ANSWERS, auth_enabled=True, keys=TENANTS)
    async with gateway.connect() as wire:
        await wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 100000\r\n\r\n")
        assert_error(await wire.answer(), 401, "missing_api_key")
    assert upstream.calls == 0


PATHS = [
    "/v1/models",
    "/v1/models/gpt-4o-mini",
    "/models",
    "/metrics",
    "/v1/chat/completions",
    "/",
    "/admin",
    "/v1/",
    "/health/../v1/models",
    "/health/..%2fmetrics",
    "//health",
    "/health//",
    "/HEALTH",
    "/health%00",
    "/health;x",
    "/.env",
    "/v1/embeddings",
    "/health/secret",
    "/debug/pprof",
    "/docs",
    "/openapi.json",
]
TRICKS = [
    {"x-original-url": "/health"},
    {"x-rewrite-url": "/health"},
    {"x-forwarded-for": "127.0.0.1"},
    {"x-http-method-override": "GET"},
    {"x-forwarded-prefix": "/health"},
]


async def test_without_a_key_only_health_answers(bench: Bench) -> None:
    _, gateway = await bench.pair(ANSWERS, auth_enabled=True, keys=TENANTS)
    for path in PATHS:
        for method in ("GET", "POST", "DELETE", "OPTIONS"):
            for headers in TRICKS if method == "GET" else [{}]:
                answer = await gateway.get(path, {**headers, "content-length": "0"}, method=method)
                assert answer.status in (400, 401), (method, path, answer)
    for path in ("/health", "/health/live", "/health/ready"):
        answer = await gateway.get(path)
        assert answer.status == 200
        assert not any(word in answer.body for word in (b"127.0.0.1", b"http", b"key", b"alice", b"sk-"))
    for path in ("/v1/models", "/metrics"):
        answer = await gateway.get(path, bearer(ALICE_KEY))
        assert answer.status == 200
        assert not any(word in answer.body for word in (b"127.0.0.1", b"http://", ALICE_KEY.encode(), b"sk-"))


async def test_without_keys_what_a_client_presents_stays_here(bench: Bench) -> None:
    upstream, gateway = await bench.pair(ANSWERS)
    headers = {
        **bearer(ALICE_KEY),
        "x-api-key": BOB_KEY,
        "cookie": "session=1",
        "openai-organization": "org-of-the-client",
        "x-forwarded-for": "1.2.3.4",
        "x-stainless-lang": "python",
        "user-agent": "client/1",
    }
    assert (await gateway.chat(ask(), headers)).status == 200
    sent = upstream.received[0].headers
    assert sent["authorization"] == f"Bearer {OPENAI_KEY}"
    assert set(sent) == {
        "host",
        "accept-encoding",
        "user-agent",
        "content-type",
        "authorization",
        "accept",
        "content-length",
    }
    assert "client" not in sent["user-agent"]


async def test_a_caller_cannot_choose_where_a_request_goes(bench: Bench) -> None:
    trap = await bench.upstream(ANSWERS)
    upstream, gateway = await bench.pair(ANSWERS)
    host = f"127.0.0.1:{trap.port}"
    for member in ("base_url", "api_base", "url", "endpoint", "api_key", "proxy", "provider", "extra_body"):
        assert (await gateway.chat(ask(**{member: trap.url}))).status == 200
        assert json.loads(upstream.received[-1].body)[member] == trap.url
    for header in (
        "x-base-url",
        "x-upstream",
        "x-forwarded-host",
        "x-openai-base-url",
        "helicone-target-url",
        "forwarded",
    ):
        await gateway.chat(ask(header), {header: trap.url})
    await gateway.exchange(request_bytes(ask("host"), {"host": host}))
    await gateway.exchange(request_bytes(ask("url"), path=f"{trap.url}/v1/chat/completions"))
    await gateway.exchange(request_bytes(ask("query"), path=f"/v1/chat/completions?base_url={trap.url}"))
    for model in (
        f"{trap.url}/gpt-4o",
        f"{host}/gpt-4o",
        "http://x/gpt",
        "//" + host,
        f"gpt-4o@{host}",
        f"gpt-4o\r\nHost: {host}",
    ):
        assert (await gateway.chat(ask(model=model))).status in (200, 404)
    image = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"{trap.url}/x.png"}}]}]
    assert (await gateway.chat(json.dumps({"model": MODEL, "messages": image}).encode())).status == 200
    for method in ("CONNECT", "GET"):
        async with gateway.connect() as wire:
            await wire.send(f"{method} {host} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
            assert (await wire.answer()).status in (400, 404, 405, 501)
    assert trap.connections_made == 0
    assert all(request.headers["host"] == f"127.0.0.1:{upstream.port}" for request in upstream.received)
    assert {request.target for request in upstream.received} == {"/v1/chat/completions"}


async def test_labels_do_not_explode(bench: Bench) -> None:
    """900 odd requests, at most 150 new series."""
    _, gateway = await bench.pair(ANSWERS)
    await gateway.chat()
    before = len(gateway.samples())

    async def odd(number: int) -> None:
        if number % 3 == 0:
            await gateway.chat(ask(model=f"gpt-odd-{number}"))
        elif number % 3 == 1:
            await gateway.get(f"/odd/{number}?x={number}", {"x-tenant": f"{number}"}, method=f"ODD{number % 7}")
        else:
            await gateway.chat(ask(model=f"unknown-{number}"), {"x-request-id": f"id-{number}"})

    for start in range(0, 900, 100):
        await asyncio.gather(*(odd(number) for number in range(start, start + 100)))
    after = gateway.samples()
    assert len(after) - before <= 150
    assert not any("odd" in value or "unknown-" in value for _, labels in after for _, value in labels)
    assert sum(value for (name, _), value in after.items() if name == "llm_edge_requests_total") == 901


async def test_a_client_cannot_write_the_log(bench: Bench) -> None:
    _, gateway = await bench.pair(ANSWERS)
    hostile = 'x\n{"level":"error","event":"request","fake":1}\r\n\x1b[2J\u2028\u202e\x07'
    await gateway.chat(ask(model=hostile))
    await gateway.chat(ask(model=f"gpt-{hostile}"))
    await gateway.chat(ask(), {"x-request-id": "id with spaces{}"})
    await gateway.get("/v1/models/%0a%1b[31m")
    await gateway.get("/%0d%0aSet-Cookie:x")
    await gateway.get("/last")
    await gateway.logged('"route":"other"')
    log = gateway.log()
    assert not any(character in log for character in "\x1b\x07\r\u2028\u202e")
    lines = [json.loads(line) for line in log.splitlines()]
    assert not any("fake" in line for line in lines)


@pytest.mark.parametrize("given", ["ok-ID_1.2", "has space", "a" * 129, "<script>", "ümlaut", "{json}", "a,b", ""])
async def test_request_ids_are_echoed_only_if_plain(given: str, bench: Bench) -> None:
    _, gateway = await bench.pair(ANSWERS)
    answer = await gateway.chat(ask(), {"x-request-id": given})
    assert (answer.headers["x-request-id"] == given) == (given == "ok-ID_1.2")
    assert answer.headers["x-request-id"].isalnum() or given == "ok-ID_1.2"


@pytest.mark.parametrize("last", [reply(completion()), failure(500)], ids=["answered", "failed"])
@pytest.mark.parametrize(
    "name", ["gpt-4o\r\nset-cookie: a=1\r\n\r\n<script>", "gpt-4o\x00\x7f; by=me", "gpt-" + "o" * 50_000]
)
async def test_a_model_name_cannot_write_headers(name: str, last: bytes, bench: Bench) -> None:
    calls = 0

    async def fails_first(line: Line) -> None:
        nonlocal calls
        calls += 1
        await line.send(last if calls > 1 else failure(500))

    _, gateway = await bench.pair(fails_first, max_retries=1)
    answer = await gateway.chat(ask(model=name))
    assert (calls, answer.whole) == (2, True)
    assert "set-cookie" not in answer.headers
    route = answer.headers["x-llm-edge-route"]
    assert route.isascii()
    assert route.isprintable()
    assert route.endswith("; by=repeat; try=2")
    assert route.count(";") == 3
    assert len(route) < 400


async def test_markup_is_not_reflected_as_a_page_and_no_version_is_shown(bench: Bench) -> None:
    _, gateway = await bench.pair(ANSWERS)
    markup = "<script>alert(1)</script>"
    answers = [
        await gateway.get(f"/{markup}"),
        await gateway.get(f"/v1/models/{markup}"),
        await gateway.chat(ask(model=markup)),
        await gateway.chat(json.dumps({"model": MODEL, "messages": markup}).encode()),
        await gateway.chat(),
        await gateway.get("/health"),
    ]
    for answer in answers:
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers
        assert "x-powered-by" not in answer.headers


async def test_cross_origin_reading_is_off(bench: Bench) -> None:
    _, gateway = await bench.pair(ANSWERS)
    origin = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for answer in (
        await gateway.chat(ask(), origin),
        await gateway.get("/v1/models", origin),
        await gateway.get("/v1/chat/completions", origin, method="OPTIONS"),
    ):
        assert not any(name.startswith("access-control-") for name in answer.headers)


@pytest.mark.lets_out(canaries.ERROR, reason="the provider's words on its client's request are the client's to read")
async def test_prompts_and_answers_are_not_logged_at_any_level(bench: Bench) -> None:
    """Whatever happens to a request, the bench finds neither in the log."""
    upstream, gateway = await bench.pair(ANSWERS, log_level="debug")
    for script in (
        ANSWERS,
        says(failure(400, f"your prompt {PROMPT_CANARY} is bad")),
        says(reply(PROMPT_CANARY.encode())),
    ):
        upstream.script = script
        for body in (ask(), ask(stream=True), ask(tools=PROMPT_CANARY), ask(model="claude-haiku-5-5"), ask()[:-1]):
            await gateway.chat(body, {"cache-control": "no-cache"})
    await gateway.logged('"event":"request"')


async def test_the_listener_for_metrics_shows_nothing_else(bench: Bench) -> None:
    upstream = await bench.upstream(ANSWERS)
    gateway = await bench.gateway(upstream, metrics_port=free_port(), auth_enabled=True, keys=TENANTS)
    port = gateway.server.metrics_port
    assert port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for path, status in (("/metrics", 200), ("/health", 200), ("/v1/models", 404), ("/v1/chat/completions", 404)):
            writer.write(request_bytes(b"", path=path, method="GET"))
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert f" {status} " in head.split("\r\n")[0]
            length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length"))
            body = await reader.readexactly(length)
            assert b"127.0.0.1" not in body
    finally:
        writer.close()
