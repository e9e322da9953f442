"""Asks a simulator without a socket: its handler is called as the server would."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_edge_agent.http.messages import Complete, Request, Streaming, header_pairs
from llm_edge_agent.simulator import Simulator, SimulatorSettings

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
OPENAI_KEY = {"authorization": "Bearer sk-test"}
ANTHROPIC_KEY = {"x-api-key": "sk-ant-test", "anthropic-version": "2023-06-01"}


class Collected:
    """A sink that keeps what is written."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.ending: str | None = None

    def ended(self) -> bool:
        return self.ending is not None

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def end(self, last: bytes = b"", trailers: bytes = b"") -> None:
        if last:
            self.writes.append(last)
        self.ending = "end"

    def cut(self) -> None:
        self.ending = "cut"


@dataclass
class Got:
    status: int
    headers: dict[str, str]
    body: bytes
    ending: str | None = None
    writes: list[bytes] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]

    @property
    def events(self) -> list[Any]:
        """The JSON of each data line, `[DONE]` left out."""
        lines = [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]


def request(path: str, body: object, headers: Mapping[str, str], method: str = "POST") -> Request:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"content-type": "application/json", **headers}
    return Request(
        method, path, "", {name.encode(): value.encode("latin-1") for name, value in sent.items() if value}, body=raw
    )


async def ask(
    simulator: Simulator, path: str, body: object, headers: Mapping[str, str] | None = None, method: str = "POST"
) -> Got:
    """The whole reply; a stream is collected to its end."""
    if headers is None:
        headers = ANTHROPIC_KEY if path.startswith(MESSAGES) else OPENAI_KEY
    reply: Complete | Streaming
    handled = simulator.handle(request(path, body, headers, method))
    reply = handled if isinstance(handled, Complete) else await handled
    found = {name.decode(): value.decode("latin-1") for name, value in header_pairs(reply.headers)}
    if isinstance(reply, Complete):
        return Got(reply.status, found, reply.body)
    sink = Collected()
    reply.start(sink)
    while not sink.ended():
        await asyncio.sleep(0.001)
    return Got(reply.status, found, b"".join(sink.writes), sink.ending, sink.writes)


async def started(simulator: Simulator, path: str, body: object) -> tuple[Streaming, Collected]:
    """A stream under way."""
    handled = simulator.handle(request(path, body, ANTHROPIC_KEY if path == MESSAGES else OPENAI_KEY))
    assert not isinstance(handled, Complete)
    reply = await handled
    assert not isinstance(reply, Complete)
    sink = Collected()
    reply.start(sink)
    return reply, sink


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def chat(text: str = "hello", model: str = "gpt-4o", **members: Any) -> dict[str, Any]:
    return {"model": model, "messages": [user(text)], **members}


def message(text: str = "hello", model: str = "claude-haiku-4-5", **members: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 1000, "messages": [user(text)], **members}


def simulator(**settings: Any) -> Simulator:
    return Simulator(SimulatorSettings(**settings))


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


def function(tool_name: str = "get_weather", /, **members: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": tool_name, "parameters": SCHEMA, **members}}


def tool(tool_name: str = "get_weather", /, **members: Any) -> dict[str, Any]:
    return {"name": tool_name, "input_schema": SCHEMA, **members}
