"""The messages of a chat request as Anthropic's `system` and `messages` (mapping section 3).

Anthropic wants user and assistant in turn, every tool call answered in the very next user message, results before
anything else there, and ids and names of a certain form. The same chat prefix always gives the same prefix here:
thinking blocks are bound to it, and prompt caching lives on it.
"""

import hashlib
import re
from collections import defaultdict, deque
from itertools import islice

import msgspec

from llm_edge_agent.core.models import Model
from llm_edge_agent.dialects.chat_to_messages.content import (
    ASSISTANT_PARTS,
    TEXT_PARTS,
    USER_PARTS,
    PartReader,
)
from llm_edge_agent.dialects.chat_to_messages.tools import checked_name
from llm_edge_agent.dialects.fields import (
    Json,
    Losses,
    decode_object,
    flag,
    invalid,
    items,
    members,
    missing,
    present,
    required_text,
    text,
    unsupported,
)
from llm_edge_agent.dialects.gateway_signature import is_own
from llm_edge_agent.dialects.provider_json import shield

_LEGAL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PLACEHOLDER = "."
_THINKING_MEMBERS = {"thinking": ("thinking", "signature"), "redacted_thinking": ("data",)}
_ROLES = "system, developer, user, assistant, tool, function"


class Conversation:
    """Collects the messages of one request; `finish` makes it whole."""

    def __init__(self, model: Model, parts: PartReader, losses: Losses) -> None:
        self.system: list[Json] = []
        self.messages: list[Json] = []
        self.tool_names: dict[str, None] = {}
        """Names of the tools the history calls, in order."""
        self.tool_ids: dict[str, str] = {}
        """Rewritten id -> the client's own."""
        self._model = model
        self._parts = parts
        self._losses = losses
        self._begun = False
        self._awaited: dict[str, tuple[str, str]] = {}
        """Calls without a result yet: the id sent -> the client's id and the place."""
        self._calls_by_id: dict[str, deque[str]] = defaultdict(deque)
        self._calls_by_name: dict[str, deque[str]] = defaultdict(deque)
        self._results = 0
        """How many tool results the last message begins with."""
        self._late_system: list[Json] = []
        self._used_ids: set[str] = set()
        self._id_counts: dict[str, int] = {}

    def read(self, messages: object) -> None:
        """Every message in order. Raises GatewayError (400) naming the place."""
        entries = items(messages, "messages")
        if not entries:
            raise invalid("Invalid 'messages': empty array. Expected at least one message.", "messages", "empty_array")
        for index, entry in enumerate(entries):
            place = f"messages[{index}]"
            message = present(members(entry, place))
            role = required_text(message, "role", place)
            if role in ("system", "developer"):
                self._read_system(message, place)
                continue
            self._begun = True
            if role == "user":
                self._read_user(message, place)
            elif role == "assistant":
                self._read_assistant(message, place)
            elif role == "tool":
                self._read_result(message, required_text(message, "tool_call_id", place), None, place)
            elif role == "function":
                self._read_result(message, None, required_text(message, "name", place), place)
            else:
                raise invalid(f"Invalid value: '{role[:64]}'. Supported values are: {_ROLES}.", f"{place}.role")
        self._require_results()

    def _read_system(self, message: Json, place: str) -> None:
        blocks = self._parts.blocks(message.get("content"), f"{place}.content", TEXT_PARTS)
        self._name(message, blocks, place)
        self._mark(message, blocks, place)
        if not self._begun:
            self.system += blocks
        elif not self._model.rules.mid_conversation_system:
            self._losses.changed("messages")
            self.system += blocks
        elif self._awaited:
            self._late_system += blocks
        else:
            self._append("system", blocks)

    def _read_user(self, message: Json, place: str) -> None:
        blocks = self._parts.blocks(message.get("content"), f"{place}.content", USER_PARTS)
        if not blocks:
            self._losses.changed_or_refused(
                "messages",
                "messages: text content blocks must be non-empty",
                param=f"{place}.content",
                code="invalid_value",
            )
            blocks = [{"type": "text", "text": _PLACEHOLDER}]
        self._name(message, blocks, place)
        self._mark(message, blocks, place)
        self._append("user", blocks)

    def _read_assistant(self, message: Json, place: str) -> None:
        self._require_results()
        if "audio" in message:
            raise unsupported("Audio is not supported by this model.", f"{place}.audio", "unsupported_content")
        blocks = self._parts.blocks(message.get("content"), f"{place}.content", ASSISTANT_PARTS)
        if "refusal" in message:
            blocks += self._parts.blocks(text(message["refusal"], f"{place}.refusal"), place, ASSISTANT_PARTS)
        self._name(message, blocks, place)
        for index, entry in enumerate(items(message.get("tool_calls", []), f"{place}.tool_calls")):
            where = f"{place}.tool_calls[{index}]"
            blocks.append(self._tool_use(present(members(entry, where)), where))
        if "function_call" in message:
            where = f"{place}.function_call"
            call = present(members(message["function_call"], where))
            blocks.append(self._call(f"call_{len(self._used_ids)}", call, where, where))
        self._mark(message, blocks, place)
        blocks = self._thinking(message, place) + blocks
        if not blocks:
            self._losses.changed("messages")
            return
        self._append("assistant", blocks)

    def _thinking(self, message: Json, place: str) -> list[Json]:
        """Native thinking blocks that the client sends back. Reasoning text alone carries no signature: ignored."""
        kept: list[Json] = []
        for index, entry in enumerate(items(message.get("thinking_blocks", []), f"{place}.thinking_blocks")):
            block = members(entry, f"{place}.thinking_blocks[{index}]")
            kind = block.get("type")
            wanted = _THINKING_MEMBERS.get(kind if isinstance(kind, str) else "", ())
            values = {key: block[key] for key in wanted if isinstance(block.get(key), str)}
            if is_own(values.get("signature")):
                continue
            if wanted and len(values) == len(wanted) and self._model.rules.thinking != "none":
                kept.append({"type": kind, **values})
            else:
                self._losses.dropped("thinking_blocks", param=f"{place}.thinking_blocks[{index}]")
        return kept

    def _tool_use(self, call: Json, place: str) -> Json:
        call_id = required_text(call, "id", place)
        kind = text(call.get("type", "function"), f"{place}.type")
        if kind not in ("function", "custom"):
            raise invalid(f"Invalid value: '{kind[:64]}'. Supported values are: function, custom.", f"{place}.type")
        where = f"{place}.{kind}"
        if kind not in call:
            raise missing(where)
        inner = present(members(call[kind], where))
        if kind == "function":
            return self._call(call_id, inner, where, place)
        name = checked_name(required_text(inner, "name", where), f"{where}.name")
        return self._use(call_id, name, {"input": text(inner.get("input", ""), f"{where}.input")}, place)

    def _call(self, call_id: str, function: Json, where: str, place: str) -> Json:
        name = checked_name(required_text(function, "name", where), f"{where}.name")
        arguments = text(function.get("arguments", ""), f"{where}.arguments")
        return self._use(call_id, name, self._input(arguments, f"{where}.arguments"), place)

    def _input(self, arguments: str, param: str) -> Json | msgspec.Raw:
        """The arguments as they were written: numbers keep their text."""
        if not arguments.strip():
            return {}
        raw = arguments.encode()
        if decode_object(raw) is None and decode_object(shield(raw)) is None:
            self._losses.changed_or_refused(
                "messages",
                "The arguments of a tool call must be a JSON object.",
                param=param,
                code="invalid_tool_call_arguments",
            )
            return {"_raw": arguments}
        return msgspec.Raw(raw)

    def _use(self, call_id: str, name: str, value: Json | msgspec.Raw, place: str) -> Json:
        sent_id = self._legal_id(call_id)
        self.tool_names[name] = None
        self._awaited[sent_id] = (call_id, place)
        self._calls_by_id[call_id].append(sent_id)
        self._calls_by_name[name].append(sent_id)
        return {"type": "tool_use", "id": sent_id, "name": name, "input": value}

    def _legal_id(self, call_id: str) -> str:
        """The client's id where Anthropic takes it and it is new, else one made from it."""
        legal = call_id
        if _LEGAL_ID.fullmatch(call_id) is None:
            legal = f"call_{hashlib.sha256(call_id.encode()).hexdigest()[:32]}"
        base = legal[:48]
        while legal in self._used_ids:
            count = self._id_counts[base] = self._id_counts.get(base, 1) + 1
            legal = f"{base}_{count}"
        self._used_ids.add(legal)
        if legal != call_id:
            self.tool_ids[legal] = call_id
        return legal

    def _read_result(self, message: Json, call_id: str | None, name: str | None, place: str) -> None:
        sent_id = self._awaited_call(call_id, name)
        if sent_id is None:
            wanted, where = (name, "name") if call_id is None else (call_id, "tool_call_id")
            raise invalid(
                f"No call of the preceding assistant message waits for '{str(wanted)[:64]}'.", f"{place}.{where}"
            )
        result: Json = {"type": "tool_result", "tool_use_id": sent_id}
        content = message.get("content")
        failed = flag(message.get("is_error", False), f"{place}.is_error")
        if isinstance(content, str):
            failed = failed or content.startswith("Error: ")
            if content:
                result["content"] = content
        else:
            blocks = self._parts.blocks(content, f"{place}.content", USER_PARTS)
            if blocks:
                result["content"] = blocks
        if failed:
            result["is_error"] = True
        marker = self._parts.marker(message, place)
        if marker is not None:
            result["cache_control"] = marker
        self._append("user", [result])
        if not self._awaited:
            self._append("system", self._late_system)
            self._late_system = []

    def _awaited_call(self, call_id: str | None, name: str | None) -> str | None:
        """Takes the first call with this id, or, without one, of this name that still waits for its result."""
        calls = self._calls_by_name[name or ""] if call_id is None else self._calls_by_id[call_id]
        while calls:
            sent_id = calls.popleft()
            if self._awaited.pop(sent_id, None) is not None:
                return sent_id
        return None

    def _name(self, message: Json, blocks: list[Json], place: str) -> None:
        """A participant's name has no place of its own: it introduces the text."""
        if "name" not in message:
            return
        name = text(message["name"], f"{place}.name")
        if not name.strip():
            return
        for block in blocks:
            if block["type"] == "text":
                block["text"] = f"{name}: {block['text']}"
                return

    def _mark(self, message: Json, blocks: list[Json], place: str) -> None:
        marker = self._parts.marker(message, place)
        if marker is not None and blocks:
            blocks[-1].setdefault("cache_control", marker)

    def _append(self, role: str, blocks: list[Json]) -> None:
        """Neighbours of one role become one message, tool results first in it."""
        if not blocks:
            return
        results = blocks[0]["type"] == "tool_result"
        if not self.messages or self.messages[-1]["role"] != role:
            self.messages.append({"role": role, "content": list(blocks)})
            self._results = len(blocks) if results else 0
            return
        content = self.messages[-1]["content"]
        if results:
            content[self._results : self._results] = blocks
            self._results += len(blocks)
        else:
            content += blocks

    def _require_results(self) -> None:
        if self._awaited:
            own_ids = ", ".join(own_id[:64] for own_id, _ in islice(self._awaited.values(), 8))
            first_place = next(iter(self._awaited.values()))[1]
            raise invalid(f"tool_use ids were found without tool_result blocks: {own_ids}", first_place)

    def finish(self, *, prefill: bool) -> None:
        """Makes the first message the user's, and the last one where the model takes no prefill.

        `prefill`: the model goes on from a last assistant message. Raises GatewayError (400) in strict mode.
        """
        if not self.messages or self.messages[0]["role"] != "user":
            self._losses.changed("messages")
            self.messages.insert(0, {"role": "user", "content": [{"type": "text", "text": _PLACEHOLDER}]})
        last = self.messages[-1]
        if last["role"] != "assistant":
            return
        if prefill:
            block = last["content"][-1]
            if block["type"] == "text":
                block["text"] = block["text"].rstrip()
            return
        self._losses.changed_or_refused(
            "messages",
            "This model does not support assistant message prefill. The conversation must end with a user message.",
            param="messages",
        )
        self.messages.append({"role": "user", "content": [{"type": "text", "text": "Continue."}]})

    def holds_back_thinking(self) -> bool:
        """Whether the assistant turn that the model goes on from lacks the thinking that manual thinking wants."""
        last = self.messages[-1]
        if last["role"] == "assistant":
            turn = last
        elif last["content"][0]["type"] == "tool_result":
            turn = self.messages[-2]
        else:
            return False
        return turn["content"][0]["type"] not in ("thinking", "redacted_thinking")
