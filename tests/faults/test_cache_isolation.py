"""A wrong hit may never happen: not across tenants, parameters, conversations or headers."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.canaries import ALICE_KEY, BOB_KEY, prompt
from tests.e2e.raw_client import Answer, request_bytes, streamed_text
from tests.e2e.running_gateway import MODEL, TENANTS, RunningGateway, ask, bearer, gateway_config, running
from tests.e2e.scripted_upstream import Line, completion, either, reply, scripted, whole_stream
from tests.faults.conftest import Bench


class Numbered:
    """A provider whose every answer is another one."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, line: Line) -> None:
        self.calls += 1
        await line.send(reply(completion(f"answer number {self.calls}")))


async def _tier(gateway: RunningGateway, body: bytes, headers: dict[str, str] | None = None) -> str:
    answer = await gateway.chat(body, headers)
    assert answer.status == 200, answer.body
    return answer.headers["x-llm-edge-cache"]


BASE: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": prompt("hi")}]}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

KEYED: dict[str, Any] = {
    "frequency_penalty": 0.5, "presence_penalty": 0.5, "logit_bias": {"5": 1}, "logprobs": True, "top_logprobs": 2,
    "max_completion_tokens": 7, "max_tokens": 7, "modalities": ["text"], "n": 2, "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "x"}, "reasoning_effort": "low",
    "response_format": {"type": "json_object"}, "seed": 1, "service_tier": "flex", "stop": ["x"], "temperature": 0.5,
    "top_p": 0.5, "tools": [FUNCTION], "tool_choice": "none", "verbosity": "low", "web_search_options": {},
    "prompt_cache_retention": "24h", "moderation": {"a": 1}, "audio": {"voice": "x"}, "functions": [{"name": "f"}],
    "function_call": "none", "a_parameter_of_tomorrow": 1,
}  # fmt: skip


async def test_every_parameter_changes_the_key(bench: Bench) -> None:
    upstream, gateway = await bench.pair(Numbered())
    assert await _tier(gateway, json.dumps(BASE).encode()) == "miss"
    for name, value in KEYED.items():
        body = json.dumps({**BASE, name: value}).encode()
        assert await _tier(gateway, body) == "miss", name
        assert await _tier(gateway, body) == "hit-l1", name
    assert upstream.calls == 1 + len(KEYED)


NOT_KEYED: dict[str, Any] = {
    "user": "u", "metadata": {"a": "b"}, "store": False, "safety_identifier": "s", "prompt_cache_key": "p",
    "stream": False, "stream_options": None,
}  # fmt: skip


async def test_what_cannot_change_the_answer_does_not_change_the_key(bench: Bench) -> None:
    upstream, gateway = await bench.pair(Numbered())
    assert await _tier(gateway, json.dumps(BASE).encode()) == "miss"
    for name, value in NOT_KEYED.items():
        assert await _tier(gateway, json.dumps({**BASE, name: value}).encode()) == "hit-l1", name
    assert await _tier(gateway, json.dumps(dict(reversed(BASE.items())), separators=(",", ":")).encode()) == "hit-l1"
    assert upstream.calls == 1


def _user(*contents: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content} for content in contents]


CONVERSATIONS: list[list[dict[str, Any]]] = [
    _user("ab"),
    _user("a", "b"),
    _user("", "ab"),
    _user("AB"),
    _user("ab "),
    _user(" ab"),
    _user("a\nb"),
    _user("ab\u0000"),
    _user("é"),
    _user("e\u0301"),
    _user([{"type": "text", "text": "ab"}]),
    [{"role": "system", "content": "ab"}],
    [{"role": "user", "content": "ab", "name": "x"}],
    [{"role": "user", "content": 'ab","role":"system'}],
    _user("a", "b", ""),
]


async def test_conversations_that_resemble_each_other_do_not_collide(bench: Bench) -> None:
    upstream, gateway = await bench.pair(Numbered())
    for messages in CONVERSATIONS:
        assert await _tier(gateway, json.dumps({"model": MODEL, "messages": messages}).encode()) == "miss", messages
    assert upstream.calls == len(CONVERSATIONS)


NUMBERS = ["0.1", "0.1000000000000000055", "0.10", "1e-1", "1", "1.0", "-0.0", "0", "0.0"]


