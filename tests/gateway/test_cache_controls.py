"""What clients and the configuration say about the cache, through a whole gateway."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from llm_edge_agent.config import CacheConfig
from llm_edge_agent.config.values import DeploymentConfig, GroupConfig
from llm_edge_agent.core.cache_policy import PolicyRule
from tests.e2e.raw_client import Answer, streamed_text
from tests.e2e.running_gateway import CLAUDE, MODEL, RunningGateway, ask, gateway_config, running
from tests.e2e.scripted_upstream import Line, completion, either, failure, reply, says, scripted, whole_stream

ANSWERS = either(reply(completion("fine")), whole_stream(["fine"]))


async def asked(gateway: RunningGateway, headers: dict[str, str] | None = None, **members: Any) -> Answer:
    return await gateway.chat(ask(**members), headers)


def told(answer: Answer) -> str:
    return answer.headers["x-llm-edge-cache"]


async def test_no_answer_older_than_wanted() -> None:
    async with scripted(ANSWERS) as upstream, running(gateway_config(upstream.url)) as gateway:
        assert told(await asked(gateway)) == "miss"
        for _ in range(2):  # the second time, the server knows the bytes
            assert told(await asked(gateway, {"cache-control": "max-age=60"})) == "hit-l1"
            assert told(await asked(gateway, {"cache-control": "max-age=1"})) == "hit-l1"
        await asyncio.sleep(1.05)
        hit = await asked(gateway, {"cache-control": "max-age=60"})
        assert (told(hit), hit.headers["age"]) == ("hit-l1", "1")
        assert told(await asked(gateway, {"cache-control": "max-age=1"})) == "miss"
        assert told(await asked(gateway, {"cache-control": "max-age=1"})) == "hit-l1"
        assert told(await asked(gateway, {"cache-control": "max-age=0"})) == "bypass"
        assert upstream.calls == 3


async def test_a_hit_is_counted_for_whoever_made_the_answer_last() -> None:
    places = tuple(DeploymentConfig(name=name, provider=name, model=MODEL) for name in ("openai", "second"))
    group = GroupConfig(name="smart", strategy="failover", deployments=places)
    async with scripted(ANSWERS) as first, scripted(ANSWERS) as second:
        config = gateway_config(first.url, groups=(group,))
        other = replace(config.providers[0], name="second", base_url=f"{second.url}/v1")
        async with running(replace(config, providers=(*config.providers, other))) as gateway:
            for expected in ("miss", "hit-l1", "hit-l1"):  # from the second hit on, the server knows the bytes
                assert told(await asked(gateway, model="smart")) == expected
            first.script = says(failure(500))
            refreshed = await asked(gateway, {"cache-control": "no-cache"}, model="smart")
            assert (refreshed.status, first.calls, second.calls) == (200, 2, 1)
            for _ in range(3):
                assert told(await asked(gateway, model="smart")) == "hit-l1"
            for provider, hits in (("openai", 2), ("second", 3)):
                assert gateway.metric("llm_edge_requests_total", provider=provider, cache="hit") == hits
            await asyncio.sleep(0.2)
            lines = await gateway.logged('"cache":"hit"')
            assert [line["provider"] for line in lines] == ["openai"] * 2 + ["second"] * 3


@pytest.mark.parametrize(
    ("path", "model", "shape"),
    [
        ("/v1/chat/completions", MODEL, ("error", "code")),
        ("/v1/messages", CLAUDE, ("error", "type")),
    ],
)
async def test_only_what_is_cached(path: str, model: str, shape: tuple[str, str]) -> None:
    from tests.e2e.raw_client import request_bytes

    async with scripted(ANSWERS) as upstream, running(gateway_config(upstream.url)) as gateway:
        data = request_bytes(ask(model=model, max_tokens=5), {"cache-control": "only-if-cached"}, path=path)
        answer = await gateway.exchange(data)
        assert answer.status == 504
        assert answer.json[shape[0]][shape[1]]
        assert upstream.calls == 0


async def test_what_is_cached_is_given_to_who_wants_nothing_else() -> None:
    async with scripted(ANSWERS) as upstream, running(gateway_config(upstream.url)) as gateway:
        await asked(gateway)
        for stream in (False, True):
            assert told(await asked(gateway, {"cache-control": "only-if-cached"}, stream=stream)) == "hit-l1"
        assert upstream.calls == 1


async def test_policies_by_model() -> None:
    rules = (PolicyRule(("quick", MODEL), "deterministic"), PolicyRule(("gpt-*",), "off"))
    config = CacheConfig(policy="all", policies=rules)
    async with scripted(ANSWERS) as upstream, running(gateway_config(upstream.url, cache=config)) as gateway:
        for members, expected in (
            ({}, "bypass"),
            ({"seed": 1}, "hit-l1"),
            ({"model": "gpt-5.5", "seed": 1}, "bypass"),
            ({"model": "openai/other"}, "hit-l1"),
        ):
            await asked(gateway, **members)
            assert told(await asked(gateway, **members)) == expected, members


async def test_a_policy_may_switch_the_cache_on_for_some() -> None:
    config = CacheConfig(policy="off", policies=(PolicyRule((MODEL,), "all"),))
    async with scripted(ANSWERS) as upstream, running(gateway_config(upstream.url, cache=config)) as gateway:
        for model, expected in ((MODEL, "hit-l1"), ("gpt-5.5", "bypass")):
            await asked(gateway, model=model)
            assert told(await asked(gateway, model=model)) == expected


@pytest.mark.parametrize("how", ["policy", "header"])
async def test_a_time_to_live_of_its_own(how: str) -> None:
    rules = (PolicyRule((MODEL,), None, 1.0),) if how == "policy" else ()
    headers = {"x-llm-edge-cache-control": "ttl=1"} if how == "header" else {}
    config = gateway_config("", cache=CacheConfig(policies=rules))
    async with scripted(ANSWERS) as upstream:
        ours = gateway_config(upstream.url, cache=config.cache)
        async with running(ours) as gateway:
            await asked(gateway, headers)
            assert told(await asked(gateway, headers)) == "hit-l1"
            await asyncio.sleep(1.1)
            assert told(await asked(gateway, headers)) == "miss"


class Failing:
    """A provider that can be switched to failure."""

    def __init__(self) -> None:
        self.status: int | None = None

    async def __call__(self, line: Line) -> None:
        await (ANSWERS(line) if self.status is None else line.send(failure(self.status)))


@pytest.mark.parametrize("stream", [False, True])
async def test_an_expired_answer_stands_in_for_none(stream: bool) -> None:
    provider = Failing()
    cache = CacheConfig(l1_ttl_s=0.4, l1_tti_s=0.4, stale_if_error_s=60.0)
    async with scripted(provider) as upstream, running(gateway_config(upstream.url, cache=cache)) as gateway:
        await asked(gateway)
        assert told(await asked(gateway)) == "hit-l1"
        assert told(await asked(gateway)) == "hit-l1"
        provider.status = 503
        await asyncio.sleep(1.1)
        stale = await asked(gateway, stream=stream)
        assert (stale.status, told(stale), stale.headers["age"]) == (200, "stale", "1")
        text = streamed_text(stale.events) if stream else stale.text
        assert text == "fine"
        assert stale.headers["x-llm-edge-cost-usd"] == "0.0"
        assert gateway.metric("llm_edge_cache_lookups_total", result="stale") == 1
        # Not where the client wants a fresh one, nor where the request itself is at fault.
        for headers in ({"cache-control": "no-cache"}, {"cache-control": "max-age=1"}):
            assert (await asked(gateway, headers)).status == 503
        provider.status = 400
        assert (await asked(gateway)).status == 400
        provider.status = None
        assert told(await asked(gateway)) == "miss"
        assert told(await asked(gateway)) == "hit-l1"


async def test_an_expired_answer_is_told_to_all_who_joined() -> None:
    go = asyncio.Event()
    provider = Failing()

    async def slowly(line: Line) -> None:
        if provider.status is not None:
            await go.wait()
        await provider(line)

    cache = CacheConfig(l1_ttl_s=0.2, l1_tti_s=0.2, stale_if_error_s=60.0)
    async with scripted(slowly) as upstream, running(gateway_config(upstream.url, cache=cache)) as gateway:
        await asked(gateway)
        provider.status = 503
        await asyncio.sleep(0.3)
        tasks = [asyncio.create_task(asked(gateway, stream=number % 2 == 0)) for number in range(4)]
        await asyncio.sleep(0.1)
        particular = asyncio.create_task(asked(gateway, {"cache-control": "max-age=60"}))
        await asyncio.sleep(0.1)
        go.set()
        assert {told(answer) for answer in await asyncio.gather(*tasks)} == {"stale"}
        assert (await particular).status == 503


async def test_without_the_setting_an_expired_answer_is_gone() -> None:
    provider = Failing()
    cache = replace(CacheConfig(), l1_ttl_s=0.2, l1_tti_s=0.2)
    async with scripted(provider) as upstream, running(gateway_config(upstream.url, cache=cache)) as gateway:
        await asked(gateway)
        provider.status = 503
        await asyncio.sleep(0.3)
        assert (await asked(gateway)).status == 503
