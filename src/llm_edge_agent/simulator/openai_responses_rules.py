"""What OpenAI's Responses API refuses beyond the shape of the body: rules of members, of the model, and of items."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from llm_edge_agent.simulator.catalog import OpenAIModel
from llm_edge_agent.simulator.openai_errors import invalid, unsupported
from llm_edge_agent.simulator.openai_rules import effort_problems, image_problems, schema_problem
from llm_edge_agent.simulator.openai_sealed_reasoning import opened
from llm_edge_agent.simulator.refusals import Refused

Body = Mapping[str, Any]
Item = Mapping[str, Any]

_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fc",
    "custom_tool_call": "ctc",
    "reasoning": "rs",
}
_CALLS = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


def kind(item: Item) -> str:
    return str(item.get("type", "message"))


def effective_effort(body: Body, model: OpenAIModel) -> str:
    return str((body.get("reasoning") or {}).get("effort") or model.default_effort)


def check(body: Body, model: OpenAIModel) -> None:
    """Raises Refused for the first rule between members that the (well-shaped) body breaks."""
    for rule in (_members, _sampling, _reasoning, _tools, _text):
        for refused in rule(body, model):
            raise refused


def check_items(items: Sequence[Item], first: int, model: OpenAIModel) -> None:
    """Raises Refused for the first thing wrong with a conversation. `items[first:]` are the request's own input."""
    for index, item in enumerate(items[first:]):
        for refused in _item(item, index, model):
            raise refused
    for refused in _pairs(items):
        raise refused


def _members(body: Body, model: OpenAIModel) -> Iterator[Refused]:
    if body.get("stream_options") is not None and not body.get("stream"):
        yield invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    if body.get("previous_response_id") and body.get("conversation"):
        yield invalid(
            "Mutually exclusive parameters: 'previous_response_id' and 'conversation'. Provide one of them.",
            "previous_response_id",
            "mutually_exclusive_parameters",
        )
    limit = body.get("max_output_tokens")
    if limit is not None and limit > model.max_output_tokens:
        yield invalid(
            f"Invalid 'max_output_tokens': integer above maximum value. Expected a value <= "
            f"{model.max_output_tokens}, but got {limit} instead.",
            "max_output_tokens",
            "integer_above_max_value",
        )
    if body.get("prompt_cache_options") is not None and not model.bills_cache_writes:
        yield unsupported("prompt_cache_options")
    if body.get("background"):
        yield invalid("Background mode is not available to this organization.", "background", "unsupported_parameter")
    if body.get("conversation"):
        named = body["conversation"]
        name = named if isinstance(named, str) else named["id"]
        yield invalid(f"Conversation with id '{name}' not found.", "conversation", status=404)
    if body.get("prompt"):
        yield invalid(f"Prompt with id '{body['prompt']['id']}' not found.", "prompt", status=404)


def _sampling(body: Body, model: OpenAIModel) -> Iterator[Refused]:
    if model.sampling == "yes" or (model.sampling == "effort_none" and effective_effort(body, model) == "none"):
        return
    for name in ("temperature", "top_p"):
        if body.get(name) is not None:
            yield unsupported(name)
    if body.get("top_logprobs") or "message.output_text.logprobs" in (body.get("include") or ()):
        yield invalid("logprobs are not supported with reasoning models.", "include", "unsupported_parameter")


def _reasoning(body: Body, model: OpenAIModel) -> Iterator[Refused]:
    reasoning = body.get("reasoning") or {}
    effort = reasoning.get("effort")
    if not model.efforts:
        for name in ("effort", "summary"):
            if reasoning.get(name) not in (None, "none"):
                yield unsupported(f"reasoning.{name}")
        if "reasoning.encrypted_content" in (body.get("include") or ()):
            yield invalid("Encrypted content is not supported with this model.", "include", "unsupported_parameter")
    yield from effort_problems(effort, "reasoning.effort", model)


def _tools(body: Body, model: OpenAIModel) -> Iterator[Refused]:
    tools = body.get("tools") or ()
    for index, tool in enumerate(tools):
        if tool["type"] != "function":
            continue
        if found := schema_problem(tool.get("parameters") or {}, tool.get("strict") and bool(tool.get("parameters"))):
            yield invalid(
                f"Invalid schema for function '{tool['name']}': {found}",
                f"tools[{index}].parameters",
                "invalid_function_parameters",
            )
    choice = body.get("tool_choice")
    if choice == "required" and not tools:
        yield invalid("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")
    if isinstance(choice, dict):
        named = choice["tools"] if choice["type"] == "allowed_tools" else [choice]
        present = [(tool["type"], tool.get("name")) for tool in tools]
        for each in named:
            if (each.get("type"), each.get("name")) not in present:
                wanted = each.get("name") or each.get("type")
                yield invalid(f"Tool choice '{wanted}' not found in 'tools' parameter.", "tool_choice")


