"""Another configuration for a gateway that runs: whole or not at all, and nobody notices."""

import asyncio
import os
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from llm_edge_agent.config import AppConfig, ConfigError, Secret
from llm_edge_agent.config.values import DeploymentConfig, GroupConfig
from llm_edge_agent.core.models import table_from_document
from llm_edge_agent.data import model_document
from llm_edge_agent.reloading import RELOADED, Reloader, taken_over
from tests.canaries import ALICE_KEY, BOB_KEY, key_of
from tests.e2e.raw_client import connected, request_bytes
from tests.e2e.running_gateway import MODEL, TENANTS, RunningGateway, ask, bearer, eventually
from tests.e2e.scripted_upstream import Line, completion, either, failure, reply, says, whole_stream
from tests.faults.conftest import Bench
from tests.faults.test_process import Command

WELL = either(reply(completion()), whole_stream())
GROUP = GroupConfig(name="smart", deployments=(DeploymentConfig(name="a", provider="openai", model=MODEL),))


class Sources:
    """What a gateway reads its configuration from."""

    def __init__(self, config: AppConfig) -> None:
        self.config: AppConfig | ConfigError = config

    def read(self) -> AppConfig:
        if isinstance(self.config, ConfigError):
            raise self.config
        return self.config


async def reloadable(bench: Bench, url: str, **changes: object) -> tuple[RunningGateway, Sources, Reloader]:
    gateway = await bench.gateway(url, **changes)
    sources = Sources(gateway.state.config)
    return gateway, sources, Reloader(gateway.state, sources.read)


async def test_a_new_group_and_new_keys_rule_from_the_next_request_on(bench: Bench) -> None:
    upstream = await bench.upstream(WELL)
    gateway, sources, reloader = await reloadable(bench, upstream.url, auth_enabled=True, keys=TENANTS[:1])
    assert (await gateway.chat(ask(model="smart"), bearer(ALICE_KEY))).status == 404
    assert (await gateway.chat(ask(), bearer(BOB_KEY))).status == 401
    sources.config = replace(gateway.state.config, groups=(GROUP,), keys=TENANTS[1:])
    assert await reloader.reload()
    assert (await gateway.chat(ask(model="smart"), bearer(BOB_KEY))).status == 200
    assert (await gateway.chat(ask(), bearer(ALICE_KEY))).status == 401
    models = (await gateway.get("/v1/models", bearer(BOB_KEY))).json
    assert "smart" in [item["id"] for item in models["data"]]


async def test_a_key_that_was_taken_away_opens_nothing_that_is_remembered(bench: Bench) -> None:
    """The same bytes on a connection that is kept, answered from the cache before."""
    upstream = await bench.upstream(WELL)
    gateway, sources, reloader = await reloadable(bench, upstream.url, auth_enabled=True, keys=TENANTS)
    request = request_bytes(ask(), bearer(ALICE_KEY))
    async with gateway.connect() as wire:
        for _ in range(4):
            await wire.send(request)
            assert (await wire.answer()).status == 200
        sources.config = replace(gateway.state.config, keys=TENANTS[1:])
        await reloader.reload()
        await wire.send(request)
        assert (await wire.answer()).status == 401


async def test_no_reload_opens_the_gateway_to_everybody(bench: Bench) -> None:
    upstream = await bench.upstream(WELL)
    gateway, sources, reloader = await reloadable(bench, upstream.url, auth_enabled=True, keys=TENANTS)
    sources.config = replace(gateway.state.config, auth_enabled=False, keys=())
    assert not await reloader.reload()
    assert (await gateway.chat(ask())).status == 401
    assert (await gateway.chat(ask(), bearer(ALICE_KEY))).status == 200


async def test_a_bad_configuration_changes_nothing_and_is_told(bench: Bench) -> None:
    upstream = await bench.upstream(WELL)
    gateway, sources, reloader = await reloadable(bench, upstream.url, groups=(GROUP,))
    fleet = gateway.state.fleet
    sources.config = ConfigError(("file.yaml:3: groups.smart: needs deployments", "PORT: must be a whole number"))
    assert not await reloader.reload()
    assert gateway.state.fleet is fleet
    assert gateway.metric("llm_edge_config_reload_success") == 0
    before_s = gateway.metric("llm_edge_config_last_reload_timestamp_seconds")
    assert (await gateway.chat(ask(model="smart"))).status == 200
    lines = await gateway.logged("was not reloaded")
    assert [line["level"] for line in lines] == ["error", "error"]
    sources.config = gateway.state.config
    assert await reloader.reload()
    assert gateway.metric("llm_edge_config_reload_success") == 1
    assert gateway.metric("llm_edge_config_last_reload_timestamp_seconds") > before_s


