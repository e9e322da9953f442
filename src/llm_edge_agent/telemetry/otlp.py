"""OTLP over HTTP: batches on their way to a collector. What is in them, and how bytes travel, is others' business.

A collector that is away costs nothing but what waited for it: the queue is bounded, what does not fit is lost and
counted, and the failure is said once until it works again. Follows the OTLP specification 1.x, section "OTLP/HTTP":
success is 2xx, 429, 502, 503 and 504 may be tried again, everything else is final.
"""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable, Mapping

RETRYABLE = frozenset({429, 502, 503, 504})
RETRIES = 2
FIRST_RETRY_S = 1.0

_log = logging.getLogger("llm_edge_agent.otlp")


class ExportFailedError(Exception):
    """The collector was not reached. The message names no address."""


Post = Callable[[bytes, bytes], Awaitable[int]]
"""Sends one request, given its header lines and its body, and returns the status. Raises ExportFailedError where none
came."""


class Exporter:
    """Sends encoded messages of one signal, one after the other."""

    def __init__(
        self,
        signal: str,
        post: Post,
        *,
        headers: Mapping[str, str],
        gzip: bool,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`signal` names it in the log. `headers` are the collector's own, credentials among them."""
        self.failures = 0
        """Messages that were lost."""
        self._signal = signal
        self._post = post
        self._gzip = gzip
        self._sleep = sleep
        self._broken = False
        lines = ["content-type: application/x-protobuf", *(f"{name}: {value}" for name, value in headers.items())]
        if gzip:
            lines.append("content-encoding: gzip")
        self._headers = "".join(f"{line}\r\n" for line in lines).encode("latin-1")

    async def send(self, message: bytes) -> bool:
        """Whether it arrived. Never raises."""
        if self._gzip:
            packer = zlib.compressobj(wbits=31)
            message = packer.compress(message) + packer.flush()
        reason = ""
        for number in range(RETRIES + 1):
            if number:
                await self._sleep(FIRST_RETRY_S * 2 ** (number - 1))
            try:
                status = await self._post(self._headers, message)
            except ExportFailedError as error:
                reason = str(error)
                continue
            if 200 <= status < 300:
                self._note_success()
                return True
            reason = f"it answered {status}"
            if status not in RETRYABLE:
                break
        self.failures += 1
        if not self._broken:
            self._broken = True
            text = "%s cannot be exported: %s. Said once, until it works again"
            _log.warning(text, self._signal, reason, extra={"event": "export_failed"})
        return False

    def _note_success(self) -> None:
        if self._broken:
            self._broken = False
            _log.info("%s are exported again", self._signal, extra={"event": "export_recovered"})
