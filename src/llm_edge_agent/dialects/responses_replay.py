"""A stored response told again: whole, or as the events that OpenAI would have sent for it.

Items and their parts are told in the order in which they stand. An item of a kind that grows piece by piece (text,
refusals, arguments, reasoning) opens empty and grows; any other opens complete.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from llm_edge_agent.dialects.provider_json import raw_number
from llm_edge_agent.dialects.stored_body import UNREADABLE, StoredBody, text_pieces

_PLACES = ("id", "created_at", "completed_at")

_ARGUMENTS = {
    "function_call": ("arguments", "response.function_call_arguments"),
    "custom_tool_call": ("input", "response.custom_tool_call_input"),
    "mcp_call": ("arguments", "response.mcp_call_arguments"),
}
"""Item type -> the member that grows, and the stem of its events."""

_TEXTS = {
    "output_text": ("text", "response.output_text"),
    "refusal": ("refusal", "response.refusal"),
    "reasoning_text": ("text", "response.reasoning_text"),
}
"""Part type -> the same."""

_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=raw_number)
_encode = msgspec.json.encode


def responses_replay(body: bytes) -> "ResponsesReplay | None":
    """The response made ready to be stored, or None where it could not be told again in both framings."""
    try:
        return ResponsesReplay(body)
    except UNREADABLE:
        return None


class ResponsesReplay:
    """A `Replay`: the provider's bytes, but for id and times. Its stream is made anew each time: it says everything
    three times over, and would outweigh what the cache counts for the entry."""

    __slots__ = ("_body", "_whole")

    def __init__(self, body: bytes) -> None:
        """Raises one of `UNREADABLE` where the body is no response as OpenAI sends them."""
        self._whole = StoredBody(body, _PLACES)
        self._body = body
        self.stream(b"", b"0", None, show_usage=False)  # one that fails must fail here

    def whole(self, suffix: bytes, created: bytes, metadata: bytes | None) -> bytes:
        return self._whole.render(_values(suffix, created))

    def stream(self, suffix: bytes, created: bytes, metadata: bytes | None, *, show_usage: bool) -> bytes:
        values = _values(suffix, created)
        response = _decoder.decode(self._body)
        begun: dict[str, Any] = {"status": "in_progress", "output": [], "usage": None, "completed_at": None}
        announced = _encode({key: begun.get(key, value) for key, value in response.items()})
        opening = StoredBody(announced, _PLACES).render(values)
        events = [_event(kind, number, told) for number, (kind, told) in enumerate(_items(response["output"]), 2)]
        closing = b" ".join(self._whole.render(values).splitlines())
        return b"".join(
            (
                _lifecycle(b"created", 0, opening),
                _lifecycle(b"in_progress", 1, opening),
                *events,
                _lifecycle(b"completed", 2 + len(events), closing),
            )
        )


def _values(suffix: bytes, created: bytes) -> dict[str, bytes]:
    return {"id": b'"resp_%b"' % suffix, "created_at": created, "completed_at": created}


def _lifecycle(name: bytes, number: int, response: bytes) -> bytes:
    return b'event: response.%b\ndata: {"type":"response.%b","sequence_number":%d,"response":%b}\n\n' % (
        name,
        name,
        number,
        response,
    )


def _event(kind: str, number: int, members: Mapping[str, Any]) -> bytes:
    data = _encode({"type": kind, "sequence_number": number, **members})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


def _items(output: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, item in enumerate(output):
        place = {"output_index": index}
        opening = dict(item)
        within: list[tuple[str, dict[str, Any]]] = []
        named = {**place, "item_id": item["id"]} if "id" in item else place
        if "status" in opening:
            opening["status"] = "in_progress"
        kind = item["type"]
        if kind in _ARGUMENTS:
            member, stem = _ARGUMENTS[kind]
            opening[member] = ""
            within = list(_growth(stem, member, item[member], named))
        elif kind in ("message", "reasoning"):
            if item.get("summary"):
                opening["summary"] = []
                within += _summary(item["summary"], named)
            if item.get("content"):
                opening["content"] = []
                within += _parts(item["content"], named)
        yield "response.output_item.added", {**place, "item": opening}
        yield from within
        yield "response.output_item.done", {**place, "item": item}


def _growth(stem: str, member: str, text: str, place: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for piece in text_pieces(text):
        yield f"{stem}.delta", {**place, "delta": piece}
    yield f"{stem}.done", {**place, member: text}


def _parts(content: list[dict[str, Any]], named: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, part in enumerate(content):
        place = {**named, "content_index": index}
        if part["type"] not in _TEXTS:
            yield "response.content_part.added", {**place, "part": part}
        else:
            member, stem = _TEXTS[part["type"]]
            opening = {**part, member: ""}
            for grown in ("annotations", "logprobs"):
                if grown in part:
                    opening[grown] = []
            yield "response.content_part.added", {**place, "part": opening}
            logprobs = part.get("logprobs") or []
            for event, members in _growth(stem, member, part[member], place):
                if stem == "response.output_text":
                    members["logprobs"] = logprobs if event.endswith(".done") else []
                yield event, members
            for number, annotation in enumerate(part.get("annotations") or ()):
                yield (
                    "response.output_text.annotation.added",
                    {**place, "annotation_index": number, "annotation": annotation},
                )
        yield "response.content_part.done", {**place, "part": part}


def _summary(summary: list[dict[str, Any]], named: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, part in enumerate(summary):
        place = {**named, "summary_index": index}
        yield "response.reasoning_summary_part.added", {**place, "part": {**part, "text": ""}}
        yield from _growth("response.reasoning_summary_text", "text", part["text"], place)
        yield "response.reasoning_summary_part.done", {**place, "part": part}
