"""Sends the cases, one after the other, and asks the simulator what it saw of each."""

import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from llm_edge_agent.cli.fidelity.cases import Case
from llm_edge_agent.cli.fidelity.comparison import OWN_HEADER, Seen, differences
from llm_edge_agent.http.messages import header_block
from llm_edge_agent.http.origins import Origin, Timeouts, UpstreamFailure
from llm_edge_agent.http.pool import UpstreamPool

PATHS = {
    "messages": "/v1/messages",
    "count_tokens": "/v1/messages/count_tokens",
    "responses": "/v1/responses",
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
}
TIMEOUTS = Timeouts(connect_s=5.0, answer_s=30.0, idle_s=30.0)
PLAIN = "MAX_RETRIES=0 and CIRCUIT_BREAKER_FAILURES=1000000 on the gateway"
"""What a gateway needs that is to send each request once, those that fail included."""
EXCHANGES = b"/simulator/exchanges"


@dataclass(frozen=True)
class Outcome:
    """What came of one case. No differences: every byte arrived, both ways."""

    case: Case
    status: int | None
    sent_bytes: int
    answered_bytes: int
    differences: tuple[str, ...]


class Sender:
    """Knows a gateway, and the simulator behind it, which records (`mock --record`) and serves nobody else."""

    def __init__(self, pool: UpstreamPool, gateway: Origin, simulator: Origin, key: str) -> None:
        self._pool = pool
        self._gateway = gateway
        self._simulator = simulator
        self._key = key

    async def outcomes(self, cases: list[Case]) -> AsyncIterator[Outcome]:
        """Of the cases and of those that follow from them."""
        for case in cases:
            following: Case | None = case
            while following is not None:
                outcome, answer = await self._try(following)
                yield outcome
                following = (
                    following.follow(answer) if following.follow is not None and not outcome.differences else None
                )

    async def _try(self, case: Case) -> tuple[Outcome, bytes]:
        await self._call(self._simulator, b"DELETE", EXCHANGES)
        target = PATHS[case.door] + (f"?{case.query}" if case.query else "")
        lines = {
            "content-type": "application/json",
            "authorization": f"Bearer {self._key}",
            "cache-control": "no-store",
            OWN_HEADER: "stays",
            **case.headers,
        }
        try:
            status, headers, answer = await self._call(self._gateway, b"POST", target.encode(), lines, case.body)
        except UpstreamFailure as failure:
            return Outcome(case, None, len(case.body), 0, (f"no answer: {failure.detail}",)), b""
        client = Seen(target, lines, case.body, status, headers, answer)
        provider, complaint = await self._provider()
        found = differences(case, self._key, client, provider) if provider is not None else [complaint]
        return Outcome(case, status, len(case.body), len(answer), tuple(found)), answer

    async def _provider(self) -> tuple[Seen | None, str]:
        status, _, body = await self._call(self._simulator, b"GET", EXCHANGES)
        if status != 200:
            return None, f"{self._simulator.host_header} is no simulator that records (mock --record)"
        found = msgspec.json.decode(body)["exchanges"]
        if len(found) != 1:
            return None, f"{len(found)} requests reached the simulator ({PLAIN}?)"
        return _seen(found[0]), ""

    async def _call(
        self, origin: Origin, method: bytes, target: bytes, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        """Raises UpstreamFailure."""
        answer = await self._pool.send(origin, method, target, header_block([*(headers or {}).items()]), body, TIMEOUTS)
        try:
            found = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers.items()}
            return answer.status, found, await answer.read()
        finally:
            answer.close()


def _seen(exchange: Mapping[str, Any]) -> Seen:
    return Seen(
        target=exchange["target"],
        headers=dict(exchange["headers"]),
        body=base64.b64decode(exchange["body_base64"]),
        status=exchange["status"],
        answer_headers=dict(exchange["answer_headers"]),
        answer=base64.b64decode(exchange["answer_base64"]),
    )
