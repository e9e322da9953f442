"""What programs are told by `run`, the known coding agents among them."""

import pytest

from llm_edge_agent.cli.clients import child_command, child_environment

ADDRESS = "http://127.0.0.1:1"


def told(program: str, **environment: str) -> dict[str, str]:
    return child_environment(program, environment, ADDRESS, "the-key")


def test_sdks_are_told_address_and_key() -> None:
    assert told("python", HOME="/somewhere", NO_PROXY="internal", OPENAI_API_KEY="real") == {
        "HOME": "/somewhere",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
        "OPENAI_API_KEY": "the-key",
        "ANTHROPIC_API_KEY": "the-key",
        "NO_PROXY": "internal,127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    assert told("python", ANTHROPIC_AUTH_TOKEN="real")["ANTHROPIC_AUTH_TOKEN"] == "the-key"


@pytest.mark.parametrize("program", ["claude", "/opt/bin/claude"])
def test_claude_code_gets_a_token(program: str) -> None:
    found = told(program, ANTHROPIC_API_KEY="real")
    assert found["ANTHROPIC_AUTH_TOKEN"] == "the-key"
    assert "ANTHROPIC_API_KEY" not in found
    assert child_command([program, "-p", "Hi"], ADDRESS) == [program, "-p", "Hi"]


def test_codex_gets_a_provider_of_its_own() -> None:
    found = child_command(["codex", "exec", "-m", "gpt-5.5", "Hi"], ADDRESS)
    assert (found[0], found[5:]) == ("codex", ["exec", "-m", "gpt-5.5", "Hi"])
    assert found[1::2][:2] == ["-c", "-c"]
    assert 'base_url="http://127.0.0.1:1/v1"' in found[2]
    assert 'env_key="OPENAI_API_KEY"' in found[2]
    assert found[4] == 'model_provider="llm-edge-agent"'
    assert told("codex")["OPENAI_API_KEY"] == "the-key"
