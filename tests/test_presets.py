"""The table of presets against the reference data, and the addresses that providers write in their own way."""

import pytest

from llm_edge_agent.data import model_document
from llm_edge_agent.presets import PRESETS, VARIABLES, azure_base_url, ollama_base_url

REFERENCE = {record["id"]: record for record in model_document()["providers"]}
NOT_READ = {"AZURE_OPENAI_API_VERSION"}
"""The v1 route needs none."""


def test_every_provider_of_the_reference_is_a_preset() -> None:
    assert list(PRESETS) == list(REFERENCE)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_says_what_the_reference_says(name: str) -> None:
    preset, record = PRESETS[name], REFERENCE[name]
    assert set(record["env"]) - NOT_READ <= set(preset.variables)
    assert preset.title in record["name"]
    if preset.base_url is not None:
        assert preset.base_url == record["base_url"].rstrip("/")
    else:
        assert "<resource>" in record["base_url"]
    assert preset.dialect == ("anthropic" if name == "anthropic" else "openai")
    if preset.key_required:
        assert record["auth"].lower().startswith((preset.auth_header, "bearer"))
    sent = [header.lower() for header in record.get("extra_headers", [])]
    assert all(header.lower() in sent for header in preset.header_variables.values())


def test_no_variable_belongs_to_two_providers() -> None:
    assert len(set(VARIABLES)) == len(VARIABLES)


def test_only_the_provider_that_tells_usage_unasked_is_not_asked() -> None:
    silent = {
        name for name, record in REFERENCE.items() if any("no stream_options" in each for each in record["quirks"])
    }
    assert {name for name, preset in PRESETS.items() if not preset.stream_usage_option} == silent


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("127.0.0.1:11434", "http://127.0.0.1:11434/v1"),
        ("127.0.0.1", "http://127.0.0.1:11434/v1"),
        ("box", "http://box:11434/v1"),
        ("box:9", "http://box:9/v1"),
        (":9", "http://127.0.0.1:9/v1"),
        ("", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:9", "http://127.0.0.1:9/v1"),
        ("::1", "http://[::1]:11434/v1"),
        ("[::1]", "http://[::1]:11434/v1"),
        ("[::]:9", "http://[::1]:9/v1"),
        ("http://box", "http://box:80/v1"),
        ("https://box", "https://box:443/v1"),
        ("https://box:9/", "https://box:9/v1"),
        ("http://box:9/ollama/", "http://box:9/ollama/v1"),
        ("http://box:9/v1", "http://box:9/v1"),
        (" 'box' ", "http://box:11434/v1"),
        ("ollama.com", "https://ollama.com:443/v1"),
    ],
)
def test_ollama_hosts_in_every_form(host: str, base_url: str) -> None:
    assert ollama_base_url(host) == base_url


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://me.openai.azure.com",
        "https://me.openai.azure.com/",
        "https://me.openai.azure.com/openai/",
        "https://me.openai.azure.com/openai/v1/",
    ],
)
def test_azure_endpoints_lead_to_the_v1_route(endpoint: str) -> None:
    assert azure_base_url(endpoint) == "https://me.openai.azure.com/openai/v1"
