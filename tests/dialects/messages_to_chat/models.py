"""The shipped model table, and the translation with its ordinary settings."""

import json
from importlib.resources import files
from typing import Any

import pytest

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.core.models import Model, table_from_document
from llm_edge_agent.dialects.chat_to_messages.sent import TranslationOptions
from llm_edge_agent.dialects.messages_to_chat.request import translate_request
from llm_edge_agent.dialects.messages_to_chat.sent import Translated

Json = dict[str, Any]

TABLE = table_from_document(json.loads(files("llm_edge_agent").joinpath("data/models-and-prices.json").read_text()))
GPT = tuple(model for model in TABLE.models if model.dialect == "openai" and model.mode in ("chat", "responses"))

PLAIN = "gpt-4.1"
REASONING = "gpt-5.2"
NEWEST = "gpt-6-sol"
ALWAYS = "gpt-6-astra"
FOREIGN = "llama-4"


def model(name: str) -> Model:
    """A model of the table; a server of its own for names that the table does not hold."""
    found = TABLE.find(name)
    return found if found is not None else Model.unknown(name, "vllm", "openai")


def translate(request: Json, *, name: str = REASONING, ask_usage: bool = True, **options: Any) -> Translated:
    body = json.dumps({"model": name, "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]} | request)
    return translate_request(body.encode(), model(name), TranslationOptions(**options), ask_usage=ask_usage)


def out(request: Json, *, name: str = REASONING, **options: Any) -> Json:
    """The chat request, decoded."""
    answer: Json = json.loads(translate(request, name=name, **options).body)
    return answer


def refused(request: Json, *, name: str = REASONING, **options: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        translate(request, name=name, **options)
    assert caught.value.status == 400
    return caught.value


def user(*blocks: Json) -> Json:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def tool(tool_name: str = "f", **members: Any) -> Json:
    return {"name": tool_name, "input_schema": {"type": "object", "properties": {}}} | members


def loop(*results: Json, **members: Any) -> Json:
    """A conversation in which tools were called: `results` are the blocks of the user's last message."""
    calls = [{"type": "tool_use", "id": each, "name": "f", "input": {"a": 1}} for each in ("a", "b")]
    return {
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [{"type": "text", "text": "So."}, *calls]},
            {"role": "user", "content": list(results)},
        ],
        "tools": [tool()],
        **members,
    }
