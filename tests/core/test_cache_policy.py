from typing import Any, Literal

import pytest

from llm_edge_agent.core.cache_policy import (
    CacheControl,
    Policies,
    PolicyRule,
    is_cacheable_answer,
    is_cacheable_request,
    parse_cache_control,
)
from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.strict_json import read_object


@pytest.mark.parametrize(
    ("standard", "own", "expected"),
    [
        (None, None, CacheControl()),
        (b"", b"", CacheControl()),
        (b"no-cache", None, CacheControl(read=False)),
        (b"No-Store", None, CacheControl(read=False, write=False)),
        (b"max-age=0, no-cache ,", None, CacheControl(read=False, max_age_s=0)),
        (b"max-age=0", None, CacheControl(read=False, max_age_s=0)),
        (b'Max-Age="60"', None, CacheControl(max_age_s=60)),
        (b"max-age=60, max-age=5", None, CacheControl(max_age_s=5)),
        (b"max-age=5, max-age=60", None, CacheControl(max_age_s=5)),
        (b"max-age=soon", None, CacheControl()),
        (b"max-age=-1", None, CacheControl()),
        (b"max-age=10000000000", None, CacheControl()),
        (b"only-if-cached", None, CacheControl(only_if_cached=True)),
        (b"private, something-new", None, CacheControl()),
        (None, b"no-cache", CacheControl(read=False)),
        (None, b"no-store", CacheControl(read=False, write=False)),
        (None, b"ttl=60", CacheControl(ttl_s=60)),
        (None, b"ttl=0", CacheControl(write=False, ttl_s=0)),
        (None, b'TTL="7" , Namespace=Blue', CacheControl(ttl_s=7, namespace="Blue")),
        (None, b"namespace=blue", CacheControl(namespace="blue")),
        (None, b"No-Store", CacheControl(read=False, write=False)),
        (b"no-cache", b"ttl=5", CacheControl(read=False, ttl_s=5)),
    ],
)
def test_directives(standard: bytes | None, own: bytes | None, expected: CacheControl) -> None:
    assert parse_cache_control(standard, own) == expected


@pytest.mark.parametrize(
    "own",
    [b"ttl", b"ttl=", b"ttl=-1", b"ttl=1.5", b"ttl=9999999999", b"nocache", b"no-cache=1", b"no-store=x", b"namespace=",
     b"namespace=" + b"n" * 65, "ttl=\u0663".encode("utf-8")],
)  # fmt: skip
def test_a_typo_in_our_own_header_is_no_consent(own: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        parse_cache_control(None, own)
    assert caught.value.status == 400
    assert caught.value.param == "x-llm-edge-cache-control"


@pytest.mark.parametrize(
    ("policy", "raw", "expected"),
    [
        ("all", b'{"temperature":1}', True),
        ("off", b'{"temperature":0}', False),
        ("deterministic", b'{"temperature":0}', True),
        ("deterministic", b'{"temperature":0.0}', True),
        ("deterministic", b'{"temperature":0e5}', True),
        ("deterministic", b'{"temperature":0.01}', False),
        ("deterministic", b'{"temperature":1}', False),
        ("deterministic", b'{"temperature":null}', False),
        ("deterministic", b'{"temperature":false}', False),
        ("deterministic", b"{}", False),
        ("deterministic", b'{"seed":0}', True),
        ("deterministic", b'{"seed":null}', False),
    ],
)
def test_policy(policy: Literal["all", "deterministic", "off"], raw: bytes, expected: bool) -> None:
    value: dict[str, Any] = read_object(raw, max_depth=8).value
    assert is_cacheable_request(value, policy) is expected


@pytest.mark.parametrize(
    ("status", "reasons", "expected"),
    [
        (200, ["stop"], True),
        (200, ["stop", "tool_calls"], True),
        (200, ["length"], False),
        (200, ["stop", "content_filter"], False),
        (200, [None], False),
        (200, [], False),
        (404, ["stop"], False),
    ],
)
def test_only_whole_answers_are_stored(status: int, reasons: list[str | None], expected: bool) -> None:
    assert is_cacheable_answer(status, reasons) is expected


RULES = (
    PolicyRule(("gpt-5.4-mini", "fast"), "deterministic", 60.0),
    PolicyRule(("gpt-*",), "off"),
    PolicyRule(("claude-?-x",), None, 5.0),
)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("gpt-5.4-mini",), ("deterministic", 60.0)),
        (("fast", "gpt-5.5"), ("deterministic", 60.0)),
        (("gpt-5.5",), ("off", None)),
        (("mine", "gpt-5.5"), ("off", None)),
        (("my-gpt-5.5",), ("all", None)),
        (("GPT-5.5",), ("all", None)),
        (("claude-5-x",), ("all", 5.0)),
        (("claude-55-x",), ("all", None)),
        ((), ("all", None)),
    ],
)
def test_the_first_rule_that_fits_holds(names: tuple[str, ...], expected: tuple[str, float | None]) -> None:
    assert Policies("all", RULES).of(*names) == expected


def test_whether_anything_may_be_cached() -> None:
    assert Policies("all").ever
    assert not Policies("off").ever
    assert Policies("off", [PolicyRule(("a",), "all")]).ever
    assert not Policies("off", [PolicyRule(("a",), "off"), PolicyRule(("b",), None, 5.0)]).ever
