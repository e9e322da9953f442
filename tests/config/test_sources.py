"""Precedence, `.env`, secret files, and where the configuration file is looked for."""

from pathlib import Path

import pytest

from llm_edge_agent.config import AppConfig
from llm_edge_agent.config.sources import Problems, did_you_mean, read_dotenv
from tests.config.reading import KEY, problems, read, written


def dotenv(folder: Path, text: str | bytes) -> tuple[dict[str, str], tuple[str, ...]]:
    path = folder / ".env"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    found = Problems()
    return read_dotenv(path, found), found.lines


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=plain", "plain"),
        ("export NAME = spaced out ", "spaced out"),
        ("NAME=", ""),
        ("NAME=# all comment", ""),
        ("NAME=a#b # comment", "a#b"),
        ("NAME='single # \"$X\" \\n'  # comment", 'single # "$X" \\n'),
        ('NAME="double \\"quoted\\" \\n\\t\\\\ # kept"', 'double "quoted" \n\t\\ # kept'),
        ("NAME=${NOT_EXPANDED}", "${NOT_EXPANDED}"),
        ("NAME=a=b", "a=b"),
    ],
)
def test_a_line_of_dotenv(line: str, value: str, tmp_path: Path) -> None:
    assert dotenv(tmp_path, f"# first\n\n  {line}\r\nOTHER=1\n") == ({"NAME": value, "OTHER": "1"}, ())


@pytest.mark.parametrize("line", ["NAME", "1NAME=x", "=x", "NA ME=x"])
def test_what_is_no_assignment_is_named_by_its_line(line: str, tmp_path: Path) -> None:
    assert dotenv(tmp_path, f"A=1\n{line}\nB=2\n") == ({"A": "1", "B": "2"}, (".env:2: must be NAME=value",))


@pytest.mark.parametrize("value", ['"open', "'open", '"a" b', '"a\\'])
def test_a_quote_without_end(value: str, tmp_path: Path) -> None:
    assert dotenv(tmp_path, f"A={value}\n") == ({}, (".env:1: has a quote without end",))


def test_a_dotenv_that_is_no_text(tmp_path: Path) -> None:
    assert dotenv(tmp_path, b"A=\xff\n") == ({}, (".env: is not text in UTF-8",))


def test_a_dotenv_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert problems(directory=tmp_path) == (".env: cannot be read: is a directory",)


def test_the_first_source_that_says_something_wins(tmp_path: Path) -> None:
    file = written(tmp_path, "server: {port: 1004, host: 10.0.0.4, metrics_port: 2004, shutdown_timeout_seconds: 4}")
    (tmp_path / ".env").write_text("PORT=1003\nHOST=10.0.0.3\nMETRICS_PORT=2003\n")
    config = read(
        {"PORT": "1002", "HOST": "10.0.0.2"},
        flags={"port": 1001, "HOST": None},
        directory=tmp_path,
        config_file=file,
    )
    assert (config.port, config.host, config.metrics_port) == (1001, "10.0.0.2", 2003)
    assert (config.shutdown_timeout_s, config.connect_timeout_s) == (4.0, 5.0)
    assert config.config_file == str(file)


def test_every_layer_is_validated_not_only_the_one_that_wins(tmp_path: Path) -> None:
    file = written(tmp_path, "server: {port: x}")
    found = problems({"PORT": "y"}, flags={"PORT": "z"}, config_file=file)
    wanted = "must be a whole number from 0 to 65535"
    assert found == (f"--port: {wanted}", f"PORT: {wanted}", f"{file}:1: server.port: {wanted}")


def test_a_flag_may_name_any_variable_and_no_other() -> None:
    assert AppConfig.from_env({}, flags={"GROQ_API_KEY": "gsk", "api_keys": "k"}).providers[0].name == "groq"
    assert problems(flags={"prot": 1}) == ("--prot: unknown; did you mean PORT?",)


def test_an_explicit_mapping_reads_no_file_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("PORT=1\n")
    (tmp_path / "llm-edge-agent.yaml").write_text("server: {port: 2}\n")
    assert read().port == 8080
    assert read(dotenv=tmp_path / ".env").port == 1
    for name, value in {**KEY, "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PORT", raising=False)
    config = AppConfig.from_env()
    assert (config.port, config.config_file) == (1, "llm-edge-agent.yaml")


