"""The admin API of a running gateway, over a real socket."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from llm_edge_agent.http.deadlines import running_sweep
from llm_edge_agent.http.origins import Origin, Timeouts, UpstreamFailure
from llm_edge_agent.http.pool import UpstreamPool

TIMEOUTS = Timeouts(connect_s=3.0, answer_s=600.0, idle_s=60.0)
MAX_BODY_BYTES = 64 * 1024 * 1024


class AdminError(Exception):
    """No answer came. The message is fit to show."""


class AdminAnswer(NamedTuple):
    status: int
    headers: Mapping[bytes, bytes]
    body: bytes

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.body)
        return found

    def error(self) -> str:
        """What the gateway says went wrong."""
        try:
            return str(self.json()["error"]["message"])
        except (msgspec.MsgspecError, KeyError, TypeError):
            return f"the gateway answered {self.status}"


class AdminClient:
    """Usable within one event loop; `close` it there."""

    failure = AdminError

    def __init__(self, url: str, key: str) -> None:
        """Raises ValueError where the URL is none."""
        self._origin = Origin.from_url(url)
        self._headers = f"authorization: Bearer {key}\r\ncontent-type: application/json\r\n".encode("latin-1")
        self._pool: UpstreamPool | None = None

    async def ask(self, method: str, path: str, query: Mapping[str, str], body: bytes) -> AdminAnswer:
        """Raises AdminError."""
        if self._pool is None:
            self._pool = UpstreamPool(sweep=running_sweep(), max_response_bytes=MAX_BODY_BYTES)
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            answer = await self._pool.send(
                self._origin, method.encode(), target.encode(), self._headers, body, TIMEOUTS
            )
            try:
                return AdminAnswer(answer.status, answer.headers, await answer.read())
            finally:
                answer.close()
        except UpstreamFailure as failure:
            raise AdminError(f"{self._origin.host_header} does not answer: {failure.detail}") from None

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
