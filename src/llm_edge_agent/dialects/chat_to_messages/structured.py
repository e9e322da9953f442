"""The form of the answer that a request asks for: text, JSON, or JSON of a schema (mapping section 5)."""

from typing import NamedTuple

from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_to_messages.schema import prepare, reference_problem
from llm_edge_agent.dialects.chat_to_messages.tools import ToolPlan, add_schema_tool, checked_name
from llm_edge_agent.dialects.fields import (
    Json,
    Losses,
    invalid,
    members,
    missing,
    present,
    required_text,
    text,
    unsupported,
)

JSON_OBJECT_LINE = "Respond with a single JSON object and nothing else."

_PARAM = "response_format.json_schema"


class AnswerForm(NamedTuple):
    """How the form is asked for; at most one of the three is set."""

    format: Json | None = None
    """`output_config.format`."""
    tool: str | None = None
    """The forced tool whose input is the answer."""
    line: str | None = None
    """A sentence for the system prompt."""


def response_format(request: Json, model: Model, plan: ToolPlan, losses: Losses) -> AnswerForm:
    """Reads `response_format`; may add the tool that emulates it to `plan`. Raises GatewayError (400)."""
    wanted = present(members(request.get("response_format", {"type": "text"}), "response_format"))
    kind = required_text(wanted, "type", "response_format")
    if kind == "text":
        return AnswerForm()
    if kind == "json_object":
        return _json_object(losses)
    if kind != "json_schema":
        raise invalid(
            f"Invalid value: '{kind[:64]}'. Supported values are: text, json_object, json_schema.",
            "response_format.type",
        )
    if "json_schema" not in wanted:
        raise missing(_PARAM)
    described = present(members(wanted["json_schema"], _PARAM))
    if "schema" not in described:
        return _json_object(losses)
    schema = members(described["schema"], f"{_PARAM}.schema")
    description = text(described["description"], f"{_PARAM}.description") if "description" in described else None
    if model.rules.structured_outputs:
        return AnswerForm(format={"type": "json_schema", "schema": _prepared(schema, description, losses)})
    name = checked_name(text(described.get("name", "answer"), f"{_PARAM}.name"), f"{_PARAM}.name")
    return AnswerForm(tool=_emulated(name, description, schema, model, plan))


def _json_object(losses: Losses) -> AnswerForm:
    losses.changed("response_format")
    return AnswerForm(line=JSON_OBJECT_LINE)


def _prepared(schema: Json, description: str | None, losses: Losses) -> Json:
    problem = reference_problem(schema)
    if problem is not None:
        raise unsupported(
            f"The schema is not supported with this model: {problem}.", f"{_PARAM}.schema", "unsupported_value"
        )
    prepared, weaker = prepare(schema)
    if weaker:
        losses.changed("response_format")
    if description is not None:
        own = prepared.get("description")
        prepared["description"] = f"{description}\n\n{own}" if isinstance(own, str) else description
    return prepared


def _emulated(name: str, description: str | None, schema: Json, model: Model, plan: ToolPlan) -> str:
    if not (model.rules.forced_tool_choice and model.tools):
        raise unsupported(
            "Structured outputs are not supported with this model.", "response_format", "unsupported_value"
        )
    if schema.get("type", "object") != "object":
        raise unsupported(
            "The schema of a structured output must be an object with this model.",
            f"{_PARAM}.schema",
            "unsupported_value",
        )
    input_schema = {"type": "object"} | {key: value for key, value in schema.items() if key != "$schema"}
    return add_schema_tool(plan, name, description, input_schema)