def test_the_file_is_looked_for_in_the_documented_order(tmp_path: Path) -> None:
    home = tmp_path / "home"
    for port, path in (
        (1, home / ".config" / "llm-edge-agent" / "config.yaml"),
        (2, home / "xdg" / "llm-edge-agent" / "config.yaml"),
        (3, tmp_path / "llm-edge-agent.yaml"),
        (4, tmp_path / "named.yaml"),
        (5, tmp_path / "flag.yaml"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"server: {{port: {port}}}\n")
    environ = {"HOME": str(home)}
    elsewhere = tmp_path / "empty"
    elsewhere.mkdir()
    assert read(environ, directory=elsewhere).port == 1
    assert read({**environ, "XDG_CONFIG_HOME": str(home / "xdg")}, directory=elsewhere).port == 2
    assert read(environ, directory=tmp_path).port == 3
    environ["LLM_EDGE_CONFIG"] = str(tmp_path / "named.yaml")
    assert read(environ, directory=tmp_path).port == 4
    assert read(environ, directory=tmp_path, config_file=tmp_path / "flag.yaml").port == 5


def test_a_tilde_is_the_home_that_the_variables_name(tmp_path: Path) -> None:
    path = written(tmp_path, "server: {port: 7}")
    environ = {"HOME": str(tmp_path), "LLM_EDGE_CONFIG": f"~/{path.name}"}
    assert read(environ).port == 7
    assert problems({"LLM_EDGE_CONFIG": "~"}) == ("LLM_EDGE_CONFIG: names a file that cannot be read: no such file",)


def test_a_file_that_may_not_be_seen_does_not_count_as_absent(tmp_path: Path) -> None:
    loop = tmp_path / "llm-edge-agent.yaml"
    loop.symlink_to(loop)
    assert problems(directory=tmp_path) == (f"{loop}: cannot be read: too many levels of symbolic links",)
    loop.unlink()
    (tmp_path / ".env").symlink_to(tmp_path / ".env")
    assert problems(directory=tmp_path) == (".env: cannot be read: too many levels of symbolic links",)


class TestSecretFiles:
    """`NAME_FILE`."""

    def test_the_key_is_read_without_its_line_end(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("sk-from-file\r\n")
        config = AppConfig.from_env({"OPENAI_API_KEY_FILE": str(tmp_path / "key")})
        key = config.providers[0].api_key
        assert key is not None
        assert key.reveal() == "sk-from-file"

    def test_every_kind_of_name_that_may_be_a_secret_has_one(self, tmp_path: Path) -> None:
        for name, text in (("keys", "a=k1,b=k2\n"), ("url", "http://box.test/v1\n"), ("token", "tok\n")):
            (tmp_path / name).write_text(text)
        config = read(
            {
                "API_KEYS_FILE": str(tmp_path / "keys"),
                "OPENAI_BASE_URL_FILE": str(tmp_path / "url"),
                "ANTHROPIC_AUTH_TOKEN_FILE": str(tmp_path / "token"),
            }
        )
        assert [key.tenant for key in config.keys] == ["a", "b"]
        assert config.providers[0].base_url == "http://box.test/v1"
        assert config.providers[1].credential() == ("authorization", "Bearer tok")

    def test_what_can_be_wrong_with_it(self, tmp_path: Path) -> None:
        (tmp_path / "empty").write_text("\n")
        (tmp_path / "spaces").write_text("a key\n")
        (tmp_path / "binary").write_bytes(b"\xff\xfe")
        (tmp_path / "huge").write_bytes(b"x" * (1024 * 1024 + 1))
        for file, wanted in (
            ("missing", "the file cannot be read: no such file or directory"),
            ("", "the file cannot be read: is a directory"),
            ("a\x00b", "the file cannot be read: no valid path"),
            ("empty", "the file is empty"),
            ("binary", "the file is not text in UTF-8"),
            ("huge", "the file is larger than 1048576 bytes"),
            ("spaces", "holds characters that no key has (a line break, a space or a letter outside ASCII)"),
        ):
            environ = {"ANTHROPIC_API_KEY_FILE": str(tmp_path / file)}
            assert problems(environ) == (f"ANTHROPIC_API_KEY_FILE: {wanted}",)

    def test_the_value_beside_its_file_is_a_contradiction(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("sk")
        environ = {"OPENAI_API_KEY_FILE": str(tmp_path / "key")}
        assert problems(environ) == ("OPENAI_API_KEY_FILE: given together with OPENAI_API_KEY: use one of them",)

    def test_an_empty_file_of_client_keys_opens_no_gateway(self, tmp_path: Path) -> None:
        (tmp_path / "keys").write_text("\n")
        (line,) = problems({"API_KEYS_FILE": str(tmp_path / "keys")})
        assert line.startswith("API_KEYS_FILE: is empty")


class TestServerAddress:
    """The older name for host and port."""

    def test_it_sets_both(self) -> None:
        config = read({"SERVER_ADDRESS": "[::1]:90"})
        assert (config.host, config.port) == ("::1", 90)

    def test_it_yields_to_a_higher_source_and_beats_a_lower_one(self, tmp_path: Path) -> None:
        file = written(tmp_path, "server: {address: '10.0.0.4:1004', metrics_port: 5}")
        assert (read(config_file=file).host, read(config_file=file).port) == ("10.0.0.4", 1004)
        assert read({"SERVER_ADDRESS": "10.0.0.2:1002"}, config_file=file).port == 1002
        config = read({"SERVER_ADDRESS": "10.0.0.2:1002"}, flags={"PORT": 0}, config_file=file)
        assert (config.host, config.port) == ("10.0.0.2", 0)

    def test_it_must_agree_with_its_neighbours(self) -> None:
        assert read({"SERVER_ADDRESS": "[::1]:90", "HOST": "::1", "PORT": "90"}).port == 90
        assert problems({"SERVER_ADDRESS": "[::1]:90", "PORT": "91"}) == (
            "SERVER_ADDRESS: contradicts PORT: use one of them",
        )


def test_log_level_is_plainer_than_rust_log_and_both_beat_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, "observability: {log_level: error}")
    assert read(config_file=file).log_level == "error"
    assert read({"RUST_LOG": "debug"}, config_file=file).log_level == "debug"
    assert read({"RUST_LOG": "debug", "LOG_LEVEL": "warning"}, config_file=file).log_level == "warning"
    assert read({"RUST_LOG": "debug"}, flags={"LOG_LEVEL": "error"}).log_level == "error"


def test_suggestions_are_near_or_absent() -> None:
    assert did_you_mean("portt", ["port", "host"]) == "; did you mean port?"
    assert did_you_mean("elephant", ["port", "host"]) == ""
