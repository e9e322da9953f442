"""The file as a tree: types, variables, lines, and everything that can be wrong with it."""

from pathlib import Path

import pytest

from llm_edge_agent.config.sources import Given, Problems
from llm_edge_agent.config.yaml_file import Node, read_yaml
from tests.config.reading import problems, read, without_lines, written

VARIABLES = {"SET": "value", "EMPTY": "", "TRICKY": "a: [b, ${SET}]"}


def tree(folder: Path, text: str) -> tuple[Node, list[str]]:
    path = written(folder, text)
    found = Problems()

    def lookup(name: str) -> Given | None:
        return Given(VARIABLES[name], name) if VARIABLES.get(name) else None

    return read_yaml(path, lookup, found), without_lines(found.lines, path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-3", -3),
        ("0.25", 0.25),
        ("1e3", 1000.0),
        ("true", True),
        ("false", False),
        ("off", "off"),
        ("12:30", "12:30"),
        ("2026-11-24", "2026-11-24"),
        ("0x10", "0x10"),
        (".inf", ".inf"),
        ("1e999", "1e999"),
        ("'12'", "12"),
        ("null", None),
        ("~", None),
        ("", None),
        ("'null'", "null"),
        ("[1, {b: two}]", [1, {"b": "two"}]),
        ("${SET}", "value"),
        ("x-${SET}-${SET}", "x-value-value"),
        ("${MISSING:-other}", "other"),
        ("${EMPTY:-other}", "other"),
        ("${MISSING:-}", ""),
        ("$${SET}", "${SET}"),
        ("$SET", "$SET"),
        ("os.environ/SET", "value"),
        ("os.environ/SET/more", "os.environ/SET/more"),
        ("${TRICKY}", "a: [b, ${SET}]"),
    ],
)
def test_a_value_means_what_it_looks_like(text: str, value: object, tmp_path: Path) -> None:
    node, found = tree(tmp_path, f"key: {text}\n")
    assert (node.typed(), found) == ({"key": value}, [])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("- a list\n", ["must be a mapping"]),
        ("just text\n", ["must be a mapping"]),
        ("a: [1\n", ["is not valid YAML at line 2, column 1"]),
        ("a: 'open\n", ["is not valid YAML at line 2, column 1"]),
        ("a: *nowhere\n", ["is not valid YAML at line 1, column 4"]),
        ("a: \x01\n", ["is not valid YAML"]),
        ("a: 1\na: 2\n", ["a: given twice"]),
        ("[a, b]: 1\n", ["a key must be a word"]),
        ("a: ${MISSING}\n", ["a: the variable MISSING is not set"]),
        ("a: [{b: os.environ/EMPTY}]\n", ["a[0].b: the variable EMPTY is not set"]),
        ("a: &a [*a]\n", ["is too large or nested too deep"]),
        (f"{'[' * 30}{']' * 30}\n", ["is too large or nested too deep"]),
        ("a: {sk-1234567890: '${MISSING}'}\n", ["a.(hidden): the variable MISSING is not set"]),
    ],
)
def test_what_is_wrong_is_said_without_quoting_the_file(text: str, found: list[str], tmp_path: Path) -> None:
    assert tree(tmp_path, text)[1] == found


def test_a_small_file_that_describes_a_huge_tree(tmp_path: Path) -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 9))
    assert tree(tmp_path, f"l0: &l0 [x]\n{levels}")[1] == ["is too large or nested too deep"]


@pytest.mark.parametrize("text", ["", "# nothing\n", "null\n", "---\n"])
def test_an_empty_file_says_nothing(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    config = read(config_file=path)
    assert (config.port, config.config_file) == (8080, str(path))


@pytest.mark.parametrize("text", ["server:\n", "server: {}\n", "server: {port: }\n", "server: {port: ''}\n"])
def test_what_is_left_empty_keeps_its_default(text: str, tmp_path: Path) -> None:
    assert read(config_file=written(tmp_path, text)).port == 8080


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("prot: 1", ["prot: unknown"]),
        ("sever: {port: 1}", ["sever: unknown; did you mean server?"]),
        ("server: {prot: 1}", ["server.prot: unknown; did you mean port?"]),
        ("cache: {l1: {sise: 1}}", ["cache.l1.sise: unknown; did you mean size?"]),
        ("server: [1]", ["server: must be a mapping"]),
        ("cache: {l1: 5}", ["cache.l1: must be a mapping"]),
        ("server: {port: [1]}", ["server.port: must be a single value"]),
        ("server: {port: {a: 1}}", ["server.port: must be a single value"]),
        ("server: {port: 70000}", ["server.port: must be a whole number from 0 to 65535"]),
        ("translation: {expose_thinking: 5}", ["translation.expose_thinking: must be true or false"]),
        ("translation: {anthropic_version: newest}", ["translation.anthropic_version: must be a date like 2023-06-01"]),
        (
            "routing: {fallbacks: {a: []}}",
            ["routing.fallbacks: must be model=model[,model];… with each model once before its ="],
        ),
    ],
)
def test_problems_name_the_key(text: str, found: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, text)
    assert without_lines(problems(config_file=path), path) == found


def test_problems_name_the_line(tmp_path: Path) -> None:
    path = written(tmp_path, "server:\n  host: a\n  port: x\ncache:\n  policy: y\n")
    places = [line.split(": ")[0] for line in problems(config_file=path)]
    assert places == [f"{path}:3", f"{path}:5"]


def test_what_only_the_file_can_say(tmp_path: Path) -> None:
    path = written(tmp_path, "translation: {expose_thinking: true, anthropic_version: 2026-10-21}")
    config = read(config_file=path)
    assert (config.expose_thinking, config.anthropic_version) == (True, "2026-10-21")


@pytest.mark.parametrize("what", ["folder", "binary"])
def test_a_file_that_cannot_be_read(what: str, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    if what == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"server: \xff\n")
    wanted = "cannot be read: is a directory" if what == "folder" else "is not text in UTF-8"
    assert problems(config_file=path) == (f"{path}: {wanted}",)


def test_variables_come_from_the_environment_dotenv_and_secret_files(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FROM_DOTENV=1001\n")
    (tmp_path / "secret").write_text("sk-lab\n")
    path = written(
        tmp_path,
        "server: {port: '${FROM_DOTENV}', metrics_port: '${FROM_ENVIRONMENT}'}\n"
        "providers: {lab: {base_url: 'http://lab.test', api_key: '${LAB_KEY}'}}\n",
    )
    environ = {"FROM_ENVIRONMENT": "1002", "LAB_KEY_FILE": str(tmp_path / "secret")}
    config = read(environ, config_file=path, directory=tmp_path)
    assert (config.port, config.metrics_port) == (1001, 1002)
    assert config.providers[1].credential() == ("authorization", "Bearer sk-lab")
