"""Has pytest search what gateways let out: the test that let a canary out fails, and so does a run of everything that
looked at too little to be believed.

`@pytest.mark.lets_out(kind, ..., reason="...")` exempts a test that lets texts out in such a thing by design (with
`keys=True`: keys, too), and fails where it did not: there is no exemption that nobody needs.
"""

from collections.abc import Generator
from typing import Any

import pytest

from tests.canaries import ERROR, HEALTH, LEDGER, LINES, LOG, METRICS, ROWS, SEARCH, SPANS, Leak

LEAST = {LOG: 500, LINES: 8000, LEDGER: 350, ROWS: 8000, SPANS: 5000, METRICS: 1000, HEALTH: 400, ERROR: 1200}
"""What a run of everything looks at, at the least: about half of what it did when this was written, and less of what
depends on the machine's speed."""
SHOWN = 5
_LEFT_OVER = pytest.StashKey[list[str]]()
_PASSED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lets_out(kind, ..., reason, keys=False): lets canaries out by design")
    config.stash[_LEFT_OVER] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judges a test when all that it started has ended."""
    report = yield
    if call.when == "call":
        item.stash[_PASSED] = report.passed
    if call.when == "teardown":
        for title, text in report.sections:
            SEARCH.look(LOG, title, text.encode("utf-8", "replace"))
        wrong = _judge(item, SEARCH.take())
        if wrong:
            report.longrepr = f"{report.longrepr}\n\n{wrong}" if report.failed else wrong
            report.outcome = "failed"
    return report


def _judge(item: pytest.Item, leaks: list[Leak]) -> str:
    exempt: set[str] = set()
    with_keys: set[str] = set()
    for mark in item.iter_markers("lets_out"):
        assert mark.args, "an exemption names what is let out"
        assert mark.kwargs["reason"], "an exemption says why"
        exempt.update(mark.args)
        if mark.kwargs.get("keys"):
            with_keys.update(mark.args)
    wrong = _told([leak for leak in leaks if leak.kind not in (with_keys if leak.is_key else exempt)])
    unused = exempt - {leak.kind for leak in leaks}
    passed = item.stash.get(_PASSED, False)
    if unused and passed:
        wrong += f"\nlets_out({', '.join(sorted(unused))}) is not needed: no such thing was let out"
    return wrong.strip()


def _told(leaks: list[Leak]) -> str:
    if not leaks:
        return ""
    more = [f"... and {len(leaks) - SHOWN} more"] if len(leaks) > SHOWN else []
    return "\n".join(["Canaries were let out:", *map(str, leaks[:SHOWN]), *more])


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker process of xdist tells its counts; whoever has them all judges them."""
    worker: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    left_over = session.config.stash[_LEFT_OVER]
    if leaks := SEARCH.take():  # by what ended after the last test
        left_over.append(_told(leaks))
    if worker is not None:
        worker["canaries"] = (dict(SEARCH.seen), left_over)
        return
    if _everything(session.config) and session.exitstatus == pytest.ExitCode.OK:
        few = {kind: SEARCH.seen[kind] for kind, least in LEAST.items() if SEARCH.seen[kind] < least}
        if few:
            left_over.append(f"A run of everything looked at too little: {few}, and should at {LEAST}")
    if left_over and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _everything(config: pytest.Config) -> bool:
    """Whether nothing was said of what to run."""
    options = config.option
    narrowed = options.keyword or options.collectonly or getattr(options, "lf", False)
    marked = any(argument.startswith("-m") for argument in config.invocation_params.args)
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not narrowed and not marked


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object | None) -> None:
    """Takes over what a worker process has seen; one that crashed has failed the run by that."""
    seen, left_over = getattr(node, "workeroutput", {}).get("canaries", ({}, []))
    SEARCH.seen.update(seen)
    node.config.stash[_LEFT_OVER].extend(left_over)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if SEARCH.seen:
        counts = ", ".join(f"{count:,} x {kind}" for kind, count in sorted(SEARCH.seen.items()))
        terminalreporter.write_line(f"searched for canaries: {counts}")
    for text in config.stash[_LEFT_OVER]:
        terminalreporter.write_line(text, red=True)
