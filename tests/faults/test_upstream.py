"""Faults of one attempt at one provider: what the client is told, what is counted and logged, what is not kept."""

import asyncio
import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.canaries import OPENAI_KEY
from tests.e2e.raw_client import streamed_text
from tests.e2e.running_gateway import CLAUDE, RunningGateway, ask, eventually, rss_bytes
from tests.e2e.scripted_upstream import (
    Line,
    Script,
    completion,
    failure,
    hang,
    head,
    reply,
    says,
    says_once,
    whole_stream,
)
from tests.faults.conftest import Bench
from tests.faults.shapes import assert_error
from tests.http.certificates import Authority

HTML = b"<html><body>Bad gateway: <b>secret page</b></body></html>"


async def _status_line_only(line: Line) -> None:
    await line.send(b"HTTP/1.1 200 OK\r\n")
    await asyncio.sleep(0.02)
    line.reset()


async def _gzip_bomb(line: Line) -> None:
    body = gzip.compress(bytes(64 * 1024 * 1024), 9)
    await line.send(head(200, "Content-Encoding: gzip", f"Content-Length: {len(body)}"))
    await line.send(body)


async def _endless_body(line: Line) -> None:
    await line.send(head(200, "Transfer-Encoding: chunked"))
    block = b"10000\r\n" + b" " * 65536 + b"\r\n"
    while True:
        await line.send(block)


async def _huge_headers(line: Line) -> None:
    await line.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(1100):
        await line.send(b"x-filler-%d: %b\r\n" % (number, b"a" * 1000))
    await line.send(b"\r\n")


async def _dripped_body(line: Line) -> None:
    body = completion()
    await line.send(head(200, f"Content-Length: {len(body)}"))
    await line.drip(body, pause_s=0.1)


async def _dripped_head(line: Line) -> None:
    await line.drip(reply(completion()), pause_s=0.1)


async def _comments_before_the_first_event(line: Line) -> None:
    await line.send(head(200, content_type="text/event-stream"))
    while True:
        await line.send(b": still thinking\n\n")
        await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Fault:
    name: str
    script: Script
    status: int
    code: str | None
    error_type: str
    """Of the metrics and the log."""
    stream: bool = False


INVALID = (502, "upstream_invalid", "upstream_5xx")
BROKEN_OFF = (502, "upstream_connection_error", "connect")
TOO_LATE = (504, "upstream_timeout", "timeout")
FAILED = (502, "upstream_error", "upstream_5xx")
TOO_LARGE = (502, "upstream_too_large", "too_large")


def broken(name: str, body: bytes, content_type: str = "application/json") -> Fault:
    script = says(reply(body, content_type=content_type))
    return Fault(name, script, *INVALID)


