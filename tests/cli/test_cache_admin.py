"""`cache stats | get | purge | warm` against a running gateway."""

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import canaries
from tests.canaries import ADMIN_KEY, OPENAI_KEY, prompt
from tests.cli.programs import call, program
from tests.ports import free_port


@contextmanager
def served(folder: Path, **more: str) -> Iterator[dict[str, str]]:
    """A gateway in front of a simulator; the variables that both it and the commands are given."""
    (folder / "mock").mkdir()
    (folder / "gateway").mkdir()
    mock_port, port = free_port(), free_port()
    variables = {
        "OPENAI_API_KEY": OPENAI_KEY,
        "OPENAI_BASE_URL": f"http://127.0.0.1:{mock_port}/v1",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "METRICS_PORT": "0",
        "ADMIN_API_KEY": ADMIN_KEY,
        **more,
    }
    with program(folder / "mock", "mock", "--port", str(mock_port)) as mock:
        mock.wait_for(str(mock_port))
        with program(folder / "gateway", **variables) as gateway:
            gateway.wait_for("listens on")
            yield variables
            assert gateway.stop() == 0


@pytest.mark.lets_out(canaries.OUTPUT, reason="it reads an answer out of the cache, which quotes the prompt")
def test_a_cache_is_warmed_looked_into_and_purged(tmp_path: Path) -> None:
    request = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": prompt("Hi")}]}
    other = {**request, "temperature": 0}
    records = [{"request": request}, {"request": request}, {"request": other}, {"request": request, "tenant": "b"}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "one.json").write_text(json.dumps(request))
    with served(tmp_path) as variables:
        warmed = call(tmp_path, "cache", "warm", "log.jsonl", **variables)
        assert (warmed.returncode, warmed.stderr) == (0, "3 miss\n")
        assert call(tmp_path, "cache", "warm", "log.jsonl", **variables).stderr == "3 hit-l1\n"
        stats = json.loads(call(tmp_path, "cache", "stats", **variables).stdout)
        assert stats["tiers"]["l1"]["entries"] == 3
        found = json.loads(call(tmp_path, "cache", "get", "--request", "one.json", **variables).stdout)
        assert found["found"]
        shown = call(tmp_path, "cache", "get", found["key"], "--answer", **variables)
        assert json.loads(shown.stdout)["answer"]["object"] == "chat.completion"
        purged = call(tmp_path, "cache", "purge", "--tenant", "b", **variables)
        assert (purged.returncode, purged.stderr) == (0, "purged\n")
        assert call(tmp_path, "cache", "get", found["key"], **variables).returncode == 0
        assert call(tmp_path, "cache", "purge", "--model", "gpt-5.4-mini", **variables).returncode == 0
        gone = call(tmp_path, "cache", "get", "--request", "one.json", **variables)
        assert (gone.returncode, json.loads(gone.stdout)["found"]) == (1, False)
        wrong = call(tmp_path, "cache", "stats", **{**variables, "ADMIN_API_KEY": "another"})
        assert (wrong.returncode, wrong.stderr) == (1, "Error: the gateway has another ADMIN_API_KEY\n")


def test_a_purge_reaches_every_worker_within_a_second(tmp_path: Path) -> None:
    request = {"model": "gpt-5.4-mini", "messages": [{"role": "user", "content": prompt("Hi")}]}
    body = json.dumps(request).encode()
    with served(tmp_path, WORKERS="2") as variables:

        def asked() -> list[str]:
            """What the cache did for two dozen clients, whom the kernel spreads over the workers."""
            found = []
            for _ in range(24):
                url = f"http://127.0.0.1:{variables['PORT']}/v1/chat/completions"
                ask = urllib.request.Request(url, body, {"content-type": "application/json"})
                with urllib.request.urlopen(ask) as answer:
                    found.append(answer.headers["x-llm-edge-cache"])
            return found

        assert sorted(asked()) == ["hit-l1"] * 22 + ["miss"] * 2
        assert call(tmp_path, "cache", "purge", "--all", **variables).returncode == 0
        time.sleep(1.0)
        assert sorted(asked()) == ["hit-l1"] * 22 + ["miss"] * 2


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("purge",), 2, "name one of --tenant, --model and --all"),
        (("purge", "--all", "--tenant", "a"), 2, "name one of"),
        (("get",), 2, "name either a KEY or a --request"),
        (("get", "--request", "nowhere.json"), 2, "nowhere.json: no such file"),
        (("warm", "nowhere.jsonl"), 2, "nowhere.jsonl: no such file"),
        (("stats",), 1, "does not answer: connection refused"),
        (("stats", "--url", "nonsense"), 2, "--url"),
    ],
)
def test_what_cannot_be_done(tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = call(tmp_path, "cache", *arguments, ADMIN_API_KEY=ADMIN_KEY, PORT=str(free_port()))
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_without_a_key_there_is_nothing_to_ask_with(tmp_path: Path) -> None:
    done = call(tmp_path, "cache", "stats")
    assert done.returncode == 2
    assert "ADMIN_API_KEY is not set" in done.stderr
