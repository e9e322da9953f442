import json

import pytest

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.gateway.replies import (
    MAX_WARNINGS,
    error_reply,
    hit_metadata,
    metadata_object,
    own_lines,
    relayed_headers,
    warnings_line,
)
from llm_edge_agent.http.messages import header_pairs


def test_metadata_of_a_miss_and_of_a_hit() -> None:
    assert json.loads(metadata_object("openai", 0.0123, 1_240_000_000)) == {
        "provider": "openai",
        "cached": False,
        "cache_tier": None,
        "latency_ms": 12.3,
        "cost_usd": 0.00124,
    }
    assert json.loads(metadata_object("groq", 1, None))["cost_usd"] is None
    assert json.loads(hit_metadata("openai", "l1", 0.00005)) == {
        "provider": "openai",
        "cached": True,
        "cache_tier": "l1",
        "latency_ms": 0.05,
        "cost_usd": 0.0,
    }


@pytest.mark.parametrize(
    ("warnings", "line"),
    [
        ([], ""),
        (["retired-model"], "x-llm-edge-warnings: retired-model\r\n"),
        (["dropped:seed", "changed:a[0].b"], "x-llm-edge-warnings: dropped:seed, changed:a[0].b\r\n"),
        (["dropped:x\r\nset-cookie: a"], "x-llm-edge-warnings: dropped:x__set-cookie:_a\r\n"),
        (["dropped:ключ"], "x-llm-edge-warnings: dropped:____\r\n"),
    ],
)
def test_warnings_are_plain_whatever_a_client_named_its_members(warnings: list[str], line: str) -> None:
    assert warnings_line(warnings) == line


def test_warnings_are_bounded() -> None:
    assert len(warnings_line(["w" * 1000] * 1000)) < 100 * MAX_WARNINGS


def test_only_listed_headers_are_relayed() -> None:
    upstream = {
        b"content-type": b"application/json",
        b"set-cookie": b"a=b",
        b"openai-organization": b"org",
        b"x-ratelimit-remaining-requests": b"7",
        b"anthropic-ratelimit-tokens-limit": b"9",
        b"retry-after": b"2",
        b"x-request-id": b"req_1",
        b"request-id": b"req_2",
        b"connection": b"keep-alive",
    }
    assert header_pairs(relayed_headers(upstream)) == [
        (b"x-ratelimit-remaining-requests", b"7"),
        (b"anthropic-ratelimit-tokens-limit", b"9"),
        (b"retry-after", b"2"),
        (b"x-llm-edge-upstream-id", b"req_1"),
    ]
    assert relayed_headers({}) == b""


def test_own_lines_tell_what_is_known() -> None:
    assert own_lines("miss", "openai", None, None, ()) == b"x-llm-edge-cache: miss\r\nx-llm-edge-provider: openai\r\n"
    full = header_pairs(own_lines("hit-l1", "openai", "gpt", 5, ("retired-model",)))
    assert [name for name, _ in full] == [
        b"x-llm-edge-cache",
        b"x-llm-edge-provider",
        b"x-llm-edge-model",
        b"x-llm-edge-cost-usd",
        b"x-llm-edge-warnings",
    ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (GatewayError(ErrorKind.UPSTREAM_RATE_LIMIT, "x", retry_after_s=1.2), {b"retry-after": b"2"}),
        (GatewayError(ErrorKind.UPSTREAM_ERROR, "x", should_retry=False), {b"x-should-retry": b"false"}),
        (GatewayError(ErrorKind.UPSTREAM_ERROR, "x", should_retry=True), {b"x-should-retry": b"true"}),
        (GatewayError(ErrorKind.UNAUTHENTICATED, "x"), {b"www-authenticate": b"Bearer"}),
    ],
)
def test_errors_carry_their_advice(error: GatewayError, expected: dict[bytes, bytes]) -> None:
    reply = error_reply(error, "id-1")
    headers = dict(header_pairs(reply.headers))
    assert headers.items() >= expected.items()
    assert headers[b"x-request-id"] == b"id-1"
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert reply.status == error.status