FAULTS = [
    Fault("answers 500", says(failure(500)), *FAILED),
    Fault("answers 500 with a page", says(reply(HTML, 500)), *FAILED),
    Fault("answers 503", says(failure(503)), 503, "overloaded", "overloaded"),
    Fault("answers 529", says(failure(529)), 503, "overloaded", "overloaded"),
    Fault("answers 504", says(failure(504)), *TOO_LATE),
    Fault("answers 429", says(failure(429)), 429, "rate_limit_exceeded", "rate_limit_upstream"),
    Fault("refuses our key, 401", says(failure(401)), 502, "upstream_authentication_failed", "auth"),
    Fault("refuses our key, 403", says(failure(403)), 502, "upstream_authentication_failed", "auth"),
    Fault("wants to be paid, 402", says(failure(402)), 429, "insufficient_quota", "quota"),
    Fault("refuses the request, 400", says(failure(400, "too hot", code="too_hot")), 400, "too_hot", "invalid_request"),
    Fault("refuses the request, 422", says(failure(422, code="odd")), 422, "odd", "invalid_request"),
    Fault("answers 204", says(b"HTTP/1.1 204 No Content\r\n\r\n"), *FAILED),
    Fault("resets before the answer", says_once(b"", reset=True), *BROKEN_OFF),
    Fault("closes before the answer", says_once(b""), *BROKEN_OFF),
    Fault("resets after the status line", _status_line_only, *BROKEN_OFF),
    Fault("closes inside the head", says_once(head()[:30]), *BROKEN_OFF),
    Fault("speaks TLS", says_once(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), *INVALID),
    Fault("speaks SSH", says_once(b"SSH-2.0-OpenSSH_9.2p1\r\n"), *INVALID),
    Fault("sends two lengths", says_once(head(200, "Content-Length: 5", "Content-Length: 6") + b"hello"), *INVALID),
    Fault(
        "sends length and chunks",
        says_once(head(200, "Content-Length: 5", "Transfer-Encoding: chunked") + b"hello"),
        *INVALID,
    ),
    broken("answers broken JSON", completion()[:-5]),
    broken("answers a page", HTML, "text/html"),
    broken("answers nothing", b""),
    broken("answers null", b"null"),
    broken("answers an array", b"[1,2,3]"),
    broken("answers another shape", b'{"object":"list","data":[]}'),
    broken("answers no choices", b'{"object":"chat.completion","choices":[]}'),
    broken("answers an error object with 200", b'{"error":{"message":"secret page","type":"x"}}'),
    broken("answers invalid UTF-8", completion("caf~").replace(b"~", b"\xe9")),
    broken("answers nesting without end", b"[" * 200_000),
    Fault("promises more than it sends", says_once(head(200, "Content-Length: 5000") + completion()), *BROKEN_OFF),
    Fault("cuts a chunked body", says_once(head(200, "Transfer-Encoding: chunked") + b'5\r\n{"cho'), *BROKEN_OFF),
    Fault(
        "sends a chunk size that is none",
        says_once(head(200, "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n"),
        *INVALID,
    ),
    Fault("compresses unasked, a bomb", _gzip_bomb, *INVALID),
    Fault("sends 1 MB of headers", _huge_headers, *TOO_LARGE),
    Fault("sends a body without end", _endless_body, *TOO_LARGE),
    Fault("promises 300 MB", says_once(head(200, f"Content-Length: {300 * 2**20}") + b"{"), *TOO_LARGE),
    Fault("never answers", hang, *TOO_LATE),
    Fault("drips its body", _dripped_body, *TOO_LATE),
    Fault("drips its head", _dripped_head, *TOO_LATE),
    Fault("never begins its stream", hang, *TOO_LATE, stream=True),
    Fault("comments and never begins", _comments_before_the_first_event, *TOO_LATE, stream=True),
    Fault("fails before the first token", says(failure(500)), *FAILED, stream=True),
    Fault("answers a stream with JSON", says(reply(completion())), *INVALID, stream=True),
    Fault("answers a stream with a page", says(reply(HTML, content_type="text/html")), *INVALID, stream=True),
    Fault(
        "streams nothing",
        says(reply(b"", content_type="text/event-stream")),
        502,
        "upstream_stream_interrupted",
        "stream_interrupted",
        stream=True,
    ),
    Fault(
        "streams what is no chunk",
        says(reply(b"data: <html>\n\n", content_type="text/event-stream")),
        *INVALID,
        stream=True,
    ),
]


@pytest.mark.parametrize("fault", [pytest.param(fault, id=fault.name) for fault in FAULTS])
async def test_a_provider_that(fault: Fault, bench: Bench) -> None:
    upstream, gateway = await bench.pair(fault.script, attempt_timeout_s=0.8, max_response_bytes=4 * 2**20)
    before = rss_bytes()
    body = ask(stream=True) if fault.stream else ask()
    answer = await gateway.chat(body)
    error = assert_error(answer, fault.status, fault.code)
    assert "secret page" not in error["message"]
    assert OPENAI_KEY not in error["message"]
    assert upstream.calls == 1
    assert rss_bytes() - before < 48 * 2**20

    assert gateway.metric("llm_edge_request_errors_total", provider="openai", error_type=fault.error_type) == 1
    assert gateway.metric("llm_edge_requests_total", provider="openai", status="error") == 1
    line = (await gateway.logged('"event":"request"'))[0]
    assert (line["status"], line["error_type"], line["attempts"]) == (fault.status, fault.error_type, 1)
    assert line["level"] in ("info", "warning", "error")
    assert line["request_id"] == answer.headers["x-request-id"]

    upstream.script = says(reply(completion("Well again.")))
    again = await gateway.chat(ask())
    assert (again.status, again.text) == (200, "Well again.")
    assert again.headers["x-llm-edge-cache"] == "miss"
    assert upstream.calls == 2


async def test_a_refused_connection(bench: Bench) -> None:
    gateway = await bench.gateway("http://127.0.0.1:1")
    async with asyncio.timeout(5):
        answer = await gateway.chat()
    assert_error(answer, 502, "upstream_connection_error")
    assert "openai" in answer.error["message"]
    assert gateway.metric("llm_edge_request_errors_total", error_type="connect") == 1


async def test_a_name_that_does_not_resolve(bench: Bench) -> None:
    gateway = await bench.gateway("http://provider.invalid")
    assert_error(await gateway.chat(), 502, "upstream_connection_error")


async def test_a_provider_without_tls(bench: Bench) -> None:
    upstream = await bench.upstream(hang)
    gateway = await bench.gateway(f"https://127.0.0.1:{upstream.port}", connect_timeout_s=0.4)
    assert_error(await gateway.chat(), 502, "upstream_connection_error")
    assert upstream.calls == 0


@pytest.mark.parametrize(
    ("name", "self_signed", "known", "status"),
    [
        ("127.0.0.1", False, True, 200),
        ("127.0.0.1", False, False, 502),
        ("127.0.0.1", True, True, 502),
        ("other.example", False, True, 502),
    ],
    ids=["our authority", "an unknown authority", "self-signed", "another name"],
)
async def test_certificates_are_checked(
    name: str, self_signed: bool, known: bool, status: int, bench: Bench, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    upstream = await bench.upstream(says(reply(completion())), authority.server(name, self_signed=self_signed))
    gateway = await bench.gateway(
        f"https://127.0.0.1:{upstream.port}", ssl_cert_file=str(authority.file) if known else None
    )
    answer = await gateway.chat()
    assert (answer.status, upstream.calls) == (status, 1 if status == 200 else 0)
    if status == 502:
        assert_error(answer, 502, "upstream_connection_error")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int, bench: Bench) -> None:
    trap = await bench.upstream(says(reply(completion())))
    _, gateway = await bench.pair(says(reply(b"", status, f"Location: {trap.url}/v1/chat/completions")))
    assert_error(await gateway.chat(), 502, "upstream_error")
    assert trap.connections_made == 0


@pytest.mark.parametrize("headers", ["Retry-After: 17", "retry-after-ms: 16500"])
async def test_retry_after_is_passed_on(headers: str, bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(failure(429, "slow down", headers)))
    answer = await gateway.chat()
    assert_error(answer, 429)
    assert answer.headers["retry-after"] == "17"
    assert upstream.calls == 1
    assert gateway.metric("llm_edge_provider_errors_total", provider="openai", status="429") == 1
    assert (await gateway.get("/health")).json["providers"]["openai"]["healthy"]


async def test_a_provider_that_quotes_our_key(bench: Bench) -> None:
    """The bench searches log and answers for it."""
    quoting = failure(401, f"Incorrect API key provided: {OPENAI_KEY}", f"x-debug: {OPENAI_KEY}")
    _, gateway = await bench.pair(says(quoting))
    error = assert_error(await gateway.chat(), 502, "upstream_authentication_failed")
    assert "openai" in error["message"]
    line = (await gateway.logged('"event":"request"'))[0]
    assert (line["level"], line["error_type"]) == ("error", "auth")
    for status in (400, 404, 429, 500):
        quoting = failure(status, f"for key {OPENAI_KEY} no", type=OPENAI_KEY, param=OPENAI_KEY, code=OPENAI_KEY)
        bench.upstreams[0].script = says(quoting)
        assert (await gateway.chat()).status in (status, 502)


async def test_a_clients_mistakes_do_not_count_against_the_provider(bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(failure(400, "bad \x07\u2028 thing")))
    for _ in range(25):
        error = assert_error(await gateway.chat(), 400)
        assert error["message"] == "bad   thing"
    assert upstream.calls == 25
    assert (await gateway.get("/health")).json["status"] == "healthy"
    upstream.script = says(reply(completion()))
    assert (await gateway.chat()).status == 200


async def test_the_answer_of_a_hung_provider_is_cut(bench: Bench) -> None:
    upstream, gateway = await bench.pair(hang, attempt_timeout_s=0.5)
    assert_error(await gateway.chat(), 504, "upstream_timeout")
    await eventually(lambda: upstream.exchanges_open == 0)


async def test_interim_answers_are_passed_over(bench: Bench) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    _, gateway = await bench.pair(says(early + reply(completion("after hints"))))
    answer = await gateway.chat()
    assert (answer.status, answer.text) == (200, "after hints")
    assert "link" not in answer.headers


async def test_a_connection_closed_silently_after_each_answer(bench: Bench) -> None:
    """A keep-alive connection that the provider closed is replaced; the client never sees it."""
    upstream, gateway = await bench.pair(says_once(reply(completion())))
    for number in range(10):
        assert (await gateway.chat(ask(f"question {number}"))).status == 200
    assert upstream.calls == 10


async def test_a_kept_connection_that_resets_on_reuse(bench: Bench) -> None:
    async def resets_the_second(line: Line) -> None:
        if upstream.calls == 2:
            line.reset()
        else:
            await line.send(reply(completion()))

    upstream, gateway = await bench.pair(resets_the_second)
    assert (await gateway.chat(ask("one"))).status == 200
    assert (await gateway.chat(ask("two"))).status == 200
    assert upstream.calls == 3
    assert upstream.connections_made == 2


async def test_a_fresh_connection_that_resets_is_not_tried_again(bench: Bench) -> None:
    upstream, gateway = await bench.pair(says_once(b"", reset=True))
    assert (await gateway.chat()).status == 502
    assert upstream.calls == 1


DROPPED = {
    "Set-Cookie": "session=upstream-secret; Path=/",
    "openai-organization": "org-upstream-secret",
    "openai-project": "proj-upstream-secret",
    "anthropic-organization-id": "upstream-secret",
    "cf-ray": "upstream-secret",
    "Server": "upstream-secret",
    "Keep-Alive": "timeout=upstream-secret",
    "x-powered-by": "upstream-secret",
    "access-control-allow-origin": "upstream-secret",
    "content-security-policy": "upstream-secret",
    "location": "upstream-secret",
}
RELAYED = {
    "x-ratelimit-remaining-requests": "41",
    "x-ratelimit-reset-tokens": "6m0s",
    "anthropic-ratelimit-tokens-remaining": "9",
    "openai-processing-ms": "12",
    "retry-after": "3",
}


@pytest.mark.parametrize("stream", [False, True])
async def test_of_a_providers_headers_the_listed_ones_come_through(stream: bool, bench: Bench) -> None:
    lines = [f"{name}: {value}" for name, value in {**DROPPED, **RELAYED, "x-request-id": "req_upstream"}.items()]
    body = b"".join(whole_stream()) if stream else completion()
    content_type = "text/event-stream" if stream else "application/json"
    _, gateway = await bench.pair(says(reply(body, 200, *lines, content_type=content_type)))
    miss, hit = await gateway.chat(ask(stream=stream)), await gateway.chat(ask(stream=stream))
    assert (miss.headers["x-llm-edge-cache"], hit.headers["x-llm-edge-cache"]) == ("miss", "hit-l1")
    for answer in (miss, hit):
        assert not any("upstream-secret" in value for value in answer.headers.values())
        assert answer.headers["x-request-id"] != "req_upstream"
    for name, value in RELAYED.items():
        assert miss.headers[name] == value
        assert name not in hit.headers
    assert miss.headers["x-llm-edge-upstream-id"] == "req_upstream"


ODD_TEXTS = [
    "line\u2028and\u2029paragraph",
    "nul \x00 inside",
    "astral \U0001f600\U00010348",
    "\ufeffbom",
    "e\u0301 é",
    "\u202ertl\u202c",
]


@pytest.mark.parametrize("text", ODD_TEXTS)
@pytest.mark.parametrize("first_framing", ["whole", "stream"])
async def test_odd_text_survives_a_miss_and_a_hit(text: str, first_framing: str, bench: Bench) -> None:
    first_streamed = first_framing == "stream"
    body = b"".join(whole_stream([text])) if first_streamed else completion(text)
    content_type = "text/event-stream" if first_streamed else "application/json"
    _, gateway = await bench.pair(says(reply(body, content_type=content_type)))
    for stream in (first_streamed, True, False):
        answer = await gateway.chat(ask(stream=stream))
        assert answer.status == 200
        assert (streamed_text(answer.events) if stream else answer.text) == text


async def test_a_lone_surrogate_is_relayed(bench: Bench) -> None:
    body = completion("~ cut").replace(b"~", rb"\ud800")
    _, gateway = await bench.pair(says(reply(body)))
    answer = await gateway.chat()
    assert answer.status == 200
    assert answer.text == "\ud800 cut"


def _anthropic_error(status: int, kind: str) -> bytes:
    return reply(b'{"type":"error","error":{"type":"%b","message":"told so"}}' % kind.encode(), status)


CLAUDE_FAULTS: list[tuple[str, bytes, int, str]] = [
    ("overloaded", _anthropic_error(529, "overloaded_error"), 503, "overloaded"),
    ("broken inside", _anthropic_error(500, "api_error"), 502, "upstream_error"),
    ("our key is bad", _anthropic_error(401, "authentication_error"), 502, "upstream_authentication_failed"),
    ("our key may not", _anthropic_error(403, "permission_error"), 502, "upstream_authentication_failed"),
    ("rate limited", _anthropic_error(429, "rate_limit_error"), 429, "rate_limit_exceeded"),
    ("another shape", reply(b'{"type":"message"}'), 502, "upstream_invalid"),
    ("OpenAI's shape", reply(completion()), 502, "upstream_invalid"),
    ("a page", reply(HTML, content_type="text/html"), 502, "upstream_invalid"),
]


@pytest.mark.parametrize(("name", "answer", "status", "code"), CLAUDE_FAULTS, ids=[row[0] for row in CLAUDE_FAULTS])
async def test_faults_of_anthropic_come_in_openais_shape(
    name: str, answer: bytes, status: int, code: str, bench: Bench
) -> None:
    upstream, gateway = await bench.pair(says(answer))
    assert_error(await gateway.chat(ask(model=CLAUDE)), status, code)
    assert_error(await gateway.chat(ask(model=CLAUDE)), status, code)
    assert upstream.calls == 2


async def test_health_follows_what_traffic_showed(bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(failure(500)))

    async def verdict(of: RunningGateway = gateway) -> tuple[str, bool]:
        health = (await of.get("/health")).json
        return health["status"], health["providers"]["openai"]["healthy"]

    assert await verdict() == ("healthy", True)
    for _ in range(3):
        await gateway.chat()
    assert await verdict() == ("degraded", False)
    upstream.script = says(reply(completion()))
    await gateway.chat()
    assert await verdict() == ("healthy", True)


BLIND: list[tuple[str, Callable[[], Script], str]] = [
    ("upstream error", lambda: says(failure(500)), "llm_edge_provider_errors_total"),
    ("upstream timeout", lambda: hang, "llm_edge_provider_errors_total"),
    ("upstream rate limit", lambda: says(failure(429)), "llm_edge_provider_errors_total"),
    ("success", lambda: says(reply(completion())), "llm_edge_tokens_used_total"),
]


@pytest.mark.parametrize(("name", "script", "metric"), BLIND, ids=[row[0] for row in BLIND])
async def test_no_counter_is_blind(name: str, script: Callable[[], Script], metric: str, bench: Bench) -> None:
    _, gateway = await bench.pair(script(), attempt_timeout_s=0.4)
    before = gateway.metric(metric, provider="openai")
    await gateway.chat()
    assert gateway.metric(metric, provider="openai") > before
    assert gateway.metric("llm_edge_requests_total") == 1
    assert gateway.metric("llm_edge_request_duration_seconds_count") == 1
