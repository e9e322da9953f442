"""The search for canaries: that it finds what it is there for, wherever it is let out, and that it fails a run."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from llm_edge_agent.config import OtelConfig
from tests.canaries import (
    ALICE_KEY,
    ANSWER,
    ANSWER_CANARY,
    CANARY_KEYS,
    CANARY_TEXTS,
    ERROR,
    HEALTH,
    LEDGER,
    LOG,
    METRICS,
    OPENAI_KEY,
    OUTPUT,
    PROMPT_CANARY,
    SEARCH,
    SPANS,
    Search,
    look_at_answer,
)
from tests.cli.programs import call, keys, program
from tests.e2e.collector import Collector
from tests.e2e.raw_client import connected, request_bytes
from tests.e2e.running_gateway import MODEL, ask, gateway_config, running
from tests.e2e.scripted_upstream import completion, failure, reply, says, scripted

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
TELLTALE = f"{PROMPT_CANARY}-as-a-name"
"""A canary in the place of a name. Names are no secrets: this one shows that what holds it is searched."""
NOT_BROUGHT = {
    "tests/cli/test_commands.py": "starts no gateway",
    "tests/cli/test_fidelity.py": "a command's own gateways, without ledger; what pytest captures of them is searched",
    "tests/test_asgi_doors.py": "by `hosted`",
}
"""Tests that start the product and bring nothing to the search themselves."""


@pytest.mark.parametrize("canary", [*CANARY_KEYS, *CANARY_TEXTS])
@pytest.mark.parametrize("kind", [LOG, LEDGER, SPANS, METRICS, HEALTH, ERROR, OUTPUT, ANSWER])
def test_every_canary_is_found_in_every_kind(canary: str, kind: str) -> None:
    search = Search()
    search.look(kind, "here", b"before\n" + canary.encode() + b'" after')
    found = [str(leak) for leak in search.take()]
    shown = canary[canary.index("canary-") :]
    assert found == ([] if kind == ANSWER and canary in CANARY_TEXTS else [f"{kind} here, line 2: {shown}"])
    assert search.seen[kind] == 1
    assert search.take() == []


def test_what_is_empty_was_not_looked_at_and_a_part_of_a_canary_is_one() -> None:
    search = Search()
    search.look(LOG, "here", b"")
    assert search.seen == {}
    search.look(LOG, "here", b'{"logger":"access","event":"attempt","error":"%b"}\n' % ALICE_KEY[:-4].encode() * 3)
    assert [str(leak) for leak in search.take()] == [
        f"log here, line {line} (access: attempt): {ALICE_KEY[:-4]}" for line in (1, 2, 3)
    ]


@pytest.mark.lets_out(LOG, LEDGER, SPANS, METRICS, HEALTH, ERROR, reason="its provider is called so, to be found")
async def test_whatever_a_gateway_in_this_process_lets_out_is_searched() -> None:
    collector = Collector()
    async with scripted(collector.script) as receiver, scripted(says(failure(503))) as upstream:
        config = gateway_config(upstream.url, otel=OtelConfig(endpoint=receiver.url, delay_ms=50))
        config = replace(config, providers=(replace(config.providers[0], name=TELLTALE),))
        async with running(config) as gateway:
            assert (await gateway.chat(ask(model=f"{TELLTALE}/{MODEL}"))).status == 503


@pytest.mark.lets_out(ANSWER, keys=True, reason="its provider gives a key away, to be found")
async def test_a_key_in_an_answer_is_found() -> None:
    async with (
        scripted(says(reply(completion(OPENAI_KEY)))) as upstream,
        running(gateway_config(upstream.url)) as gateway,
    ):
        assert (await gateway.chat(ask())).text == OPENAI_KEY


@pytest.mark.lets_out(ERROR, reason="it is made up, to be found")
def test_an_error_in_a_stream_is_found() -> None:
    events = b'data: {"text":"%b"}\n\ndata: {"error":{"message":"%b"}}\n\n'
    for texts in ((ANSWER_CANARY, "no"), ("yes", ANSWER_CANARY)):
        body = events % tuple(text.encode() for text in texts)
        look_at_answer(200, {"content-type": "text/event-stream"}, body)
    assert [leak.canary for leak in SEARCH.leaks] == [ANSWER_CANARY]


@pytest.mark.lets_out(LOG, LEDGER, METRICS, HEALTH, ERROR, OUTPUT, reason="its provider is called so, to be found")
async def test_whatever_a_command_lets_out_is_searched(tmp_path: Path) -> None:
    settings = {"providers": {TELLTALE: {"dialect": "openai", "base_url": "http://127.0.0.1:9", "api_key": OPENAI_KEY}}}
    (tmp_path / "gateway.yaml").write_text(json.dumps(settings))
    variables = {"HOST": "127.0.0.1", "PORT": "0", "METRICS_PORT": "0", "LEDGER_PATH": "ledger", "MAX_RETRIES": "0"}
    with program(tmp_path, "--config", "gateway.yaml", "serve", **variables) as gateway:
        port = int(re.findall(r"listens on http://127.0.0.1:(\d+)", gateway.wait_for("listens on"))[0])
        async with connected(port, bytearray()) as wire:
            await wire.send(request_bytes(ask(model=f"{TELLTALE}/some-model")))
            assert (await wire.answer()).status == 502
        assert gateway.stop() == 0
    call(tmp_path, "--config", "gateway.yaml", "check-config", **keys())


INNER = """
import pytest
from tests import canaries

