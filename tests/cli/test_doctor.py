"""`doctor`: what it finds, and that it says what to do."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from llm_edge_agent.cli.checks import examine
from llm_edge_agent.cli.findings import Finding
from llm_edge_agent.config import AppConfig, GatewayKey, ProviderConfig, Secret
from llm_edge_agent.core.models import table_from_document
from llm_edge_agent.data import model_document
from llm_edge_agent.simulator import RunningSimulator, SimulatorSettings, start_simulator
from tests.canaries import OPENAI_KEY
from tests.cli.programs import call, keys, program, taken_port
from tests.cli.test_mock import FAST, base_urls
from tests.ports import free_port


@pytest.fixture
async def simulator() -> AsyncIterator[RunningSimulator]:
    running = await start_simulator(SimulatorSettings(api_keys=(OPENAI_KEY,), leak_key=True))
    yield running
    await running.stop()


def config_for(simulator: RunningSimulator, key: str = OPENAI_KEY) -> AppConfig:
    return AppConfig(
        host="127.0.0.1",
        port=free_port(),
        metrics_port=0,
        providers=(
            ProviderConfig(name="openai", dialect="openai", base_url=simulator.url_openai, api_key=Secret(key)),
            ProviderConfig(
                name="anthropic",
                dialect="anthropic",
                base_url=simulator.url_anthropic,
                api_key=Secret(key),
                auth_header="x-api-key",
            ),
        ),
    )


async def problems(config: AppConfig) -> list[Finding]:
    findings = await examine(config)
    for finding in findings:
        assert OPENAI_KEY not in repr(finding)
        assert finding.verdict == "ok" or finding.advice or finding.subject == "configuration"
    return [finding for finding in findings if finding.verdict != "ok"]


def with_base_url(config: AppConfig, name: str, base_url: str) -> AppConfig:
    return replace(
        config,
        providers=tuple(
            replace(provider, base_url=base_url) if provider.name == name else provider for provider in config.providers
        ),
    )


async def test_all_is_well(simulator: RunningSimulator) -> None:
    findings = await examine(config_for(simulator))
    assert {finding.verdict for finding in findings} == {"ok"}
    assert {(each.subject, each.check) for each in findings} >= {("openai", "key"), ("anthropic", "key")}


async def test_a_refused_key_names_its_variable(simulator: RunningSimulator) -> None:
    found = await problems(config_for(simulator, "wrong-" + OPENAI_KEY[:5]))
    assert [(each.subject, each.check, each.verdict) for each in found] == [
        ("openai", "key", "problem"),
        ("anthropic", "key", "problem"),
    ]
    assert "OPENAI_API_KEY" in found[0].advice
    assert "ANTHROPIC_API_KEY" in found[1].advice
    assert all("401" in each.detail for each in found)


@pytest.mark.parametrize(
    ("base_url", "check", "advice"),
    [
        ("http://127.0.0.1:{closed}/v1", "connection", "OPENAI_BASE_URL"),
        (f"https://{'a' * 64}.test/v1", "DNS", "OPENAI_BASE_URL"),
        ("https://127.0.0.1:{simulator}/v1", "TLS", "SSL_CERT_FILE"),
        ("http://127.0.0.1:{simulator}/nowhere", "base URL", "OPENAI_BASE_URL"),
    ],
)
async def test_how_far_a_call_came(simulator: RunningSimulator, base_url: str, check: str, advice: str) -> None:
    place = base_url.replace("{closed}", str(free_port())).replace("{simulator}", str(simulator.port))
    (found,) = await problems(with_base_url(config_for(simulator), "openai", place))
    assert (found.subject, found.check, found.verdict) == ("openai", check, "problem")
    assert advice in found.advice


async def test_a_proxy_that_is_not_there(simulator: RunningSimulator) -> None:
    config = with_base_url(config_for(simulator), "openai", "https://provider.test/v1")
    (found,) = await problems(replace(config, https_proxy=Secret(f"http://user:{OPENAI_KEY}@127.0.0.1:{free_port()}")))
    assert (found.subject, found.check) == ("openai", "connection")
    assert "HTTPS_PROXY" in found.advice


async def test_a_taken_port_is_a_problem(simulator: RunningSimulator) -> None:
    with taken_port() as port:
        (found,) = await problems(replace(config_for(simulator), port=port))
    assert (found.subject, found.check, found.verdict) == ("listener", "PORT", "problem")
    assert str(port) in found.detail


async def test_a_public_address_without_keys_is_a_warning(simulator: RunningSimulator) -> None:
    config = replace(config_for(simulator), host="0.0.0.0")
    (found,) = await problems(config)
    assert (found.subject, found.verdict) == ("access", "warning")
    assert "API_KEYS" in found.advice
    guarded = replace(config, auth_enabled=True, keys=(GatewayKey(tenant="t", digest=b"0" * 32, key_id="30303030"),))
    assert await problems(guarded) == []


async def test_a_ledger_that_cannot_be_written_is_a_problem(simulator: RunningSimulator, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.write_text("something else, and long enough to look like the head of a database file, if anybody looks")
    for path, detail in ((other, "not a database"), (other / "ledger.db", "cannot be written")):
        (found,) = await problems(replace(config_for(simulator), ledger_path=str(path)))
        assert (found.subject, found.check, found.verdict) == ("ledger", "LEDGER_PATH", "problem")
        assert detail in found.detail
    good = replace(config_for(simulator), ledger_path=str(tmp_path / "new" / "ledger.db"))
    assert await problems(good) == []
    assert not (tmp_path / "new").exists()


async def test_aliases_that_lead_astray(simulator: RunningSimulator) -> None:
    table = table_from_document(model_document())
    retired = next(model.id for model in table.models if model.status == "retired" and model.provider == "openai")
    aliases = {"old": retired, "odd": "gpt-that-never-was", "lost": "mistral/large", "good": "gpt-5.5"}
    found = await problems(replace(config_for(simulator), aliases=aliases))
    assert {each.check: each.verdict for each in found} == {"old": "problem", "odd": "warning", "lost": "problem"}


async def test_warnings_of_the_configuration_are_repeated(simulator: RunningSimulator) -> None:
    (found,) = await problems(replace(config_for(simulator), warnings=("something is odd",)))
    assert (found.verdict, found.detail) == ("warning", "something is odd")


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "mock").mkdir()
    with program(tmp_path / "mock", "mock", "--port", "0", *FAST) as running:
        urls = base_urls(running.wait_for("ANTHROPIC_BASE_URL="))
        variables = keys(**urls, HOST="127.0.0.1", PORT=str(free_port()), METRICS_PORT="0")
        table = call(tmp_path, "doctor", **variables)
        document = call(tmp_path, "doctor", "--json", **variables)
        port = free_port()
        broken = call(tmp_path, "doctor", **{**variables, "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"})
        unparsed = call(tmp_path, "doctor", "--json", **{**variables, "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"})
    assert (table.returncode, document.returncode) == (0, 0)
    assert "accepted" in table.stdout
    assert json.loads(document.stdout)["ok"] is True
    assert broken.returncode == unparsed.returncode == 1
    assert f"127.0.0.1:{port}: connection refused" in broken.stdout
    found = [each for each in json.loads(unparsed.stdout)["checks"] if each["verdict"] == "problem"]
    assert [(each["subject"], each["check"]) for each in found] == [("openai", "connection")]


def test_a_running_gateway_holds_its_port_rightly(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    variables = keys(HOST="127.0.0.1", PORT=str(free_port()), METRICS_PORT="0")
    with program(tmp_path / "gateway", **variables) as gateway:
        gateway.wait_for("listens on")
        found = json.loads(call(tmp_path, "doctor", "--json", **variables).stdout)["checks"]
        assert gateway.stop() == 0
    (listener,) = [each for each in found if each["subject"] == "listener"]
    assert listener["verdict"] == "ok"
    assert "running there already" in listener["detail"]
