"""What the tests of this suite ask, and how they read the answers."""

import base64
import time
from typing import Any

from anthropic.types import Message

from tests.canaries import prompt

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [
    {"name": name, "description": f"Get the {what} of a city", "input_schema": SCHEMA}
    for name, what in (("get_weather", "weather"), ("get_time", "local time"))
]


def user(content: Any) -> Any:
    return {"role": "user", "content": content}


def once(text: str) -> list[Any]:
    """A question that no other test asks, so that no answer comes from a cache."""
    return [user(f"{prompt(text)} ({time.monotonic_ns()})")]


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def calls_of(message: Message) -> list[Any]:
    return [block for block in message.content if block.type == "tool_use"]


def spoken(message: Message) -> Any:
    """The answer as the next request quotes it."""
    content = [block.model_dump(mode="json", exclude_none=True, by_alias=True) for block in message.content]
    return {"role": "assistant", "content": content}


def results(message: Message, **members: Any) -> Any:
    return user(
        [
            {"type": "tool_result", "tool_use_id": call.id, "content": f"result of {call.name}", **members}
            for call in calls_of(message)
        ]
    )


def pdf(pages: int) -> Any:
    """A document block with as much of a PDF as there has to be."""
    page = b"<</Type /Page /Parent 1 0 R>>\n"
    data = b"%PDF-1.7\n<</Type /Pages>>\n" + page * pages + b"%%EOF"
    source = {"type": "base64", "media_type": "application/pdf", "data": base64.b64encode(data).decode()}
    return {"type": "document", "source": source, "title": "Report"}
