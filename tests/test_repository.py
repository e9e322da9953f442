"""What a machine can check of the house rules: mirrored tests, file ceilings, no traces of one machine, true README."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "llm_edge_agent"
CEILING_LINES = 600

MIRRORED_ELSEWHERE = {
    "dialects/__init__.py": "tests/dialects/test_translators.py",
    "dialects/endpoint.py": "tests/dialects/test_translators.py",
    "dialects/chat_to_messages/sent.py": "tests/dialects/chat_to_messages",
    "core/__init__.py": "tests/core",
}
"""Sources whose tests stand under another name."""


def tracked(*patterns: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("package", ["core", "dialects", "http", "cache", "gateway", "telemetry", "simulator", "cli"])
def test_every_package_has_tests_beside_it(package: str) -> None:
    assert list((ROOT / "tests" / package).glob("**/test_*.py"))


@pytest.mark.parametrize("package", ["core", "dialects", "http", "cache"])
def test_every_module_of_a_leaf_package_has_its_own_test(package: str) -> None:
    missing = []
    for source in sorted((SOURCE / package).glob("*.py")):
        name = str(source.relative_to(SOURCE))
        if name in MIRRORED_ELSEWHERE:
            assert (ROOT / MIRRORED_ELSEWHERE[name]).exists()
        elif source.name != "__init__.py" and not list((ROOT / "tests" / package).glob(f"test_{source.stem}*.py")):
            missing.append(name)
    assert missing == []


def test_no_python_file_outgrows_the_ceiling() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in tracked("*.py")
        if (count := len(path.read_text("utf-8").splitlines())) > CEILING_LINES
    }
    assert long == {}


def test_no_trace_of_one_machine() -> None:
    trace = re.compile(r"(?<![\w.])/(?:work|root|home)/\w|/tmp/[a-z]")
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked("*.py", "*.md", "*.toml", "*.yaml", "*.txt", "Makefile")
        if path != Path(__file__) and (match := trace.search(path.read_text("utf-8")))
    ]
    assert found == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty_names = {"utils.py", "helpers.py", "common.py", "manager.py"}
    assert [str(path) for path in tracked("src/*.py") if path.name in empty_names] == []


def test_the_readme_names_commands_that_exist() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    used = set(re.findall(r"\bmake ([a-z-]+)", readme))
    assert {"demo", "test"} <= used <= targets
    links = re.findall(r"\]\(((?!http)[^)#]+)", readme)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_decision_records_are_numbered_without_gaps_and_all_listed() -> None:
    folder = ROOT / "docs" / "adr"
    records = sorted(folder.glob("[0-9]*.md"))
    titles = [record.read_text("utf-8").partition("\n")[0].removeprefix("# ") for record in records]
    numbers = [
        (int(record.name[:4]), int(title.partition(".")[0])) for record, title in zip(records, titles, strict=True)
    ]
    assert numbers == [(number, number) for number in range(1, len(records) + 1)]
    listed = re.findall(r"^(\d+)\. \[(.+)\]\((.+)\)$", (folder / "README.md").read_text("utf-8"), re.MULTILINE)
    assert [(f"{number}. {title}", name) for number, title, name in listed] == [
        (title, record.name) for title, record in zip(titles, records, strict=True)
    ]


def test_the_locks_agree() -> None:
    """The image has what runtime.txt has and the extra's packages; runtime.txt has what pyproject.toml asks for."""

    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9-]+==\S+)", (ROOT / "requirements" / name).read_text("utf-8"), re.MULTILINE))

    def names(asked: list[str]) -> set[str]:
        return {re.split(r"[<>=]", line)[0].lower() for line in asked}

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    runtime, container = pins("runtime.txt"), pins("container.txt")
    assert names(project["dependencies"]) <= names(list(runtime))
    extra = names(project["optional-dependencies"]["otel"])
    assert runtime <= container
    assert {pin.partition("==")[0] for pin in container - runtime} == extra | {"protobuf"}
