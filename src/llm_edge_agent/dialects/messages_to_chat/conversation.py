"""Anthropic's `system` and `messages` as the messages of a chat request (mapping section 3, reverse).

A user message of Anthropic's may hold the results of tools and words beside them; in a chat every result is a message
of its own, right behind the calls. The same Messages prefix always gives the same prefix here: prompt caching lives
on it.
"""

from itertools import islice

import msgspec

from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.fields import (
    Json,
    Losses,
    flag,
    invalid,
    items,
    members,
    missing,
    present,
    required_text,
    unsupported,
)
from llm_edge_agent.dialects.gateway_signature import kept_reasoning
from llm_edge_agent.dialects.messages_to_chat.content import PartReader
from llm_edge_agent.dialects.messages_to_chat.tools import ToolNames

RESULT_BELOW = "(The result follows in the next user message.)"
"""Content of a tool message whose result is no text: chat knows text only there."""

_ERROR = "Error: "
_SHOWN_IDS = 8


class Conversation:
    """Collects the messages of one request. Every method raises GatewayError (400) naming the place."""

    def __init__(self, model: Model, parts: PartReader, names: ToolNames, losses: Losses) -> None:
        self.messages: list[Json] = []
        self._instructor = "developer" if model.rules.efforts else "system"
        self._parts = parts
        self._names = names
        self._losses = losses
        self._awaited: dict[str, None] = {}
        """Calls of the last assistant message without a result yet."""
        self._results_end = 0
        """Where the next result goes: behind the calls and the results before it."""

    def read_system(self, system: object) -> None:
        content = self._text_content(system, "system")
        if content:
            self.messages.append({"role": self._instructor, "content": content})

    def read(self, messages: object) -> None:
        entries = items(messages, "messages")
        if not entries:
            raise invalid("messages: at least one message is required", "messages", "empty_array")
        role = ""
        for index, entry in enumerate(entries):
            place = f"messages.{index}"
            message = present(members(entry, place))
            role = required_text(message, "role", place)
            if "content" not in message:
                raise missing(f"{place}.content")
            content, where = message["content"], f"{place}.content"
            if role == "user":
                self._read_user(content, where)
            elif role == "assistant":
                self._require_results()
                self._read_assistant(content, where)
            elif role == "system":
                self.messages.append({"role": self._instructor, "content": self._text_content(content, where)})
            else:
                raise invalid(
                    f"Invalid value: '{role[:64]}'. Supported values are: user, assistant, system.", f"{place}.role"
                )
        self._require_results()
        if role == "assistant":
            raise unsupported(
                "This model does not support assistant message prefill. The conversation must end with a user message.",
                "messages",
                "unsupported_value",
            )

    def _text_content(self, content: object, param: str) -> str | list[Json]:
        """Text blocks as one string; as parts where a cache marker has to stay between them."""
        if isinstance(content, str):
            return content
        parts = self._parts.parts(content, param)
        if any(part["type"] != "text" for part in parts):
            raise invalid("Only text is allowed here.", param)
        if any("prompt_cache_breakpoint" in part for part in parts):
            return parts
        return "\n\n".join(part["text"] for part in parts)

    def _read_user(self, content: object, param: str) -> None:
        if isinstance(content, str):
            self.messages.append({"role": "user", "content": content})
            return
        shown: list[Json] = []
        said: list[Json] = []
        results = False
        for index, entry in enumerate(items(content, param)):
            place = f"{param}.{index}"
            block = present(members(entry, place))
            if required_text(block, "type", place) == "tool_result":
                shown += self._read_result(block, place)
                results = True
            else:
                said += self._parts.part(block, place)
        parts = shown + said
        if parts:
            plain = len(parts) == 1 and parts[0].keys() == {"type", "text"}
            self.messages.append({"role": "user", "content": parts[0]["text"] if plain else parts})
        elif not results:
            raise invalid("The content of a user message must not be empty.", param)

    def _read_result(self, block: Json, param: str) -> list[Json]:
        """Adds the tool message; returns the parts that it cannot hold."""
        call_id = required_text(block, "tool_use_id", param)
        if call_id not in self._awaited:
            raise invalid(
                f"unexpected `tool_use_id` found in `tool_result` blocks: {call_id[:64]}. Each `tool_result` block "
                "must have a corresponding `tool_use` block in the previous message.",
                f"{param}.tool_use_id",
            )
        del self._awaited[call_id]
        content = block.get("content", "")
        parts = self._parts.parts(content, f"{param}.content")
        texts = [part["text"] for part in parts if part["type"] == "text"]
        other = [part for part in parts if part["type"] != "text"]
        said = "\n\n".join(texts)
        if not said and other:
            said = RESULT_BELOW
        if flag(block.get("is_error", False), f"{param}.is_error"):
            said = _ERROR + said
        self.messages.insert(self._results_end, {"role": "tool", "tool_call_id": call_id, "content": said})
        self._results_end += 1
        return other

    def _read_assistant(self, content: object, param: str) -> None:
        if isinstance(content, str):
            self.messages.append({"role": "assistant", "content": content})
            return
        texts: list[str] = []
        calls: list[Json] = []
        thinking: list[Json] = []
        for index, entry in enumerate(items(content, param)):
            place = f"{param}.{index}"
            block = present(members(entry, place))
            kind = required_text(block, "type", place)
            if kind == "text":
                texts.append(required_text(block, "text", place))
            elif kind == "tool_use":
                calls.append(self._call(block, place))
            elif kind == "thinking":
                if kept_reasoning(block.get("signature")) is not None:
                    thinking.append({"type": "thinking", "thinking": "", "signature": block["signature"]})
            elif kind != "redacted_thinking":  # another model's reasoning is not portable, and not missed
                raise unsupported(
                    f"Content of type '{kind[:64]}' is not supported with this model.",
                    f"{place}.type",
                    "unsupported_content",
                )
        if not texts and not calls:
            self._losses.changed("messages")
            return
        message: Json = {"role": "assistant", "content": "".join(texts) if texts else None}
        if calls:
            message["tool_calls"] = calls
        if thinking:
            message["thinking_blocks"] = thinking
        self.messages.append(message)
        self._results_end = len(self.messages)

    def _call(self, block: Json, param: str) -> Json:
        call_id = required_text(block, "id", param)
        if call_id in self._awaited:
            raise invalid("`tool_use` ids must be unique.", f"{param}.id")
        name = self._names.sent(required_text(block, "name", param))
        arguments = msgspec.json.encode(members(block.get("input", {}), f"{param}.input")).decode()
        self._awaited[call_id] = None
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    def _require_results(self) -> None:
        if self._awaited:
            raise invalid(
                "`tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(call_id[:64] for call_id in islice(self._awaited, _SHOWN_IDS))}. Each `tool_use` block "
                "must have a corresponding `tool_result` block in the next message.",
                "messages",
            )

    def without_kept_reasoning(self) -> None:
        """Takes out what only the Responses API would take."""
        for message in self.messages:
            message.pop("thinking_blocks", None)
