import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_edge_agent.core.errors import ErrorKind, GatewayError
from llm_edge_agent.core.pricing import TokenUsage
from llm_edge_agent.dialects.chat import (
    CONVERTED_BYTES,
    ChatRequest,
    error_body,
    read_answer,
    read_request,
    replace_surrogate_escapes,
    with_metadata,
    with_model,
    with_usage_chunk,
    without_member,
    without_metadata,
)

OK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def body(**changes: Any) -> bytes:
    return json.dumps({**OK, **changes}).encode()


def test_what_the_gateway_decides_by() -> None:
    call = read_request(body(stream=True, stream_options={"include_usage": True}, n=3), max_depth=128)
    assert (call.model, call.stream, call.include_usage, call.choices) == ("m", True, True, 3)
    plain = read_request(body(stream=None, stream_options=None, n=None), max_depth=128)
    assert (plain.stream, plain.include_usage, plain.choices) == (False, False, 1)
    assert read_request(body(stream_options={"include_usage": True}), max_depth=128).include_usage is False


@pytest.mark.parametrize(
    "changes",
    [
        {"brand_new_parameter": {"x": [1, None]}},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}]},
        {"messages": [{"role": "narrator"}]},
        {"temperature": 7, "top_p": -3, "n": 1},
        {"stop": "x"},
        {"stop": ["x", "y"]},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": [{"type": "custom", "custom": {"name": "c"}}]},
        {"seed": None, "tools": None, "user": None},
    ],
)
def test_what_is_the_providers_business_passes(changes: dict[str, Any]) -> None:
    raw = body(**changes)
    assert read_request(raw, max_depth=128).body.raw == raw


@pytest.mark.parametrize(
    ("raw", "kind", "param"),
    [
        (b"{}", ErrorKind.MISSING_PARAMETER, "model"),
        (b'{"model":"m"}', ErrorKind.MISSING_PARAMETER, "messages"),
        (body(model=None), ErrorKind.MISSING_PARAMETER, "model"),
        (body(messages=None), ErrorKind.MISSING_PARAMETER, "messages"),
        (body(model=1), ErrorKind.INVALID_TYPE, "model"),
        (body(messages=[]), ErrorKind.INVALID_REQUEST, "messages"),
        (body(messages={}), ErrorKind.INVALID_TYPE, "messages"),
        (body(messages="hi"), ErrorKind.INVALID_TYPE, "messages"),
        (body(messages=["hi"]), ErrorKind.INVALID_TYPE, "messages[0]"),
        (body(messages=[{"content": "x"}]), ErrorKind.MISSING_PARAMETER, "messages[0].role"),
        (body(messages=[OK["messages"][0], {"role": 1}]), ErrorKind.INVALID_TYPE, "messages[1].role"),
        (body(messages=[{"role": "user", "content": 5}]), ErrorKind.INVALID_TYPE, "messages[0].content"),
        (
            body(messages=[{"role": "user", "content": [{}]}]),
            ErrorKind.MISSING_PARAMETER,
            "messages[0].content[0].type",
        ),
        (body(temperature="hot"), ErrorKind.INVALID_TYPE, "temperature"),
        (body(max_tokens=1.5), ErrorKind.INVALID_TYPE, "max_tokens"),
        (body(max_completion_tokens="9"), ErrorKind.INVALID_TYPE, "max_completion_tokens"),
        (body(stream="yes"), ErrorKind.INVALID_TYPE, "stream"),
        (body(stream=1), ErrorKind.INVALID_TYPE, "stream"),
        (body(stream_options=[]), ErrorKind.INVALID_TYPE, "stream_options"),
        (body(stop=5), ErrorKind.INVALID_TYPE, "stop"),
        (body(stop=[5]), ErrorKind.INVALID_TYPE, "stop[0]"),
        (body(n="2"), ErrorKind.INVALID_TYPE, "n"),
        (body(logit_bias=[]), ErrorKind.INVALID_TYPE, "logit_bias"),
        (body(tools={}), ErrorKind.INVALID_TYPE, "tools"),
        (body(tools=[{"type": "function", "function": {}}]), ErrorKind.MISSING_PARAMETER, "tools[0].function.name"),
        (body(tool_choice=3), ErrorKind.INVALID_TYPE, "tool_choice"),
        (body(response_format="json"), ErrorKind.INVALID_TYPE, "response_format"),
        (body(metadata={"a": 1}), ErrorKind.INVALID_TYPE, "metadata[...]"),
        (body(user=5), ErrorKind.INVALID_TYPE, "user"),
        (b"[]", ErrorKind.INVALID_TYPE, None),
        (b"{", ErrorKind.INVALID_JSON, None),
    ],
)
def test_wrong_types_are_refused_and_named(raw: bytes, kind: ErrorKind, param: str | None) -> None:
    with pytest.raises(GatewayError) as caught:
        read_request(raw, max_depth=128)
    assert (caught.value.kind, caught.value.param) == (kind, param)
    assert caught.value.status == 400
    assert "`" not in caught.value.message


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"model":"a","n":1.50}', b'{"model":"b/\\"c","n":1.50}'),
        (b'{ "n" : 1e2 , "model" : "a" }', b'{ "n" : 1e2 , "model" : "b/\\"c" }'),
    ],
)
def test_a_renamed_model_changes_nothing_else(raw: bytes, expected: bytes) -> None:
    assert with_model(raw, 'b/"c') == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"a":1}', b'{"stream_options":{"include_usage":true},"a":1}'),
        (b' { "a":1}', b' {"stream_options":{"include_usage":true}, "a":1}'),
        (b'{"stream_options":null,"a":1}', b'{"stream_options":{"include_usage":true},"a":1}'),
        (b'{"stream_options":{},"a":1}', b'{"stream_options":{"include_usage":true},"a":1}'),
        (b'{"stream_options":{ "x":1.0}}', b'{"stream_options":{"include_usage":true, "x":1.0}}'),
        (b'{"stream_options":{"include_usage" : false,"x":1}}', b'{"stream_options":{"include_usage" : true,"x":1}}'),
        (b'{"stream_options":{"include_usage":null}}', b'{"stream_options":{"include_usage":true}}'),
    ],
)
def test_asking_for_usage_changes_nothing_else(raw: bytes, expected: bytes) -> None:
    assert with_usage_chunk(raw) == expected
    assert json.loads(expected)["stream_options"]["include_usage"] is True


