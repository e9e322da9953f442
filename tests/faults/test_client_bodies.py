"""Request bodies that are wrong, huge or odd: refused by name, nothing sent; or passed on as they came."""

import asyncio
import gzip
import json
import time
from typing import Any

import pytest

from llm_edge_agent.config import ServerLimits
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import MODEL, RunningGateway, ask, eventually, rss_bytes
from tests.e2e.scripted_upstream import ScriptedUpstream, completion, either, hang, reply, says, whole_stream
from tests.faults.conftest import Bench
from tests.faults.shapes import assert_error

MESSAGES = '"messages":[{"role":"user","content":"canary-of-the-prompt-77ab"}]'
GOOD = f'{{"model":"{MODEL}",{MESSAGES}'


async def _gateway(bench: Bench, **changes: Any) -> tuple[ScriptedUpstream, RunningGateway]:
    return await bench.pair(either(reply(completion()), whole_stream()), **changes)


MALFORMED: list[tuple[str, bytes, str, str | None]] = [
    ("nothing", b"", "invalid_json", None),
    ("white space", b" \r\n ", "invalid_json", None),
    ("cut off", ask()[:-2], "invalid_json", None),
    ("trailing garbage", ask() + b"x", "invalid_json", None),
    ("two objects", ask() + ask(), "invalid_json", None),
    ("single quotes", b"{'model':'x'}", "invalid_json", None),
    ("a comment", f"{GOOD}/*x*/}}".encode(), "invalid_json", None),
    ("a trailing comma", f"{GOOD},}}".encode(), "invalid_json", None),
    ("a byte order mark", b"\xef\xbb\xbf" + ask(), "invalid_json", None),
    ("UTF-16", ask().decode().encode("utf-16"), "invalid_json", None),
    ("invalid UTF-8", f"{GOOD}}}".encode().replace(b"canary", b"can\xff"), "invalid_json", None),
    ("overlong UTF-8", f"{GOOD}}}".encode().replace(b"canary", b"can\xc0\xaf"), "invalid_json", None),
    ("a surrogate in UTF-8", f"{GOOD}}}".encode().replace(b"canary", b"\xed\xa0\x80"), "invalid_json", None),
    ("a raw control character", f"{GOOD}}}".encode().replace(b"canary", b"can\x01"), "invalid_json", None),
    ("an array", b"[]", "invalid_type", None),
    ("a string", b'"hello"', "invalid_type", None),
    ("a number", b"5", "invalid_type", None),
    ("null", b"null", "invalid_type", None),
    ("true", b"true", "invalid_type", None),
    ("NaN", f'{GOOD},"temperature":NaN}}'.encode(), "invalid_json", None),
    ("Infinity", f'{GOOD},"temperature":Infinity}}'.encode(), "invalid_json", None),
    ("minus Infinity", f'{GOOD},"top_p":-Infinity}}'.encode(), "invalid_json", None),
    ("NaN inside an unknown member", f'{GOOD},"x":{{"y":[1,NaN]}}}}'.encode(), "invalid_json", None),
    ("1e400", f'{GOOD},"temperature":1e400}}'.encode(), "invalid_json", None),
    ("1e400 inside an unknown member", f'{GOOD},"x":[{{"y":-1e400}}]}}'.encode(), "invalid_json", None),
    ("5,000 digits", f'{GOOD},"seed":{"7" * 5000}}}'.encode(), "invalid_json", None),
    ("5,000 digits inside an unknown member", f'{GOOD},"x":[{"7" * 5000}]}}'.encode(), "invalid_json", None),
    ("a leading zero", f'{GOOD},"seed":01}}'.encode(), "invalid_json", None),
    ("nesting of 100,000", f'{GOOD},"x":{"[" * 100_000}{"]" * 100_000}}}'.encode(), "invalid_json", None),
    ("nesting of 100,000 never closed", b"[" * 100_000, "invalid_json", None),
    ("objects nested 100,000 deep", b'{"a":' * 100_000, "invalid_json", None),
    ("nesting of 129", f'{GOOD},"x":{"[" * 129}{"]" * 129}}}'.encode(), "invalid_json", None),
    ("the model twice", f'{{"model":"gpt-4o","model":"{MODEL}",{MESSAGES}}}'.encode(), "invalid_value", "model"),
    (
        "the model twice, once escaped",
        f'{{"model":"gpt-4o","mod\\u0065l":"{MODEL}",{MESSAGES}}}'.encode(),
        "invalid_value",
        "model",
    ),
    ("messages twice", f"{GOOD},{MESSAGES}}}".encode(), "invalid_value", "messages"),
    ("an unknown member twice", f'{GOOD},"x":1,"x":2}}'.encode(), "invalid_value", "x"),
    ("a member twice with equal values", f'{GOOD},"n":1,"n":1}}'.encode(), "invalid_value", "n"),
    ("a lone surrogate in the model", f'{{"model":"\\ud800",{MESSAGES}}}'.encode(), "invalid_json", None),
]


