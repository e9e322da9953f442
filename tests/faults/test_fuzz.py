"""Garbage with fixed seeds, on the socket and in the body: never a 5xx, never a hang, nothing left behind."""

import asyncio
import json
import random
from typing import Any

import pytest

from llm_edge_agent.config import ServerLimits
from tests.canaries import prompt
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import CLAUDE, MODEL, ask, eventually
from tests.e2e.scripted_upstream import completion, either, reply, whole_stream
from tests.faults.conftest import Bench

RAW_CASES = 400
STRUCTURED_CASES = 300

_PIECES = [
    b"GET ",
    b"POST ",
    b"/v1/chat/completions",
    b"/v1/models",
    b"/",
    b" HTTP/1.1\r\n",
    b" HTTP/1.0\r\n",
    b" HTTP/9.9\r\n",
    b"host: g\r\n",
    b"Host: g\r\nHost: h\r\n",
    b"content-length: 5\r\n",
    b"content-length: -1\r\n",
    b"Content-Length: 5, 5\r\n",
    b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: xchunked\r\n",
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b": x\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"{",
    b"}",
    b'"',
    b"x" * 300,
    b"\xff\xfe",
    b"\x16\x03\x01",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"expect: 100-continue\r\n",
    b"upgrade: h2c\r\nconnection: upgrade\r\n",
    b"authorization: Bearer x\r\n",
    b" obs-fold\r\n",
]


def raw_case(seed: int) -> bytes:
    chance = random.Random(seed)
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 600))
    if kind == 1:
        return b"".join(chance.choices(_PIECES, k=chance.randrange(1, 14)))
    data = bytearray(request_bytes(ask()))
    if kind == 2:
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
    else:
        at = chance.randrange(len(data))
        data[at : at + chance.randrange(8)] = chance.choice(_PIECES)
    return bytes(data)


_VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**63,
    -(2**70),
    10**400,
    "",
    "x",
    "\ud83d\ude00",
    "\x00",
    [],
    {},
    [[]],
    [None],
    [{}],
    {"type": "function"},
    {"type": None},
    [{"type": "text"}],
    [{"type": "image_url", "image_url": 5}],
    [{"role": "tool"}],
    "none",
    "auto",
    {"": ""},
    ["a"] * 5,
    [{"role": "assistant", "tool_calls": [{}]}],
    1e308,
    "claude",
    "gpt-",
    "openai/",
]
_MEMBERS = (
    "model",
    "messages",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "n",
    "stop",
    "max_tokens",
    "seed",
    "tools",
    "tool_choice",
    "response_format",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "user",
    "metadata",
    "reasoning_effort",
    "parallel_tool_calls",
    "modalities",
    "audio",
    "prediction",
    "store",
    "service_tier",
    "verbosity",
    "unknown_member",
)
_MESSAGE_MEMBERS = ("role", "content", "name", "tool_calls", "tool_call_id", "refusal", "function_call", "audio")


def structured_case(seed: int) -> bytes:
    chance = random.Random(seed)
    body: dict[str, Any] = {
        "model": chance.choice([MODEL, CLAUDE, "gpt-5.6", "claude-opus-5"]),
        "messages": [
            {"role": chance.choice(["user", "system", "assistant"]), "content": prompt("hi")} for _ in range(3)
        ],
    }
    for _ in range(chance.randrange(1, 4)):
        body[chance.choice(_MEMBERS)] = chance.choice(_VALUES)
    messages = body["messages"]
    if chance.random() < 0.5 and isinstance(messages, list) and messages and isinstance(messages[0], dict):
        messages[0] = {**messages[0], chance.choice(_MESSAGE_MEMBERS): chance.choice(_VALUES)}
    return json.dumps(body).encode()


@pytest.mark.parametrize("half_closed", [False, True])
async def test_raw_garbage(half_closed: bool, bench: Bench) -> None:
    upstream, gateway = await bench.pair(
        either(reply(completion()), whole_stream()),
        server=ServerLimits(header_timeout_s=0.3, body_timeout_s=0.3, keepalive_timeout_s=0.3),
    )

    async def one(seed: int) -> None:
        async with gateway.connect() as wire:
            try:
                await wire.send(raw_case(seed))
                if half_closed:
                    wire.half_close()
                async with asyncio.timeout(15):
                    answered = await wire.to_end()
            except ConnectionError:
                return
        statuses = [int(line[9:12]) for line in answered.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
        assert all(status < 500 or status in (501, 505) for status in statuses), (seed, answered)

    await asyncio.gather(*(one(seed) for seed in range(RAW_CASES)))
    await eventually(lambda: gateway.server.in_flight == 0)
    assert (await gateway.chat()).status == 200
    assert upstream.exchanges_open == 0


async def test_structured_garbage(bench: Bench) -> None:
    """The provider answers everything well in OpenAI's form, so only a translated answer may be called invalid."""
    _, gateway = await bench.pair(either(reply(completion()), whole_stream()))

    async def one(seed: int) -> None:
        body = structured_case(seed)
        async with asyncio.timeout(20):
            answer = await gateway.chat(body)
        translated = answer.status == 502 and answer.error["code"] in (
            "upstream_invalid",
            "upstream_stream_interrupted",
        )
        assert answer.status < 500 or translated, (seed, body, answer.body)
        assert answer.whole

    await asyncio.gather(*(one(seed) for seed in range(STRUCTURED_CASES)))
    await eventually(lambda: gateway.server.in_flight == 0)