ANSWER = b'{"id":"x","choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}],"usage":%b}'


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (b"null", None),
        (b"{}", TokenUsage()),
        (b'{"prompt_tokens":7,"completion_tokens":3}', TokenUsage(prompt_tokens=7, completion_tokens=3)),
        (
            b'{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":2,'
            b'"cache_write_tokens":1},"completion_tokens_details":{"reasoning_tokens":1}}',
            TokenUsage(
                prompt_tokens=7,
                completion_tokens=3,
                cache_read_tokens=2,
                cache_write_tokens=1,
                reasoning_tokens=1,
            ),
        ),
        (
            b'{"prompt_tokens":7,"completion_tokens":3,"prompt_tokens_details":null,"completion_tokens_details":{},'
            b'"prompt_cache_hit_tokens":5}',
            TokenUsage(prompt_tokens=7, completion_tokens=3, cache_read_tokens=5),
        ),
    ],
)
def test_an_answer_is_read_and_kept_as_it_came(usage: bytes, expected: TokenUsage | None) -> None:
    raw = ANSWER % usage
    answer = read_answer(b"\n" + raw + b" ")
    assert answer.usage == expected
    assert answer.finish_reasons == ("stop",)
    assert answer.body == raw


@pytest.mark.parametrize(
    ("members", "off_list"),
    [
        (b'"service_tier":"default"', False),
        (b'"service_tier":null', False),
        (b'"service_tier":"flex"', True),
        (b'"service_tier":"priority"', True),
        (b'"service_tier":["odd"]', True),
    ],
)
def test_another_service_tier_has_another_price(members: bytes, off_list: bool) -> None:
    raw = b'{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1},%b}' % members
    assert read_answer(raw).usage == TokenUsage(prompt_tokens=1, off_list=off_list)


@pytest.mark.parametrize("side", ["prompt", "completion"])
@pytest.mark.parametrize("tokens", [0, 7])
def test_audio_has_a_price_that_is_not_known(side: str, tokens: int) -> None:
    usage = b'{"prompt_tokens":9,"%b_tokens_details":{"audio_tokens":%d}}' % (side.encode(), tokens)
    assert read_answer(ANSWER % usage).usage == TokenUsage(prompt_tokens=9, off_list=tokens > 0)


def test_half_a_surrogate_pair_is_relayed() -> None:
    raw = rb'{"choices":[{"finish_reason":"stop","message":{"content":"\ud83d and \\ud83d"}}]}'
    assert read_answer(raw).body == raw


