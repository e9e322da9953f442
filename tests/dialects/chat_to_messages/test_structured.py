"""The form of the answer, natively and by a forced tool."""

from typing import Any

from tests.dialects.chat_to_messages import models
from tests.dialects.chat_to_messages.models import out, refused, translate

Json = dict[str, Any]


def structured(schema: Any, **members: Any) -> Json:
    return {"response_format": {"type": "json_schema", "json_schema": {"schema": schema} | members}}


def test_structured_output_without_a_schema_is_json_mode() -> None:
    assert translate(structured(None)) == translate({"response_format": {"type": "json_object"}})


def test_emulated_structured_output() -> None:
    body = out(structured({"$schema": "x", "properties": {}}), name=models.NO_SCHEMAS)
    assert body["tools"] == [{"name": "answer", "input_schema": {"type": "object", "properties": {}}}]
    error = refused(structured({"type": "array"}), name=models.NO_SCHEMAS)
    assert (error.code, error.param) == ("unsupported_value", "response_format.json_schema.schema")
    error = refused(structured({}, name="a b"), name=models.NO_SCHEMAS)
    assert (error.code, error.param) == ("invalid_value", "response_format.json_schema.name")
    error = refused(structured({}), name=models.NO_TOOLS)
    assert (error.code, error.param) == ("unsupported_value", "response_format")
