"""Accounts from the environment, from the file, and from both."""

from pathlib import Path
from typing import Any

import pytest

from llm_edge_agent.config import AppConfig, ProviderConfig
from llm_edge_agent.presets import PRESETS
from tests.config.reading import problems, read, without_lines, written


def only(environ: dict[str, str], **more: Any) -> ProviderConfig:
    """The one account that these variables switch on."""
    (provider,) = AppConfig.from_env(environ, **more).providers
    return provider


def from_file(folder: Path, text: str, environ: dict[str, str] | None = None) -> tuple[ProviderConfig, ...]:
    return AppConfig.from_env(environ or {}, config_file=written(folder, f"providers: {text}")).providers


@pytest.mark.parametrize(
    ("environ", "name", "base_url", "credential"),
    [
        ({"OPENAI_API_KEY": "k"}, "openai", "https://api.openai.com/v1", ("authorization", "Bearer k")),
        ({"ANTHROPIC_API_KEY": "k"}, "anthropic", "https://api.anthropic.com", ("x-api-key", "k")),
        ({"ANTHROPIC_AUTH_TOKEN": "k"}, "anthropic", "https://api.anthropic.com", ("authorization", "Bearer k")),
        (
            {"ANTHROPIC_AUTH_TOKEN": "token", "ANTHROPIC_API_KEY": "k"},
            "anthropic",
            "https://api.anthropic.com",
            ("x-api-key", "k"),
        ),
        (
            {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_ENDPOINT": "https://me.openai.azure.com/"},
            "azure-openai",
            "https://me.openai.azure.com/openai/v1",
            ("api-key", "k"),
        ),
        (
            {"AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_BASE_URL": "https://proxy.test/azure/"},
            "azure-openai",
            "https://proxy.test/azure",
            ("api-key", "k"),
        ),
        (
            {"GOOGLE_API_KEY": "k"},
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            ("authorization", "Bearer k"),
        ),
        ({"GROQ_API_KEY": "k", "GROQ_BASE_URL": "http://g.test/v1/"}, "groq", "http://g.test/v1", None),
        ({"OLLAMA_HOST": "0.0.0.0"}, "ollama", "http://127.0.0.1:11434/v1", None),
        ({"OLLAMA_BASE_URL": "http://box.test:1/v1"}, "ollama", "http://box.test:1/v1", None),
        ({"VLLM_BASE_URL": "http://gpu.test:8000/v1"}, "vllm", "http://gpu.test:8000/v1", None),
        ({"VLLM_API_KEY": "k"}, "vllm", "http://localhost:8000/v1", ("authorization", "Bearer k")),
    ],
)
def test_variables_switch_a_provider_on(
    environ: dict[str, str], name: str, base_url: str, credential: tuple[str, str] | None
) -> None:
    provider = only(environ)
    assert (provider.name, provider.base_url) == (name, base_url)
    assert provider.dialect == PRESETS[name].dialect
    assert provider.stream_usage_option == PRESETS[name].stream_usage_option
    if credential is not None or provider.api_key is None:
        assert provider.credential() == credential


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_switched_on_and_moved(name: str) -> None:
    preset = PRESETS[name]
    environ = {preset.base_url_variable: "https://moved.test/x"}
    if preset.keys:
        environ[preset.keys[0].name] = "key"
    provider = only(environ)
    assert (provider.name, provider.base_url) == (name, "https://moved.test/x")


def test_presets_come_first_in_the_order_of_their_table(tmp_path: Path) -> None:
    text = "{mine: {base_url: 'http://x.test'}, groq: {api_key: g}}"
    environ = {"XAI_API_KEY": "x", "ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o"}
    names = [provider.name for provider in from_file(tmp_path, text, environ)]
    assert names == ["openai", "anthropic", "groq", "xai", "mine"]


def test_headers_from_variables() -> None:
    provider = only({"OPENAI_API_KEY": "k", "OPENAI_ORG_ID": "org-1", "OPENAI_PROJECT_ID": "proj_1"})
    assert provider.headers == {"OpenAI-Organization": "org-1", "OpenAI-Project": "proj_1"}
    lines = "anthropic-beta: one,two\nX-Team: red\n"
    assert only({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_CUSTOM_HEADERS": lines}).headers == {
        "anthropic-beta": "one,two",
        "X-Team": "red",
    }


@pytest.mark.parametrize(
    ("environ", "lines"),
    [
        ({"OPENAI_API_KEY": "sk a"}, ["OPENAI_API_KEY: holds characters that no key has"]),
        ({"OPENAI_API_KEY": "sk\nX-Evil: 1"}, ["OPENAI_API_KEY: holds characters that no key has"]),
        ({"OPENAI_API_KEY": "ключ"}, ["OPENAI_API_KEY: holds characters that no key has"]),
        ({"OPENAI_BASE_URL": "api.openai.com/v1"}, ["OPENAI_BASE_URL: must start with http://"]),
        ({"OPENAI_BASE_URL": "https://u:p@api.openai.com/v1"}, ["OPENAI_BASE_URL: must not carry a user name"]),
        ({"OPENAI_BASE_URL": "https://api.openai.com/v1?x=1"}, ["OPENAI_BASE_URL: must not carry a query"]),
        ({"OPENAI_BASE_URL": "https://api.openai.com/v1#"}, ["OPENAI_BASE_URL: must not carry a query or fragment"]),
        ({"OPENAI_BASE_URL": "https://api.openai.com:0/v1"}, ["OPENAI_BASE_URL: is not a valid URL"]),
        ({"OPENAI_BASE_URL": "https://api.openai.com:99999/v1"}, ["OPENAI_BASE_URL: is not a valid URL"]),
        ({"OPENAI_BASE_URL": "https:///v1"}, ["OPENAI_BASE_URL: has no host"]),
        ({"OPENAI_BASE_URL": "https://api openai/v1"}, ["OPENAI_BASE_URL: must be a URL of plain visible characters"]),
        ({"OPENAI_BASE_URL": "https://[::1/v1"}, ["OPENAI_BASE_URL: is not a valid URL"]),
        ({"OPENAI_BASE_URL": "https://a_b!c/v1"}, ["OPENAI_BASE_URL: is not a valid URL"]),
        ({"OLLAMA_HOST": "box:port"}, ["OLLAMA_HOST: is not a valid URL"]),
        ({"AZURE_OPENAI_API_KEY": "k"}, ["AZURE_OPENAI_API_KEY: the address of the provider is missing: set AZURE_"]),
        ({"OPENAI_ORG_ID": "a\nb"}, ["OPENAI_ORG_ID: is no value for a header"]),
        (
            {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_CUSTOM_HEADERS": "no colon\nhost: x\nb d: x\nx-api-key: y"},
            [
                "ANTHROPIC_CUSTOM_HEADERS: line 1: must be Name: value",
                "ANTHROPIC_CUSTOM_HEADERS: line 2: the header host is set by the gateway",
                "ANTHROPIC_CUSTOM_HEADERS: line 3: is not the name of a header",
                "ANTHROPIC_API_KEY: the header x-api-key is set by the key",
            ],
        ),
        (
            {"ANTHROPIC_API_KEY": "k", "ANTHROPIC_CUSTOM_HEADERS": "anthropic-version: 2026-10-21"},
            ["ANTHROPIC_CUSTOM_HEADERS: line 1: the header anthropic-version is set by translation.anthropic_version"],
        ),
    ],
)
def test_what_is_wrong_names_the_variable(environ: dict[str, str], lines: list[str]) -> None:
    found = problems(environ)
    assert len(found) == len(lines)
    for line, start in zip(found, lines, strict=True):
        assert line.startswith(start)


@pytest.mark.parametrize(
    ("environ", "warning"),
    [
        (
            {"ANTHROPIC_BASE_URL": "http://x.test"},
            "ANTHROPIC_BASE_URL is set without ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN: anthropic is not configured",
        ),
        (
            {"AZURE_OPENAI_ENDPOINT": "https://x.test"},
            "AZURE_OPENAI_ENDPOINT is set without AZURE_OPENAI_API_KEY: azure-openai is not configured",
        ),
    ],
)
def test_an_address_without_its_key_is_worth_a_warning(environ: dict[str, str], warning: str) -> None:
    config = read(environ)
    assert (config.warnings, [provider.name for provider in config.providers]) == ((warning,), ["openai"])


class TestFile:
    """The `providers` section."""

    def test_a_provider_of_ones_own(self, tmp_path: Path) -> None:
        text = """
  lab:
    dialect: anthropic
    base_url: http://lab.test/x/
    api_key: k
    headers: {X-Team: red}
    models: [m1, m2]
"""
        (provider,) = from_file(tmp_path, text)
        assert (provider.dialect, provider.base_url, provider.models) == (
            "anthropic",
            "http://lab.test/x",
            ("m1", "m2"),
        )
        assert (provider.credential(), provider.headers) == (("x-api-key", "k"), {"X-Team": "red"})
        assert provider.stream_usage_option

    def test_a_header_for_the_key_can_be_chosen(self, tmp_path: Path) -> None:
        (provider,) = from_file(tmp_path, "{lab: {base_url: 'http://x.test', api_key: k, auth_header: API-Key}}")
        assert provider.credential() == ("api-key", "k")
        (provider,) = from_file(tmp_path, "{lab: {base_url: 'http://x.test'}}")
        assert provider.credential() is None

    def test_a_second_account_of_a_preset_takes_nothing_from_the_environment(self, tmp_path: Path) -> None:
        text = "{eu: {preset: mistral, base_url: 'https://eu.test/v1', api_key: eu-key}}"
        environ = {"MISTRAL_API_KEY": "world-key", "MISTRAL_BASE_URL": "https://world.test/v1"}
        world, eu = from_file(tmp_path, text, environ)
        assert (world.name, world.base_url, world.credential()) == (
            "mistral",
            "https://world.test/v1",
            ("authorization", "Bearer world-key"),
        )
        assert (eu.name, eu.base_url, eu.credential()) == (
            "eu",
            "https://eu.test/v1",
            ("authorization", "Bearer eu-key"),
        )
        assert not eu.stream_usage_option
        path = written(tmp_path, "providers: {eu: {preset: mistral, base_url: 'https://eu.test/v1'}}")
        found = without_lines(problems({"MISTRAL_API_KEY": "world-key"}, config_file=path), path)
        assert found == ["providers.eu: the key is missing: set api_key in the file"]

    def test_the_environment_has_the_last_word_for_a_presets_own_name(self, tmp_path: Path) -> None:
        text = "{openai: {base_url: 'https://file.test/v1', api_key: file-key, headers: {OpenAI-Project: p, X-A: b}}}"
        (provider,) = from_file(tmp_path, text)
        assert (provider.base_url, provider.credential()) == (
            "https://file.test/v1",
            ("authorization", "Bearer file-key"),
        )
        environ = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://env.test/v1", "OPENAI_PROJECT_ID": "q"}
        (provider,) = from_file(tmp_path, text, environ)
        assert (provider.base_url, provider.credential()) == ("https://env.test/v1", ("authorization", "Bearer k"))
        assert provider.headers == {"X-A": "b", "OpenAI-Project": "q"}

    def test_a_name_taken_from_a_preset_for_another_dialect_is_not_that_preset(self, tmp_path: Path) -> None:
        text = "{groq: {preset: vllm, base_url: 'http://x.test/v1'}}"
        (provider,) = from_file(tmp_path, text, {"GROQ_API_KEY": "k"})
        assert (provider.name, provider.base_url, provider.api_key) == ("groq", "http://x.test/v1", None)

    def test_an_empty_entry_switches_a_preset_on_that_needs_no_more(self, tmp_path: Path) -> None:
        assert from_file(tmp_path, "{ollama: }")[0].base_url == "http://localhost:11434/v1"
        assert from_file(tmp_path, "{openai: {}}", {"OPENAI_API_KEY": "k"})[0].api_key is not None

    @pytest.mark.parametrize(
        ("text", "lines"),
        [
            ("[a]", ["providers: must be a mapping from names to providers"]),
            ("{Bad Name: {}}", ["providers.(hidden): the name must be lower-case letters"]),
            ("{a/b: {}}", ["providers.a/b: the name must be lower-case letters"]),
            ("{lab: 5}", ["providers.lab: must be a mapping"]),
            ("{lab: {}}", ["providers.lab: the address of the provider is missing: set base_url"]),
            ("{groq: }", ["providers.groq: the key is missing: set GROQ_API_KEY, or api_key in the file"]),
            ("{a: {preset: grok}}", ["providers.a.preset: must be one of openai, "]),
            ("{a: {preset: [x]}}", ["providers.a.preset: must be one of openai, "]),
            (
                "{a: {base_url: 'http://x.test', dialekt: openai}}",
                ["providers.a.dialekt: unknown; did you mean dialect?"],
            ),
            (
                "{a: {base_url: 'http://x.test', dialect: grpc}}",
                ["providers.a.dialect: must be one of openai, anthropic"],
            ),
            (
                "{a: {base_url: 'http://x.test', auth_header: cookie}}",
                ["providers.a.auth_header: must be one of authorization, x-api-key, api-key"],
            ),
            ("{a: {base_url: [x]}}", ["providers.a.base_url: must be a single value", "providers.a: the address"]),
            ("{a: {base_url: x}}", ["providers.a.base_url: must start with http://"]),
            ("{a: {base_url: 'http://x.test', api_key: a b}}", ["providers.a.api_key: holds characters"]),
            ("{a: {base_url: 'http://x.test', headers: [x]}}", ["providers.a.headers: must be a mapping"]),
            ("{a: {base_url: 'http://x.test', headers: {A: [x]}}}", ["providers.a.headers.A: must be a single value"]),
            (
                "{a: {base_url: 'http://x.test', headers: {User-Agent: x}}}",
                ["providers.a.headers.User-Agent: the header user-agent is set by the gateway"],
            ),
            (
                "{a: {base_url: 'http://x.test', api_key: k, headers: {Authorization: x}}}",
                ["providers.a: the header authorization is set by the key"],
            ),
            ("{a: {base_url: 'http://x.test', models: m}}", ["providers.a.models: must be a list of model names"]),
            ("{a: {base_url: 'http://x.test', models: [[]]}}", ["providers.a.models: must be a list of model names"]),
        ],
    )
    def test_what_is_wrong_names_the_key(self, text: str, lines: list[str], tmp_path: Path) -> None:
        path = written(tmp_path, f"providers: {text}")
        found = without_lines(problems(config_file=path), path)
        assert len(found) == len(lines)
        for line, start in zip(found, lines, strict=True):
            assert line.startswith(start)

    def test_one_model_has_one_home(self, tmp_path: Path) -> None:
        entry = "{base_url: 'http://x.test', models: [m]}"
        path = written(tmp_path, f"providers: {{a: {entry}, b: {entry}}}")
        assert problems(config_file=path) == ("providers.b.models: a model that providers.a lists too",)


def test_a_provider_never_prints_its_key_or_headers(tmp_path: Path) -> None:
    text = "{lab: {base_url: 'http://x.test', api_key: canary-1, headers: {X-Token: canary-2}}}"
    assert "canary" not in repr(from_file(tmp_path, text))


def test_servers_of_ones_own_are_told_of_the_trace(tmp_path: Path) -> None:
    (ollama,) = AppConfig.from_env({"OLLAMA_HOST": "localhost:11434"}).providers
    assert ollama.trace_context
    text = "{mine: {base_url: 'http://mine.test/v1', trace_context: true}, theirs: {base_url: 'http://t.test/v1'}}"
    assert [each.trace_context for each in from_file(tmp_path, text)] == [True, False]
