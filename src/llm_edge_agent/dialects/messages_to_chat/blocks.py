"""The content blocks of a streamed answer: Anthropic's come one after the other, OpenAI's deltas need not.

Theory of operation. Blocks stand in the order in which they first appeared. One is open; what is said of it goes out at
once, what is said of a later one waits in it. The open block ends where a later one exists and it can have nothing more
to say: text and thinking at once, a tool call when its arguments are a complete JSON object. At the end of the answer
all the rest goes out in order.
"""

import msgspec

from llm_edge_agent.dialects.fields import decode_object
from llm_edge_agent.dialects.gateway_signature import sign
from llm_edge_agent.dialects.messages_to_chat.sent import Sent
from llm_edge_agent.dialects.messages_to_chat.wire import Block, CallPiece, call_id
from llm_edge_agent.dialects.provider_json import shield, upstream_invalid

_encode = msgspec.json.Encoder().encode

_STARTS = {
    "text": b'{"type":"text","text":""}',
    "thinking": b'{"type":"thinking","thinking":"","signature":""}',
}
_DELTAS = {
    "text": (b'{"type":"text_delta","text":', b"}"),
    "thinking": (b'{"type":"thinking_delta","thinking":', b"}"),
    "tool_use": (b'{"type":"input_json_delta","partial_json":', b"}"),
}


def event(name: bytes, members: bytes) -> bytes:
    """One event; `members` follow its type."""
    return b'event: %b\ndata: {"type":"%b"%b}\n\n' % (name, name, members)


class Blocks:
    """Say what comes, in the order it comes; send what the methods return."""

    def __init__(self, sent: Sent) -> None:
        self.all: list[Block] = []
        self.answer_id = ""
        self._sent = sent
        self._at = 0
        """The open block, or the one to be opened next."""
        self._opened = False
        self._by_index: dict[int, Block] = {}
        self._by_id: dict[str, Block] = {}
        self._calls: list[Block] = []

    def text(self, text: str) -> bytes:
        """More of the answer's text."""
        last = self.all[-1] if self.all else None
        if last is None or last.kind != "text":
            last = self._add(Block("text", pieces=[]))
        return self._say(last, text)

    def thinking(self, text: str) -> bytes:
        """More of the model's thinking."""
        last = self.all[-1] if self.all else None
        if last is None or last.kind != "thinking" or last.signature:
            if any(block.signature for block in self.all):
                text = text.lstrip("\n")  # what parts it from the thinking before it
            if not text:
                return b""
            last = self._add(Block("thinking", pieces=[]))
        return self._say(last, "" if self._sent.omit_thinking else text)

    def signature(self, signature: str) -> bytes:
        """The thinking that has just been told is complete, and this is its signature."""
        last = self.all[-1] if self.all else None
        if last is None or last.kind != "thinking" or last.signature:
            last = self._add(Block("thinking", pieces=[]))
        last.signature = signature
        return self._advance()

    def call(self, piece: CallPiece) -> bytes:
        """A tool call, or more of one: told by its id, else its index, else its name, else it is the last one.

        Some servers repeat id and name in every piece, send the index 0 for every call or none, or an empty id.
        Raises GatewayError (UPSTREAM_INVALID) where a piece continues nothing.
        """
        name = piece.function.name if piece.function is not None else None
        block = self._find(piece, name)
        if block is None:
            if not name:
                raise upstream_invalid("The provider continues a tool call that it did not begin.")
            block = self._add(Block("tool_use", id=piece.id or None, name=name, pieces=[]))
            self._calls.append(block)
            if piece.id:
                self._by_id[piece.id] = block
            if piece.index is not None:
                self._by_index[piece.index] = block
        arguments = piece.function.arguments if piece.function is not None else None
        return self._say(block, arguments or "")

    def _find(self, piece: CallPiece, name: str | None) -> Block | None:
        if piece.id and (name or piece.id in self._by_id):
            return self._by_id.get(piece.id)
        if piece.index is not None:
            return self._by_index.get(piece.index)
        last = self._calls[-1] if self._calls else None
        if last is not None and name and (name != last.name or _complete(last.text)):
            return None
        return last

    def end(self) -> bytes:
        """Everything that still waits, and the end of the last block."""
        out = b""
        while self._at < len(self.all):
            out += self._open() + self._close()
        return out

    def _add(self, block: Block) -> Block:
        self.all.append(block)
        return block

    def _say(self, block: Block, text: str) -> bytes:
        if text:
            block.pieces.append(text)
        position = len(self.all) - 1
        if self.all[position] is not block:
            position = next(at for at, each in enumerate(self.all) if each is block)
        if position < self._at:
            if text.strip():
                raise upstream_invalid("The provider continues a tool call whose arguments were complete.")
            return b""
        if position == self._at and self._opened:
            return self._delta(block, text) if text else b""
        return self._advance()

    def _advance(self) -> bytes:
        """Ends the open block where a later one waits and it has nothing more to say; opens the next."""
        out = self._open()
        while self._at + 1 < len(self.all) and self._ended(self.all[self._at]):
            out += self._close() + self._open()
        return out

    @staticmethod
    def _ended(block: Block) -> bool:
        return block.kind != "tool_use" or _complete(block.text)

    def _open(self) -> bytes:
        """The start of the current block with what it has gathered, unless it is open already."""
        if self._opened:
            return b""
        self._opened = True
        block = self.all[self._at]
        start = _STARTS.get(block.kind)
        if start is None:
            position = next(at for at, call in enumerate(self._calls) if call is block)
            block.id = call_id(block.id, self.answer_id, position)
            name = block.name or ""
            own_name = self._sent.tool_names.get(name, name)
            start = b'{"type":"tool_use","id":%b,"name":%b,"input":{}}' % (_encode(block.id), _encode(own_name))
        out = event(b"content_block_start", b',"index":%d,"content_block":%b' % (self._at, start))
        return out + (self._delta(block, block.text) if block.pieces else b"")

    def _delta(self, block: Block, text: str) -> bytes:
        before, after = _DELTAS[block.kind]
        delta = before + _encode(text) + after
        return event(b"content_block_delta", b',"index":%d,"delta":%b' % (self._at, delta))

    def _close(self) -> bytes:
        block, out = self.all[self._at], b""
        if block.kind == "thinking":
            block.signature = block.signature or sign()
            delta = b'{"type":"signature_delta","signature":%b}' % _encode(block.signature)
            out = event(b"content_block_delta", b',"index":%d,"delta":%b' % (self._at, delta))
        out += event(b"content_block_stop", b',"index":%d' % self._at)
        self._at += 1
        self._opened = False
        return out


def _complete(arguments: str) -> bool:
    return decode_object(arguments) is not None or decode_object(shield(arguments.encode())) is not None