@pytest.mark.parametrize("headers", [{}, {"cache-control": "no-store"}], ids=["cached", "no-store"])
async def test_malformed_bodies_never_reach_the_provider(headers: dict[str, str], bench: Bench) -> None:
    upstream, gateway = await _gateway(bench)
    for count, (name, body, code, param) in enumerate(MALFORMED, 1):
        answer = await gateway.chat(body, headers)
        error = assert_error(answer, 400, code, param)
        assert error["type"] == "invalid_request_error", name
        assert gateway.metric("llm_edge_request_errors_total", error_type="invalid_request") == count, name
    assert upstream.calls == 0
    assert (await gateway.chat()).status == 200
    lines = await gateway.logged('"status":400')
    await eventually(lambda: gateway.log().count('"status":400') == len(MALFORMED))
    assert {line["level"] for line in lines} == {"info"}


WRONG_TYPES: list[tuple[str, Any, str]] = [
    ("model", None, "missing_required_parameter"),
    ("model", 5, "invalid_type"),
    ("model", ["gpt-4o-mini"], "invalid_type"),
    ("messages", None, "missing_required_parameter"),
    ("messages", "hello", "invalid_type"),
    ("messages", {}, "invalid_type"),
    ("messages", [], "invalid_value"),
    ("messages[0]", ["hello"], "invalid_type"),
    ("messages[0].role", [{"role": 5, "content": "x"}], "invalid_type"),
    ("messages[0].role", [{"content": "x"}], "missing_required_parameter"),
    ("messages[0].content", [{"role": "user", "content": 5}], "invalid_type"),
    ("messages[0].content", [{"role": "user", "content": {"text": "x"}}], "invalid_type"),
    ("messages[0].content[0].type", [{"role": "user", "content": [{"text": "x"}]}], "missing_required_parameter"),
    ("messages[0].tool_calls", [{"role": "assistant", "tool_calls": "x"}], "invalid_type"),
    ("stream", "yes", "invalid_type"),
    ("stream", 1, "invalid_type"),
    ("temperature", "hot", "invalid_type"),
    ("max_tokens", "many", "invalid_type"),
    ("max_tokens", 1.5, "invalid_type"),
    ("n", [1], "invalid_type"),
    ("seed", "x", "invalid_type"),
    ("stop", {"a": 1}, "invalid_type"),
    ("tools", {"type": "function"}, "invalid_type"),
    ("tools[0].type", [{"function": {"name": "f"}}], "missing_required_parameter"),
    ("tools[0].function", [{"type": "function", "function": "f"}], "invalid_type"),
    ("tool_choice", 5, "invalid_type"),
    ("response_format", "json", "invalid_type"),
    ("logit_bias", [1], "invalid_type"),
    ("user", {"id": 1}, "invalid_type"),
    ("metadata", "x", "invalid_type"),
    ("stream_options", [True], "invalid_type"),
]


async def test_wrong_types_are_named(bench: Bench) -> None:
    upstream, gateway = await _gateway(bench)
    for param, value, code in WRONG_TYPES:
        member = param.partition("[")[0].partition(".")[0]
        body = json.loads(ask())
        if value is None:
            del body[member]
        else:
            body[member] = value
        answer = await gateway.chat(json.dumps(body).encode())
        error = assert_error(answer, 400, code, param)
        assert param in error["message"] or code == "invalid_value"
    assert upstream.calls == 0


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "x-unknown", "identity, gzip", "deflate"])
async def test_request_codings_are_refused(coding: str, bench: Bench) -> None:
    upstream, gateway = await _gateway(bench)
    bomb = gzip.compress(bytes(2**24))
    answer = await gateway.chat(bomb, {"content-encoding": coding})
    assert_error(answer, 415, "unsupported_media_type")
    assert upstream.calls == 0
    assert (await gateway.chat(ask(), {"content-encoding": "identity"})).status == 200


