"""Answers that were made for another request, told as this one's: from the cache, from a flight that was joined, and
expired ones that stand in for none."""

import math
import time
from time import monotonic

from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.endpoint import Call, Endpoint, Replay
from llm_edge_agent.gateway.exchange import Exchange
from llm_edge_agent.gateway.flight import Share, Tee
from llm_edge_agent.gateway.miss import Miss
from llm_edge_agent.gateway.relay import Relay
from llm_edge_agent.gateway.replies import (
    JSON_HEADERS,
    SSE_HEADERS,
    TRAILER_LINE,
    MetadataPlace,
    answer_lines,
    hit_metadata,
    joined_metadata,
    latency_line,
    trailing_lines,
)
from llm_edge_agent.gateway.stored import StoredAnswer
from llm_edge_agent.http.deadlines import Sweep
from llm_edge_agent.http.messages import Complete


class Retold:
    """Renders them. A follower's id is its own where it is told a finished answer, and the provider's where it reads
    along; what it costs is 0, and what it saves is what the leader paid."""

    def __init__(self, sweep: Sweep, metadata: MetadataPlace) -> None:
        self._sweep = sweep
        self._in_headers = metadata != "off"
        self._cost = 0 if self._in_headers else None
        self._in_body = metadata == "body"
        self._trailers = trailing_lines if metadata == "headers" else None
        self._stream_headers = SSE_HEADERS + TRAILER_LINE if metadata == "headers" else SSE_HEADERS

    def hit(self, endpoint: Endpoint, stored: StoredAnswer, replay: Replay, call: Call, exchange: Exchange) -> Complete:
        tier = exchange.cache_tier = exchange.cache_tier or "l1"
        exchange.cache = "hit"
        exchange.provider = stored.provider
        exchange.cost_picodollars = 0
        exchange.saved_picodollars = stored.cost_picodollars or 0
        exchange.warnings = stored.warnings
        now_s = monotonic()
        metadata = None
        latency = b""
        if self._in_body and endpoint.in_body:
            metadata = hit_metadata(stored.provider, tier, now_s - exchange.started_s)
        elif self._in_headers:
            latency = latency_line(exchange)
        request_id = exchange.request_id.encode()
        created = b"%d" % time.time()
        if call.stream:
            kind = SSE_HEADERS
            body = replay.stream(request_id, created, metadata, show_usage=call.include_usage)
        else:
            kind = JSON_HEADERS
            body = replay.whole(request_id, created, metadata)
        lines = stored.header_lines(cost=self._in_headers, tier=tier)
        ids = endpoint.request_id_lines(request_id)
        head = b"%b%b%b%bage: %d\r\n" % (kind, lines, ids, latency, now_s - stored.stored_s)
        exchange.end(200)
        return Complete(200, head, body)

    def whole(self, stored: StoredAnswer, replay: Replay, miss: Miss) -> Complete:
        """A finished answer, in the client's own framing: the leader's (`join`), or an old one (`stale`). Ends the
        exchange."""
        exchange, call = miss.exchange, miss.call
        now_s = monotonic()
        aged = b""
        if stored.fresh_until_s < now_s:
            exchange.cache = "stale"
            aged = b"age: %d\r\n" % (now_s - stored.stored_s)
        exchange.provider = stored.provider
        exchange.model = stored.model
        exchange.cost_picodollars = 0
        exchange.saved_picodollars = stored.cost_picodollars or 0
        exchange.warnings = stored.warnings
        metadata = None
        if self._in_body and miss.endpoint.in_body:
            metadata = joined_metadata(stored.provider, now_s - exchange.started_s)
        elif self._in_headers:
            aged += latency_line(exchange)
        request_id = exchange.request_id.encode()
        created = b"%d" % time.time()
        if call.stream:
            kind = SSE_HEADERS
            body = replay.stream(request_id, created, metadata, show_usage=call.include_usage)
        else:
            kind = JSON_HEADERS
            body = replay.whole(request_id, created, metadata)
        head = kind + answer_lines(exchange, miss.endpoint, cost_picodollars=self._cost) + aged
        exchange.end(200)
        return Complete(200, head, body)

    def stream(self, tee: Tee, miss: Miss) -> Relay:
        """The leader's stream, from its beginning. The relay owns the exchange."""
        exchange, leader = miss.exchange, tee.leader
        provider = leader.provider or ""
        exchange.provider = provider
        exchange.model = leader.model
        exchange.cost_picodollars = 0
        exchange.warnings = leader.warnings

        def finish(usage: TokenUsage | None, whole: bool) -> bytes | None:
            if whole:
                exchange.saved_picodollars = leader.cost_picodollars or 0
            if not (self._in_body and miss.endpoint.in_body):
                return None
            return joined_metadata(provider, monotonic() - exchange.started_s)

        def relay_of(share: Share) -> Relay:
            return Relay(
                exchange,
                share,
                tee.new_stream(miss.call),
                self._sweep,
                miss.endpoint,
                headers=self._stream_headers + answer_lines(exchange, miss.endpoint, cost_picodollars=self._cost),
                commit_by_s=math.inf,
                finish=finish,
                on_failure=tee.on_failure,
                conceal=tee.conceal,
                trailers=self._trailers,
            )

        return tee.follow(relay_of)
