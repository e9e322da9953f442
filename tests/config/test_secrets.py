"""Whatever is wrong with a value, no message repeats it; and what is accepted, those below accept too."""

from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.config import AppConfig, ConfigError, forms
from llm_edge_agent.config.names import EXPANDED, SETTINGS
from llm_edge_agent.http.origins import Origin
from llm_edge_agent.http.proxies import ProxySettings
from llm_edge_agent.presets import VARIABLES
from tests.config.reading import KEY, written

CANARY = "c4n4ry"
NAMES = [*(setting.name for setting in SETTINGS if setting.name), *EXPANDED, *VARIABLES, "LLM_EDGE_CONFIG"]
AROUND = st.text(st.characters(exclude_characters="\x00"), max_size=6)
SHAPES = st.sampled_from(
    ["{}", "sk-{}", "https://user:{}@host.test/v1", "http://host.test/{}?k", "sha256:{}", "team={}", "a b {}", "{},"]
)


def shown(environ: dict[str, str], path: Path | None = None) -> str:
    """Everything that a configuration, valid or not, shows of itself."""
    try:
        config = AppConfig.from_env(environ, config_file=path)
    except ConfigError as error:
        return f"{error} {error!r}"
    return " ".join((*config.warnings, repr(config.providers), repr(config.keys), repr(config.https_proxy)))


@pytest.mark.parametrize("name", NAMES)
@given(before=AROUND, after=AROUND, shape=SHAPES)
def test_no_value_of_a_variable_is_shown(name: str, before: str, after: str, shape: str) -> None:
    allowed = ("OLLAMA_HOST", "AZURE_OPENAI_ENDPOINT")
    text = shape.format(f"{before}{CANARY}{after}")
    base_urls = name in allowed or name.endswith("_BASE_URL")
    found = shown({**KEY, name: text})
    assert CANARY not in found or (base_urls and "ProviderConfig" in found and "user:" not in found)


@given(text=st.text(max_size=30), indent=st.sampled_from(["", "  ", "- ", "server:\n  port: ", "auth:\n  keys: "]))
def test_no_text_of_a_broken_file_is_shown(text: str, indent: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "canary.yaml"
    path.write_bytes(f"{indent}'{CANARY} {text}\n".encode("utf-8", "surrogatepass"))
    assert CANARY not in shown(KEY, path)


SECRETS_OF_THE_FILE = """
auth: {{keys: [{0}-1, team={0}-2, 'team={0} 3'], admin_key: '{0} 4'}}
cache: {{l2: {{redis_url: 'redis:{0}'}}}}
providers:
  openai: {{api_key: '{0} 5', base_url: 'https://u:{0}@x.test'}}
  lab: {{base_url: 'http://x.test', api_key: {0}-6, headers: {{X-Token: {0}-7, Host: {0}}}, sk-{0}: 1}}
sk-{0}: 2
models: [{{id: gpt-4.1, status: {0}, sk-{0}: 3}}]
"""


def test_no_secret_of_the_file_is_shown(tmp_path: Path) -> None:
    found = shown(KEY, written(tmp_path, SECRETS_OF_THE_FILE.format(CANARY)))
    assert found.count("(hidden)") >= 3
    assert CANARY not in found


def test_a_configuration_does_not_print_its_secrets(tmp_path: Path) -> None:
    text = "providers: {{lab: {{base_url: 'http://x.test', api_key: {0}-1, headers: {{X-Token: {0}-2}}}}}}"
    environ = {
        "ANTHROPIC_API_KEY": f"{CANARY}-3",
        "API_KEYS": f"{CANARY}-4",
        "HTTPS_PROXY": f"http://u:{CANARY}@proxy.test",
    }
    config = AppConfig.from_env(environ, config_file=written(tmp_path, text.format(CANARY)))
    assert CANARY not in repr(config)
    assert sha256(f"{CANARY}-4".encode()).digest() == config.keys[0].digest


URLS = st.one_of(
    st.text(max_size=30),
    st.from_regex(r"https?://[a-z0-9.\[\]:@-]{0,20}[/?#a-z]{0,6}", fullmatch=True),
    st.builds(
        "http://{}:{}/{}".format, st.sampled_from(["h", "[::1]", "a.b", "1.2.3.4"]), st.integers(-1, 70000), AROUND
    ),
)


@given(URLS)
def test_every_base_url_that_is_accepted_is_an_origin(text: str) -> None:
    try:
        url = forms.base_url(text)
    except ValueError:
        return
    origin = Origin.from_url(url)
    assert origin.host
    assert origin.host_header.isascii()


@given(URLS, st.lists(st.text(st.sampled_from("a1.*:[]/ ٣"), max_size=6), max_size=3))
def test_every_proxy_that_is_accepted_can_be_used(text: str, entries: list[str]) -> None:
    try:
        proxy, exceptions = forms.proxy_url(text), forms.no_proxy(",".join(entries))
    except ValueError:
        return
    settings = ProxySettings.from_config(proxy, exceptions)
    assert settings is None or settings.host
