"""`run`: an unchanged program behind a gateway of its own."""

import signal
import sys
from pathlib import Path

import pytest

from tests.canaries import CLIENT_KEY, OPENAI_KEY, prompt
from tests.cli.programs import call, keys, program
from tests.cli.test_mock import FAST, base_urls

WITH_ITS_OWN_KEY = f"""
import openai
with openai.OpenAI(max_retries=0, timeout=20, api_key="{OPENAI_KEY}") as sdk:
    sdk.chat.completions.create(model="gpt-5.5", messages=[{{"role": "user", "content": "{prompt("Hello")}"}}])
"""

TWICE = f"""
import openai
with openai.OpenAI(max_retries=0, timeout=20) as sdk:
    for _ in range(2):
        answer = sdk.chat.completions.create(
            model="gpt-5.5", messages=[{{"role": "user", "content": "{prompt("What is the capital of France?")}"}}]
        )
        print(answer.choices[0].message.content, answer.metadata["cached"])
"""


def figures(stderr: str) -> dict[str, str]:
    lines = stderr.partition("llm-edge-agent")[2].splitlines()[1:]
    return {line[:12].strip(): line[12:].strip() for line in lines}


def test_an_unchanged_script_is_cached_and_accounted(tmp_path: Path) -> None:
    done = call(tmp_path, "run", "--mock", "--", sys.executable, "-c", TWICE)
    assert done.returncode == 0
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["False", "True"]
    found = figures(done.stderr)
    assert found["Requests"] == "2"
    assert found["Cache hits"] == "1 of 2 (50%)"
    assert found["Spent"] == found["Saved"] != "$0.000000"
    assert "simulated money" in done.stderr


def test_the_providers_of_the_environment_are_used(tmp_path: Path) -> None:
    """The gateway's own keys and log do not get in the child's way."""
    (tmp_path / "mock").mkdir()
    with program(tmp_path / "mock", "mock", "--port", "0", *FAST) as simulator:
        urls = base_urls(simulator.wait_for("ANTHROPIC_BASE_URL="))
        variables = keys(**urls, API_KEYS=f"team={CLIENT_KEY}", PORT="1", METRICS_PORT="2")
        done = call(tmp_path, "run", "--", sys.executable, "-c", TWICE, **variables)
        hard_coded = call(tmp_path, "run", "--", sys.executable, "-c", WITH_ITS_OWN_KEY, **variables)
    assert (done.returncode, hard_coded.returncode) == (0, 0)
    assert figures(done.stderr)["Cache hits"] == "1 of 2 (50%)"
    assert "simulated" not in done.stderr
    assert "chat/completions" not in done.stderr
    assert '"level"' not in done.stderr


@pytest.mark.parametrize(
    ("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)]
)
def test_the_exit_code_is_the_childs(tmp_path: Path, script: str, code: int) -> None:
    done = call(tmp_path, "run", "--mock", "sh", "-c", script)
    assert done.returncode == code
    assert figures(done.stderr)["Requests"] == "0"


@pytest.mark.parametrize("command", [("run", "--", "true"), ("serve", "--port", "0")])
def test_a_missing_extra_is_told(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("raise ImportError")
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "PYTHONPATH": str(tmp_path)}
    done = call(tmp_path, *command, **keys(**variables))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].endswith("pip install 'llm-edge-agent[otel]'")
    assert "Traceback" not in done.stderr


def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    done = call(tmp_path, "run", "--mock", "--", "no-such-command", "--flag")
    assert (done.returncode, done.stderr) == (127, "Error: no-such-command: command not found\n")


def test_a_command_that_cannot_be_executed(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("text")
    for name in ("./plain", str(tmp_path)):
        done = call(tmp_path, "run", "--mock", "--", name)
        assert done.returncode == 126
        assert done.stderr.startswith(f"Error: {name} ")
        assert len(done.stderr.splitlines()) == 1


def test_a_script_without_its_interpreter(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    done = call(tmp_path, "run", "--mock", "--", "./broken")
    assert (done.returncode, done.stderr) == (126, "Error: ./broken cannot be executed\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_child(tmp_path: Path, number: signal.Signals) -> None:
    script = f"import signal, sys; signal.signal({int(number)}, lambda *_: sys.exit(5)); print('up', flush=True); "
    script += "[signal.pause() for _ in range(9)]"
    with program(tmp_path, "run", "--mock", "--", sys.executable, "-c", script) as running:
        running.wait_for("up")
        assert running.stop(number) == 5
        assert figures(running.stderr)["Requests"] == "0"


STRANGER = """
import os, urllib.request, urllib.error
for key in ("guessed", "simulated-key", os.environ["OPENAI_API_KEY"]):
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/models", headers={"authorization": f"Bearer {key}"}
    )
    try:
        print(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


FAILS = f"""
import openai
with openai.OpenAI(max_retries=0, timeout=20) as sdk:
    try:
        text = "{prompt("[[sim: status=500]]")}"
        sdk.chat.completions.create(model="gpt-5.5", messages=[{{"role": "user", "content": text}}])
    except openai.InternalServerError as error:
        print("failed")
"""


def test_the_terminal_is_the_childs_also_where_requests_fail(tmp_path: Path) -> None:
    (tmp_path / "mock").mkdir()
    with program(tmp_path / "mock", "mock", "--port", "0", *FAST) as simulator:
        urls = base_urls(simulator.wait_for("ANTHROPIC_BASE_URL="))
        quiet = call(tmp_path, "run", "--", sys.executable, "-c", FAILS, **keys(**urls, MAX_RETRIES="0"))
        asked = call(
            tmp_path, "--log-level", "info", "run", "--", sys.executable, "-c", FAILS, **keys(**urls, MAX_RETRIES="0")
        )
    assert (quiet.stdout, asked.stdout) == ("failed\n", "failed\n")
    assert "chat/completions" not in quiet.stderr
    assert "chat/completions" in asked.stderr


def test_nobody_else_on_the_machine_may_use_it(tmp_path: Path) -> None:
    done = call(tmp_path, "run", "--mock", "--", sys.executable, "-c", STRANGER, OPENAI_API_KEY=OPENAI_KEY)
    assert (done.returncode, done.stdout.split()) == (0, ["401", "401", "200"])


def test_a_proxy_of_the_child_is_passed_by(tmp_path: Path) -> None:
    done = call(tmp_path, "run", "--mock", "--", sys.executable, "-c", TWICE, HTTP_PROXY="http://127.0.0.1:9")
    assert done.returncode == 0
    assert figures(done.stderr)["Requests"] == "2"


def test_stdin_is_the_childs(tmp_path: Path) -> None:
    done = call(tmp_path, "run", "--mock", "cat", typed="through")
    assert (done.returncode, done.stdout) == (0, "through")
