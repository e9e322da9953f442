import json
from typing import Any

import pytest

from llm_edge_agent.core import strict_json
from llm_edge_agent.core.errors import ErrorKind
from llm_edge_agent.telemetry.genai import Told, error_type, provider_name, request_attributes, told_by


def asked(**members: Any) -> dict[str, Any]:
    return request_attributes(strict_json.read_object(json.dumps(members).encode(), max_depth=8).value)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"max_tokens": 5}, {"gen_ai.request.max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 6}, {"gen_ai.request.max_tokens": 6}),
        ({"max_output_tokens": 7}, {"gen_ai.request.max_tokens": 7}),
        ({"temperature": 0.5, "top_p": 1, "top_k": 3}, {"temperature": 0.5, "top_p": 1.0, "top_k": 3.0}),
        ({"seed": 9, "n": 2}, {"gen_ai.request.seed": 9, "gen_ai.request.choice.count": 2}),
        ({"n": 1}, {}),
        ({"stop": "x"}, {"gen_ai.request.stop_sequences": ["x"]}),
        ({"stop_sequences": ["x", "y"]}, {"gen_ai.request.stop_sequences": ["x", "y"]}),
        ({"stop": []}, {}),
        ({"stop": [1]}, {}),
        ({"reasoning_effort": "high"}, {"gen_ai.request.reasoning.level": "high"}),
        ({"service_tier": "flex"}, {"openai.request.service_tier": "flex"}),
        ({"response_format": {"type": "json_schema"}}, {"gen_ai.output.type": "json"}),
        ({"output_config": {"format": {"type": "json_schema"}}}, {"gen_ai.output.type": "json"}),
        ({"text": {"format": {"type": "json_object"}}}, {"gen_ai.output.type": "json"}),
        ({"text": {"format": {"type": "text"}}, "response_format": "odd"}, {}),
        ({"max_tokens": True, "temperature": "hot", "seed": None}, {}),
        ({"max_tokens": 1 << 63, "seed": -(1 << 63), "temperature": 10**400}, {"seed": -(1 << 63)}),
        ({"messages": [{"role": "user", "content": "secret"}], "user": "me", "model": "m"}, {}),
    ],
)
def test_what_was_asked_without_its_content(members: dict[str, Any], expected: dict[str, Any]) -> None:
    expected = {name if "." in name else f"gen_ai.request.{name}": value for name, value in expected.items()}
    assert asked(**members) == expected


def test_what_an_answer_says() -> None:
    answer = json.dumps({"id": "a", "model": "m", "service_tier": "s", "system_fingerprint": "f", "choices": []})
    assert told_by(answer.encode()) == Told("a", "m", "s", "f")
    assert told_by(b"{}") == told_by(None) == told_by(b"nonsense") == told_by(b'{"id":3}') == Told()


def test_names_are_the_conventions() -> None:
    assert [provider_name(name) for name in ("openai", "azure-openai", "gemini", "ollama")] == [
        "openai",
        "azure.ai.openai",
        "gcp.gemini",
        "ollama",
    ]
    assert error_type(ErrorKind.UPSTREAM_TIMEOUT, 504) == "timeout"
    assert error_type(ErrorKind.UPSTREAM_CONNECTION, None) == "connect_error"
    assert error_type(ErrorKind.UPSTREAM_RATE_LIMIT, 429) == "rate_limit_exceeded"
    assert error_type(ErrorKind.UPSTREAM_ERROR, 500) == "500"
    assert error_type(ErrorKind.STREAM_INTERRUPTED, 200) == "stream_interrupted"
