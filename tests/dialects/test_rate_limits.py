import pytest

from llm_edge_agent.dialects.rate_limits import LONGEST_S, UNKNOWN_S, reset_after_s

NOW_S = 1_790_000_000.0


def openai(remaining: str, reset: str | None, *, limit: str = "500", what: str = "requests") -> dict[bytes, bytes]:
    headers = {f"x-ratelimit-remaining-{what}": remaining, f"x-ratelimit-limit-{what}": limit}
    if reset is not None:
        headers[f"x-ratelimit-reset-{what}"] = reset
    return {name.encode(): value.encode() for name, value in headers.items()}


def anthropic(remaining: str, reset: str, *, what: str = "requests") -> dict[bytes, bytes]:
    prefix = f"anthropic-ratelimit-{what}"
    headers = {f"{prefix}-remaining": remaining, f"{prefix}-limit": "1000", f"{prefix}-reset": reset}
    return {name.encode(): value.encode() for name, value in headers.items()}


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({}, None),
        (openai("499", "120ms"), None),
        (openai("1", "59s"), None),
        (openai("0", "1s"), 1.0),
        (openai("0", "6m0s"), 360.0),
        (openai("0", "350ms"), 0.35),
        (openai("0", "50m3.5s"), 3003.5),
        (openai("0", "1h1m"), LONGEST_S),
        (openai("0", "9d"), LONGEST_S),
        (openai("0", None), UNKNOWN_S),
        (openai("0", "soon"), UNKNOWN_S),
        (openai("0", ""), UNKNOWN_S),
        (openai("many", "1s"), None),
        (openai("200", "2s", limit="30000", what="tokens"), 2.0),
        (openai("400", "2s", limit="30000", what="tokens"), None),
        ({**openai("0", "1s"), **openai("0", "4s", what="tokens")}, 4.0),
        ({**openai("0", "5s"), **openai("0", "4s", what="tokens")}, 5.0),
        (anthropic("0", "2026-09-21T14:13:30Z"), 10.0),
        (anthropic("0", "2020-01-01T00:00:00Z"), 0.0),
        (anthropic("0", "2999-01-01T00:00:00Z"), LONGEST_S),
        (anthropic("0", "Tomorrow"), UNKNOWN_S),
        (anthropic("1", "2026-09-21T14:13:30Z"), None),
        (anthropic("5", "2026-09-21T14:13:30Z", what="tokens"), 10.0),
        (
            {
                **anthropic("9", "2026-09-21T14:13:30Z"),
                **anthropic("0", "2026-09-21T14:13:25Z", what="output-tokens"),
            },
            5.0,
        ),
    ],
)
def test_how_long_the_next_request_would_be_refused(headers: dict[bytes, bytes], expected_s: float | None) -> None:
    assert reset_after_s(headers, NOW_S) == (None if expected_s is None else pytest.approx(expected_s))
