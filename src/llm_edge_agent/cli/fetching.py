"""One GET over a real socket, for commands that look at a running gateway."""

import asyncio

from llm_edge_agent.http.deadlines import running_sweep
from llm_edge_agent.http.origins import Origin, Timeouts, UpstreamFailure
from llm_edge_agent.http.pool import UpstreamPool

TIMEOUTS = Timeouts(connect_s=3.0, answer_s=10.0, idle_s=10.0)
MAX_BODY_BYTES = 64 * 1024 * 1024


class FetchError(Exception):
    """No answer came. The message is fit to show."""


def fetch(url: str, *paths: str) -> list[tuple[int, bytes]]:
    """Status and body of each of the `paths` below `url`, in order, in clear or over TLS and past any proxy.

    Raises ValueError where the URL is none, FetchError where no answer comes.
    """
    origin = Origin.from_url(url)
    try:
        return asyncio.run(_fetch(origin, paths))
    except UpstreamFailure as failure:
        raise FetchError(f"{origin.host_header} does not answer: {failure.detail}") from None


async def _fetch(origin: Origin, paths: tuple[str, ...]) -> list[tuple[int, bytes]]:
    pool = UpstreamPool(sweep=running_sweep(), max_response_bytes=MAX_BODY_BYTES)
    found = []
    try:
        for path in paths:
            answer = await pool.send(origin, b"GET", path.encode(), b"", b"", TIMEOUTS)
            try:
                found.append((answer.status, await answer.read()))
            finally:
                answer.close()
    finally:
        await pool.close()
    return found
