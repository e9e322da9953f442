"""`serve`: what it says at its start, how it ends, and what it says when it cannot start."""

import http.client
import json
import signal
import time
from pathlib import Path

import pytest

from tests.canaries import CLIENT_KEY
from tests.cli.programs import call, keys, program, taken_port
from tests.ports import free_port


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def ports_in(line: str) -> list[int]:
    return [int(part.split(":")[2].split("/")[0].rstrip(";")) for part in line.split() if part.startswith("http://")]


@pytest.mark.parametrize("arguments", [[], ["serve"]])
def test_serves_until_sigterm(tmp_path: Path, arguments: list[str]) -> None:
    with program(tmp_path, *arguments, **keys(HOST="127.0.0.1", PORT="0", METRICS_PORT="0")) as gateway:
        line = gateway.wait_for("listens on").splitlines()[0]
        (port,) = ports_in(line)
        assert "providers: openai, anthropic" in line
        status, body = get(port, "/health/ready")
        assert (status, json.loads(body)["status"]) == (200, "ready")
        asked_s = time.monotonic()
        assert gateway.stop(signal.SIGTERM) == 0
        # An idle gateway promises one second; the rest is a busy machine's.
        assert time.monotonic() - asked_s < 8
        assert gateway.stdout == ""
        assert "Warning" not in gateway.stderr
        assert "WARNING" not in gateway.stderr


def test_flags_win_and_the_start_line_says_where(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("server: {port: 1, host: 0.0.0.0}\n")
    free = str(free_port())
    flags = ["--host", "127.0.0.1", "--port", free, "--metrics-port", "0", "--log-level", "error"]
    with program(tmp_path, "--config", "gateway.yaml", "serve", *flags, **keys(PORT="2")) as gateway:
        line = gateway.wait_for("listens on").splitlines()[0]
        assert f"http://127.0.0.1:{free};" in line
        assert "configuration: gateway.yaml" in line
        assert gateway.stop(signal.SIGINT) == 0


def test_metrics_have_a_port_of_their_own(tmp_path: Path) -> None:
    free = free_port()
    with program(tmp_path, **keys(HOST="127.0.0.1", PORT="0", METRICS_PORT=str(free))) as gateway:
        line = gateway.wait_for("listens on").splitlines()[0]
        assert ports_in(line)[1] == free
        assert get(free, "/metrics")[0] == 200
        assert gateway.stop() == 0


@pytest.mark.parametrize(
    ("variables", "loud"),
    [
        ({"HOST": "0.0.0.0"}, True),
        ({"HOST": "0.0.0.0", "API_KEYS": f"team={CLIENT_KEY}"}, False),
        ({"HOST": "127.0.0.1"}, False),
        ({"HOST": "localhost"}, False),
    ],
)
def test_a_public_address_without_keys_is_said_loudly(tmp_path: Path, variables: dict[str, str], loud: bool) -> None:
    with program(tmp_path, **keys(PORT="0", METRICS_PORT="0", **variables)) as gateway:
        gateway.wait_for("listens on")
        if loud:
            gateway.wait_for("WARNING")
        assert gateway.stop() == 0
        assert ("WARNING" in gateway.stderr and "API_KEYS" in gateway.stderr) is loud
        assert "\x1b" not in gateway.stderr


@pytest.mark.parametrize("name", ["PORT", "METRICS_PORT"])
def test_a_taken_port_is_one_line(tmp_path: Path, name: str) -> None:
    with taken_port() as taken:
        ports = {"PORT": str(free_port()), "METRICS_PORT": "0", name: str(taken)}
        done = call(tmp_path, "serve", **keys(HOST="127.0.0.1", **ports))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: cannot listen on 127.0.0.1, port {taken}: the port is in use")
    assert done.stdout == ""


def test_warnings_of_the_configuration_are_shown(tmp_path: Path) -> None:
    variables = keys(HOST="127.0.0.1", PORT="0", METRICS_PORT="0", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4317")
    with program(tmp_path, **variables) as gateway:
        gateway.wait_for("listens on")
        assert "Warning: OTEL_EXPORTER_OTLP_ENDPOINT" in gateway.stderr
        assert gateway.stop() == 0
