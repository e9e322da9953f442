"""Commands that show something: health, metrics, models, check-config, config init."""

import json
import re
import stat
from pathlib import Path

import pytest
import yaml

from llm_edge_agent.config import AppConfig
from llm_edge_agent.core.models import table_from_document
from llm_edge_agent.data import model_document
from tests.canaries import OPENAI_KEY
from tests.cli.programs import call, keys, program
from tests.ports import free_port

YAML = """
server: {port: 4321}
aliases: {fast: gpt-5.5}
models:
  - {id: %s, status: deprecated}
providers:
  openai: {api_key: "%s", headers: {X-Team: "%s"}}
"""

_known = table_from_document(model_document()).find("gpt-5.5")
assert _known is not None
MODEL = _known.id


def test_health_and_metrics_of_a_running_gateway(tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    variables = keys(HOST="127.0.0.1", PORT=str(free_port()), METRICS_PORT=str(free_port()), API_KEYS="t=some-key")
    with program(tmp_path / "gateway", **variables) as gateway:
        gateway.wait_for("listens on")
        healthy = call(tmp_path, "health", **variables)
        address = f"http://127.0.0.1:{variables['PORT']}/"
        named = call(tmp_path, "health", "--url", address)
        numbers = call(tmp_path, "metrics", **variables)
        guarded = call(tmp_path, "metrics", "--url", address)
        assert gateway.stop() == 0
    assert (healthy.returncode, healthy.stderr) == (0, "")
    assert json.loads(healthy.stdout)["status"] == "healthy"
    assert json.loads(named.stdout)["providers"]["openai"]["configured"] is True
    assert numbers.returncode == 0
    assert "llm_edge_build_info" in numbers.stdout
    assert (guarded.returncode, guarded.stdout) == (1, "")
    assert "metrics port" in guarded.stderr


@pytest.mark.parametrize("command", ["health", "metrics"])
def test_nobody_there(tmp_path: Path, command: str) -> None:
    port = str(free_port())
    done = call(tmp_path, command, PORT=port, METRICS_PORT="0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: 127.0.0.1:{port} does not answer: connection refused\n"


def test_a_server_that_is_no_gateway_is_not_healthy(tmp_path: Path) -> None:
    (tmp_path / "mock").mkdir()
    with program(tmp_path / "mock", "mock", "--port", "0") as other:
        address = other.wait_for("ANTHROPIC_BASE_URL=").splitlines()[1].partition("=")[2]
        done = call(tmp_path, "health", "--url", address)
        assert other.stop() == 0
    assert (done.returncode, done.stdout) == (1, "")
    assert "it answered 401 to /health/live" in done.stderr


def test_models_hide_the_retired(tmp_path: Path) -> None:
    current = json.loads(call(tmp_path, "models", "--json").stdout)
    everything = json.loads(call(tmp_path, "models", "--json", "--all").stdout)
    assert {model["status"] for model in current} < {model["status"] for model in everything}
    assert len(current) < len(everything)
    (known,) = [model for model in current if model["id"] == MODEL]
    assert known["provider"] == "openai"
    assert known["input_usd_per_mtok"] > 0
    assert any(model["shutdown_date"] for model in everything)


def test_models_in_a_pipe_are_lines_of_fields(tmp_path: Path) -> None:
    done = call(tmp_path, "models")
    assert done.returncode == 0
    heading, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert heading[0] == "id"
    assert {len(row) for row in rows} == {len(heading)}
    assert MODEL in [row[0] for row in rows]


def test_models_follow_the_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(YAML % (MODEL, OPENAI_KEY, OPENAI_KEY))
    done = call(tmp_path, "--config", "gateway.yaml", "models", "--json")
    (known,) = [model for model in json.loads(done.stdout) if model["id"] == MODEL]
    assert known["status"] == "deprecated"


def test_check_config_says_ok(tmp_path: Path) -> None:
    done = call(tmp_path, "check-config", **keys())
    assert (done.returncode, done.stdout, done.stderr) == (0, "ok: openai, anthropic\n", "")
    (tmp_path / "grouped.yaml").write_text("groups: {smart: [openai/gpt-5.5]}\n")
    done = call(tmp_path, "--config", "grouped.yaml", "check-config", **keys())
    assert done.stdout == "ok: openai, anthropic; groups: smart\n"


def test_check_config_prints_what_rules_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(YAML % (MODEL, OPENAI_KEY, OPENAI_KEY))
    variables = {"API_KEYS": f"team={OPENAI_KEY}", "HTTPS_PROXY": f"http://user:{OPENAI_KEY}@127.0.0.1:1"}
    arguments = ("--config", "gateway.yaml", "check-config", "--print")
    plain = call(tmp_path, *arguments, **variables)
    document = call(tmp_path, *arguments, "--json", **variables)
    assert (plain.returncode, document.returncode) == (0, 0)
    values = yaml.safe_load(plain.stdout)
    assert values == json.loads(document.stdout)
    assert values["port"] == 4321
    assert values["aliases"] == {"fast": "gpt-5.5"}
    assert values["https_proxy"] == values["providers"][0]["api_key"] == "***"
    assert values["providers"][0]["headers"] == {"X-Team": "***"}
    assert values["keys"][0]["tenant"] == "team"
    assert values["config_file"] == "gateway.yaml"


def test_init_writes_a_file_that_changes_nothing_until_filled_in(tmp_path: Path) -> None:
    done = call(tmp_path, "config", "init")
    written = tmp_path / ".env"
    assert (done.returncode, done.stdout) == (0, "")
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert call(tmp_path, "check-config").stderr.startswith("Error: No providers configured\n")
    uncommented = "".join(
        line.removeprefix("#") + "\n"
        for line in written.read_text().splitlines()
        if line.startswith("#") and not line.startswith("# ")
    )
    # Set but empty lets nobody in by mistake: it is refused, so it cannot be the default.
    assert "\nAPI_KEYS=\n" in uncommented
    assert "OPENAI_API_KEY=\n" in uncommented
    # Every line is a setting, spelled right and with its default.
    with_keys = re.sub("^(OPENAI|ANTHROPIC)_API_KEY=$", r"\1_API_KEY=sk-x", uncommented, flags=re.MULTILINE)
    (tmp_path / "filled").write_text(with_keys.replace("\nAPI_KEYS=\n", "\n"))
    home = {"HOME": str(tmp_path)}
    filled = AppConfig.from_env(home, dotenv=tmp_path / "filled")
    variables = {"OPENAI_API_KEY": "sk-x", "ANTHROPIC_API_KEY": "sk-x"}
    assert filled == AppConfig.from_env(home | variables, dotenv=None)


def test_init_overwrites_only_when_told(tmp_path: Path) -> None:
    written = tmp_path / ".env"
    written.write_text("OPENAI_API_KEY=precious\n")
    refused = call(tmp_path, "config", "init")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "Error: .env exists; --force overwrites it\n"
    assert written.read_text() == "OPENAI_API_KEY=precious\n"
    assert call(tmp_path, "config", "init", "--force").returncode == 0
    assert "precious" not in written.read_text()
    nowhere = call(tmp_path, "config", "init", "--path", "no/such/folder/.env")
    assert nowhere.returncode == 1
    assert len(nowhere.stderr.splitlines()) == 1
