"""Keys of clients: forms, contradictions, and no way to an open gateway by accident."""

from hashlib import sha256
from pathlib import Path

import pytest

from llm_edge_agent.config import GatewayKey
from tests.config.reading import problems, read, without_lines, written

HEX = sha256(b"secret").hexdigest()


def key(tenant: str, text: str) -> GatewayKey:
    digest = sha256(text.encode()).digest()
    return GatewayKey(tenant=tenant, digest=digest, key_id=digest.hex()[:8])


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("secret", key("default", "secret")),
        ("team=secret", key("team", "secret")),
        (f"sha256:{HEX}", key("default", "secret")),
        (f"team-b.1=sha256:{HEX.upper()}", key("team-b.1", "secret")),
        ("default=c2VjcmV0==", key("default", "c2VjcmV0==")),
        ("default=sk-a=b", key("default", "sk-a=b")),
        ("!#$%&()*+-./:;<>?@[]^_`{|}~", key("default", "!#$%&()*+-./:;<>?@[]^_`{|}~")),
    ],
)
def test_the_forms_of_an_entry(entry: str, expected: GatewayKey, tmp_path: Path) -> None:
    config = read({"API_KEYS": f" {entry} , other=x-key"})
    assert config.keys == (expected, key("other", "x-key"))
    assert config.auth_enabled
    quoted = entry.replace("'", "''")
    file = written(tmp_path, f"auth: {{keys: ['{quoted}', {{tenant: other, key: x-key}}]}}")
    assert read(config_file=file).keys == config.keys
    assert read(config_file=written(tmp_path, f"auth: {{keys: '{quoted},other=x-key'}}")).keys == config.keys


NO_KEY = "has no key after its = (for a key that ends in =: default=KEY)"
BAD_TENANT = "the tenant before = must be letters, digits, '.', '_' and '-' (for a key with = in it: default=KEY)"
BAD_KEY = "holds characters that no key has (a line break, a space or a letter outside ASCII)"


@pytest.mark.parametrize(
    ("entries", "lines"),
    [
        ("a,,b", ["entry 2: is empty"]),
        (",", ["entry 1: is empty", "entry 2: is empty"]),
        ("alice=", [f"entry 1: {NO_KEY}"]),
        ("c2VjcmV0==", [f"entry 1: {NO_KEY}"]),
        ("sk-abc=def", [f"entry 1: {BAD_TENANT}"]),
        ("=key", [f"entry 1: {BAD_TENANT}"]),
        ("two words=key", [f"entry 1: {BAD_TENANT}"]),
        (f"{'t' * 65}=key", [f"entry 1: {BAD_TENANT}"]),
        ("a b", [f"entry 1: {BAD_KEY}"]),
        ("schlüssel", [f"entry 1: {BAD_KEY}"]),
        ("sha256:abc", ["entry 1: sha256: must be followed by 64 hexadecimal digits"]),
        ("a,team=a", ["entry 2: the same key as one before it"]),
        (f"secret,sha256:{HEX}", ["entry 2: the same key as one before it"]),
    ],
)
def test_entries_that_are_none(entries: str, lines: list[str]) -> None:
    assert problems({"API_KEYS": entries}) == tuple(f"API_KEYS: {line}" for line in lines)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("{a: b}", ["auth.keys: must be a list"]),
        ("[{keyy: x}]", ["auth.keys[0].keyy: unknown; did you mean key?", "auth.keys[0]: must have a key"]),
        ("[{tenant: t}]", ["auth.keys[0]: must have a key"]),
        ("[[x]]", ["auth.keys[0]: is empty"]),
        ("[a, '']", ["auth.keys[1]: is empty"]),
    ],
)
def test_lists_in_the_file_that_are_none(text: str, lines: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, f"auth: {{keys: {text}}}")
    assert without_lines(problems(config_file=path), path) == lines


EMPTY = "is empty: name a key, or say AUTH_ENABLED=false to serve everybody"


def test_a_list_that_is_given_and_empty_opens_no_gateway(tmp_path: Path) -> None:
    assert problems({"API_KEYS": ""}) == (f"API_KEYS: {EMPTY}",)
    assert problems({"API_KEYS": "  ", "AUTH_ENABLED": "true"}) == (f"API_KEYS: {EMPTY}",)
    for text in ("auth: {keys: []}", "auth: {keys: }", "auth: {keys: ''}"):
        path = written(tmp_path, text)
        assert without_lines(problems(config_file=path), path) == [f"auth.keys: {EMPTY}"]
        assert not read({"AUTH_ENABLED": "false"}, config_file=path).auth_enabled
    assert not read({"API_KEYS": "", "AUTH_ENABLED": "false"}).auth_enabled


def test_contradictions() -> None:
    assert problems({"AUTH_ENABLED": "true"}) == ("AUTH_ENABLED: is true without a key: set API_KEYS",)
    assert problems({"AUTH_ENABLED": "false", "API_KEYS": "k"}) == (
        "AUTH_ENABLED: is false although keys are given in API_KEYS: take away one of them",
    )


def test_the_environment_replaces_the_list_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "auth: {keys: [a, b]}")
    assert read({"API_KEYS": "c"}, config_file=path).keys == (key("default", "c"),)


def test_without_keys_nobody_needs_one() -> None:
    config = read()
    assert (config.auth_enabled, config.keys) == (False, ())
