"""What each leaf costs: microseconds of CPU per call, best of several rounds, one process, nothing else running.

    python -m bench.micro

Then what telemetry costs per request (`bench/micro/telemetry.py`).
"""

import json
import os
import time
from collections.abc import Callable

from bench.micro import routing, telemetry
from llm_edge_agent.cache.memory import MemoryCache
from llm_edge_agent.core.cache_key import NOT_KEYED, cache_key
from llm_edge_agent.core.models import table_from_document
from llm_edge_agent.core.strict_json import key_material
from llm_edge_agent.data import model_document
from llm_edge_agent.dialects.answer_stream import ChatAnswerStream
from llm_edge_agent.dialects.chat import read_answer, read_request, with_usage_chunk
from llm_edge_agent.dialects.chat_replay import Replay, fold
from llm_edge_agent.dialects.chat_stream import ChatStream
from llm_edge_agent.dialects.chat_to_messages.request import translate_request
from llm_edge_agent.dialects.chat_to_messages.response import translate_response
from llm_edge_agent.dialects.chat_to_messages.sent import Sent, TranslationOptions
from llm_edge_agent.dialects.chat_to_messages.stream import MessagesStream
from llm_edge_agent.dialects.endpoint import Prepared
from llm_edge_agent.dialects.event_relay import RelayedStream
from llm_edge_agent.dialects.messages import MessagesEndpoint, MessagesToMessages
from llm_edge_agent.dialects.messages_stream import MessagesReader
from llm_edge_agent.dialects.sse import SSEDecoder
from llm_edge_agent.gateway.stored import StoredAnswer

ROUND_S = 0.05
ROUNDS = 7


def cpu_us(call: Callable[[], object]) -> float:
    """CPU microseconds of one call, best of ROUNDS."""
    repeats = 1
    while True:
        started_s = time.process_time()
        for _ in range(repeats):
            call()
        took_s = time.process_time() - started_s
        if took_s >= ROUND_S:
            break
        repeats *= 4
    best_s = took_s
    for _ in range(ROUNDS - 1):
        started_s = time.process_time()
        for _ in range(repeats):
            call()
        best_s = min(best_s, time.process_time() - started_s)
    return best_s / repeats * 1e6


