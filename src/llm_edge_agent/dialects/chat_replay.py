"""One stored chat answer, every framing: chunks folded into an answer, an answer replayed whole or as chunks.

What is stored is a `chat.completion` as bytes. Replaying splices a fresh `id`, `created` and `metadata` into it; the
rest is prepared once. A replayed stream is a proper chunk sequence: role, pieces of content, tool calls, finish,
usage where asked for, `[DONE]`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llm_edge_agent.core import strict_json
from llm_edge_agent.core.errors import GatewayError

PIECE_CHARACTERS = 256
"""Length of one content delta of a replayed stream: nobody waits for tokens that are already here."""

MAX_DIGITS = 4300
"""Python's own bound on the digits of an integer; a shorter body cannot hold a longer one."""

_CHUNK_ONLY = frozenset({"choices", "usage", "obfuscation", "object", "metadata", "error"})
_IDENTITY = frozenset({"id", "type", "name", "role"})
"""Strings that a later delta repeats; every other string of a delta continues the one before."""

_decoder = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode()))
_encode = msgspec.json.encode


class _TextDelta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: str | None = None
    content: str | None = None
    refusal: None = None


class _TextChoice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    delta: _TextDelta
    index: int = 0
    finish_reason: str | None = None
    logprobs: None = None


class _TextChunk(msgspec.Struct, gc=False):
    choices: list[_TextChoice]
    usage: dict[str, msgspec.Raw] | None = None


_text_decoder = msgspec.json.Decoder(list[_TextChunk])
_generic_decoder = msgspec.json.Decoder(list[dict[str, Any]], float_hook=lambda text: msgspec.Raw(text.encode()))


def fold(payloads: Sequence[bytes]) -> bytes | None:
    """The chunks of a complete stream as the `chat.completion` that the provider would have sent whole, or None where
    they cannot be read (then there is nothing to store)."""
    document = b"[%b]" % b",".join(payloads)
    try:
        try:
            choices, usage = _fold_text(_text_decoder.decode(document))
        except msgspec.ValidationError:
            choices, usage = _fold_any(_generic_decoder.decode(document))
        head: dict[str, Any] = {}
        for payload in (payloads[0], payloads[-1]):
            for key, value in _decoder.decode(payload).items():
                if key not in _CHUNK_ONLY:
                    head.setdefault(key, value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, AttributeError, TypeError):
        return None
    answer: dict[str, Any] = {"id": head.pop("id", ""), "object": "chat.completion", **head, "choices": choices}
    if usage is not None:
        answer["usage"] = usage
    return _encode(answer)


def _fold_text(chunks: list[_TextChunk]) -> tuple[list[dict[str, Any]], dict[str, msgspec.Raw] | None]:
    """The common case, typed: text and nothing else. Any other member fails to decode and is folded generically."""
    texts: dict[int, list[str]] = {}
    finishes: dict[int, str] = {}
    usage: dict[str, msgspec.Raw] | None = None
    for chunk in chunks:
        if chunk.usage is not None:
            usage = chunk.usage
        for choice in chunk.choices:
            index = choice.index
            content = choice.delta.content
            if index not in texts:
                texts[index] = []
            if content is not None:
                texts[index].append(content)
            if choice.finish_reason is not None:
                finishes[index] = choice.finish_reason
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": "".join(texts[index]), "refusal": None},
            "logprobs": None,
            "finish_reason": finishes.get(index),
        }
        for index in sorted(texts)
    ]
    return choices, usage


def _fold_any(chunks: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], Any]:
    folded: dict[int, dict[str, Any]] = {}
    usage: Any = None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or ():
            into = folded.setdefault(
                choice.get("index", 0),
                {"index": choice.get("index", 0), "message": {"role": "assistant", "content": None, "refusal": None}},
            )
            for key, value in choice.items():
                if key == "delta":
                    _merge(into["message"], value or {})
                elif key == "logprobs" and value is not None:
                    _merge(into.setdefault("logprobs", {}) or into["logprobs"], value)
                elif key != "index" and (value is not None or key not in into):
                    into[key] = value
    choices = [folded[index] for index in sorted(folded)]
    for choice in choices:
        calls = choice["message"].get("tool_calls")
        if calls is not None:
            choice["message"]["tool_calls"] = [
                {key: value for key, value in call.items() if key != "index"} for call in calls
            ]
    return choices, usage


