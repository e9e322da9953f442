"""Tables: which origins go through the proxy, and what its URL may be."""

import pytest

from llm_edge_agent.http.proxies import ProxySettings


def settings(url: str, *no_proxy: str) -> ProxySettings:
    proxy = ProxySettings.from_config(url, no_proxy)
    assert proxy is not None
    return proxy


@pytest.mark.parametrize(
    ("url", "host", "port", "authorization"),
    [
        ("http://proxy.example:3128", "proxy.example", 3128, None),
        ("http://proxy.example", "proxy.example", 80, None),
        ("HTTP://proxy.example/", "proxy.example", 80, None),
        ("proxy.example:3128", "proxy.example", 3128, None),
        ("http://[::1]:3128", "::1", 3128, None),
        ("http://user:pass@proxy.example", "proxy.example", 80, b"Basic dXNlcjpwYXNz"),
        ("user:pass@proxy.example:3128", "proxy.example", 3128, b"Basic dXNlcjpwYXNz"),
        ("http://user@proxy.example", "proxy.example", 80, b"Basic dXNlcjo="),
        ("http://us%40er:p%3Aa%2Fss@proxy.example", "proxy.example", 80, b"Basic dXNAZXI6cDphL3Nz"),
    ],
)
def test_the_url_says_where_and_who(url: str, host: str, port: int, authorization: bytes | None) -> None:
    proxy = settings(url)
    assert (proxy.host, proxy.port, proxy.authorization) == (host, port, authorization)


@pytest.mark.parametrize("url", [None, ""])
def test_no_url_is_no_proxy(url: str | None) -> None:
    assert ProxySettings.from_config(url, ("*",)) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://user:secret@proxy.example",
        "socks5://user:secret@proxy.example",
        "http://user:secret@",
        "http://user:secret@proxy.example:99999",
        "http://user:secret@proxy.example:port",
        "http://user:secret@[proxy.example",
    ],
)
def test_a_bad_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError) as refused:
        ProxySettings.from_config(url, ())
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_credentials_are_not_shown() -> None:
    assert "dXNlcjpwYXNz" not in repr(settings("http://user:pass@proxy.example"))


@pytest.mark.parametrize(
    ("entry", "host", "port", "applies"),
    [
        ("*", "api.example", 443, False),
        ("*", "10.0.0.1", 443, False),
        ("example.com", "example.com", 443, False),
        ("example.com", "api.example.com", 443, False),
        ("example.com", "notexample.com", 443, True),
        ("example.com", "example.com.evil", 443, True),
        (".example.com", "example.com", 443, False),
        (".example.com", "a.b.example.com", 443, False),
        ("*.example.com", "api.example.com", 443, False),
        ("EXAMPLE.com", "API.Example.COM", 443, False),
        ("example.com.", "example.com", 443, False),
        ("example.com", "example.com.", 443, False),
        (" example.com ", "example.com", 443, False),
        ("example.com:8443", "example.com", 8443, False),
        ("example.com:8443", "example.com", 443, True),
        ("*:8443", "any.example", 8443, False),
        ("*:8443", "any.example", 443, True),
        ("10.1.2.3", "10.1.2.3", 443, False),
        ("10.1.2.3", "10.1.2.30", 443, True),
        ("10.1.2.3:8443", "10.1.2.3", 8443, False),
        ("10.1.2.3:8443", "10.1.2.3", 443, True),
        ("2.3", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "10.255.0.1", 443, False),
        ("10.0.0.0/8", "11.0.0.1", 443, True),
        ("10.0.0.1/8", "10.255.0.1", 443, False),
        ("10.0.0.0/8", "ten.example", 443, True),
        ("::1", "::1", 443, False),
        ("[::1]", "::1", 443, False),
        ("[::1]:8443", "::1", 8443, False),
        ("[::1]:8443", "::1", 443, True),
        ("0:0::1", "::1", 443, False),
        ("fd00::/8", "fd12::1", 443, False),
        ("fd00::/8", "fe80::1", 443, True),
        ("localhost", "localhost", 443, False),
        ("localhost", "127.0.0.1", 443, True),
    ],
)
def test_an_exception_covers_what_it_says(entry: str, host: str, port: int, applies: bool) -> None:
    assert settings("http://proxy.example", "unrelated.example", entry).applies(host, port) is applies


def test_without_exceptions_it_always_applies() -> None:
    assert settings("http://proxy.example", "", " ").applies("api.example", 443)


def test_an_exception_that_names_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="neither"):
        ProxySettings.from_config("http://proxy.example", (".",))
