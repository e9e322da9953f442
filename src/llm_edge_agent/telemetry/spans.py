"""From a finished exchange to spans: one for the request, one for the logical call, one for each attempt.

Built from what the exchange says when it has ended, away from the request's own path. Names and attributes follow the
HTTP conventions and the GenAI conventions v1.41; what is ours begins with `llm_edge.`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.core.pricing import PICODOLLARS_PER_USD
from llm_edge_agent.core.tracing import Trace
from llm_edge_agent.telemetry import FinishedAttempt, FinishedExchange
from llm_edge_agent.telemetry.genai import OPERATIONS, Attributes, Told, error_type, provider_name
from llm_edge_agent.telemetry.spending import tokens_of
from llm_edge_agent.telemetry.traced import Address

SAMPLED_FLAG = 1
NS_PER_S = 1_000_000_000
_MOST_PICODOLLARS = 2**63 - 1
"""More no request has cost, whatever its provider claims."""


class Recorded(NamedTuple):
    """A sampled exchange, waiting to be made into spans. Holds no request and no answer, unless content is captured."""

    exchange: FinishedExchange
    trace: Trace
    request: Attributes
    told: Told
    finish_reasons: tuple[str | None, ...] = ()
    content: Attributes | None = None


class SpanBuilder:
    """Makes spans. `unix_offset_ns` is what turns monotonic seconds into Unix nanoseconds."""

    def __init__(
        self,
        new_span_id: Callable[[], str],
        unix_offset_ns: int,
        max_value_length: int | None = None,
    ) -> None:
        self._new_span_id = new_span_id
        self._offset_ns = unix_offset_ns
        self._max_value_length = max_value_length

    def spans(self, recorded: Recorded) -> list[Span]:
        """Server span first, then the call's, then the attempts' in order."""
        exchange, trace = recorded.exchange, recorded.trace
        made = [self._server(exchange, trace)]
        if exchange.attempts and exchange.endpoint in OPERATIONS:
            call = self._call(recorded, trace)
            made.append(call)
            made += [
                self._attempt(exchange, attempt, number, trace, call.span_id)
                for number, attempt in enumerate(exchange.attempts)
            ]
        return made

    def _server(self, exchange: FinishedExchange, trace: Trace) -> Span:
        span = self._span(
            trace,
            trace.span_id,
            trace.parent_span_id,
            f"{exchange.method} {exchange.route}",
            Span.SPAN_KIND_SERVER,
            exchange.started_s,
            exchange.started_s + exchange.duration_s,
        )
        attributes: Attributes = {
            "http.request.method": exchange.method,
            "http.route": exchange.route,
            "url.path": exchange.route,
            "url.scheme": "http",
            "http.response.status_code": exchange.status,
            "network.protocol.name": "http",
            "llm_edge.request_id": exchange.request_id,
        }
        if exchange.cache != "none":
            attributes["llm_edge.cache.status"] = exchange.cache
            attributes["llm_edge.cache.tier"] = exchange.cache_tier or "none"
        if exchange.key_id is not None:
            attributes["llm_edge.key_id"] = exchange.key_id
        if exchange.requested_model is not None:
            attributes["llm_edge.requested_model"] = exchange.requested_model
        if exchange.cost_picodollars is not None:
            attributes["llm_edge.cost_usd"] = _usd(exchange.cost_picodollars)
        if exchange.attempts:
            attributes["llm_edge.attempts"] = len(exchange.attempts)
        if exchange.chosen is not None:
            attributes["llm_edge.route"] = exchange.chosen
        if exchange.error is not None:
            attributes["error.type"] = error_type(exchange.error, exchange.status)
            if exchange.status >= 500 or exchange.error is ErrorKind.STREAM_INTERRUPTED:
                span.status.code = Status.STATUS_CODE_ERROR
        self._add(span.attributes, attributes)
        if exchange.cache in ("hit", "miss", "stale", "join"):
            event = span.events.add(time_unix_nano=span.start_time_unix_nano, name="llm_edge.cache.lookup")
            self._add(event.attributes, {"llm_edge.cache.status": exchange.cache})
        return span

    def _call(self, recorded: Recorded, trace: Trace) -> Span:
        exchange = recorded.exchange
        first, last = exchange.attempts[0], exchange.attempts[-1]
        operation = OPERATIONS[exchange.endpoint]
        span = self._span(
            trace,
            self._new_span_id(),
            trace.span_id,
            f"{operation} {last.upstream_model}",
            Span.SPAN_KIND_CLIENT,
            first.started_s,
            self._end_s(exchange, last),
        )
        attributes: Attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": provider_name(last.provider),
            "gen_ai.request.model": last.upstream_model,
            "gen_ai.request.stream": exchange.stream,
            **_place(last.address),
            **recorded.request,
        }
        told = recorded.told
        if told.model is not None:
            attributes["gen_ai.response.model"] = told.model
        if told.id is not None:
            attributes["gen_ai.response.id"] = told.id
        if told.service_tier is not None:
            attributes["openai.response.service_tier"] = told.service_tier
        if told.system_fingerprint is not None:
            attributes["openai.response.system_fingerprint"] = told.system_fingerprint
        reasons = [reason for reason in recorded.finish_reasons if reason is not None]
        if reasons:
            attributes["gen_ai.response.finish_reasons"] = reasons
        if exchange.ttft_s is not None:
            attributes["gen_ai.response.time_to_first_chunk"] = exchange.started_s + exchange.ttft_s - first.started_s
        usage = exchange.usage
        if usage is not None:
            tokens = tokens_of(usage)
            attributes["gen_ai.usage.input_tokens"] = tokens.prompt
            attributes["gen_ai.usage.output_tokens"] = tokens.completion
            for name, count in (
                ("cache_read.input_tokens", tokens.read),
                ("cache_creation.input_tokens", tokens.written),
                ("reasoning.output_tokens", tokens.reasoning),
            ):
                if count:
                    attributes[f"gen_ai.usage.{name}"] = count
            if usage.estimated:
                attributes["llm_edge.usage.estimated"] = usage.estimated.label
        if exchange.cost_picodollars is not None:
            attributes["llm_edge.cost_usd"] = _usd(exchange.cost_picodollars)
        if recorded.content:
            attributes |= recorded.content
        failed = exchange.error if exchange.error is not None else None
        if failed is not None:
            attributes["error.type"] = error_type(failed, last.status)
            span.status.code = Status.STATUS_CODE_ERROR
        self._add(span.attributes, attributes)
        return span

    def _attempt(
        self, exchange: FinishedExchange, attempt: FinishedAttempt, number: int, trace: Trace, parent: bytes
    ) -> Span:
        span = self._span(
            trace,
            attempt.span_id or self._new_span_id(),
            parent.hex(),
            "POST",
            Span.SPAN_KIND_CLIENT,
            attempt.started_s,
            self._end_s(exchange, attempt),
        )
        attributes: Attributes = {
            "http.request.method": "POST",
            "llm_edge.provider": attempt.provider,
            "llm_edge.attempt": number + 1,
            **_place(attempt.address),
        }
        if attempt.address is not None:
            attributes["url.full"] = attempt.address.url
        if attempt.status is not None:
            attributes["http.response.status_code"] = attempt.status
        if number:
            attributes["http.request.resend_count"] = number
        if attempt.error is not None:
            attributes["error.type"] = error_type(attempt.error, attempt.status)
            span.status.code = Status.STATUS_CODE_ERROR
        self._add(span.attributes, attributes)
        return span

    def _end_s(self, exchange: FinishedExchange, attempt: FinishedAttempt) -> float:
        return attempt.ended_s if attempt.ended_s is not None else exchange.started_s + exchange.duration_s

    def _span(
        self,
        trace: Trace,
        span_id: str,
        parent: str | None,
        name: str,
        kind: "Span.SpanKind.ValueType",
        began_s: float,
        ended_s: float,
    ) -> Span:
        return Span(
            trace_id=bytes.fromhex(trace.trace_id),
            span_id=bytes.fromhex(span_id),
            parent_span_id=bytes.fromhex(parent) if parent is not None else b"",
            trace_state=trace.state,
            flags=SAMPLED_FLAG,
            name=name,
            kind=kind,
            start_time_unix_nano=self._offset_ns + int(began_s * NS_PER_S),
            end_time_unix_nano=self._offset_ns + int(ended_s * NS_PER_S),
        )

    def _add(self, into: "Sequence[KeyValue]", attributes: Attributes) -> None:
        add_attributes(into, attributes, self._max_value_length)


def _usd(picodollars: int) -> float:
    return min(picodollars, _MOST_PICODOLLARS) / PICODOLLARS_PER_USD


def _place(address: Address | None) -> Attributes:
    return {} if address is None else {"server.address": address.host, "server.port": address.port}


def add_attributes(into: "Sequence[KeyValue]", attributes: Attributes, max_value_length: int | None = None) -> None:
    """Appends to a repeated field. Texts are cut to `max_value_length` characters."""
    for key, value in attributes.items():
        pair = into.add()  # type: ignore[attr-defined]  # a protobuf container, whose stubs are not precise
        pair.key = key
        if isinstance(value, str):
            pair.value.string_value = value if max_value_length is None else value[:max_value_length]
        elif isinstance(value, bool):
            pair.value.bool_value = value
        elif isinstance(value, int):
            pair.value.int_value = value
        elif isinstance(value, float):
            pair.value.double_value = value
        else:
            for item in value:
                pair.value.array_value.values.add(
                    string_value=item if max_value_length is None else item[:max_value_length]
                )
