"""Claude Code and Codex, as their makers ship them, behind `run --mock`: a question, and a task that takes a tool.

Only where they are installed (`make test-agents` does that); their makers' own servers are out of reach.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import canaries
from tests.cli.test_run import figures

INSTALLED = Path(__file__).parent.parent.parent / ".agents" / "node_modules" / ".bin"
PATH = f"{INSTALLED}{os.pathsep}{os.environ['PATH']}"
OUT_OF_REACH = "http://127.0.0.1:9"

pytestmark = pytest.mark.agents


def behind_the_gateway(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0], path=PATH) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "llm_edge_agent", "run", "--mock", "--", *command],
        cwd=folder,
        env={
            "PATH": PATH,
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "HTTPS_PROXY": OUT_OF_REACH,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        },
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=90,
    )
    canaries.look(canaries.LOG, f"of run -- {command[0]}", done.stderr.encode())
    return done


def test_claude_code_answers(tmp_path: Path) -> None:
    done = behind_the_gateway(tmp_path, "claude", "-p", "What is the capital of France?")
    assert (done.returncode, done.stdout.strip()) == (0, "The capital of France is Paris.")
    assert int(figures(done.stderr)["Requests"]) >= 1


def test_claude_code_uses_a_tool_and_counts_the_same_money(tmp_path: Path) -> None:
    prompt, options = "Look for files. [[sim: tool=Glob]]", ("--allowedTools", "Glob", "--output-format", "json")
    done = behind_the_gateway(tmp_path, "claude", "-p", prompt, *options)
    assert done.returncode == 0
    said = json.loads(done.stdout)
    assert (said["is_error"], said["terminal_reason"]) == (False, "completed")
    found = figures(done.stderr)
    assert int(found["Requests"]) >= 2
    assert found["Spent"] == f"${said['total_cost_usd']:.6f}"


@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-6-sol"])
def test_claude_code_on_a_model_of_openai(tmp_path: Path, model: str) -> None:
    """By translation: to Chat Completions, and to Responses, where gpt-6-sol takes tools."""
    prompt, options = "Look for files. [[sim: tool=Glob]]", ("--allowedTools", "Glob", "--output-format", "json")
    done = behind_the_gateway(tmp_path, "claude", "--model", model, "-p", prompt, *options)
    assert done.returncode == 0
    said = json.loads(done.stdout)
    assert (said["is_error"], said["num_turns"]) == (False, 2)
    assert said["result"].startswith("Glob answered: ")
    used = said["modelUsage"][model]
    prompt_tokens = used["inputTokens"] + used["cacheReadInputTokens"] + used["cacheCreationInputTokens"]
    assert figures(done.stderr)["Tokens"] == f"{prompt_tokens:,} in, {used['outputTokens']:,} out"


def codex(folder: Path, prompt: str) -> subprocess.CompletedProcess[str]:
    return behind_the_gateway(
        folder, "codex", "exec", "-m", "gpt-5.5", "--skip-git-repo-check", "-s", "danger-full-access", prompt
    )


def test_codex_answers(tmp_path: Path) -> None:
    done = codex(tmp_path, "What is the capital of France?")
    assert (done.returncode, done.stdout.strip()) == (0, "The capital of France is Paris.")
    assert int(figures(done.stderr)["Requests"]) >= 1


def test_codex_runs_a_command_and_reads_its_outcome(tmp_path: Path) -> None:
    """The simulated model makes its arguments up from the tool's schema: the command is `cmd`, which there is not."""
    done = codex(tmp_path, "Run it. [[sim: tool=exec_command]]")
    assert done.returncode == 0
    assert "Process exited with code 127" in done.stdout
    assert int(figures(done.stderr)["Requests"]) >= 2
