"""The shipped model table, and the translation with its ordinary settings."""

import json
from importlib.resources import files
from typing import Any

import pytest

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.models import Model, table_from_document
from llm_edge_agent.dialects.chat_to_messages.request import translate_request
from llm_edge_agent.dialects.chat_to_messages.sent import Translated, TranslationOptions

Json = dict[str, Any]

TABLE = table_from_document(json.loads(files("llm_edge_agent").joinpath("data/models-and-prices.json").read_text()))
CLAUDE = tuple(model for model in TABLE.models if model.dialect == "anthropic")

ALWAYS = "claude-opus-5-5"
BETWEEN_TOOLS = "claude-sonnet-5-5"
DEFAULT_ON = "claude-sonnet-5"
ADAPTIVE = "claude-opus-4-8"
ADAPTIVE_OR_ENABLED = "claude-sonnet-4-6"
ENABLED_EFFORT = "claude-opus-4-5"
ENABLED = "claude-haiku-4-5"
NO_SCHEMAS = "claude-opus-4-1"
NO_THINKING = "claude-3-5-sonnet-20241022"
NO_TOOLS = "claude-2.1"


def model(name: str) -> Model:
    found = TABLE.find(name)
    assert found is not None
    return found


def translate(request: Json, *, name: str = ADAPTIVE, **options: Any) -> Translated:
    body = json.dumps({"model": name, "messages": [{"role": "user", "content": "Hi"}]} | request)
    return translate_request(body.encode(), model(name), TranslationOptions(**options))


def out(request: Json, *, name: str = ADAPTIVE, **options: Any) -> Json:
    """The Messages request, decoded."""
    answer: Json = json.loads(translate(request, name=name, **options).body)
    return answer


def refused(request: Json, *, name: str = ADAPTIVE, **options: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        translate(request, name=name, **options)
    assert caught.value.status == 400
    return caught.value


def function(tool_name: str = "f", **members: Any) -> Json:
    return {"type": "function", "function": {"name": tool_name} | members}


def call(call_id: str = "c1", tool_name: str = "f", arguments: str = "{}") -> Json:
    return {"id": call_id, "type": "function", "function": {"name": tool_name, "arguments": arguments}}