def chat_request(size: int) -> bytes:
    turn = "Tell me about the history of the city, its rivers, bridges and people, in a few words. "
    messages = [{"role": "system", "content": "You are a helpful assistant. Answer briefly and precisely."}]
    while len(json.dumps(messages)) < size - 200:
        messages.append({"role": "user", "content": turn * max(1, min(60, (size - 400) // len(turn)))})
    body = {"model": "gpt-5.5", "stream": False, "temperature": 0.2, "messages": messages}
    return json.dumps(body, separators=(",", ":")).encode()


def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-5.5"}
    return json.dumps({**head, "choices": [choice], "usage": None}, separators=(",", ":")).encode()


CHUNKS = [chunk({"role": "assistant", "content": ""}), *[chunk({"content": "hello "})] * 50, chunk({}, "stop")]
EVENTS = [b"data: %b\n\n" % payload for payload in CHUNKS]
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5.5",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "word " * 100}, "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 20, "completion_tokens": 100, "total_tokens": 120},
    }
).encode()
MESSAGE = json.dumps(
    {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5",
        "content": [{"type": "text", "text": "word " * 100}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 20, "output_tokens": 100},
    }
).encode()
DELTA = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hello "}}'
STARTS = (
    ("message_start", b'{"type":"message_start","message":%b}' % MESSAGE.replace(b'"end_turn"', b"null")),
    ("content_block_start", b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'),
)


NATIVE_EVENTS = [
    *(b"event: %b\ndata: %b\n\n" % (event.encode(), data) for event, data in STARTS),
    *[b"event: content_block_delta\ndata: %b\n\n" % DELTA] * 50,
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n',
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":50}}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
]


def cases() -> dict[str, Callable[[], object]]:
    small, large = chat_request(600), chat_request(256 * 1024)
    call, large_call = read_request(small, max_depth=128), read_request(large, max_depth=128)
    material = key_material(call.body, NOT_KEYED)
    claude = table_from_document(model_document()).find("claude-sonnet-5")
    if claude is None:
        raise SystemExit("the model table lacks claude-sonnet-5")
    cache: MemoryCache[StoredAnswer] = MemoryCache(max_entries=10_000, max_bytes=1 << 26, ttl_s=300, tti_s=120)
    stored = StoredAnswer(ANSWER, "openai", "gpt-5.5", 5, ())
    cache.set(b"k" * 32, stored, ttl_s=300)
    replay = Replay(ANSWER)
    messages = MessagesStream(Sent(requested_model="claude-sonnet-5"), created=1)
    for event, data in STARTS:
        messages.feed(event, data)

    def stream() -> None:
        machine = ChatAnswerStream(ChatStream(show_usage=False, keep_limit_bytes=1 << 20), None)
        for event in EVENTS:
            machine.feed(event)
        machine.feed(b"data: [DONE]\n\n")
        machine.close(b"{}")

    def native_stream() -> None:
        machine = RelayedStream(MessagesReader(), keep_limit_bytes=1 << 20)
        for event in NATIVE_EVENTS:
            machine.feed(event)

    kept = RelayedStream(MessagesReader(), keep_limit_bytes=1 << 20)
    kept.feed(b"".join(NATIVE_EVENTS))
    door, pair, prepared = MessagesEndpoint(), MessagesToMessages(), Prepared(path=b"", body=b"")

    def key() -> bytes:
        return cache_key(
            tenant="default", epoch="", endpoint="chat", model="m", namespace="", passed=b"", material=material
        )

    return {
        f"read and check a request, {len(small)} B": lambda: read_request(small, max_depth=128),
        f"read and check a request, {len(large) // 1024} KB": lambda: read_request(large, max_depth=128),
        f"key material, {len(small)} B": lambda: key_material(call.body, NOT_KEYED),
        f"key material, {len(large) // 1024} KB": lambda: key_material(large_call.body, NOT_KEYED),
        "cache key": key,
        "L1 get": lambda: cache.get(b"k" * 32),
        "L1 set": lambda: cache.set(b"k" * 32, stored, ttl_s=300),
        "ask for the usage chunk (splice)": lambda: with_usage_chunk(small),
        "read an answer": lambda: read_answer(ANSWER),
        "replay whole": lambda: replay.whole(b"x", b"1", b"{}"),
        "replay as a stream": lambda: replay.stream(b"x", b"1", b"{}", show_usage=False),
        "SSE decoder, one event": lambda: SSEDecoder().feed(EVENTS[1]),
        "a stream of 52 chunks, through and kept": stream,
        "fold 52 chunks": lambda: fold(CHUNKS),
        "chat to messages: request": lambda: translate_request(small, claude, TranslationOptions()),
        "chat to messages: answer": lambda: translate_response(MESSAGE, Sent(requested_model="m"), created=1),
        f"native messages: read and check, {len(small)} B": lambda: door.read_request(small, max_depth=128),
        "native messages: read an answer": lambda: pair.answer(MESSAGE, prepared, created=1),
        "native messages: 55 events, through and kept": native_stream,
        "native messages: fold 55 events": kept.answer,
        "chat to messages: one text delta": lambda: messages.feed("content_block_delta", DELTA),
    }


def main() -> None:
    print(f"{'leaf':45} {'us':>9}   (process {os.getpid()})")
    for name, call in cases().items():
        print(f"{name:45} {cpu_us(call):9.2f}", flush=True)
    for name, call in routing.cases().items():
        print(f"{name:45} {cpu_us(call):9.2f}", flush=True)
    print()
    telemetry.main()


if __name__ == "__main__":
    main()
