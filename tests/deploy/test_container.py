"""What can be said of the image and the stack without an engine to run them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_edge_agent.config import AppConfig

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose"


@pytest.fixture(scope="module")
def stack() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((COMPOSE / "docker-compose.yml").read_text("utf-8"))
    return loaded


def test_the_dockerfile_passes_its_linter() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, "--failure-threshold", "info", DOCKERFILE], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_the_image_copies_exists_and_reaches_the_build() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE.read_text("utf-8"), re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists()
        assert source in allowed


def test_the_image_runs_as_nobody_in_particular() -> None:
    text = DOCKERFILE.read_text("utf-8")
    assert "USER 10001:10001" in text
    assert 'ENTRYPOINT ["llm-edge-agent"]' in text
    assert "HEALTHCHECK" in text


def test_the_lock_of_the_image_is_the_runtime_lock_with_traces() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[a-z0-9-]+==[\w.]+", (ROOT / "requirements" / name).read_text("utf-8"), re.MULTILINE))

    assert pins("runtime.txt") <= pins("container.txt")
    extra = {pin.partition("==")[0] for pin in pins("container.txt") - pins("runtime.txt")}
    assert extra == {"opentelemetry-proto", "protobuf"}


def test_the_stack_names_files_that_exist(stack: dict[str, Any]) -> None:
    for service in stack["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in stack["volumes"] or (COMPOSE / source).exists(), source
        build = service.get("build")
        if build:
            assert (COMPOSE / build["context"] / build["dockerfile"]).exists()


def test_nothing_is_published_beyond_loopback_or_privileged(stack: dict[str, Any]) -> None:
    for name, service in stack["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port.startswith("${BIND:-127.0.0.1}:") for port in service.get("ports", ()))


def _environment(name: str) -> dict[str, str]:
    lines = (COMPOSE / name).read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_the_gateway_understands_its_environment(stack: dict[str, Any]) -> None:
    given = {
        name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", str(value))
        for name, value in stack["services"]["gateway"]["environment"].items()
    }
    config = AppConfig.from_env({**given, **_environment("mock.env")})
    assert config.host == "0.0.0.0"
    assert config.workers == "auto"
    assert config.otel.exports_traces
    assert not config.otel.exports_metrics
    assert [provider.name for provider in config.providers] == ["openai", "anthropic"]
    assert not any("without effect" in warning for warning in config.warnings)


def test_the_simulated_providers_are_where_the_gateway_looks(stack: dict[str, Any]) -> None:
    mock = _environment("mock.env")
    port = stack["services"]["mock"]["command"][-1]
    assert mock["OPENAI_BASE_URL"] == f"http://mock:{port}/v1"
    assert mock["ANTHROPIC_BASE_URL"] == f"http://mock:{port}"
    assert mock["COMPOSE_PROFILES"] in stack["services"]["mock"]["profiles"]