def _merge(into: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """One delta onto what came before: text continues, identities stay, calls find their index, lists grow."""
    for key, value in delta.items():
        before = into.get(key)
        if before is None:
            into[key] = _merge_calls([], value) if key == "tool_calls" and value is not None else value
        elif value is None or (isinstance(value, str) and key in _IDENTITY):
            continue
        elif isinstance(value, str) and isinstance(before, str):
            into[key] = before + value
        elif isinstance(value, dict) and isinstance(before, dict):
            _merge(before, value)
        elif isinstance(value, list) and isinstance(before, list):
            into[key] = _merge_calls(before, value) if key == "tool_calls" else before + value
        elif isinstance(value, str | list | dict) or isinstance(before, str | list | dict):
            raise TypeError("deltas of different kinds do not continue each other")
        else:
            into[key] = value


def _merge_calls(calls: list[dict[str, Any]], deltas: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    for delta in deltas:
        index = delta.get("index", len(calls))
        for call in calls:
            if call.get("index") == index:
                _merge(call, delta)
                break
        else:
            call = {"index": index}
            _merge(call, delta)
            calls.append(call)
    return calls


def replayable(body: bytes) -> "Replay | None":
    """The answer made ready to be stored, or None where it could not be told again in every framing: a provider's JSON
    may hold what is relayed and no more (a lone surrogate, a doubled member, a number of thousands of digits)."""
    try:
        if len(body) > MAX_DIGITS:
            _decoder.decode(body)
        return Replay(body)
    except (msgspec.MsgspecError, GatewayError):
        return None


class Replay:
    """A stored answer made ready: rendering costs one join. Immutable for its readers; streams are prepared when one
    is first asked for."""

    __slots__ = ("_in_order", "_pieces", "_places", "_stream", "_stream_with_usage", "body")

    def __init__(self, body: bytes) -> None:
        """`body`: a `chat.completion` without `metadata`, no white space around it."""
        self.body = body
        spans = strict_json.members(body)
        places = sorted((spans[name].start, spans[name].end, name) for name in ("id", "created") if name in spans)
        self._pieces: list[bytes] = []
        self._places = tuple(name for _, _, name in places)
        self._in_order = self._places == ("id", "created")
        position = 0
        for start, end, _ in places:
            self._pieces.append(body[position:start])
            position = end
        self._pieces.append(body[position:-1])
        self._stream: list[bytes] | None = None
        self._stream_with_usage: list[bytes] | None = None

    def whole(self, suffix: bytes, created: bytes, metadata: bytes | None) -> bytes:
        """The answer as one JSON object. `suffix` makes the new id (plain characters), `created` is a JSON number,
        `metadata` an encoded object or None."""
        end = b"}" if metadata is None else b',"metadata":%b}' % metadata
        if self._in_order:
            before, between, after = self._pieces
            return b'%b"chatcmpl-%b"%b%b%b%b' % (before, suffix, between, created, after, end)
        parts = [self._pieces[0]]
        for name, piece in zip(self._places, self._pieces[1:], strict=True):
            parts.append(b'"chatcmpl-%b"' % suffix if name == "id" else created)
            parts.append(piece)
        parts.append(end)
        return b"".join(parts)

    def stream(self, suffix: bytes, created: bytes, metadata: bytes | None, *, show_usage: bool) -> bytes:
        """The answer as the complete event stream, `[DONE]` included. Arguments as for `whole`."""
        chunks = self._stream_with_usage if show_usage else self._stream
        if chunks is None:
            chunks = _chunks(_decoder.decode(self.body), show_usage)
            if show_usage:
                self._stream_with_usage = chunks
            else:
                self._stream = chunks
        head = b'data: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":%b' % (suffix, created)
        tail = b"}\n\n" if metadata is None else b',"metadata":%b}\n\n' % metadata
        return head + (b"}\n\n" + head).join(chunks) + tail + b"data: [DONE]\n\n"


def _chunks(answer: dict[str, Any], show_usage: bool) -> list[bytes]:
    """Each chunk of the replayed stream, from behind its `created` to before its closing brace."""
    common = {
        key: value
        for key, value in answer.items()
        if key not in ("id", "object", "created", "choices", "usage", "metadata")
    }
    head = _encode(common)[1:-1]
    prefix = b"," + head if head else b""
    nothing_yet = b',"usage":null' if show_usage else b""
    chunks = []
    for choice in answer["choices"]:
        for delta, ending in _deltas(choice):
            body = _encode([{"index": choice.get("index", 0), "delta": delta, **ending}])
            chunks.append(b'%b,"choices":%b%b' % (prefix, body, nothing_yet))
    if show_usage and answer.get("usage") is not None:
        chunks.append(b'%b,"choices":[],"usage":%b' % (prefix, _encode(answer["usage"])))
    return chunks


def _deltas(choice: Mapping[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    message: dict[str, Any] = dict(choice["message"])
    text = message.pop("content", None)
    calls = message.pop("tool_calls", None) or ()
    role = message.pop("role", "assistant")
    open_ending: dict[str, Any] = {"logprobs": None, "finish_reason": None}
    deltas: list[dict[str, Any]] = [{"role": role, "content": "" if text is not None else None}]
    for key, value in message.items():
        if value is not None:
            deltas.append({key: value})
    for piece in _pieces(text or ""):
        deltas.append({"content": piece})
    for index, call in enumerate(calls):
        deltas.append({"tool_calls": [{"index": index, **call}]})
    endings = [open_ending] * len(deltas)
    if choice.get("logprobs") is not None:
        endings[-1] = {**open_ending, "logprobs": choice["logprobs"]}
    extras = {key: value for key, value in choice.items() if key not in ("index", "message", "logprobs")}
    return [*zip(deltas, endings, strict=True), ({}, {"logprobs": None, **extras})]


def _pieces(text: str) -> list[str]:
    return [text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS)]