FRAMINGS = {
    "by length": (b"content-length: 52428800\r\n\r\n", b"x" * 65536),
    "by chunks": (b"transfer-encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
    "by a length that lies": (b"content-length: 99999999999999\r\n\r\n", b"x" * 65536),
}


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_50_mb_are_refused_before_they_are_read(framing: str, bench: Bench) -> None:
    upstream, gateway = await _gateway(bench)
    lines, block = FRAMINGS[framing]
    before = rss_bytes()
    async with gateway.connect() as wire:
        await wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n" + lines)
        sent = 0
        try:
            async with asyncio.timeout(10):
                while sent < 50 * 2**20:
                    await wire.send(block)
                    sent += len(block)
        except ConnectionError:
            pass
        try:
            answer = await wire.answer()
        except AssertionError:
            # The reset that ends an upload which nobody reads may overtake the reply; then all of it was refused.
            assert sent < 50 * 2**20
        else:
            assert_error(answer, 413, "request_too_large")
            assert answer.headers["connection"] == "close"
    assert rss_bytes() - before < 60 * 2**20
    assert upstream.calls == 0
    assert gateway.metric("llm_edge_request_errors_total", error_type="too_large") == 1


async def test_a_client_that_waits_is_told_413_before_it_sends(bench: Bench) -> None:
    _, gateway = await _gateway(bench)
    async with gateway.connect() as wire:
        await wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 52428800\r\n\r\n")
        assert_error(await wire.answer(), 413, "request_too_large")
        assert await wire.to_end() == b""


async def test_a_client_that_leaves_in_the_middle_of_its_request_is_counted_and_logged(bench: Bench) -> None:
    upstream, gateway = await _gateway(bench)
    async with gateway.connect() as wire:
        await wire.send(request_bytes(ask())[:-5])
        await eventually(lambda: gateway.server.in_flight == 1)
    await eventually(lambda: gateway.metric("llm_edge_requests_total", status="cancelled") == 1)
    [line] = await gateway.logged('"request"')
    assert (line["status"], line["error_type"]) == (499, "cancelled")
    assert (gateway.server.in_flight, upstream.calls) == (0, 0)


async def test_a_body_that_drips_is_cut(bench: Bench) -> None:
    upstream, gateway = await _gateway(bench, server=ServerLimits(body_timeout_s=0.4))
    async with gateway.connect() as wire:
        await wire.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 5000\r\n\r\n{")
        assert_error(await wire.answer(), 408, "request_timeout")
    assert upstream.calls == 0


def _bodies() -> list[tuple[str, bytes]]:
    text = {
        "bidi controls": "\u202eabc\u202c \u2066x\u2069",
        "composed and decomposed": "é e\u0301 Å A\u030a ﬁ",
        "format strings": "%s %n {0} {{x}} ${y} $(z) `w` \\x41 %00",
        "line separators": "a\u2028b\u2029c\x85d",
        "astral": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U00020000",
    }
    rows = []
    for name, words in text.items():
        request = {"model": MODEL, "messages": [{"role": "user", "content": words}]}
        rows.append((name, json.dumps(request, ensure_ascii=False).encode()))
    raw = {
        "a NUL escape": GOOD.replace("canary", r"nul\u0000 \b\f\/ \u00e9") + "}",
        "surrogate pairs as escapes": GOOD.replace("canary", r"\ud83d\ude00") + "}",
        "numbers as they were written": GOOD
        + ',"temperature":0.10000000000000000555,"top_p":1.0e-0,"seed":9007199254740993}',
        "huge numbers in unknown members": GOOD + ',"x":[123456789012345678901234567890,1E+2,-0.0,-0]}',
        "odd order and white space": ' {\n\t"stream" : false ,\r\n  ' + MESSAGES + f' , "model":"{MODEL}" }}\n',
        "unknown members": GOOD + ',"vendor_option":{"a":[{"b":null}],"c":"d"},"":"empty name","__proto__":{}}',
        "nulls": GOOD + ',"temperature":null,"stop":null,"tools":null}',
        "nesting of 100": GOOD + f',"x":{"[" * 100}{"]" * 100}}}',
        "a nested member twice": GOOD + ',"x":{"y":1,"y":2}}',
    }
    return [*rows, *((name, body.encode()) for name, body in raw.items())]


@pytest.mark.parametrize(("name", "body"), _bodies(), ids=[name for name, _ in _bodies()])
async def test_the_provider_gets_the_clients_bytes(name: str, body: bytes, bench: Bench) -> None:
    upstream, gateway = await _gateway(bench)
    for headers in ({}, {"cache-control": "no-cache"}, {"cache-control": "no-store"}):
        assert (await gateway.chat(body, headers)).status == 200
    assert [request.body for request in upstream.received] == [body] * 3


async def test_of_a_stream_only_the_usage_option_is_added(bench: Bench) -> None:
    upstream, gateway = await _gateway(bench)
    body = (GOOD + ' ,\t"stream":true , "temperature":1.50}').encode()
    assert (await gateway.chat(body)).events[-1] == "[DONE]"
    sent = upstream.received[0].body
    assert sent == body.replace(b"{", b'{"stream_options":{"include_usage":true},', 1)
    asked = (GOOD + ',"stream":true,"stream_options":{"include_usage":true}}').encode()
    assert (await gateway.chat(asked, {"cache-control": "no-store"})).status == 200
    assert upstream.received[1].body == asked


async def test_100_000_messages_do_not_block_others(bench: Bench) -> None:
    upstream, gateway = await _gateway(bench)
    body = json.dumps(
        {"model": MODEL, "messages": [{"role": "user", "content": f"message {n}"} for n in range(100_000)]}
    ).encode()
    asking = asyncio.ensure_future(gateway.chat(body))
    longest_s = 0.0  # in CPU seconds of this process: another's work is no fault of the gateway
    while not asking.done():
        began_s = time.process_time()
        assert (await gateway.get("/health")).status == 200
        longest_s = max(longest_s, time.process_time() - began_s)
    answer = await asking
    assert answer.status in (200, 400, 413)
    assert longest_s < 0.5
    assert upstream.received[0].body == body


async def test_large_bodies_do_not_block_others(bench: Bench) -> None:
    upstream, gateway = await _gateway(bench)

    async def large(number: int) -> None:
        body = ask(f"{number}" + "x" * 4 * 2**20)
        assert (await gateway.chat(body)).status == 200
        assert any(len(request.body) == len(body) for request in upstream.received)

    asking = asyncio.ensure_future(asyncio.gather(*(large(number) for number in range(4))))
    longest_s = 0.0  # in CPU seconds of this process: another's work is no fault of the gateway
    while not asking.done():
        began_s = time.process_time()
        assert (await gateway.get("/health")).status == 200
        longest_s = max(longest_s, time.process_time() - began_s)
    await asking
    assert longest_s < 0.5


async def test_a_claude_request_that_cannot_be_translated_is_refused_by_name(bench: Bench) -> None:
    upstream, gateway = await bench.pair(says(reply(completion())))
    body = ask(model="claude-haiku-5-5", tools=[{"type": "custom", "custom": {"name": "x"}}], n=2)
    answer = await gateway.chat(body)
    assert answer.status == 400
    assert answer.error["param"] in ("n", "tools", "tools[0]", "tools[0].type")
    assert upstream.calls == 0


async def test_many_requests_hang_without_hurting_the_rest(bench: Bench) -> None:
    upstream, gateway = await bench.pair(hang)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(gateway.chat(ask(f"{n}"))) for n in range(50)]
        await eventually(lambda: upstream.exchanges_open == 50)
        assert (await gateway.get("/health/ready")).status == 200
        assert gateway.server.in_flight == 50
        for task in tasks:
            task.cancel()
    await eventually(lambda: upstream.exchanges_open == 0)
