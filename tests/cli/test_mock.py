"""`mock`: a simulator that SDKs can be pointed at."""

import json
import signal
import urllib.request
from pathlib import Path

import openai
import pytest

from tests.canaries import prompt
from tests.cli.programs import call, program, taken_port

FAST = ("--latency", "0", "--tokens-per-second", "0")


def base_urls(stdout: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in stdout.splitlines())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_prints_its_urls_answers_and_ends(tmp_path: Path, number: signal.Signals) -> None:
    with program(tmp_path, "mock", "--port", "0", *FAST) as simulator:
        urls = base_urls(simulator.wait_for("ANTHROPIC_BASE_URL="))
        assert urls["OPENAI_BASE_URL"] == urls["ANTHROPIC_BASE_URL"] + "/v1"
        with openai.OpenAI(base_url=urls["OPENAI_BASE_URL"], api_key="any", max_retries=0, timeout=20) as sdk:
            answer = sdk.chat.completions.create(
                model="gpt-5.5", messages=[{"role": "user", "content": prompt("What is the capital of France?")}]
            )
        assert "Paris" in str(answer.choices[0].message.content)
        assert simulator.stop(number) == 0


def test_fails_as_often_as_told(tmp_path: Path) -> None:
    with program(tmp_path, "mock", "--port", "0", "--error-rate", "1", *FAST) as simulator:
        urls = base_urls(simulator.wait_for("ANTHROPIC_BASE_URL="))
        with (
            openai.OpenAI(base_url=urls["OPENAI_BASE_URL"], api_key="any", max_retries=0, timeout=20) as sdk,
            pytest.raises(openai.APIStatusError) as caught,
        ):
            sdk.chat.completions.create(model="gpt-5.5", messages=[{"role": "user", "content": prompt("Hello")}])
        assert caught.value.status_code in (429, 500, 503)
        assert simulator.stop() == 0


def test_records_and_serves_further_models_when_told(tmp_path: Path) -> None:
    with program(tmp_path, "mock", "--port", "0", "--record", "--model", "own-model", *FAST) as simulator:
        urls = base_urls(simulator.wait_for("ANTHROPIC_BASE_URL="))
        with openai.OpenAI(base_url=urls["OPENAI_BASE_URL"], api_key="any", max_retries=0, timeout=20) as sdk:
            sdk.chat.completions.create(model="own-model", messages=[{"role": "user", "content": prompt("Hello")}])
        with urllib.request.urlopen(f"{urls['ANTHROPIC_BASE_URL']}/simulator/billing", timeout=5) as shown:
            assert [bill["model"] for bill in json.load(shown)["billed"]] == ["own-model"]
        assert simulator.stop() == 0


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with taken_port() as port:
        done = call(tmp_path, "mock", "--port", str(port))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: cannot listen on 127.0.0.1, port {port}")