def test_only_real_surrogate_escapes_are_replaced() -> None:
    raw = rb'"\ud83d\ude00 \\ud83d \\\udfff \ue000"'
    assert json.loads(replace_surrogate_escapes(raw)) == "\ufffd\ufffd \\ud83d \\\ufffd \ue000"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>busy</html>",
        b'{"choices":[',
        b'{"choices":[]}',
        b'{"choices":{}}',
        b'{"error":{"message":"no"}}',
        b'{"choices":[{"finish_reason":"stop"}],"error":{"message":"no"}}',
        b'{"id":"x"}',
        b"[]",
        b'{"choices":[{"finish_reason":"\xff"}]}',
        b'{"choices":[{"finish_reason":"stop","message":{"content":"\xff"}}]}',
        b"[" * 5000,
    ],
)
def test_what_is_no_chat_completion(raw: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        read_answer(raw)
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID
    assert "busy" not in caught.value.message


@pytest.mark.parametrize("error", [b"null", b"{}", b"false", b'""'])
def test_an_empty_error_member_is_no_error(error: bytes) -> None:
    assert read_answer(b'{"choices":[{"finish_reason":"stop"}],"error":%b}' % error).finish_reasons == ("stop",)


def test_metadata_of_the_provider_gives_way_to_ours() -> None:
    raw = b'{"id":"x","metadata":{"theirs":1}, "choices":[{"finish_reason":"stop"}]}'
    answer = read_answer(raw)
    assert answer.body == b'{"id":"x","choices":[{"finish_reason":"stop"}]}'
    assert with_metadata(answer.body, b'{"ours":1}') == answer.body[:-1] + b',"metadata":{"ours":1}}'


def test_leaving_out_what_is_not_there_changes_nothing() -> None:
    assert without_member(b'{"a": 1}', "b") == b'{"a": 1}'
    assert without_member(b'{"a": 1, "b" :2}', "a") == b'{"b" :2}'


@given(st.dictionaries(st.text(max_size=4), st.integers(), min_size=1), st.data())
def test_leaving_out_one_member_leaves_the_others(value: dict[str, int], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*value, "absent-member"]))
    left = json.loads(without_member(json.dumps(value).encode(), name))
    assert left == {key: item for key, item in value.items() if key != name}


def test_errors_have_openais_shape() -> None:
    error = GatewayError(ErrorKind.MODEL_NOT_FOUND, "no", param="model", extra={"provider": "openai"})
    assert json.loads(error_body(error)) == {
        "error": {
            "message": "no",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
            "provider": "openai",
        }
    }


def test_a_providers_metadata_gives_way_even_in_odd_json() -> None:
    assert without_metadata(rb'{"a":"\ud800","metadata":{"b":1}}') == rb'{"a":"\ufffd"}'
    with pytest.raises(GatewayError) as caught:
        without_metadata(b'{"metadata":1,"a":2,"metadata":3}')
    assert caught.value.kind is ErrorKind.UPSTREAM_INVALID


@pytest.mark.parametrize(
    "members",
    [
        b'"temperature":0.2,"top_p":1,"n":2,"seed":null',
        b'"n":2.0',
        b'"n":1.5',
        b'"seed":1e3',
        b'"seed":123456789012345678901234567890',
        b'"logit_bias":{"1":0.5,"2":-100}',
        b'"logit_bias":{"1":"x"}',
        b'"temperature":true',
        b'"temperature":"0.2"',
        b'"stream":1',
        b'"stream_options":{"include_usage":1.0}',
        b'"tools":[{"type":"function","function":{"name":"f","parameters":{"minimum":0.5,"deep":[{"a":1e40}]}}}]',
        b'"tools":[{"type":"function","function":{"name":"f","parameters":[1]}}]',
        b'"tools":[{"type":1.5}]',
        b'"tool_choice":{"type":"function","function":{"name":"f"}},"response_format":{"type":"json_schema"}',
        b'"tool_choice":1.5',
        b'"response_format":{"type":"json_schema","json_schema":{"schema":{"maximum":1.25}}}',
        b'"metadata":{"a":1.5}',
        b'"stop":["a",1.5]',
        b'"prediction":{"type":"content","content":[1.5,"x"]},"audio":{"voice":"v"}',
    ],
)
def test_types_are_judged_as_in_the_text(members: bytes) -> None:
    """The check of a large body works on the value that was read, where numbers stand as text; the verdict is the
    text's own."""
    raw = b'{"model":"m","messages":[{"role":"user","content":"%b"}],%b}' % (b"x" * CONVERTED_BYTES, members)
    try:
        typed = msgspec.json.decode(raw, type=ChatRequest)
    except msgspec.ValidationError:
        with pytest.raises(GatewayError):
            read_request(raw, max_depth=32)
    else:
        call = read_request(raw, max_depth=32)
        assert (call.model, call.stream, call.choices) == (typed.model, bool(typed.stream), typed.n or 1)
