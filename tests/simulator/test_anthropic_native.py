"""What native clients of Anthropic rely on: betas and their members, documents, pings, cache lifetimes, errors."""

import base64
from typing import Any

import pytest

from tests.simulator.direct import ANTHROPIC_KEY, MESSAGES, ask, message, simulator

COUNT = f"{MESSAGES}/count_tokens"


def pdf(pages: int) -> dict[str, Any]:
    """A document block; what the simulator knows of a PDF is its pages."""
    data = b"%PDF-1.7\n<</Type/Pages/Count 1>>" + b"<</Type /Page /Parent 1 0 R>>\n" * pages
    source = {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(data).decode()}
    return {"type": "document", "source": source}


def asking(*blocks: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        **message(**members),
        "messages": [{"role": "user", "content": [*blocks, {"type": "text", "text": "Why?"}]}],
    }


@pytest.mark.parametrize(
    ("beta", "member"),
    [
        ("context-management-2025-06-27", {"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}),
        ("mcp-client-2025-11-20", {"mcp_servers": [{"type": "url", "url": "https://x", "name": "x"}]}),
        ("compact-2026-09-04", {"compaction": {}}),
    ],
)
async def test_a_beta_and_its_member_travel_together(beta: str, member: dict[str, Any]) -> None:
    sim = simulator()
    both = {**ANTHROPIC_KEY, "anthropic-beta": f"claude-code-20250219, {beta}"}
    assert (await ask(sim, MESSAGES, message(**member), both)).status == 200
    assert (await ask(sim, MESSAGES, message(), both)).status == 200
    alone = await ask(sim, MESSAGES, message(**member))
    (name,) = member
    assert (alone.status, alone.error["message"]) == (400, f"{name}: Extra inputs are not permitted")
    spoiled = await ask(sim, MESSAGES, {**message(), name: 5}, both)
    assert spoiled.status == 400


async def test_a_document_costs_by_its_pages() -> None:
    sim = simulator()
    made = (await ask(sim, MESSAGES, asking(pdf(3)))).json
    assert made["usage"]["input_tokens"] == 3 * 1500 + 1
    counted = asking(pdf(3))
    del counted["max_tokens"]
    assert (await ask(sim, COUNT, counted)).json == {"input_tokens": 3 * 1500 + 1}
    assert (await ask(sim, MESSAGES, asking(pdf(100)))).status == 200
    refused = await ask(sim, MESSAGES, asking(pdf(101)))
    assert refused.error["message"] == "A maximum of 100 PDF pages may be provided."
    assert (await ask(sim, MESSAGES, asking(pdf(101), model="claude-opus-5"))).status == 200


async def test_both_lifetimes_are_billed_apart_and_then_read() -> None:
    sim = simulator()
    long = {"type": "ephemeral", "ttl": "1h"}
    system = [
        {"type": "text", "text": "a" * 4000, "cache_control": long},
        {"type": "text", "text": "b" * 2000, "cache_control": {"type": "ephemeral"}},
    ]
    asked = message("c" * 40, "claude-opus-5", system=system)
    first = (await ask(sim, MESSAGES, asked)).json["usage"]
    assert first["cache_creation"] == {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500}
    assert (first["input_tokens"], first["cache_creation_input_tokens"]) == (10, 1500)
    second = (await ask(sim, MESSAGES, asked)).json["usage"]
    assert (second["cache_read_input_tokens"], second["cache_creation_input_tokens"]) == (1500, 0)
    bills = list(sim.billed)
    assert [(bill.cache_write_1h_tokens, bill.cache_write_5m_tokens, bill.cache_read_tokens) for bill in bills] == [
        (1000, 500, 0),
        (0, 0, 1500),
    ]
    del asked["max_tokens"]
    assert (await ask(sim, COUNT, asked)).json["input_tokens"] == 1510


async def test_a_flood_of_pings() -> None:
    got = await ask(simulator(), MESSAGES, message("[[sim: pings=3, tokens=4]]", stream=True))
    kinds = [event["type"] for event in got.events]
    assert kinds.count("ping") == 1 + 3 * 4
    assert kinds.count("content_block_delta") == 4


async def test_errors_told_apart_by_their_details() -> None:
    sim = simulator()
    got = await ask(sim, MESSAGES, message("[[sim: error=ramp_limit_exceeded, retry_after=1]]"))
    assert (got.status, got.error["type"]) == (429, "rate_limit_error")
    assert got.error["details"] == {"error_code": "ramp_limit_exceeded"}
    assert got.headers["retry-after"] == "1"
    assert (await ask(sim, MESSAGES, message("[[sim: error=nonsense]]"))).status == 400
    assert "details" not in (await ask(sim, MESSAGES, message("[[sim: status=429]]"))).error
