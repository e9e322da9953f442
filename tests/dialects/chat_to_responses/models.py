"""The translation with its ordinary settings."""

import json
from typing import Any

import pytest

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.chat_to_responses.request import translate_request
from llm_edge_agent.dialects.chat_to_responses.sent import Translated
from tests.dialects.messages_to_chat.models import ALWAYS, GPT, NEWEST, PLAIN, model

__all__ = ["ALWAYS", "GPT", "NEWEST", "PLAIN", "call", "function", "model", "out", "refused", "translate"]

Json = dict[str, Any]


def translate(request: Json, *, name: str = NEWEST, expose: bool = False, **options: Any) -> Translated:
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "Hi"}]} | request)
    return translate_request(body.encode(), model(name), TranslationOptions(**options), expose=expose)


def out(request: Json, *, name: str = NEWEST, **options: Any) -> Json:
    """The Responses request, decoded."""
    answer: Json = json.loads(translate(request, name=name, **options).body)
    return answer


def refused(request: Json, *, name: str = NEWEST, **options: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        translate(request, name=name, **options)
    assert caught.value.status == 400
    return caught.value


def function(tool_name: str = "f", **members: Any) -> Json:
    return {"type": "function", "function": {"name": tool_name} | members}


def call(call_id: str = "c1", tool_name: str = "f", arguments: str = "{}") -> Json:
    return {"id": call_id, "type": "function", "function": {"name": tool_name, "arguments": arguments}}
