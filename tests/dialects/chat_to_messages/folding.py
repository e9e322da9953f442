"""Puts a chat stream together again, as a client does, in the form of the whole answer."""

import json
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]
_TEXTS = ("content", "reasoning_content", "refusal")
_LISTS = ("thinking_blocks", "annotations", "citations")


def fold(chunks: Iterable[bytes]) -> Json:
    """The `chat.completion` that the chunks of one choice amount to. Asserts what must hold between them."""
    answer: Json = {}
    message: Json = {"role": None, "content": None, "refusal": None}
    choice: Json = {"index": 0, "message": message, "logprobs": None, "finish_reason": None}
    heads = set()
    for payload in chunks:
        chunk = json.loads(payload)
        assert chunk["object"] == "chat.completion.chunk"
        head = {key: chunk[key] for key in chunk if key not in ("choices", "usage", "object")}
        heads.add(json.dumps(head))
        answer.update(head)
        if not chunk["choices"]:
            answer["usage"] = chunk["usage"]
            continue
        assert chunk.get("usage") is None
        (part,) = chunk["choices"]
        assert choice["finish_reason"] is None, "nothing follows the finish chunk"
        _merge(message, part["delta"])
        choice.update({key: part[key] for key in part if key != "delta"})
    assert len(heads) == 1
    answer["choices"] = [choice]
    return answer


def _merge(message: Json, delta: Json) -> None:
    for key, value in delta.items():
        if key == "role":
            message["role"] = value
        elif key in _TEXTS:
            message[key] = (message.get(key) or "") + value
        elif key in _LISTS:
            message.setdefault(key, []).extend(value)
        elif key == "tool_calls":
            _merge_call(message.setdefault("tool_calls", []), value[0])
        elif key == "function_call":
            call = message.setdefault("function_call", {"name": "", "arguments": ""})
            call["name"] += value.get("name", "")
            call["arguments"] += value["arguments"]
        else:
            assert key == "provider_specific_fields"
            extension = message.setdefault(key, {})
            for name, item in value.items():
                extension[name] = [*extension.get(name, []), *item] if name == "content_blocks" else item


def _merge_call(calls: list[Json], piece: Json) -> None:
    if piece["index"] == len(calls):
        calls.append({key: value for key, value in piece.items() if key != "index"})
        return
    assert "id" not in piece
    assert "type" not in piece
    call = calls[piece["index"]]
    kind = "custom" if "custom" in piece else "function"
    for key, value in piece[kind].items():
        assert key in ("arguments", "input")
        call[kind][key] += value


def canonical(answer: Json, *, structured: bool = False) -> Json:
    """What a whole and a folded answer must agree on: arguments by value, empty content like none. `structured`:
    the content is JSON, which also counts by value."""
    answer = json.loads(json.dumps(answer))
    answer.pop("object", None)
    (choice,) = answer["choices"]
    message = choice["message"]
    message["content"] = message["content"] or None
    if structured:
        message["content"] = json.loads(message["content"])
    for call in message.get("tool_calls", []):
        if call["type"] == "function":
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    if "function_call" in message:
        message["function_call"]["arguments"] = json.loads(message["function_call"]["arguments"])
    return dict(answer)
