"""Claude does not answer: a model of OpenAI does, in the middle of a conversation, and the SDK never notices."""

from typing import Any

import anthropic
import pytest

from tests.canaries import CLIENT_KEY
from tests.conformance.anthropic_sdk.requests_and_texts import TOOLS, calls_of, once, results, spoken, text_of
from tests.conformance.processes import gateway_before_simulator, through_the_gateway

pytestmark = through_the_gateway
CLAUDE, GPT = "claude-sonnet-5", "gpt-6-sol"


@pytest.mark.parametrize("stream", [False, True])
def test_another_dialect_steps_in(tmp_path_factory: pytest.TempPathFactory, stream: bool) -> None:
    nobody = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:9", "FALLBACKS": f"{CLAUDE}={GPT}"}
    with (
        gateway_before_simulator(tmp_path_factory.mktemp("fallback"), **nobody) as running,
        anthropic.Anthropic(base_url=running.url, api_key=CLIENT_KEY, max_retries=0, timeout=20) as client,
    ):
        signed_elsewhere = {"type": "thinking", "thinking": "Hm.", "signature": "EqRkY2xhdWRl"}
        history = once("Weather in Paris? [[sim: tool=get_weather]]")
        first = answered(client, stream, messages=history)
        assert calls_of(first)
        quoted = spoken(first)
        quoted["content"].insert(0, signed_elsewhere)
        second = answered(client, stream, messages=[*history, quoted, results(first)])
        assert "result of" in text_of(second)
        bill = running.simulator("billing")["billed"][-1]
        assert (bill["model"], bill["path"]) == (GPT, "/v1/responses")


def answered(client: anthropic.Anthropic, stream: bool, **asked: Any) -> Any:
    if not stream:
        return client.messages.create(model=CLAUDE, max_tokens=500, tools=TOOLS, **asked)
    with client.messages.stream(model=CLAUDE, max_tokens=500, tools=TOOLS, **asked) as events:
        return events.get_final_message()
