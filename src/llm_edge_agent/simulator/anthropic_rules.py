"""What Anthropic refuses beyond the shape of the body: rules of the model, of the API version, and of thinking."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from llm_edge_agent.simulator import anthropic_conversation
from llm_edge_agent.simulator.anthropic_conversation import NEWEST_VERSION, blocks, merged
from llm_edge_agent.simulator.anthropic_errors import invalid
from llm_edge_agent.simulator.catalog import AnthropicModel
from llm_edge_agent.simulator.refusals import Refused
from llm_edge_agent.simulator.schema_form import malformed
from llm_edge_agent.simulator.schema_instances import resolved

Body = Mapping[str, Any]

MAX_BREAKPOINTS = 4
MAX_STRICT_TOOLS = 20
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
_UNSUPPORTED = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems"),
    "object": ("minProperties", "maxProperties"),
}


def check(body: Body, model: AnthropicModel, version: str) -> None:
    """Raises Refused for the first rule that the (well-shaped) body breaks."""
    rules = (
        _limits(body, model),
        _sampling(body, model, version),
        _tools(body, model),
        _thinking(body, model),
        _effort(body, model),
        _format(body, model),
        _system(body),
        anthropic_conversation.check(body["messages"], model, version),
        _thinking_in_history(body),
        _breakpoints(body),
    )
    for rule in rules:
        for refused in rule:
            raise refused


def thinking_on(body: Body, model: AnthropicModel) -> bool:
    """Whether the model thinks before it answers this request."""
    kind = (body.get("thinking") or {}).get("type")
    if kind == "between_tools":
        last = merged(body["messages"])[-1]
        return any(block["type"] == "tool_result" for block in last.blocks)
    return kind in ("enabled", "adaptive") or (kind is None and model.thinks_by_default)


def _limits(body: Body, model: AnthropicModel) -> Iterator[Refused]:
    limit = body.get("max_tokens")
    if limit is not None and limit > model.max_output_tokens:
        yield invalid(
            f"max_tokens: {limit} > {model.max_output_tokens}, which is the maximum allowed number of output tokens "
            f"for {model.id}"
        )
    if any(not stop.strip() for stop in body.get("stop_sequences") or ()):
        yield invalid("stop_sequences: each stop sequence must contain non-whitespace")


def _sampling(body: Body, model: AnthropicModel, version: str) -> Iterator[Refused]:
    given = [name for name in ("temperature", "top_p", "top_k") if name in body]
    if given and version == NEWEST_VERSION:
        yield invalid(f"`{given[0]}` is not supported on anthropic-version {NEWEST_VERSION}.")
    if not model.sampling:
        for name in given:
            if name == "top_k" or body[name] != 1:
                yield invalid(f"`{name}` is deprecated for this model.")
    if not model.temperature_and_top_p and "temperature" in body and "top_p" in body:
        yield invalid("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")


def _tools(body: Body, model: AnthropicModel) -> Iterator[Refused]:
    tools = body.get("tools") or ()
    names = [tool["name"] for tool in tools if "name" in tool]
    if len(set(names)) != len(names):
        yield invalid("tools: Tool names must be unique.")
    choice = body.get("tool_choice") or {}
    if choice and not tools:
        yield invalid("tool_choice: may only be specified while providing tools")
    if choice.get("type") == "tool" and choice["name"] not in names:
        yield invalid(f"tool_choice: Tool '{choice['name']}' not found in provided tools")
    if choice.get("type") in ("any", "tool"):
        if not model.forced_tools:
            yield invalid(f"tool_choice: forced tool use (`{choice['type']}`) is not supported for this model.")
        if thinking_on(body, model) and "thinking" in body:
            yield invalid("Thinking may not be enabled when tool_choice forces tool use.")
        if thinking_on(body, model) and "disabled" not in model.thinking_types:
            yield invalid("Thinking may not be enabled when tool_choice forces tool use.")
    for index, tool in enumerate(tools):
        if found := malformed(tool.get("input_schema", {})):
            yield invalid(
                f"tools.{index}.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft 2020-12 "
                f"(https://json-schema.org/draft/2020-12): {found}"
            )
        if tool.get("strict") and (found := schema_problem(tool.get("input_schema", {}))):
            yield invalid(f"tools.{index}.custom.input_schema: {found}")
    strict = sum(1 for tool in tools if tool.get("strict"))
    if strict > MAX_STRICT_TOOLS:
        yield invalid(f"tools: Too many strict tools ({strict}). The maximum number supported is {MAX_STRICT_TOOLS}.")
    if not tools and any(
        block["type"] in ("tool_use", "tool_result")
        for message in body["messages"]
        for block in blocks(message["content"])
    ):
        yield invalid("Requests which include `tool_use` or `tool_result` blocks must define tools")


def _thinking(body: Body, model: AnthropicModel) -> Iterator[Refused]:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking["type"]
    effort = (body.get("output_config") or {}).get("effort") or model.default_effort
    if kind not in model.thinking_types:
        # Models that think only when asked take `disabled` whether or not the table lists it.
        if kind == "enabled" and "adaptive" in model.thinking_types:
            yield invalid(
                '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
                '"output_config.effort" to control thinking behavior.'
            )
        elif kind == "disabled" and "between_tools" in model.thinking_types:
            yield invalid(
                '"thinking.type.disabled" is not supported for this model. Use "thinking.type.between_tools" instead.'
            )
        elif kind == "adaptive":
            yield invalid("adaptive thinking is not supported on this model")
        else:
            yield invalid(f'"thinking.type.{kind}" is not supported for this model.')
    if kind == "disabled" and model.thinks_by_default and effort in ("xhigh", "max"):
        yield invalid('"thinking.type.disabled" is only supported at effort `high` or lower for this model.')
    if kind == "between_tools" and effort not in ("low", "medium", "high"):
        yield invalid('"thinking.type.between_tools" is only supported at effort `low`, `medium` or `high`.')
    if kind == "enabled" and "max_tokens" in body and thinking["budget_tokens"] >= body["max_tokens"]:
        yield invalid(
            "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at "
            "https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size"
        )
    if kind in ("enabled", "adaptive"):
        if body.get("temperature", 1) != 1:
            yield invalid("`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.")
        if "top_k" in body:
            yield invalid("`top_k` must be unset when thinking is enabled or in adaptive mode.")
        if not 0.95 <= body.get("top_p", 1) <= 1:
            yield invalid(
                "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled or in adaptive mode."
            )


def _effort(body: Body, model: AnthropicModel) -> Iterator[Refused]:
    effort = (body.get("output_config") or {}).get("effort")
    if effort is None:
        return
    if not model.efforts:
        yield invalid("This model does not support the effort parameter.")
    elif effort not in model.efforts:
        levels = ", ".join(sorted(model.efforts))
        yield invalid(f"This model does not support effort level '{effort}'. Supported levels: {levels}.")


def _format(body: Body, model: AnthropicModel) -> Iterator[Refused]:
    wanted = (body.get("output_config") or {}).get("format")
    if wanted is None:
        return
    if not model.structured_outputs:
        yield invalid(f"'{model.id}' does not support output format.")
    if found := malformed(wanted["schema"]) or schema_problem(wanted["schema"]):
        yield invalid(f"output_config.format.schema: {found}")
    if body["messages"] and body["messages"][-1]["role"] == "assistant":
        yield invalid("Prefilling assistant messages is not supported when using output format.")
    for message in body["messages"]:
        for block in blocks(message["content"]):
            cited = block["type"] in ("document", "search_result") and block.get("citations")
            if cited and cited.get("enabled"):
                yield invalid("Citations are not supported when using output format.")


def _system(body: Body) -> Iterator[Refused]:
    system = body.get("system")
    if isinstance(system, list) and any(not block["text"] for block in system):
        yield invalid("system: text content blocks must be non-empty")


def _thinking_in_history(body: Body) -> Iterator[Refused]:
    """With `enabled` thinking, the assistant turn of a running tool loop starts with its thinking."""
    if (body.get("thinking") or {}).get("type") != "enabled":
        return
    turns = merged(body["messages"])
    if len(turns) < 2 or turns[-2].role != "assistant" or not turns[-2].blocks:
        return
    if not any(block["type"] == "tool_result" for block in turns[-1].blocks):
        return
    first = turns[-2].blocks[0]["type"]
    if first not in ("thinking", "redacted_thinking"):
        yield invalid(
            f"messages.{turns[-2].index}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
            f"`{first}`. When `thinking` is enabled, a final `assistant` message must start with a thinking block "
            "(preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
        )


def _breakpoints(body: Body) -> Iterator[Refused]:
    found = breakpoints(body)
    if len(found) > MAX_BREAKPOINTS:
        yield invalid(f"A maximum of {MAX_BREAKPOINTS} blocks with cache_control may be provided. Found {len(found)}.")
    if "5m" in found and "1h" in found[found.index("5m") :]:
        yield invalid(
            "cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. "
            "Note that blocks are processed in the following order: `tools`, `system`, `messages`."
        )


def breakpoints(body: Body) -> list[str]:
    """The lifetimes that `cache_control` asks for, in the order of the cache: tools, system, messages, the whole."""
    parts = [body.get("tools"), body.get("system"), body.get("messages"), {"cache_control": body.get("cache_control")}]
    return [ttl for part in parts for ttl in _marked(part)]


def _marked(value: Any) -> Iterator[str]:
    """At any depth but inside schemas and tool inputs; a block comes after what it holds."""
    if isinstance(value, list):
        for each in value:
            yield from _marked(each)
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key not in ("input", "input_schema", "cache_control"):
                yield from _marked(each)
        if value.get("cache_control"):
            yield value["cache_control"].get("ttl") or "5m"


def schema_problem(schema: Any) -> str | None:
    """The first thing in a schema that the grammar compiler does not take, or None."""
    return _uncompilable(schema, schema, ())


def _uncompilable(schema: Any, root: Any, within: tuple[str, ...]) -> str | None:
    """`within` holds the references that led here: one of them again would be a recursive schema."""
    if isinstance(schema, list):
        return next((found for each in schema if (found := _uncompilable(each, root, within))), None)
    if not isinstance(schema, Mapping):
        return None
    reference = schema.get("$ref")
    if isinstance(reference, str):
        if not reference.startswith("#"):
            return f"External $ref '{reference}' is not supported"
        if reference in within:
            return f"Circular reference detected in schema definitions: {reference}"
        if found := _uncompilable(resolved(root, reference), root, (*within, reference)):
            return found
    kinds = schema.get("type")
    for kind in kinds if isinstance(kinds, list) else (kinds,):
        if found := _unsupported(str(kind), schema):
            return found
    for key in ("properties", "$defs", "definitions"):
        for each in (schema.get(key) or {}).values():
            if found := _uncompilable(each, root, within):
                return found
    return next(
        (
            found
            for key in ("items", "anyOf", "allOf")
            if key in schema and (found := _uncompilable(schema[key], root, within))
        ),
        None,
    )


def _unsupported(kind: str, schema: Mapping[str, Any]) -> str | None:
    if kind == "object" and schema.get("additionalProperties") is not False:
        return "For 'object' type, 'additionalProperties' must be explicitly set to false"
    for name in _UNSUPPORTED.get(kind, ()):
        if name in schema:
            return f"For '{kind}' type, property '{name}' is not supported"
    if kind == "array" and schema.get("minItems", 0) > 1:
        return f"For 'array' type, 'minItems' values other than 0 or 1 are not supported. Found: {schema['minItems']}"
    if kind == "string" and "format" in schema and schema["format"] not in _FORMATS:
        return f"For 'string' type, 'format' value '{schema['format']}' is not supported"
    if kind == "string" and re.search(r"\(\?<?[=!]", str(schema.get("pattern", ""))):
        return "For 'string' type, 'pattern' with lookaround is not supported"
    return None
