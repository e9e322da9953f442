"""What holds for the program as a whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llm_edge_agent.version import __version__
from tests.canaries import OPENAI_KEY
from tests.cli.programs import call, environment

LOADED_BY_VERSION = """
import json, sys
sys.argv = ["llm-edge-agent", "--version"]
from llm_edge_agent.cli import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)))
"""


def test_version_goes_to_stdout(tmp_path: Path) -> None:
    done = call(tmp_path, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"llm-edge-agent {__version__}\n", "")


def test_version_loads_neither_gateway_nor_tables(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED_BY_VERSION],
        env=environment(tmp_path, {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "llm_edge_agent.cli.commands" in loaded
    slow = {"llm_edge_agent.app", "llm_edge_agent.config", "uvloop", "rich", "msgspec", "yaml"}
    assert loaded & slow == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ("serv",),
        ("--no-such-option",),
        ("serve", "--port", "70000"),
        ("serve", "--log-level", "loud"),
        ("mock", "--error-rate", "2"),
        ("run",),
        ("config",),
        ("health", "--url", "nonsense"),
        ("metrics", "--url", "http://user:secret@localhost"),
    ],
)
def test_usage_errors_exit_2_and_say_so_on_stderr(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = call(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr
    assert "secret" not in done.stderr
    assert done.stdout == ""


def test_help_names_every_command(tmp_path: Path) -> None:
    done = call(tmp_path, "--help")
    assert done.returncode == 0
    for name in ("serve", "demo", "mock", "run", "doctor", "check-config", "models", "health", "metrics", "config"):
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize("command", ["serve", "check-config", "doctor", "run"])
def test_no_providers(tmp_path: Path, command: str) -> None:
    done = call(tmp_path, command, *(["true"] if command == "run" else []))
    assert done.returncode == 2
    first, hint = done.stderr.splitlines()
    assert first == "Error: No providers configured"
    assert "OPENAI_API_KEY" in hint
    assert "llm-edge-agent demo" in hint
    assert done.stdout == ""


def test_every_problem_of_a_configuration_has_a_line(tmp_path: Path) -> None:
    done = call(tmp_path, "check-config", PORT="x", METRICS_PORT="y", OPENAI_API_KEY=OPENAI_KEY)
    assert done.returncode == 2
    assert [line.split(":")[:2] for line in done.stderr.splitlines()] == [
        ["Error", " PORT"],
        ["Error", " METRICS_PORT"],
    ]


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "cannot be read"), ("a: [", "llm.yaml"), ("servr: {}", "servr")]
)
def test_a_bad_file_is_a_configuration_error(tmp_path: Path, content: str | None, complaint: str) -> None:
    if content is not None:
        (tmp_path / "llm.yaml").write_text(content)
    done = call(tmp_path, "--config", "llm.yaml", "serve", OPENAI_API_KEY=OPENAI_KEY)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert all(line.startswith("Error: ") for line in done.stderr.splitlines())


def test_a_certificate_file_without_certificates_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("nothing here")
    done = call(tmp_path, "serve", OPENAI_API_KEY=OPENAI_KEY, SSL_CERT_FILE=str(tmp_path / "none.pem"))
    assert done.returncode == 2
    assert "SSL_CERT_FILE" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_reader_that_leaves_is_no_failure(tmp_path: Path) -> None:
    piped = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m llm_edge_agent models --all --json | head -c 1"],
        env=environment(tmp_path, {}),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert piped.stdout == "["
    assert "Traceback" not in piped.stderr
    assert "Exception" not in piped.stderr