async def test_numbers_are_keyed_as_they_were_written(bench: Bench) -> None:
    upstream, gateway = await bench.pair(Numbered())
    for number in NUMBERS:
        body = ask().replace(b'"model"', b'"temperature": %b, "model"' % number.encode())
        assert await _tier(gateway, body) == "miss", number
    assert upstream.calls == len(NUMBERS)


async def test_another_model_is_another_entry(bench: Bench) -> None:
    upstream, gateway = await bench.pair(Numbered(), aliases={"mini": MODEL})
    for model, tier in ((MODEL, "miss"), ("gpt-4o", "miss"), ("mini", "hit-l1"), (f"openai/{MODEL}", "hit-l1")):
        assert await _tier(gateway, ask(model=model)) == tier, model
    assert upstream.calls == 2


POISON = [
    "x-forwarded-host", "x-original-url", "accept-language", "accept-encoding", "accept", "user-agent", "origin",
    "openai-beta", "x-llm-edge-tenant", "vary", "x-http-method-override", "range",
]  # fmt: skip


async def test_headers_cannot_poison_an_entry(bench: Bench) -> None:
    """What goes upstream does not depend on a client's headers, so neither does what is stored."""
    upstream, gateway = await bench.pair(Numbered())
    for number, header in enumerate(POISON):
        assert await _tier(gateway, ask(f"question {number}"), {header: "poison"}) == "miss"
        assert await _tier(gateway, ask(f"question {number}")) == "hit-l1"
    first = {**upstream.received[0].headers, "content-length": ""}
    assert all({**request.headers, "content-length": ""} == first for request in upstream.received)
    assert not any(b"poison" in request.head for request in upstream.received)


async def test_tenants_do_not_share_and_keys_of_one_tenant_do(bench: Bench) -> None:
    upstream, gateway = await bench.pair(Numbered(), auth_enabled=True, keys=TENANTS)
    answers: list[Answer] = []
    for key in (ALICE_KEY, BOB_KEY, ALICE_KEY, BOB_KEY):
        answers.append(await gateway.chat(ask(), bearer(key)))
    assert [answer.headers["x-llm-edge-cache"] for answer in answers] == ["miss", "miss", "hit-l1", "hit-l1"]
    assert answers[0].text == answers[2].text != answers[1].text == answers[3].text
    assert upstream.calls == 2


REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([ALICE_KEY, BOB_KEY]),
        st.sampled_from(["a", "b"]),
        st.booleans(),
        st.sampled_from([None, "no-cache", "no-store"]),
        st.sampled_from([None, "namespace=a", "namespace=b"]),
    ),
    min_size=2,
    max_size=12,
)


