from llm_edge_agent.core.tracing import Sampler, Trace
from llm_edge_agent.telemetry.genai import Told
from llm_edge_agent.telemetry.traced import OFF, ContentCapture, Traced, Tracer

TRACEPARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SAMPLED = Trace("1" * 32, "2" * 16, None, True)
BODY = {
    "model": "m",
    "seed": 7,
    "system": "be brief",
    "messages": [{"role": "user", "content": "my key is sk-123"}],
    "tools": [{"name": "t"}],
}


def test_nothing_is_gathered_for_what_is_not_sampled() -> None:
    traced = Traced(SAMPLED._replace(sampled=False), ContentCapture(str))
    traced.ask(BODY)
    traced.tell(b'{"id":"a"}', ("stop",))
    assert (traced.asked, traced.told, traced.finish_reasons, traced.content) == ({}, Told(), (), {})


def test_content_stays_out_unless_it_is_wanted() -> None:
    traced = Traced(SAMPLED)
    traced.ask(BODY)
    traced.tell(b'{"id":"a"}', ("stop",))
    assert traced.asked == {"gen_ai.request.seed": 7}
    assert traced.told.id == "a"
    assert traced.finish_reasons == ("stop",)
    assert traced.content == {}


def test_content_is_redacted_and_cut() -> None:
    traced = Traced(SAMPLED, ContentCapture(lambda text: text.replace("sk-123", "[redacted]"), 60))
    traced.ask(BODY)
    traced.tell(b"x" * 100, ())
    assert traced.content == {
        "gen_ai.input.messages": '[{"role":"user","content":"my key is [redacted]"}]',
        "gen_ai.system_instructions": '"be brief"',
        "gen_ai.tool.definitions": '[{"name":"t"}]',
        "gen_ai.output.messages": "x" * 60,
    }


def test_a_callers_trace_is_continued_and_a_repeat_has_a_span_of_its_own() -> None:
    tracer = Tracer(Sampler())
    assert tracer.exports
    first = tracer.begin({b"traceparent": TRACEPARENT, b"tracestate": b"a=b"})
    assert (first.trace.trace_id, first.trace.state) == ("4bf92f3577b34da6a3ce929d0e0e4736", "a=b")
    first.ask(BODY)
    again = tracer.again(first)
    assert again.trace.trace_id == first.trace.trace_id
    assert again.trace.span_id != first.trace.span_id
    assert again.asked == first.asked
    alone = tracer.begin({})
    assert tracer.again(alone).trace.trace_id != alone.trace.trace_id


def test_without_a_collector_a_callers_trace_is_known_and_not_sampled() -> None:
    tracer = Tracer(OFF)
    assert not tracer.exports
    trace = tracer.begin({b"traceparent": TRACEPARENT}).trace
    assert (trace.trace_id, trace.sampled) == ("4bf92f3577b34da6a3ce929d0e0e4736", False)
