"""A real Prometheus scrapes a gateway of two workers under traffic; every panel and every rule finds its series."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import canaries
from tests.canaries import ANTHROPIC_KEY, OPENAI_KEY, prompt
from tests.ports import free_port
from tests.programs import program

ROOT = Path(__file__).parent.parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
PATIENCE_S = 40.0


class Stack:
    """The addresses of what runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mock, self.api, self.metrics, self.prometheus = (free_port() for _ in range(4))
        self.asked = 0

    def post(self, path: str, body: dict[str, Any], *, read: bool = True) -> int:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.api}{path}",
            json.dumps(body).encode(),
            {"content-type": "application/json", "anthropic-version": "2023-06-01"},
        )
        self.asked += 1
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                if read:
                    answer.read()
                else:
                    answer.read(10)
                status: int = answer.status
                return status
        except urllib.error.HTTPError as error:
            with error:
                canaries.look(canaries.ERROR, f"of {path}", error.read())
            return error.code

    def query(self, expression: str) -> list[Any]:
        text = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"http://127.0.0.1:{self.prometheus}/api/v1/query?{text}", timeout=10) as answer:
            result: list[Any] = json.load(answer)["data"]["result"]
            return result

    def until(self, expression: str, patience_s: float = 6.0) -> list[Any]:
        """The result of a query once it has one; empty where it gets none."""
        deadline_s = time.monotonic() + patience_s
        while not (found := self.query(expression)):
            if time.monotonic() > deadline_s:
                return []
            time.sleep(0.3)
        return found


def chat(text: str, model: str = "gpt-5.5", **members: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt(text)}], **members}


def drive(stack: Stack, rounds: int) -> None:
    """Every kind of request that panels tell apart."""
    for number in range(rounds):
        assert stack.post("/v1/chat/completions", chat(f"whole {number}")) == 200
        assert stack.post("/v1/chat/completions", chat("the same again")) == 200
        stream: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        assert stack.post("/v1/chat/completions", chat(f"stream {number}", **stream)) == 200
        assert stack.post("/v1/chat/completions", chat(f"dropped {number}", "claude-sonnet-5", seed=1)) == 200
        assert stack.post("/v1/chat/completions", chat(f"soon gone {number}", "gpt-5-mini-2025-08-07")) == 200
        assert stack.post("/v1/chat/completions", {"model": "gpt-5.5"}) == 400
        native = {"model": "claude-sonnet-5", "max_tokens": 64, "messages": chat(f"native {number}")["messages"]}
        assert stack.post("/v1/messages", native) == 200
        stack.post("/v1/chat/completions", chat(f"fails {number}", "gpt-5.4-mini", logprobs="odd"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stack")
    stack = Stack(folder)
    scrape = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    scrape["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    scrape["rule_files"] = [str(PROMETHEUS / "llm-edge.rules.yml")]
    scrape["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{stack.metrics}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(scrape), "utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "HOST": "127.0.0.1",
        "PORT": str(stack.api),
        "METRICS_PORT": str(stack.metrics),
        "WORKERS": "2",
        "ENABLE_L2_CACHE": "true",
        "CACHE_DIR": str(folder / "cache"),
        "LEDGER_PATH": str(folder / "ledger.sqlite"),
        "OPENAI_API_KEY": OPENAI_KEY,
        "OPENAI_BASE_URL": f"http://127.0.0.1:{stack.mock}/v1",
        "ANTHROPIC_API_KEY": ANTHROPIC_KEY,
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{stack.mock}",
        "LOG_FORMAT": "json",
    }
    gateway = [sys.executable, "-m", "llm_edge_agent"]
    mock = [*gateway, "mock", "--port", str(stack.mock), "--latency", "0.01", "--tokens-per-second", "0"]
    prometheus = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{stack.prometheus}",
        "--log.level=warn",
    ]
    with contextlib.ExitStack() as running:
        for name, command in (("mock", mock), ("gateway", [*gateway, "serve"]), ("prometheus", prometheus)):
            log = running.enter_context((folder / f"{name}.log").open("w"))
            process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
            running.callback(_end, process)
        _reachable(f"http://127.0.0.1:{stack.mock}/v1/models", stack)
        _reachable(f"http://127.0.0.1:{stack.api}/health/ready", stack)
        _reachable(f"http://127.0.0.1:{stack.prometheus}/-/ready", stack)
        drive(stack, 4)
        assert stack.until("llm_edge_requests_total > 0", PATIENCE_S)
        time.sleep(2.5)
        drive(stack, 4)
        time.sleep(2.5)
        yield stack
        for port in (stack.api, stack.metrics):
            canaries.look_at_pages(port)
    canaries.look_at_log(folder / "gateway.log")
    canaries.look_at_ledger(folder / "ledger.sqlite")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _reachable(url: str, stack: Stack) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError as error:
            if error.code in (401, 404):
                return
        except OSError:
            pass
        logs = {path.name: path.read_text()[-2000:] for path in stack.folder.glob("*.log")}
        assert time.monotonic() < deadline_s, (url, logs)
        time.sleep(0.2)


def panel_queries() -> list[tuple[str, str]]:
    found = []
    for path in sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")):
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            for number, target in enumerate(panel["targets"]):
                found.append((f"{path.stem}: {panel['title']} {number}", target["expr"]))
    return found


def alert_figures() -> list[tuple[str, str]]:
    """What each alert compares: its expression without thresholds."""
    rules = yaml.safe_load((PROMETHEUS / "llm-edge.rules.yml").read_text("utf-8"))
    return [
        (rule["alert"], re.split(r"\s(?:==|>|<)\s", part)[0].replace("[15m]", "[30s]").replace("[10m]", "[30s]"))
        for group in rules["groups"]
        for rule in group["rules"]
        if "alert" in rule
        for part in rule["expr"].split(" and ")
    ]


def recordings() -> list[str]:
    rules = yaml.safe_load((PROMETHEUS / "llm-edge.rules.yml").read_text("utf-8"))
    return [rule["record"] for group in rules["groups"] for rule in group["rules"] if "record" in rule]


def test_every_panel_every_alert_and_every_recording_finds_its_series(stack: Stack) -> None:
    """One test, so that the stack is started once, whatever way tests are spread over processes."""
    concrete = [
        (place, expression.replace("$__rate_interval", "30s").replace("$provider", ".*"))
        for place, expression in panel_queries()
    ]
    asked = [*concrete, *alert_figures(), *((name, name) for name in recordings())]
    assert len(asked) > 80
    missing = [(place, expression) for place, expression in asked if not stack.until(expression)]
    assert missing == []
    the_counters_are_what_was_asked(stack)
    promtool_finds_nothing_wrong_with_the_metrics(stack)


def the_counters_are_what_was_asked(stack: Stack) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        ((_, value),) = [result["value"] for result in stack.query("sum(llm_edge_requests_total)")]
        if float(value) == stack.asked:
            return
        assert time.monotonic() < deadline_s, (value, stack.asked)
        time.sleep(0.3)


def promtool_finds_nothing_wrong_with_the_metrics(stack: Stack) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.metrics}/metrics", timeout=10) as answer:
        text = answer.read()
    done = subprocess.run([program("promtool"), "check", "metrics"], input=text, capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
