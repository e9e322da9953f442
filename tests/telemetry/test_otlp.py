import gzip
import logging

import pytest

from llm_edge_agent.telemetry.otlp import RETRIES, Exporter, ExportFailedError


class Collector:
    """Answers with these statuses, one after the other; None does not answer."""

    def __init__(self, *statuses: int | None) -> None:
        self.statuses = list(statuses)
        self.calls: list[tuple[bytes, bytes]] = []
        self.waits: list[float] = []

    async def post(self, headers: bytes, body: bytes) -> int:
        self.calls.append((headers, body))
        status = self.statuses.pop(0)
        if status is None:
            raise ExportFailedError("no connection")
        return status

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    def exporter(self, *, zipped: bool = False) -> Exporter:
        return Exporter("traces", self.post, headers={"api-key": "k"}, gzip=zipped, sleep=self.sleep)


async def test_a_message_is_sent_with_the_collectors_headers() -> None:
    collector = Collector(200)
    assert await collector.exporter().send(b"spans")
    assert collector.calls == [(b"content-type: application/x-protobuf\r\napi-key: k\r\n", b"spans")]


async def test_gzip() -> None:
    collector = Collector(200)
    assert await collector.exporter(zipped=True).send(b"spans" * 100)
    ((headers, body),) = collector.calls
    assert b"content-encoding: gzip\r\n" in headers
    assert gzip.decompress(body) == b"spans" * 100


@pytest.mark.parametrize("first", [429, 502, 503, 504, None])
async def test_what_may_pass_is_tried_again_later(first: int | None) -> None:
    collector = Collector(first, 200)
    assert await collector.exporter().send(b"x")
    assert collector.waits == [1.0]


async def test_a_refusal_is_final_and_retries_end() -> None:
    collector = Collector(400)
    exporter = collector.exporter()
    assert not await exporter.send(b"x")
    assert len(collector.calls) == 1
    collector.statuses = [None] * (RETRIES + 1)
    assert not await exporter.send(b"x")
    assert collector.waits == [1.0, 2.0]
    assert exporter.failures == 2


async def test_a_dead_collector_is_said_once_until_it_lives_again(caplog: pytest.LogCaptureFixture) -> None:
    collector = Collector(400, 401, 200, 400)
    exporter = collector.exporter()
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            await exporter.send(b"x")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
    assert "it answered 400" in caplog.text