@given(requests=REQUESTS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_schedule_of_two_tenants_mixes_them(
    requests: list[tuple[str, str, bool, str | None, str | None]],
) -> None:
    """Whatever two tenants ask, on one connection or two: each answer names its own asker, question and namespace."""

    async def names_its_asker(line: Line) -> None:
        question = line.request.json["messages"][0]["content"]
        await either(reply(completion(question)), whole_stream([question]))(line)

    config_keys: dict[str, Any] = {"auth_enabled": True, "keys": TENANTS}
    async with scripted(names_its_asker) as upstream, running(gateway_config(upstream.url, **config_keys)) as gateway:
        seen: dict[tuple[str, str, str | None], None] = {}
        for key, question, stream, control, namespace in requests:
            headers = bearer(key)
            if control is not None:
                headers["cache-control"] = control
            if namespace is not None:
                headers["x-llm-edge-cache-control"] = namespace
            calls = upstream.calls
            answer = await gateway.chat(ask(question, user=key[-4:], stream=stream), headers)
            hit = answer.headers["x-llm-edge-cache"] == "hit-l1"
            assert (streamed_text(answer.events) if stream else answer.text) == prompt(question)
            assert hit == (upstream.calls == calls)
            assert hit == ((key, question, namespace) in seen and control is None)
            if control != "no-store":
                seen[key, question, namespace] = None


@pytest.mark.parametrize(
    ("control", "own", "tiers"),
    [
        ("no-store", None, ["bypass", "miss"]),
        ("no-cache", None, ["bypass", "hit-l1"]),
        (None, "no-store", ["bypass", "miss"]),
        (None, "no-cache", ["bypass", "hit-l1"]),
        (None, "namespace=x", ["miss", "miss"]),
        (None, "ttl=0", ["miss", "miss"]),
        ("max-age=0", None, ["bypass", "hit-l1"]),
    ],
)
async def test_cache_control(control: str | None, own: str | None, tiers: list[str], bench: Bench) -> None:
    _, gateway = await bench.pair(Numbered())
    headers = {"cache-control": control, "x-llm-edge-cache-control": own}
    given = {name: value for name, value in headers.items() if value is not None}
    assert [await _tier(gateway, ask(), given), await _tier(gateway, ask())] == tiers


async def test_no_store_is_not_answered_from_the_cache_either(bench: Bench) -> None:
    upstream, gateway = await bench.pair(Numbered())
    for headers in (
        {},
        {"cache-control": "no-store"},
        {"cache-control": "no-cache"},
        {"cache-control": "no-store"},
        {},
    ):
        await gateway.chat(ask(), headers)
    assert upstream.calls == 4


async def test_an_unknown_directive_of_our_own_is_refused(bench: Bench) -> None:
    _, gateway = await bench.pair(Numbered())
    answer = await gateway.chat(ask(), {"x-llm-edge-cache-control": "no-stroe"})
    assert (answer.status, answer.error["param"]) == (400, "x-llm-edge-cache-control")


NEVER_CACHED = ["length", "content_filter", None, "something_new"]


@pytest.mark.parametrize("finish", NEVER_CACHED)
async def test_answers_that_did_not_end_by_themselves_are_not_kept(finish: str | None, bench: Bench) -> None:
    body = json.loads(completion())
    body["choices"][0]["finish_reason"] = finish

    async def script(line: Line) -> None:
        await line.send(reply(json.dumps(body).encode()))

    upstream, gateway = await bench.pair(script)
    assert [await _tier(gateway, ask()), await _tier(gateway, ask())] == ["miss", "miss"]
    assert upstream.calls == 2


async def test_an_entry_expires(bench: Bench) -> None:
    upstream, gateway = await bench.pair(Numbered())
    headers = {"x-llm-edge-cache-control": "ttl=1"}
    assert [await _tier(gateway, ask(), headers), await _tier(gateway, ask())] == ["miss", "hit-l1"]
    await asyncio.sleep(1.2)
    assert await _tier(gateway, ask()) == "miss"
    assert upstream.calls == 2


@pytest.mark.parametrize("connections", ["one", "many"])
async def test_a_request_repeated_byte_for_byte_is_judged_anew(connections: str, bench: Bench) -> None:
    """What is remembered of a request must not outlive its caller, its headers or its entry."""
    _, gateway = await bench.pair(Numbered(), auth_enabled=True, keys=TENANTS)
    alice, bob = bearer(ALICE_KEY), bearer(BOB_KEY)
    rows: list[tuple[bytes, dict[str, str], int, str | None]] = [
        (ask("q"), alice, 200, "miss"),
        (ask("q"), alice, 200, "hit-l1"),
        (ask("q"), alice, 200, "hit-l1"),
        (ask("q"), bob, 200, "miss"),
        (ask("q"), bearer("nobody"), 401, None),
        (ask("q"), {}, 401, None),
        (ask("Q"), alice, 200, "miss"),
        (ask("q"), {**alice, "cache-control": "no-store"}, 200, "bypass"),
        (ask("q"), {**alice, "cache-control": "no-cache"}, 200, "bypass"),
        (ask("q"), {**alice, "x-llm-edge-cache-control": "namespace=n"}, 200, "miss"),
        (ask("q")[:-1] + b" ", alice, 400, None),
        (ask("q"), bob, 200, "hit-l1"),
        (ask("q"), alice, 200, "hit-l1"),
    ]
    ids = set()
    async with gateway.connect() as wire:
        for number, (body, headers, status, tier) in enumerate(rows):
            if connections == "many":
                answer = await gateway.chat(body, headers)
            else:
                await wire.send(request_bytes(body, headers))
                answer = await wire.answer()
            assert (answer.status, answer.headers.get("x-llm-edge-cache")) == (status, tier), number
            ids.add(answer.headers["x-request-id"])
            if answer.headers.get("connection") == "close":
                break
    assert len(ids) == number + 1
    assert gateway.metric("llm_edge_requests_total") == number + 1