async def test_what_was_learned_stays_and_what_is_under_way_goes_on(bench: Bench) -> None:
    upstream = await bench.upstream(says(failure(500)))
    gateway, sources, reloader = await reloadable(bench, upstream.url, breaker_failures=2)
    for number in range(2):
        await gateway.chat(ask(str(number)))
    await reloader.reload()
    assert (await gateway.chat()).json["error"]["code"] == "circuit_open"
    assert gateway.metric("llm_edge_circuit_state", provider="openai") == 2

    other = await bench.upstream(WELL)
    release = asyncio.Event()

    async def slow(line: Line) -> None:
        await release.wait()
        await WELL(line)

    other.script = slow
    moved = replace(
        gateway.state.config.providers[0], base_url=f"{other.url}/v1", api_key=Secret(key_of("a-moved-provider"))
    )
    sources.config = replace(gateway.state.config, providers=(moved, gateway.state.config.providers[1]))
    await reloader.reload()
    asking = asyncio.ensure_future(gateway.chat(ask("slow")))
    await eventually(lambda: other.calls == 1)
    sources.config = replace(gateway.state.config, providers=gateway.state.config.providers[1:])
    await reloader.reload()
    assert (await gateway.chat(ask("none"))).status == 404
    release.set()
    assert (await asking).status == 200
    bench.upstreams.clear()  # its requests hold a key that is no canary of the bench


def test_what_only_a_restart_changes_is_named() -> None:
    before = AppConfig()
    config, in_vain = taken_over(before, replace(before, port=1, max_retries=7, log_level="debug"))
    assert (config.port, config.max_retries, in_vain) == (before.port, 7, ("port", "log_level"))
    assert set(vars(before)) >= RELOADED


async def test_the_table_of_models_is_read_anew(bench: Bench) -> None:
    upstream = await bench.upstream(WELL)
    gateway, sources, reloader = await reloadable(bench, upstream.url)
    first = (await gateway.chat()).json["metadata"]["cost_usd"]
    record = next(each for each in model_document()["models"] if MODEL in (each["id"], *each["aliases"]))
    dear = {**record, "price_usd_per_mtok": {**record["price_usd_per_mtok"], "input": 1000, "output": 1000}}
    sources.config = replace(gateway.state.config, model_overrides=(dear,))
    await reloader.reload()
    assert (await gateway.chat(ask("again"))).json["metadata"]["cost_usd"] > 100 * first
    assert gateway.state.models.models != table_from_document(model_document()).models


FILE = "groups: {smart: [openai/%s]}\n"


async def test_sighup_under_load_drops_nothing_and_a_changed_file_is_noticed(bench: Bench, tmp_path: Path) -> None:
    upstream = await bench.upstream(WELL)
    folder = tmp_path / "served"
    folder.mkdir()
    file = folder / "llm-edge-agent.yaml"
    file.write_text(FILE % MODEL)
    command = Command(folder, upstream.url)
    await command.start()
    try:
        statuses: Counter[int] = Counter()
        until_s = time.monotonic() + 2.0

        async def client(number: int) -> None:
            async with connected(command.port, bytearray()) as wire:
                asked = 0
                while time.monotonic() < until_s:
                    asked += 1
                    await wire.send(request_bytes(ask(f"{number} {asked}", model="smart")))
                    statuses[(await wire.answer()).status] += 1
                    await asyncio.sleep(0.01)

        async def hang_up() -> None:
            for _ in range(10):
                await asyncio.sleep(0.15)
                command.process.send_signal(signal.SIGHUP)

        await asyncio.gather(*(client(number) for number in range(8)), hang_up())
        assert set(statuses) == {200}
        assert sum(statuses.values()) > 200

        async def asked_for(model: str) -> bool:
            await command.status(request_bytes(ask(f"now {time.monotonic()}", model="smart")))
            return bool(upstream.received[-1].json["model"] == model)

        replacement = folder / "new"
        replacement.write_text(FILE % "gpt-4.1")
        os.replace(replacement, file)
        deadline_s = time.monotonic() + 5
        while not await asked_for("gpt-4.1"):
            assert time.monotonic() < deadline_s, command.log
            await asyncio.sleep(0.1)
        file.write_text("")  # as an editor does before it writes
        await asyncio.sleep(0.6)
        assert await asked_for("gpt-4.1")
        file.write_text("groups: {smart: []}")
        await eventually(lambda: "was not reloaded" in command.log)
        assert await asked_for("gpt-4.1")
    finally:
        command.process.terminate()
        await command.exit_code()


async def test_a_worker_that_takes_the_place_of_a_dead_one_has_the_newest_configuration(
    bench: Bench, tmp_path: Path
) -> None:
    upstream = await bench.upstream(WELL)
    folder = tmp_path / "served"
    folder.mkdir()
    file = folder / "llm-edge-agent.yaml"
    file.write_text(FILE % MODEL)
    command = Command(folder, upstream.url)
    command.environment["WORKERS"] = "2"
    await command.start()
    try:

        async def all_ask_for(model: str) -> bool:
            before = upstream.calls
            for number in range(16):  # each on a connection of its own: the kernel spreads them over the workers
                await command.status(request_bytes(ask(f"{number} {time.monotonic()}", model="smart")))
            return {received.json["model"] for received in upstream.received[before:]} == {model}

        async def until_all_ask_for(model: str) -> None:
            deadline_s = time.monotonic() + 10
            while not await all_ask_for(model):
                assert time.monotonic() < deadline_s, command.log
                await asyncio.sleep(0.1)

        file.write_text(FILE % "gpt-4.1")
        await until_all_ask_for("gpt-4.1")
        (line,) = Path(f"/proc/{command.process.pid}/task/{command.process.pid}/children").read_text().splitlines()
        os.kill(int(line.split()[0]), signal.SIGKILL)
        await eventually(lambda: "restarting" in command.log)
        await until_all_ask_for("gpt-4.1")
    finally:
        command.process.terminate()
        await command.exit_code()
