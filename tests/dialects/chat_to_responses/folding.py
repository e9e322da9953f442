"""Puts a chat stream together again, as a client does, in the form of the whole answer."""

import json
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]


def fold(chunks: Iterable[bytes]) -> Json:
    """The `chat.completion` that the chunks of one choice amount to. Asserts what must hold between them."""
    answer: Json = {}
    message: Json = {"role": None, "content": None, "refusal": None}
    choice: Json = {"index": 0, "message": message, "logprobs": None, "finish_reason": None}
    for payload in chunks:
        chunk = json.loads(payload)
        assert chunk["object"] == "chat.completion.chunk"
        for key in ("id", "model", "created"):
            assert answer.setdefault(key, chunk[key]) == chunk[key]
        if not chunk["choices"]:
            answer["usage"] = chunk["usage"]
            continue
        assert chunk.get("usage") is None
        (part,) = chunk["choices"]
        assert choice["finish_reason"] is None, "nothing follows the finish chunk"
        _merge(message, part["delta"])
        choice["finish_reason"] = part["finish_reason"]
    message["content"] = message["content"] or None
    return answer | {"choices": [choice]}


def _merge(message: Json, delta: Json) -> None:
    for key, value in delta.items():
        if key == "role":
            message[key] = value
        elif key == "tool_calls":
            (piece,) = value
            calls = message.setdefault(key, [])
            if piece["index"] == len(calls):
                calls.append({name: piece[name] for name in ("id", "type", piece["type"])})
                continue
            assert "id" not in piece
            kind = "custom" if "custom" in piece else "function"
            for name, text in piece[kind].items():
                calls[piece["index"]][kind][name] += text
        elif isinstance(value, list):
            message[key] = message.get(key, []) + value
        else:
            message[key] = (message.get(key) or "") + value
