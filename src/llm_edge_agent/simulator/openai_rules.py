"""What OpenAI refuses beyond the shape of the body: rules between members, of the model, and of the conversation."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from llm_edge_agent.simulator.catalog import OpenAIModel
from llm_edge_agent.simulator.openai_errors import invalid, only_default, quoted_list, unsupported
from llm_edge_agent.simulator.refusals import Refused
from llm_edge_agent.simulator.schema_form import malformed

Body = Mapping[str, Any]

_IMAGE_TYPES = ("image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp")


def check(body: Body, model: OpenAIModel) -> None:
    """Raises Refused for the first rule that the (well-shaped) body breaks."""
    for rule in (_members, _model_members, _sampling, _effort, _tools, _conversation, _parts, _schemas):
        for refused in rule(body, model):
            raise refused


def effective_effort(body: Body, model: OpenAIModel) -> str:
    return str(body.get("reasoning_effort") or model.default_effort)


def served_tier(body: Body) -> str:
    """The service tier that a request gets, which the answer tells."""
    asked = body.get("service_tier") or "auto"
    return {"flex": "flex", "scale": "scale", "priority": "priority", "fast": "priority"}.get(asked, "default")


def effort_problems(effort: str | None, param: str, model: OpenAIModel) -> Iterator[Refused]:
    """What is wrong with the effort asked of a model; `param` is where the endpoint has it."""
    if effort is not None and model.efforts and effort not in model.efforts:
        yield invalid(
            f"Unsupported value: '{effort}' is not supported with the '{model.id}' model. "
            f"Supported values are: {quoted_list(model.efforts)}.",
            param,
            "unsupported_value",
        )


def _members(body: Body, model: OpenAIModel) -> Iterator[Refused]:
    if body.get("stream_options") is not None and not body.get("stream"):
        yield invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        yield invalid("The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs")
    if not body.get("tools"):
        for name in ("tool_choice", "parallel_tool_calls"):
            if name in body and body[name] != "none":
                yield invalid(f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified.", name)
    if "function_call" in body and not body.get("functions"):
        yield invalid(
            "Invalid value for 'function_call': 'function_call' is only allowed when 'functions' are specified.",
            "function_call",
        )
    if body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        yield invalid(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.", "max_tokens"
        )
    if "audio" in (body.get("modalities") or ()) and body.get("audio") is None:
        yield invalid("Missing required parameter: 'audio'.", "audio", "missing_required_parameter")


def _model_members(body: Body, model: OpenAIModel) -> Iterator[Refused]:
    if body.get("max_tokens") is not None and not model.takes_max_tokens:
        yield unsupported("max_tokens", " Use 'max_completion_tokens' instead.")
    for name in ("max_tokens", "max_completion_tokens"):
        limit = body.get(name)
        if limit is not None and limit > model.max_output_tokens:
            yield invalid(
                f"{name} is too large: {limit}. This model supports at most {model.max_output_tokens} completion "
                f"tokens, whereas you provided {limit}.",
                name,
                "invalid_value",
            )
    if body.get("stop") is not None and model.efforts:
        yield unsupported("stop")
    if body.get("prompt_cache_options") is not None and not model.bills_cache_writes:
        yield unsupported("prompt_cache_options")
    if "audio" in (body.get("modalities") or ()) and not model.audio:
        yield invalid(
            f"Invalid value: 'audio'. The model '{model.id}' does not support audio output.",
            "modalities",
            "unsupported_value",
        )
    if body.get("web_search_options") is not None and "search" not in model.id:
        yield invalid(
            f"Web search options not supported with this model: '{model.id}'.",
            "web_search_options",
            "unsupported_parameter",
        )


def _sampling(body: Body, model: OpenAIModel) -> Iterator[Refused]:
    if model.sampling == "yes" or (model.sampling == "effort_none" and effective_effort(body, model) == "none"):
        return
    temperature = body.get("temperature")
    if temperature is not None and temperature != 1:
        yield only_default("temperature", temperature, 1)
    for name, default in (("top_p", 1), ("presence_penalty", 0), ("frequency_penalty", 0)):
        value = body.get(name)
        if value is not None and value != default:
            yield unsupported(name)
    for name in ("logprobs", "top_logprobs", "logit_bias"):
        if body.get(name):
            yield unsupported(name)


def _effort(body: Body, model: OpenAIModel) -> Iterator[Refused]:
    effort = body.get("reasoning_effort")
    if effort is not None and not model.efforts:
        yield invalid("Unrecognized request argument supplied: reasoning_effort", "reasoning_effort")
    yield from effort_problems(effort, "reasoning_effort", model)


def _tools(body: Body, model: OpenAIModel) -> Iterator[Refused]:
    tools = body.get("tools") or ()
    has_functions = any(tool["type"] == "function" for tool in tools) or bool(body.get("functions"))
    if has_functions and _refuses_tools(body, model):
        can_do_without = "none" in model.efforts
        advice = "To use function tools, use /v1/responses"
        advice += " or set reasoning_effort to 'none'." if can_do_without else "."
        yield invalid(
            f"Function tools with reasoning_effort are not supported for {body['model']} in /v1/chat/completions. "
            f"{advice}",
            "reasoning_effort",
        )
    names = [tool[tool["type"]]["name"] for tool in tools]
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        wanted: list[str | None] = []
        if choice["type"] == "allowed_tools":
            for tool in choice["allowed_tools"]["tools"]:
                wanted.append(allowed_name(tool))
        else:
            wanted.append(choice[choice["type"]]["name"])
        for name in wanted:
            if name not in names:
                yield invalid(
                    f"Invalid value for 'tool_choice': tool '{name}' was not found in the list of tools.",
                    "tool_choice",
                    "invalid_value",
                )


def allowed_name(tool: Mapping[str, Any]) -> str | None:
    """The name in an entry of allowed_tools, whose form the API leaves open; None where it has none."""
    kind = tool.get("type")
    named = tool.get(kind) if isinstance(kind, str) else None
    name = named.get("name") if isinstance(named, dict) else None
    return name if isinstance(name, str) else None


def _refuses_tools(body: Body, model: OpenAIModel) -> bool:
    match model.tools_in_chat:
        case "no":
            return True
        case "effort_none":
            return effective_effort(body, model) != "none"
        case "explicit_effort":
            return body.get("reasoning_effort") not in (None, "none")
        case _:
            return False


def _conversation(body: Body, model: OpenAIModel) -> Iterator[Refused]:
    """Every tool message answers a call of the assistant message before it, and every call is answered."""
    waiting: list[str] = []
    known: set[str] = set()
    for index, message in enumerate(body["messages"]):
        role = message["role"]
        if role == "tool":
            if not known:
                yield invalid(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                    f"messages.[{index}].role",
                )
            if message["tool_call_id"] not in known:
                yield invalid(
                    f"Invalid parameter: 'tool_call_id' of '{message['tool_call_id']}' not found in 'tool_calls' of "
                    "previous message.",
                    f"messages.[{index}].tool_call_id",
                )
            waiting = [each for each in waiting if each != message["tool_call_id"]]
            continue
        if waiting:
            yield _unanswered(waiting, index)
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
        known = set(waiting)
        if role == "assistant" and not any(
            message.get(each) is not None for each in ("content", "tool_calls", "function_call", "refusal", "audio")
        ):
            yield invalid(
                f"Invalid value for 'content': expected a string, got null. (messages[{index}])",
                f"messages.[{index}].content",
            )
    if waiting:
        yield _unanswered(waiting, len(body["messages"]))


def _unanswered(waiting: list[str], index: int) -> Refused:
    return invalid(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(waiting)}",
        f"messages.[{index}].role",
    )


def _parts(body: Body, model: OpenAIModel) -> Iterator[Refused]:
    for index, message in enumerate(body["messages"]):
        parts = message.get("content")
        for position, part in enumerate(parts if isinstance(parts, list) else ()):
            where = f"messages.[{index}].content.[{position}]"
            match part["type"]:
                case "image_url":
                    if not model.vision:
                        message = "Invalid content type. image_url is only supported by certain models."
                        yield invalid(message, f"{where}.type")
                    yield from image_problems(part["image_url"]["url"], f"{where}.image_url.url")
                case "input_audio" if not model.audio:
                    yield invalid(
                        "Invalid content type. input_audio is only supported by certain models.", f"{where}.type"
                    )
                case "file":
                    yield from _file(part["file"], where)
            if "prompt_cache_breakpoint" in part and not model.bills_cache_writes:
                yield unsupported(f"messages[{index}].content[{position}].prompt_cache_breakpoint")


def image_problems(url: str, where: str) -> Iterator[Refused]:
    """What is wrong with the address of an image, or with the image where the address holds it."""
    if url.startswith("data:"):
        head, _, data = url.removeprefix("data:").partition(",")
        media_type = head.split(";")[0]
        if media_type not in _IMAGE_TYPES:
            yield invalid(
                "You uploaded an unsupported image. Please make sure your image has of one the following formats: "
                "['png', 'jpeg', 'gif', 'webp'].",
                where,
                "invalid_image_format",
            )
        if not head.endswith(";base64") or not is_base64(data):
            yield invalid("Invalid base64 image_url.", where, "invalid_base64")
    elif not url.startswith(("http://", "https://")):
        yield invalid(
            f"Invalid '{where}': expected a base64-encoded data URL with an image MIME type or an http(s) URL.",
            where,
            "invalid_image_url",
        )


def is_base64(data: str) -> bool:
    try:
        return bool(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return False


def _file(file: Mapping[str, str], where: str) -> Iterator[Refused]:
    if ("file_id" in file) == ("file_data" in file):
        yield invalid("Exactly one of 'file_id' and 'file_data' must be given.", f"{where}.file")
    if "file_data" in file and "filename" not in file:
        yield invalid(
            f"Missing required parameter: '{where}.file.filename'.",
            f"{where}.file.filename",
            "missing_required_parameter",
        )


def _schemas(body: Body, model: OpenAIModel) -> Iterator[Refused]:
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_object" and b"json" not in msgspec.json.encode(body["messages"]).lower():
        yield invalid(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            "messages",
        )
    if wanted.get("type") == "json_schema":
        outer = wanted["json_schema"]
        if found := schema_problem(outer.get("schema", {}), outer.get("strict")):
            yield invalid(f"Invalid schema for response_format '{outer['name']}': {found}", "response_format")
    functions = [
        (f"tools[{index}].function", tool.get("function")) for index, tool in enumerate(body.get("tools") or ())
    ]
    functions += [(f"functions[{index}]", each) for index, each in enumerate(body.get("functions") or ())]
    for where, function in functions:
        if function and (found := schema_problem(function.get("parameters", {}), function.get("strict"))):
            yield invalid(
                f"Invalid schema for function '{function['name']}': {found}",
                f"{where}.parameters",
                "invalid_function_parameters",
            )


def schema_problem(schema: Mapping[str, Any], strict: bool | None) -> str | None:
    """Why the schema is none, or none for strict mode where that is asked for; None if it is good."""
    return malformed(schema) or (strict_problem(schema) if strict else None)


def strict_problem(schema: Mapping[str, Any]) -> str | None:
    """What strict mode refuses: a root that is no object, open objects, members that are not required."""
    if schema.get("type") != "object" or "anyOf" in schema:
        got = msgspec.json.encode(schema.get("type")).decode()
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: {got}'."
    return _strict(schema, ())


def _strict(schema: Any, context: tuple[str, ...]) -> str | None:
    if isinstance(schema, list):
        return next((found for each in schema if (found := _strict(each, context))), None)
    if not isinstance(schema, dict):
        return None
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") is not False:
            return f"In context={context}, 'additionalProperties' is required to be supplied and to be false."
        missing = [key for key in schema.get("properties", {}) if key not in (schema.get("required") or ())]
        if missing:
            return (
                f"In context={context}, 'required' is required to be supplied and to be an array including every key "
                f"in properties. Missing '{missing[0]}'."
            )
    for key in ("properties", "$defs", "definitions"):
        for name, each in (schema.get(key) or {}).items():
            if found := _strict(each, (*context, key, name)):
                return found
    for key in ("items", "anyOf", "allOf"):
        if key in schema and (found := _strict(schema[key], (*context, key))):
            return found
    return None