def _text(body: Body, model: OpenAIModel) -> Iterator[Refused]:
    wanted = (body.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_object" and b"json" not in msgspec.json.encode(body.get("input")).lower():
        yield invalid(
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
            "'json_object'.",
            "input",
        )
    if wanted.get("type") == "json_schema" and (found := schema_problem(wanted["schema"], wanted.get("strict"))):
        yield invalid(
            f"Invalid schema for response_format '{wanted['name']}': {found}",
            "text.format.schema",
            "invalid_json_schema",
        )


def _item(item: Item, index: int, model: OpenAIModel) -> Iterator[Refused]:
    where = f"input[{index}]"
    prefix = _PREFIXES.get(kind(item))
    if prefix and item.get("id") is not None and not item["id"].startswith(prefix):
        yield invalid(
            f"Invalid '{where}.id': '{item['id']}'. Expected an ID that begins with '{prefix}'.",
            f"{where}.id",
            "invalid_value",
        )
    sealed = item.get("encrypted_content") if kind(item) == "reasoning" else None
    if sealed is not None and opened(sealed) is None:
        yield invalid(
            f"The encrypted content for item {item.get('id', '')} could not be verified. Reason: Encrypted content "
            "could not be decrypted or parsed.",
            code="invalid_encrypted_content",
        )
    content = item.get("content") or item.get("output")
    for position, part in enumerate(content if isinstance(content, list) else ()):
        if part["type"] == "input_image":
            yield from _image(part, f"{where}.content[{position}]", model)
        if part["type"] == "input_file":
            yield from _file(part, f"{where}.content[{position}]")
        if "prompt_cache_breakpoint" in part and not model.bills_cache_writes:
            yield unsupported(f"{where}.content[{position}].prompt_cache_breakpoint")


def _image(part: Item, where: str, model: OpenAIModel) -> Iterator[Refused]:
    if not model.vision:
        yield invalid("Invalid content type. input_image is only supported by certain models.", f"{where}.type")
    if (part.get("image_url") is None) == (part.get("file_id") is None):
        yield invalid("Exactly one of 'image_url' and 'file_id' must be given.", where)
    if part.get("file_id") is not None:
        yield invalid(f"File with id '{part['file_id']}' not found.", f"{where}.file_id", status=404)
    yield from image_problems(part["image_url"], f"{where}.image_url")


def _file(part: Item, where: str) -> Iterator[Refused]:
    if sum(part.get(name) is not None for name in ("file_data", "file_id", "file_url")) != 1:
        yield invalid("Exactly one of 'file_data', 'file_id' and 'file_url' must be given.", where)
    if part.get("file_data") is not None and "filename" not in part:
        yield invalid(
            f"Missing required parameter: '{where}.filename'.", f"{where}.filename", "missing_required_parameter"
        )
    if part.get("file_id") is not None:
        yield invalid(f"File with id '{part['file_id']}' not found.", f"{where}.file_id", status=404)


def _pairs(items: Sequence[Item]) -> Iterator[Refused]:
    """Calls and outputs belong together, in this order; reasoning leads to something."""
    open_calls: dict[tuple[str, str], None] = {}
    for index, item in enumerate(items):
        name = kind(item)
        if name in _CALLS:
            open_calls[_CALLS[name], item["call_id"]] = None
        elif name in _CALLS.values():
            if (name, item["call_id"]) not in open_calls:
                words = name.replace("_", " ")
                yield invalid(f"No tool call found for {words} with call_id {item['call_id']}.", "input")
            del open_calls[name, item["call_id"]]
        elif name == "reasoning":
            following = items[index + 1] if index + 1 < len(items) else None
            if following is None or (kind(following) == "message" and following.get("role") != "assistant"):
                yield invalid(
                    f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item.",
                    "input",
                )
    for name, call_id in open_calls:
        words = name.removesuffix("_output").replace("_", " ")
        yield invalid(f"No tool output found for {words} {call_id}.", "input")
