import pytest

from llm_edge_agent.http.origins import Origin


@pytest.mark.parametrize(
    ("url", "origin", "host_header"),
    [
        ("https://api.openai.com/v1", Origin(True, "api.openai.com", 443, "/v1"), "api.openai.com"),
        ("https://api.anthropic.com", Origin(True, "api.anthropic.com", 443, ""), "api.anthropic.com"),
        ("http://localhost:11434/v1/", Origin(False, "localhost", 11434, "/v1"), "localhost:11434"),
        ("http://[::1]:80/a/b", Origin(False, "::1", 80, "/a/b"), "[::1]"),
        ("https://[::1]:8443", Origin(True, "::1", 8443, ""), "[::1]:8443"),
        ("HTTPS://Example.COM", Origin(True, "example.com", 443, ""), "example.com"),
    ],
)
def test_where_a_base_url_leads(url: str, origin: Origin, host_header: str) -> None:
    assert Origin.from_url(url) == origin
    assert origin.host_header == host_header


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "ftp://host",
        "https://",
        "https://user:canary@host/v1",
        "https://canary@host",
        "https://host/?key=canary",
        "https://host/#canary",
        "https://host:99999",
        "https://host:canary",
        "http://[::1",
    ],
)
def test_what_is_no_base_url_is_refused_without_an_echo(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Origin.from_url(url)
    assert "canary" not in str(caught.value)
