"""Golden folders: what comes in, and byte for byte what must go out. Each pair of dialects has a directory of cases."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import pytest
from openai.types.chat import ChatCompletionChunk

from llm_edge_agent.core.errors import GatewayError
from llm_edge_agent.dialects.sse import SSEDecoder

Json = dict[str, Any]
CREATED = 1764000000


class Cases:
    """The cases of one pair."""

    def __init__(self, pair: str) -> None:
        self.root = Path(__file__).parents[1] / "golden" / pair
        self.all = sorted(path for path in self.root.iterdir() if path.is_dir())

    def having(self, name: str) -> pytest.MarkDecorator:
        """Parametrises a test with `case`: every folder that holds a file of this name."""
        cases = [pytest.param(case, id=case.name) for case in self.with_file(name)]
        assert cases
        return pytest.mark.parametrize("case", cases)

    def with_file(self, name: str) -> list[Path]:
        return [case for case in self.all if (case / name).exists()]

    def check_notes(self) -> None:
        """Every case says where it comes from and shows something."""
        for case in self.all:
            assert (case / "note.md").read_text().strip(), case
            assert any(case.glob("*.out.*")) or (case / "request.error.json").exists(), case


def load(path: Path) -> Json:
    document: Json = json.loads(path.read_bytes())
    return document


def options_of(case: Path) -> Json:
    return load(case / "options.json") if (case / "options.json").exists() else {}


def summary(error: GatewayError) -> Json:
    return {
        "kind": error.kind.name,
        "status": error.status,
        "type": error.type,
        "code": error.code,
        "param": error.param,
        "message": error.message,
    }


def error_input(case: Path) -> tuple[int, dict[bytes, bytes], bytes]:
    given = load(case / "error.in.json")
    body = given["body"] if isinstance(given["body"], str) else json.dumps(given["body"])
    return given["status"], {k.encode(): v.encode() for k, v in given["headers"].items()}, body.encode()


def consume(value: Any) -> None:
    """Pydantic checks an iterable only when it is read."""
    if isinstance(value, dict):
        for item in value.values():
            consume(item)
    elif isinstance(value, Iterable) and not isinstance(value, str):
        for item in value:
            consume(item)


def whole_characters(payload: bytes) -> Json:
    """The object with half surrogate pairs made whole characters: the vendors' types take no half ones."""
    text = json.dumps(json.loads(payload), ensure_ascii=False)
    document: Json = json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    return document


class ChunkMachine(Protocol):
    """A stream of another dialect on its way to chat chunks."""

    def feed(self, event: str, data: bytes) -> list[bytes]: ...
    def finish(self) -> list[bytes]: ...


def told_chunks(stream: ChunkMachine, pieces: Iterable[bytes]) -> tuple[bytes, GatewayError | None]:
    """What a client of Chat Completions is told of an upstream stream that comes in these pieces; each chunk is one to
    the vendor's own type."""
    decoder = SSEDecoder()
    payloads: list[bytes] = []
    error = None
    try:
        for piece in pieces:
            for event, data in decoder.feed(piece):
                payloads += stream.feed(event, data)
        for event, data in decoder.finish():
            payloads += stream.feed(event, data)
        payloads += stream.finish()
    except GatewayError as raised:
        error = raised
    for payload in payloads:
        _chunk_is_valid(payload)
    return b"".join(b"data: " + payload + b"\n\n" for payload in payloads), error


def _chunk_is_valid(payload: bytes) -> None:
    chunk = whole_characters(payload)
    for choice in chunk["choices"]:
        for call in choice["delta"].get("tool_calls", []):
            if call.get("type") == "custom":  # the vendor's chunk type lists function only, its answer type both
                call["type"] = "function"
    ChatCompletionChunk.model_validate(chunk)
