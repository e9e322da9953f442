"""Chat messages as the input items of a Responses request (mapping section 9)."""

from typing import Any

from llm_edge_agent.dialects.fields import (
    Json,
    Losses,
    invalid,
    items,
    members,
    missing,
    present,
    required_text,
    text,
    unsupported,
)
from llm_edge_agent.dialects.gateway_signature import KeptReasoning, kept_reasoning

_ROLES = "system, developer, user, assistant, tool"


class ItemReader:
    """Reads the messages of one request, in order. Raises GatewayError (400) naming the place."""

    def __init__(self, losses: Losses) -> None:
        self.items: list[Json] = []
        self._losses = losses
        self._custom_calls: set[str] = set()

    def read(self, messages: object) -> None:
        for index, entry in enumerate(items(messages, "messages")):
            place = f"messages[{index}]"
            message = present(members(entry, place))
            role = required_text(message, "role", place)
            if "name" in message:
                self._losses.dropped("name", param=f"{place}.name")
            if role in ("system", "developer", "user"):
                content = self._input(message, place)
                self.items.append({"type": "message", "role": role, "content": content})
            elif role == "assistant":
                self._read_assistant(message, place)
            elif role == "tool":
                self._read_result(message, place)
            else:
                raise unsupported(
                    f"Messages of role '{role[:64]}' are not supported by this model. Supported roles are: {_ROLES}.",
                    f"{place}.role",
                    "unsupported_value",
                )

    def _input(self, message: Json, place: str) -> str | list[Json]:
        if "content" not in message:
            raise missing(f"{place}.content")
        content = message["content"]
        if isinstance(content, str):
            return content
        return [
            _input_part(present(members(part, f"{place}.content[{index}]")), f"{place}.content[{index}]")
            for index, part in enumerate(items(content, f"{place}.content"))
        ]

    def _read_assistant(self, message: Json, place: str) -> None:
        if "audio" in message or "function_call" in message:
            key = "audio" if "audio" in message else "function_call"
            raise unsupported(f"'{key}' is not supported by this model.", f"{place}.{key}")
        said = self._said(message, place)
        content: str | list[Json] = said
        if all(part["type"] == "output_text" for part in said):
            content = "".join(part["text"] for part in said)
        output: list[Json] = [{"type": "message", "role": "assistant", "content": content}] if said else []
        for index, entry in enumerate(items(message.get("tool_calls", []), f"{place}.tool_calls")):
            where = f"{place}.tool_calls[{index}]"
            output.append(self._call(present(members(entry, where)), where))
        kept = self._kept(message, place)
        last = len(output) - 1
        for position, item in enumerate(output):
            self.items += [_reasoning(each) for each in kept if min(max(each.place, 0), last) == position]
            self.items.append(item)

    @staticmethod
    def _said(message: Json, place: str) -> list[Json]:
        content = message.get("content", "")
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else items(content, f"{place}.content")
        said: list[Json] = []
        for index, entry in enumerate(parts):
            where = f"{place}.content[{index}]"
            part = members(entry, where)
            kind = required_text(part, "type", where)
            if kind not in ("text", "refusal"):
                raise invalid(f"Invalid value: '{kind[:64]}'. Supported values are: text, refusal.", f"{where}.type")
            value = required_text(part, kind, where)
            if value:
                said.append({"type": "output_text", "text": value} if kind == "text" else {"type": kind, kind: value})
        refusal = text(message.get("refusal", ""), f"{place}.refusal")
        if refusal:
            said.append({"type": "refusal", "refusal": refusal})
        return said

    def _call(self, call: Json, place: str) -> Json:
        call_id = required_text(call, "id", place)
        kind = text(call.get("type", "function"), f"{place}.type")
        if kind not in ("function", "custom"):
            raise invalid(f"Invalid value: '{kind[:64]}'. Supported values are: function, custom.", f"{place}.type")
        if kind not in call:
            raise missing(f"{place}.{kind}")
        where = f"{place}.{kind}"
        inner = present(members(call[kind], where))
        name = required_text(inner, "name", where)
        if kind == "custom":
            self._custom_calls.add(call_id)
            given = text(inner.get("input", ""), f"{where}.input")
            return {"type": "custom_tool_call", "call_id": call_id, "name": name, "input": given}
        arguments = text(inner.get("arguments", ""), f"{where}.arguments")
        return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}

    def _kept(self, message: Json, place: str) -> list[KeptReasoning]:
        """The reasoning that this answer came with, where the client sends it back."""
        found = []
        for index, entry in enumerate(items(message.get("thinking_blocks", []), f"{place}.thinking_blocks")):
            where = f"{place}.thinking_blocks[{index}]"
            kept = kept_reasoning(members(entry, where).get("signature"))
            if kept is not None:
                found.append(kept)
            else:
                self._losses.dropped("thinking_blocks", param=where)
        return found

    def _read_result(self, message: Json, place: str) -> None:
        call_id = required_text(message, "tool_call_id", place)
        kind = "custom_tool_call_output" if call_id in self._custom_calls else "function_call_output"
        self.items.append({"type": kind, "call_id": call_id, "output": self._input(message, place)})


def _reasoning(kept: KeptReasoning) -> Json:
    return {"type": "reasoning", "id": kept.id, "summary": [], "encrypted_content": kept.encrypted_content}


def _input_part(part: Json, param: str) -> Json:
    kind = required_text(part, "type", param)
    if kind == "text":
        answer: Json = {"type": "input_text", "text": required_text(part, "text", param)}
    elif kind == "image_url":
        answer = {"type": "input_image"} | _image(part.get("image_url"), f"{param}.image_url")
    elif kind == "file":
        if "file" not in part:
            raise missing(f"{param}.file")
        file = present(members(part["file"], f"{param}.file"))
        answer = {"type": "input_file"} | {
            key: file[key] for key in ("filename", "file_data", "file_id") if key in file
        }
    else:
        raise unsupported(
            f"Content of type '{kind[:64]}' is not supported by this model.", f"{param}.type", "unsupported_content"
        )
    if "prompt_cache_breakpoint" in part:
        answer["prompt_cache_breakpoint"] = part["prompt_cache_breakpoint"]
    return answer


def _image(source: Any, param: str) -> Json:
    if source is None:
        raise missing(param)
    image = {"url": source} if isinstance(source, str) else present(members(source, param))
    return {"image_url": required_text(image, "url", param), "detail": image.get("detail", "auto")}