@pytest.mark.parametrize("number", range(4))
def test_clean(number):
    canaries.look(canaries.METRICS, "a page", b"clean")

{more}
"""
LEAKS = """
def test_leaks():
    line = '{"logger":"a","event":"b","x":"' + canaries.PROMPT_CANARY + '"}'
    canaries.look(canaries.LOG, "gateway.log", line.encode())
"""
PRINTS = """
def test_prints():
    print("said:", canaries.ALICE_KEY)
"""
EXEMPT = """
@pytest.mark.lets_out(canaries.LOG, reason="a reason")
def test_exempt():
    canaries.look(canaries.LOG, "gateway.log", canaries.PROMPT_CANARY.encode())
"""
TOO_MUCH = """
@pytest.mark.lets_out(canaries.SPANS, reason="its text is captured")
def test_too_much():
    canaries.look(canaries.SPANS, "span", f"{canaries.PROMPT_CANARY} {canaries.ALICE_KEY}".encode())
"""
NEEDLESS = """
@pytest.mark.lets_out(canaries.LOG, reason="a reason")
def test_needless():
    canaries.look(canaries.LOG, "gateway.log", b"clean")
"""


captured = pytest.mark.lets_out(LOG, keys=True, reason="pytest captures what the inner run says of its canary")


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Where a run of its own searches, with no plugins but those that this is about."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p xdist.plugin -p tests.canary_search")
    return pytester


@pytest.mark.parametrize(
    ("more", "arguments", "code", "said"),
    [
        pytest.param(LEAKS, (), 1, f"log gateway.log, line 1 (a: b): {PROMPT_CANARY}", marks=captured),
        pytest.param(LEAKS, ("-n", "2"), 1, f"log gateway.log, line 1 (a: b): {PROMPT_CANARY}", marks=captured),
        pytest.param(PRINTS, (), 1, f"log Captured stdout call, line 1: {ALICE_KEY}", marks=captured),
        (EXEMPT, ("-n", "2"), 0, "searched for canaries: 1 x log, 0 x log line, 4 x page of metrics"),
        pytest.param(TOO_MUCH, (), 1, f"span span, line 1: {ALICE_KEY}", marks=captured),
        (NEEDLESS, (), 1, "lets_out(log) is not needed"),
    ],
    ids=["leaks", "leaks in a worker", "prints", "exempt", "a key beside an exempt text", "needless exemption"],
)
def test_a_run_fails(more: str, arguments: tuple[str, ...], code: int, said: str, inner: pytest.Pytester) -> None:
    path = inner.makepyfile(INNER.format(more=more))
    done = inner.runpytest_subprocess(*arguments, path)
    assert done.ret == code
    done.stdout.fnmatch_lines([f"*{said.replace('[', '[[]')}*"])


def test_a_run_of_everything_that_looked_at_too_little_fails(inner: pytest.Pytester) -> None:
    inner.makeini("[pytest]\ntestpaths = .")
    inner.makepyfile(INNER.format(more=""))
    whole = inner.runpytest_subprocess("-n", "2")
    assert whole.ret == 1
    whole.stdout.fnmatch_lines(["*looked at too little*'page of metrics': 4*"])
    assert inner.runpytest_subprocess("-k", "clean").ret == 0


def test_whoever_starts_the_product_has_it_searched() -> None:
    process = r'"-m",\s*"llm_edge_agent"|-m llm_edge_agent'
    starts = re.compile(rf"{process}|\b(?:initialize_app_state|asgi_app|running_gateway|GatewayServer)\(")
    files = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in sorted((ROOT / "tests").rglob("*.py"))}
    starting = {name for name, text in files.items() if starts.search(text) and name != "tests/test_canary_search.py"}
    assert len(starting) > 8
    assert {name for name in starting if "canaries.look" not in files[name]} == set(NOT_BROUGHT)
