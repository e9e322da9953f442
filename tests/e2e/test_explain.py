"""What the gateway says it would do with a request, and that it does nothing of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from llm_edge_agent.config.values import DeploymentConfig, GroupConfig
from tests.canaries import ALICE_KEY, BOB_KEY, prompt
from tests.e2e.raw_client import request_bytes
from tests.e2e.running_gateway import CLAUDE, MODEL, TENANTS, ask, bearer, gateway_config, running
from tests.e2e.scripted_upstream import completion, either, reply, scripted, whole_stream

GROUP = GroupConfig(
    name="smart",
    strategy="cost",
    fallbacks=(MODEL,),
    deployments=(
        DeploymentConfig(name=f"openai/{MODEL}", provider="openai", model=MODEL, region="eu", tags=("a",)),
        DeploymentConfig(name=f"anthropic/{CLAUDE}", provider="anthropic", model=CLAUDE),
    ),
)


async def test_explain_tells_all_and_calls_nobody(tmp_path: Path) -> None:
    async with scripted(either(reply(completion()), whole_stream())) as upstream:
        config = gateway_config(upstream.url, groups=(GROUP,), auth_enabled=True, keys=TENANTS)
        async with running(config, str(tmp_path / "log")) as gateway:

            async def explain(body: bytes, key: str = ALICE_KEY, query: str = "") -> tuple[int, dict[str, Any]]:
                path = f"/v1/route/explain{query}"
                answer = await gateway.exchange(request_bytes(body, bearer(key), path=path))
                return answer.status, answer.json

            status, told = await explain(ask(model="smart", temperature=0))
            assert status == 200
            assert (told["group"], told["strategy"]) == ("smart", "cost")
            assert told["needs"]["features"] == ["sampling_params"]
            assert sorted(told["order"]) == sorted(each["deployment"] for each in told["candidates"])
            first = min(told["candidates"], key=lambda each: each["place"])
            assert first["estimated_cost_usd"] == min(each["estimated_cost_usd"] for each in told["candidates"])
            assert told["candidates"][0]["region"] == "eu"
            assert told["fallbacks"]["general"] == [MODEL]
            assert told["cache"]["parts"]["members"] == ["messages", "temperature"]
            assert told["cache"]["would_hit"] is None
            assert upstream.calls == 0
            assert "sk-" not in json.dumps(told)
            assert upstream.url not in json.dumps(told)

            assert (await gateway.chat(ask(), bearer(ALICE_KEY))).status == 200
            assert (await explain(ask()))[1]["cache"]["would_hit"] == "l1"
            assert (await explain(ask(), BOB_KEY))[1]["cache"]["would_hit"] is None
            assert upstream.calls == 1

            assert (await explain(b"{"))[0] == 400
            assert (await explain(ask(model="nobody")))[0] == 404
            assert (await explain(ask(), query="?endpoint=poems"))[1]["error"]["param"] == "endpoint"
            messages = {"model": CLAUDE, "max_tokens": 5, "messages": [{"role": "user", "content": prompt("hi")}]}
            status, told = await explain(json.dumps(messages).encode(), query="?endpoint=messages")
            assert (status, told["order"]) == (200, [f"anthropic/{CLAUDE}"])
            assert (await explain(ask(), "wrong"))[0] == 401


async def test_explain_looks_into_the_shared_tier_and_leaves_it_there(tmp_path: Path) -> None:
    async with scripted(either(reply(completion()), whole_stream())) as upstream:
        config = gateway_config(upstream.url)
        config = replace(config, cache=replace(config.cache, l2_enabled=True, directory=str(tmp_path / "cache")))
        async with running(config, str(tmp_path / "first")) as first:
            assert (await first.chat(ask())).status == 200
        async with running(config, str(tmp_path / "second")) as second:
            for _ in range(2):
                told = (await second.exchange(request_bytes(ask(), path="/v1/route/explain"))).json
                assert told["cache"]["would_hit"] == "l2"
            stale = {"cache-control": "max-age=0"}
            told = (await second.exchange(request_bytes(ask(), stale, path="/v1/route/explain"))).json
            assert told["cache"]["would_hit"] is None
        assert upstream.calls == 1
